// SPDX-License-Identifier: MIT
#include "block/throttle.h"

#include <algorithm>

#include "core/clock.h"

namespace rhea::block {

namespace {

using Limits = ThrottleLimits;

constexpr u64 kMost = 1'000'000'000'000'000;  // of each number
constexpr const char* kNames[] = {"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"};

bool is_bytes(usize which) { return which < Limits::iops_total; }

// Which limits a request counts for: the total's and its direction's.
bool counts(usize which, bool write) {
  const usize kind = which % 3;
  return kind == 0 || (kind == 2) == write;
}

}  // namespace

std::vector<std::pair<std::string, u64>> throttle_values(const Limits& limits) {
  std::vector<std::pair<std::string, u64>> values;
  for (usize i = 0; i < Limits::kCount; ++i) {
    const std::string name = kNames[i];
    values.emplace_back(name, limits.limits[i].average);
    values.emplace_back(name + "-max", limits.limits[i].max);
    values.emplace_back(name + "-max-length", limits.limits[i].length);
  }
  values.emplace_back("iops-size", limits.iops_size);
  return values;
}

bool set_throttle_value(Limits& limits, std::string_view name, u64 value) {
  if (name == "iops-size") {
    limits.iops_size = value;
    return true;
  }
  for (usize i = 0; i < Limits::kCount; ++i) {
    if (!name.starts_with(kNames[i])) continue;
    const std::string_view rest = name.substr(std::string_view(kNames[i]).size());
    u64* const number = rest.empty()            ? &limits.limits[i].average
                        : rest == "-max"        ? &limits.limits[i].max
                        : rest == "-max-length" ? &limits.limits[i].length
                                                : nullptr;
    if (!number) return false;
    *number = value;
    return true;
  }
  return false;
}

bool ThrottleLimits::any() const {
  return std::any_of(limits.begin(), limits.end(), [](const Limit& limit) { return limit.average > 0; });
}

Result<void> ThrottleLimits::check() const {
  for (const usize total : {usize{bps_total}, usize{iops_total}}) {
    const Limit &all = limits[total], &read = limits[total + 1], &write = limits[total + 2];
    if ((all.average && (read.average || write.average)) || (all.max && (read.max || write.max)))
      return Error("bps/iops/max total values and read/write values cannot be used at the same time");
  }
  if (iops_size && !limits[iops_total].average && !limits[iops_read].average && !limits[iops_write].average)
    return Error("iops size requires an iops value to be set");
  for (const Limit& limit : limits) {
    if (limit.average > kMost || limit.max > kMost) return Error("bps/iops/max values must be within [0, {}]", kMost);
    if (!limit.length) return Error("the burst length cannot be 0");
    if (limit.length > 1 && !limit.max) return Error("burst length set without burst rate");
    if (limit.max && limit.length > kMost / limit.max) return Error("burst length too high for this burst rate");
    if (limit.max && !limit.average) return Error("bps_max/iops_max require corresponding bps/iops values");
    if (limit.max && limit.max < limit.average) return Error("bps_max/iops_max cannot be lower than bps/iops");
  }
  return {};
}

void ThrottleGroup::set_limits(const ThrottleLimits& limits, s64 now) {
  limits_ = limits;
  buckets_ = {};
  leaked_ = now;
}

// Units that a bucket may hold and still let something through.
double ThrottleGroup::capacity(const Limits::Limit& limit) const {
  if (!limit.max) return static_cast<double>(limit.average) / 10;
  return static_cast<double>(limit.max) * static_cast<double>(limit.length);
}

void ThrottleGroup::leak(s64 now) {
  const double seconds = static_cast<double>(std::max<s64>(0, now - leaked_)) / kSecond;
  leaked_ = std::max(leaked_, now);
  for (usize i = 0; i < buckets_.size(); ++i) {
    const Limits::Limit& limit = limits_.limits[i];
    buckets_[i].level = std::max(0.0, buckets_[i].level - static_cast<double>(limit.average) * seconds);
    buckets_[i].burst_level = std::max(0.0, buckets_[i].burst_level - static_cast<double>(limit.max) * seconds);
  }
}

s64 ThrottleGroup::ready_at(Op op, s64 now) {
  if (op == Op::flush) return now;
  leak(now);
  double wait = 0;  // seconds
  for (usize i = 0; i < buckets_.size(); ++i) {
    const Limits::Limit& limit = limits_.limits[i];
    if (!limit.average || !counts(i, op != Op::read)) continue;
    wait = std::max(wait, (buckets_[i].level - capacity(limit)) / static_cast<double>(limit.average));
    if (limit.length > 1) {
      const double burst = static_cast<double>(limit.max) / 10;
      wait = std::max(wait, (buckets_[i].burst_level - burst) / static_cast<double>(limit.max));
    }
  }
  // A small fraction of a nanosecond is none.
  return wait > 0 ? now + std::max<s64>(1, static_cast<s64>(wait * kSecond)) : now;
}

void ThrottleGroup::take(Op op, u64 size, s64 now) {
  if (op == Op::flush) return;
  leak(now);
  double operations = 1;
  if (limits_.iops_size && size > limits_.iops_size)
    operations = static_cast<double>(size) / static_cast<double>(limits_.iops_size);
  for (usize i = 0; i < buckets_.size(); ++i) {
    if (!limits_.limits[i].average || !counts(i, op != Op::read)) continue;
    const double units = is_bytes(i) ? static_cast<double>(size) : operations;
    buckets_[i].level += units;
    if (limits_.limits[i].length > 1) buckets_[i].burst_level += units;
  }
}

}  // namespace rhea::block
