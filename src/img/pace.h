// SPDX-License-Identifier: MIT
// A limit on bytes per second (-r of convert and commit).
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>
#include <thread>

#include "core/clock.h"
#include "util/types.h"

namespace rhea::img {

// What is spent takes its time: a call returns when all that was spent before it has had its share of a second. Any
// thread.
class Pace {
 public:
  // A clock in ns, and a sleep until a time of it; tests give their own.
  struct Time {
    std::function<s64()> now;
    std::function<void(s64)> sleep_until;
  };
  static Time real_time() {
    using Steady = std::chrono::steady_clock;
    return {[] { return static_cast<s64>(std::chrono::nanoseconds(Steady::now().time_since_epoch()).count()); },
            [](s64 when) { std::this_thread::sleep_until(Steady::time_point(std::chrono::nanoseconds(when))); }};
  }

  // `rate` in bytes per second; 0: no limit.
  explicit Pace(u64 rate, Time time = real_time()) : rate_(rate), time_(std::move(time)) {}

  // Before `bytes` are written: waits until what was spent before has had its time.
  void spend(u64 bytes) {
    if (!rate_) return;
    s64 start;
    {
      std::lock_guard lock(mutex_);
      start = std::max(free_at_, time_.now());
      const double seconds = static_cast<double>(bytes) / static_cast<double>(rate_);
      free_at_ = start + static_cast<s64>(std::min(seconds, kLongest) * static_cast<double>(kSecond));
    }
    time_.sleep_until(start);
  }

 private:
  static constexpr double kLongest = 1e6;  // seconds that one piece may take
  u64 rate_;
  Time time_;
  std::mutex mutex_;
  s64 free_at_ = 0;
};

}  // namespace rhea::img
