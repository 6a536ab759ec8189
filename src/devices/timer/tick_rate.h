// SPDX-License-Identifier: MIT
// Conversion between a clock's nanoseconds and the ticks of a counter that runs at hz/divisor.
#pragma once

#include "core/clock.h"
#include "util/types.h"

namespace rhea::devices {

class TickRate {
 public:
  explicit constexpr TickRate(u64 hz, u64 divisor = 1) : hz_(hz ? hz : 1), divisor_(divisor ? divisor : 1) {}

  constexpr u64 divisor() const { return divisor_; }
  void set_divisor(u64 divisor) { divisor_ = divisor ? divisor : 1; }
  // Whole ticks in a time.
  constexpr u64 ticks(s64 nanoseconds) const {
    if (nanoseconds <= 0) return 0;
    return static_cast<u64>(static_cast<u128>(nanoseconds) * hz_ / period());
  }
  // The first time at which `ticks` have passed; kNever if that is beyond the clock's range.
  constexpr s64 nanoseconds(u64 ticks) const {
    const u128 time = (static_cast<u128>(ticks) * period() + hz_ - 1) / hz_;
    return time >= static_cast<u128>(kNever) ? kNever : static_cast<s64>(time);
  }
  // `time` + the time of `ticks`, kNever if that is beyond the clock's range.
  constexpr s64 after(s64 time, u64 ticks) const {
    const s64 span = nanoseconds(ticks);
    return span >= kNever - time ? kNever : time + span;
  }

 private:
  constexpr u128 period() const { return static_cast<u128>(kSecond) * divisor_; }
  u64 hz_;
  u64 divisor_;
};

}  // namespace rhea::devices
