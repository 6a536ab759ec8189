// SPDX-License-Identifier: MIT
// Clocks and timers. Times are nanoseconds; a clock never runs backwards.
//
// A machine has three: `virtual_time` runs while the guest runs (with -icount it counts instructions; a test can
// step it), `host` is the wall clock (UTC since 1970), `real` runs always. Devices take time from the clock they
// are given and never from the OS.
#pragma once

#include <functional>
#include <memory>

#include "util/types.h"

namespace rhea {

constexpr s64 kNever = INT64_MAX;
constexpr s64 kMillisecond = 1'000'000;
constexpr s64 kSecond = 1'000'000'000;

// A one-shot alarm. Its callback runs on the loop of the clock that made it, under that loop's lock, not before
// `deadline`. Destroying it cancels it. All members may be called from any thread that holds the loop's lock.
class Timer {
 public:
  virtual ~Timer() = default;
  // Replaces what was armed before. A deadline that has passed fires at once (never within this call).
  virtual void arm(s64 deadline) = 0;
  virtual void cancel() = 0;
  // The armed deadline, or kNever.
  virtual s64 deadline() const = 0;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual s64 now() const = 0;  // any thread
  virtual std::unique_ptr<Timer> timer(std::function<void()> callback) = 0;
};

}  // namespace rhea
