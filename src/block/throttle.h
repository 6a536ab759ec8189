// SPDX-License-Identifier: MIT
// Limits of how much and how often a drive's device may read and write (bps and iops, with bursts). Drives of one group
// share what the group may.
//
// Each limit is a leaky bucket. What a request needs is poured in when it is let through; the bucket leaks at the
// limit's average rate, and nothing is let through while it holds more than its burst: a tenth of a second of the
// average, or of what the limit's `max` allows, for `length` seconds. So the average holds over time, and a request is
// never refused for being large.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block/request.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::block {

struct ThrottleLimits {
  struct Limit {
    u64 average = 0;  // units a second; 0: no limit
    u64 max = 0;      // units a second in a burst; 0: none
    u64 length = 1;   // seconds that a burst may last
    friend bool operator==(const Limit&, const Limit&) = default;
  };
  enum Which : u8 { bps_total, bps_read, bps_write, iops_total, iops_read, iops_write, kCount };
  std::array<Limit, kCount> limits{};
  u64 iops_size = 0;  // bytes that count as one operation; 0: any number

  bool any() const;
  // Errors: what goes against what.
  Result<void> check() const;
  friend bool operator==(const ThrottleLimits&, const ThrottleLimits&) = default;
};
// All numbers by name: "bps-total", "bps-total-max", "bps-total-max-length", ..., "iops-size".
std::vector<std::pair<std::string, u64>> throttle_values(const ThrottleLimits& limits);
// Sets one of them; false: there is none of that name.
bool set_throttle_value(ThrottleLimits& limits, std::string_view name, u64 value);

class ThrottleGroup {
 public:
  explicit ThrottleGroup(std::string name) : name_(std::move(name)) {}
  const std::string& name() const { return name_; }
  const ThrottleLimits& limits() const { return limits_; }
  void set_limits(const ThrottleLimits& limits, s64 now);

  // When a request of this kind may begin: `now` (ns) or before: it may. A flush always may.
  s64 ready_at(Op op, s64 now);
  void take(Op op, u64 size, s64 now);

 private:
  struct Bucket {
    double level = 0;        // units
    double burst_level = 0;  // with length > 1: units above the max rate
  };
  void leak(s64 now);
  double capacity(const ThrottleLimits::Limit& limit) const;

  std::string name_;
  ThrottleLimits limits_;
  std::array<Bucket, ThrottleLimits::kCount> buckets_{};
  s64 leaked_ = 0;
};

}  // namespace rhea::block
