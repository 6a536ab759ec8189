// SPDX-License-Identifier: MIT
#include "devices/net/lan9118_mac.h"

#include <algorithm>

#include "devices/net/ethernet_crc.h"
#include "util/bits.h"

namespace rhea::devices {
namespace {

// What can be written.
constexpr std::array<u32, Lan9118Mac::kCount> kWritable = {0,      0x90bfbdec, 0xffff, ~0u,    ~0u, ~0u,  0xffc2,
                                                           0xffff, 0xffff0006, 0xffff, 0xffff, ~0u, 0x206};
constexpr u32 kMacCrReset = 0x00040000;  // PRMS
constexpr usize kAddressBytes = 6;
constexpr usize kMaxUntagged = 1518, kMaxTagged = 1522;  // with the frame check sequence
constexpr usize kMaxDataOfLengthFrame = 46;

}  // namespace

void Lan9118Mac::reset() {
  registers_.fill(0);
  registers_[kMacCr] = kMacCrReset;
  registers_[kAddrH] = 0xffff;
  registers_[kAddrL] = 0xffffffff;
  registers_[kVlan1] = registers_[kVlan2] = 0xffff;
}

void Lan9118Mac::fields(Visitor& visitor) {
  visitor.field("mac_registers", registers_);
  phy.fields(visitor);
}

void Lan9118Mac::write(unsigned index, u32 value) {
  if (index == 0 || index >= kCount) return;
  registers_[index] = value & kWritable[index];
  if (index != kMiiAcc || (value >> 11 & 31) != Lan9118Phy::kAddress) return;
  const unsigned phy_register = value >> 6 & 31;
  if (value & 2) phy.write(phy_register, static_cast<u16>(registers_[kMiiData]));
  else registers_[kMiiData] = phy.read(phy_register);
}

void Lan9118Mac::set_address(std::span<const u8, 6> address) {
  registers_[kAddrL] = load_le<u32>(address.data());
  registers_[kAddrH] = load_le<u16>(address.data() + 4);
}

bool Lan9118Mac::is_own_address(std::span<const u8, 6> address) const {
  return load_le<u32>(address.data()) == registers_[kAddrL] && load_le<u16>(address.data() + 4) == registers_[kAddrH];
}

bool Lan9118Mac::hash_matches(std::span<const u8, 6> address) const {
  const unsigned hash = address_hash(address);
  return registers_[hash & 32 ? kHashH : kHashL] >> (hash & 31) & 1;
}

// Table 3-4 of the datasheet: filtering modes.
bool Lan9118Mac::passes_filter(std::span<const u8, 6> destination) const {
  const u32 control = registers_[kMacCr];
  const bool multicast = destination[0] & 1;
  const bool broadcast = std::all_of(destination.begin(), destination.end(), [](u8 byte) { return byte == 0xff; });
  if (control & kPrms) return true;
  if (broadcast) return !(control & kBcast);
  if (multicast && (control & kMcPas)) return true;
  if (control & kHpFilt) {
    if (multicast || (control & kHo)) return hash_matches(destination);
    return is_own_address(destination);
  }
  return is_own_address(destination) != static_cast<bool>(control & kInvFilt);
}

Lan9118Mac::Judgement Lan9118Mac::judge(std::span<const u8> frame) const {
  if (frame.size() < 14) return {};
  const std::span<const u8, 6> destination(frame.data(), kAddressBytes);
  Judgement result;
  result.accepted = passes_filter(destination);
  if (!result.accepted) {
    result.status |= kFilterFail;
    result.accepted = registers_[kMacCr] & kRxAll;
  }
  if (std::all_of(destination.begin(), destination.end(), [](u8 byte) { return byte == 0xff; }))
    result.status |= kBroadcast;
  else if (destination[0] & 1) result.status |= kMulticast;
  const u16 type = load_be<u16>(frame.data() + 12);
  if (type > 1500) result.status |= kFrameType;
  else if (type > frame.size() - 14) result.status |= kLengthError;
  const bool tagged = type == registers_[kVlan1] || type == registers_[kVlan2];
  if (frame.size() + 4 > (tagged ? kMaxTagged : kMaxUntagged)) result.status |= kTooLong | kErrorStatus;
  return result;
}

usize Lan9118Mac::stripped_size(std::span<const u8> frame) const {
  if (!(registers_[kMacCr] & kPadStr)) return frame.size();
  const u16 length = load_be<u16>(frame.data() + 12);
  return length < kMaxDataOfLengthFrame ? std::min<usize>(frame.size(), 14 + length) : frame.size();
}

}  // namespace rhea::devices
