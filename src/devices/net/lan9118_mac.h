// SPDX-License-Identifier: MIT
// The MAC of the LAN9118 (datasheet revision 1.5, section 5.4: MAC control and status registers): its registers,
// the receive filter and the receive status word.
#pragma once

#include <array>
#include <functional>
#include <span>

#include "core/snapshot.h"
#include "devices/net/lan9118_phy.h"

namespace rhea::devices {

class Lan9118Mac {
 public:
  enum Index : unsigned {
    kMacCr = 1,
    kAddrH = 2,
    kAddrL = 3,
    kHashH = 4,
    kHashL = 5,
    kMiiAcc = 6,
    kMiiData = 7,
    kFlow = 8,
    kVlan1 = 9,
    kVlan2 = 10,
    kWuff = 11,
    kWucsr = 12,
    kCount
  };
  enum MacCr : u32 {
    kRxAll = 1u << 31,
    kLoopback = 1u << 21,
    kFullDuplex = 1u << 20,
    kMcPas = 1u << 19,
    kPrms = 1u << 18,
    kInvFilt = 1u << 17,
    kPassBad = 1u << 16,
    kHo = 1u << 15,
    kHpFilt = 1u << 13,
    kBcast = 1u << 11,
    kPadStr = 1u << 8,
    kTxEn = 1u << 3,
    kRxEn = 1u << 2
  };
  // RX status word bits (section 3.13.3).
  enum RxStatus : u32 {
    kFilterFail = 1u << 30,
    kErrorStatus = 1u << 15,
    kBroadcast = 1u << 13,
    kLengthError = 1u << 12,
    kRunt = 1u << 11,
    kMulticast = 1u << 10,
    kTooLong = 1u << 7,
    kFrameType = 1u << 5
  };

  void reset();
  void fields(Visitor& visitor);
  u32 read(unsigned index) const { return index < kCount ? registers_[index] : 0; }
  void write(unsigned index, u32 value);

  void set_address(std::span<const u8, 6> address);
  bool receives() const { return registers_[kMacCr] & kRxEn; }
  bool transmits() const { return registers_[kMacCr] & kTxEn; }
  bool loopback() const { return (registers_[kMacCr] & kLoopback) || phy.loopback(); }

  // Whether a frame for this station comes in, and its status word without the length.
  struct Judgement {
    bool accepted = false;
    u32 status = 0;
  };
  Judgement judge(std::span<const u8> frame) const;
  // How long the frame is without padding, when padding is to be stripped; else its size.
  usize stripped_size(std::span<const u8> frame) const;

  Lan9118Phy phy;

 private:
  bool passes_filter(std::span<const u8, 6> destination) const;
  bool is_own_address(std::span<const u8, 6> address) const;
  bool hash_matches(std::span<const u8, 6> address) const;

  std::array<u32, kCount> registers_{};
};

}  // namespace rhea::devices
