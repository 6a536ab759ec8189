// SPDX-License-Identifier: MIT
#include "devices/net/lan9118_phy.h"

#include "util/bits.h"

namespace rhea::devices {
namespace {

enum Index : unsigned {
  kControl = 0,
  kStatus = 1,
  kId1 = 2,
  kId2 = 3,
  kAdvertisement = 4,
  kPartner = 5,
  kExpansion = 6,
  kModeControl = 17,
  kSpecialModes = 18,
  kIndications = 27,
  kInterruptSource = 29,
  kInterruptMask = 30,
  kSpecialStatus = 31
};
enum Control : u16 {  // IEEE 802.3 table 22-7
  kReset = 0x8000,
  kSpeed100 = 0x2000,
  kAutoNegotiation = 0x1000,
  kPowerDown = 0x0800,
  kIsolate = 0x0400,
  kRestart = 0x0200,
  kFullDuplex = 0x0100
};
enum Interrupt : u16 { kLinkDown = 0x10, kNegotiated = 0x40, kEnergyOn = 0x80 };

constexpr u16 kControlReset = kSpeed100 | kAutoNegotiation;
constexpr u16 kControlMask = 0x7d80;
constexpr u16 kStatusBase = 0x7809;        // 10/100, half and full duplex, auto-negotiation, extended registers
constexpr u16 kPartnerAbilities = 0x45e1;  // acknowledged, pause, 10/100 half and full

}  // namespace

void Lan9118Phy::reset() {
  control_ = kControlReset;
  advertisement_ = 0x01e1;
  mode_ = 0;
  special_ = 0x00e1;  // all capable, PHY address 1
  indication_ = 0;
  source_ = mask_ = 0;
  negotiated_ = link_latched_down_ = false;
  negotiate();
}

void Lan9118Phy::fields(Visitor& visitor) {
  visitor.begin("phy", 1);
  visitor.field("control", control_);
  visitor.field("advertisement", advertisement_);
  visitor.field("mode", mode_);
  visitor.field("special", special_);
  visitor.field("indication", indication_);
  visitor.field("source", source_);
  visitor.field("mask", mask_);
  visitor.field("negotiated", negotiated_);
  visitor.field("link_latched_down", link_latched_down_);
  visitor.end();
}

bool Lan9118Phy::link() const { return cable_ && !(control_ & (kPowerDown | kIsolate)); }

void Lan9118Phy::negotiate() {
  negotiated_ = (control_ & kAutoNegotiation) && link();
  if (negotiated_) source_ |= kNegotiated | kEnergyOn;
}

void Lan9118Phy::set_link(bool up) {
  if (up == cable_) return;
  cable_ = up;
  if (!up) {
    negotiated_ = false;
    link_latched_down_ = true;
    source_ |= kLinkDown;
  } else {
    source_ |= kEnergyOn;
    negotiate();
  }
}

u16 Lan9118Phy::read(unsigned index) {
  switch (index) {
    case kControl: return control_;
    case kStatus: {
      const bool up = link() && !link_latched_down_;
      link_latched_down_ = false;
      return static_cast<u16>(kStatusBase | bits_if(up, 0x04) | bits_if(negotiated_, 0x20));
    }
    case kId1: return 0x0007;
    case kId2: return 0xc0d1;
    case kAdvertisement: return advertisement_;
    case kPartner: return negotiated_ ? kPartnerAbilities : 0;
    case kExpansion: return negotiated_ ? 3 : 0;  // the partner can negotiate, its page was received
    case kModeControl: return static_cast<u16>(mode_ | bits_if(cable_, 2));
    case kSpecialModes: return special_;
    case kIndications: return indication_;
    case kInterruptSource: {
      const u16 source = source_;
      source_ = 0;
      return source;
    }
    case kInterruptMask: return mask_;
    case kSpecialStatus: {
      // Bits 4 to 2: the speed; bit 12: negotiation is done.
      u32 speed;
      if (negotiated_) speed = advertisement_ & 0x100 ? 6 : advertisement_ & 0x80 ? 2 : advertisement_ & 0x40 ? 5 : 1;
      else speed = (control_ & kSpeed100 ? 2 : 1) | (control_ & kFullDuplex ? 4 : 0);
      return static_cast<u16>(0x40 | speed << 2 | bits_if(negotiated_, 0x1000));
    }
    default: return 0;
  }
}

void Lan9118Phy::write(unsigned index, u16 value) {
  switch (index) {
    case kControl: {
      if (value & kReset) {
        reset();
        return;
      }
      const bool was_up = link();
      control_ = value & kControlMask;
      if (was_up && !link()) link_latched_down_ = true;
      if (!(control_ & kAutoNegotiation)) negotiated_ = false;
      else if ((value & kRestart) || !negotiated_) negotiate();
      break;
    }
    case kAdvertisement: advertisement_ = static_cast<u16>((value & 0x2dff) | 1); break;
    case kModeControl: mode_ = value & 0x2e40; break;
    case kSpecialModes: special_ = value & 0x40ff; break;
    case kIndications: indication_ = value & 0xb800; break;
    case kInterruptMask: mask_ = value & 0xff; break;
    default: break;
  }
}

}  // namespace rhea::devices
