// SPDX-License-Identifier: MIT
// What hangs on the I2C bus of the Versatile Express' DVI connector: the transmitter and the monitor's EDID.
#include <algorithm>
#include <array>
#include <string_view>

#include "devices/i2c/i2c_bus.h"
#include "util/bits.h"

namespace rhea::devices {
namespace {

constexpr u8 kEdidAddress = 0x50, kSii9022Address = 0x39;

// A memory whose pointer the first byte written sets, and which each byte read moves on.
class PointedMemory : public I2cTarget {
 public:
  void start(bool reading) override { pointer_comes_ = !reading; }
  void reset() override { pointer_ = 0; }
  void fields(Visitor& visitor) override {
    visitor.field("pointer", pointer_);
    visitor.field("pointer_comes", pointer_comes_);
  }

 protected:
  // Whether a written byte was the pointer.
  bool take_pointer(u8 byte) {
    if (!pointer_comes_) return false;
    pointer_ = byte;
    pointer_comes_ = false;
    return true;
  }
  u8 pointer_ = 0;

 private:
  bool pointer_comes_ = false;
};

// E-EDID 1.3, section 3: one timing, at 60 Hz with the blanking of VESA's table for 1024x768 scaled to the size.
std::array<u8, 128> edid_block(u32 width, u32 height) {
  std::array<u8, 128> edid{};
  constexpr std::array<u8, 8> kHeader = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
  std::copy(kHeader.begin(), kHeader.end(), edid.begin());
  constexpr u16 kMaker = ('R' - 64) << 10 | ('H' - 64) << 5 | ('A' - 64);
  store_be<u16>(&edid[8], kMaker);
  store_le<u16>(&edid[10], 1);
  edid[16] = 1;
  edid[17] = 2026 - 1990;
  edid[18] = 1;  // version 1.3
  edid[19] = 3;
  edid[20] = 0x80;                         // digital
  edid[21] = static_cast<u8>(width / 38);  // about 96 dots an inch, in centimetres
  edid[22] = static_cast<u8>(height / 38);
  edid[23] = 120;   // gamma 2.2
  edid[24] = 0x0a;  // RGB, and the first timing is the preferred one
  constexpr std::array<u8, 10> kSrgb = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
  std::copy(kSrgb.begin(), kSrgb.end(), &edid[25]);
  edid[35] = 0x21;                              // 640x480 and 800x600 at 60 Hz
  edid[36] = 0x08;                              // 1024x768 at 60 Hz
  for (usize i = 38; i < 54; ++i) edid[i] = 1;  // no more standard timings
  const u32 blank_x = width * 320 / 1024, blank_y = height * 38 / 768;
  const u32 front = width * 24 / 1024, sync = width * 136 / 1024;
  u8* timing = &edid[54];
  store_le<u16>(timing, static_cast<u16>(u64{width + blank_x} * (height + blank_y) * 60 / 10'000));
  timing[2] = static_cast<u8>(width);
  timing[3] = static_cast<u8>(blank_x);
  timing[4] = static_cast<u8>((width >> 8 & 15) << 4 | (blank_x >> 8 & 15));
  timing[5] = static_cast<u8>(height);
  timing[6] = static_cast<u8>(blank_y);
  timing[7] = static_cast<u8>((height >> 8 & 15) << 4 | (blank_y >> 8 & 15));
  timing[8] = static_cast<u8>(front);
  timing[9] = static_cast<u8>(sync);
  timing[10] = 3 << 4 | 6;
  timing[12] = static_cast<u8>(width * 10 / 38);
  timing[13] = static_cast<u8>(height * 10 / 38);
  timing[14] = static_cast<u8>((width * 10 / 38 >> 8 & 15) << 4 | (height * 10 / 38 >> 8 & 15));
  timing[17] = 0x18;  // digital, separate syncs
  const auto text = [&](usize at, u8 tag, std::string_view words) {
    edid[at + 3] = tag;
    std::fill_n(&edid[at + 5], 13, ' ');
    std::copy(words.begin(), words.end(), &edid[at + 5]);
    edid[at + 5 + words.size()] = '\n';
  };
  text(72, 0xfc, "Rhea Monitor");
  text(90, 0xff, "1");
  edid[108 + 3] = 0x10;  // nothing in the fourth
  u8 sum = 0;
  for (usize i = 0; i < 127; ++i) sum = static_cast<u8>(sum + edid[i]);
  edid[127] = static_cast<u8>(-sum);
  return edid;
}

class Edid final : public PointedMemory {
 public:
  Edid(u32 width, u32 height) : edid_(edid_block(width, height)) {}
  u8 address() const override { return kEdidAddress; }
  u8 read() override { return edid_[pointer_++ % edid_.size()]; }
  bool write(u8 byte) override { return take_pointer(byte); }

 private:
  std::array<u8, 128> edid_;
};

// TPI registers that read something of their own. The DDC bus goes straight through to the monitor whoever asks, so a
// request for it is granted at once.
class Sii9022 final : public PointedMemory {
 public:
  u8 address() const override { return kSii9022Address; }
  void reset() override {
    PointedMemory::reset();
    registers_.fill(0);
    tpi_ = false;
  }
  void fields(Visitor& visitor) override {
    PointedMemory::fields(visitor);
    visitor.field("registers", registers_);
    visitor.field("tpi", tpi_);
  }
  u8 read() override {
    const u8 reg = pointer_++;
    switch (reg) {
      case kSystemControl: {
        const u8 value = registers_[reg];
        return static_cast<u8>(value & kDdcRequest ? value | kDdcGranted : value & ~kDdcGranted);
      }
      case kDeviceId: return tpi_ ? 0xb0 : 0;
      case kProductionRevision: return 0x02;
      case kTpiRevision: return 0x03;
      case kHdcpRevision: return 0x12;
      case kInterruptStatus: return kPlugged;
      default: return registers_[reg];
    }
  }
  bool write(u8 byte) override {
    if (take_pointer(byte)) return true;
    const u8 reg = pointer_++;
    if (reg == kTpiRequest) tpi_ = byte == 0;
    else if (reg != kInterruptStatus) registers_[reg] = byte;
    return true;
  }

 private:
  enum Register : u8 {
    kSystemControl = 0x1a,
    kDeviceId = 0x1b,
    kProductionRevision = 0x1c,
    kTpiRevision = 0x1d,
    kHdcpRevision = 0x30,
    kInterruptStatus = 0x3d,
    kTpiRequest = 0xc7
  };
  static constexpr u8 kDdcGranted = 2, kDdcRequest = 4, kPlugged = 0x0c;  // receiver sense and hot plug
  std::array<u8, 256> registers_{};
  bool tpi_ = false;
};

}  // namespace

std::unique_ptr<I2cTarget> make_edid(u32 width, u32 height) { return std::make_unique<Edid>(width, height); }
std::unique_ptr<I2cTarget> make_sii9022() { return std::make_unique<Sii9022>(); }

}  // namespace rhea::devices
