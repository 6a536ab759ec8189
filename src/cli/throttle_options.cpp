// SPDX-License-Identifier: MIT
#include "cli/throttle_options.h"

#include <optional>

#include "util/text.h"

namespace rhea::cli {

namespace {

using block::ThrottleLimits;

// A name and the old one that means the same ("": there was none).
struct Name {
  std::string_view name, old;
};
struct Row {
  Name average, max;
  std::string_view length;
};
constexpr Row kRows[ThrottleLimits::kCount] = {
    {{"throttling.bps-total", "bps"}, {"throttling.bps-total-max", "bps_max"}, "throttling.bps-total-max-length"},
    {{"throttling.bps-read", "bps_rd"}, {"throttling.bps-read-max", "bps_rd_max"}, "throttling.bps-read-max-length"},
    {{"throttling.bps-write", "bps_wr"}, {"throttling.bps-write-max", "bps_wr_max"}, "throttling.bps-write-max-length"},
    {{"throttling.iops-total", "iops"}, {"throttling.iops-total-max", "iops_max"}, "throttling.iops-total-max-length"},
    {{"throttling.iops-read", "iops_rd"},
     {"throttling.iops-read-max", "iops_rd_max"},
     "throttling.iops-read-max-length"},
    {{"throttling.iops-write", "iops_wr"},
     {"throttling.iops-write-max", "iops_wr_max"},
     "throttling.iops-write-max-length"},
};
constexpr Name kSize{"throttling.iops-size", "iops_size"};
constexpr std::string_view kGroup = "throttling.group";

Result<std::optional<u64>> number(const config::Values& values, const Name& name) {
  const bool has = values.has(name.name), has_old = !name.old.empty() && values.has(name.old);
  if (has && has_old) return Error("'{}' and its alias '{}' can't be used at the same time", name.name, name.old);
  if (!has && !has_old) return std::optional<u64>();
  return std::optional<u64>(values.number(has ? name.name : name.old, 0));
}

}  // namespace

std::vector<config::Parameter> throttle_parameters() {
  std::vector<config::Parameter> rows;
  const auto add = [&](std::string_view name) {
    if (!name.empty()) rows.push_back({name, config::Kind::number});
  };
  for (const Row& row : kRows)
    for (const std::string_view name : {row.average.name, row.average.old, row.max.name, row.max.old, row.length})
      add(name);
  add(kSize.name);
  add(kSize.old);
  rows.push_back({kGroup, config::Kind::text});
  return rows;
}

Result<Throttling> read_throttling(const config::Values& values) {
  Throttling throttling;
  for (usize i = 0; i < std::size(kRows); ++i) {
    ThrottleLimits::Limit& limit = throttling.limits.limits[i];
    limit.average = RHEA_TRY(number(values, kRows[i].average)).value_or(0);
    limit.max = RHEA_TRY(number(values, kRows[i].max)).value_or(0);
    limit.length = RHEA_TRY(number(values, {kRows[i].length, ""})).value_or(1);
  }
  throttling.limits.iops_size = RHEA_TRY(number(values, kSize)).value_or(0);
  throttling.group = values.text(kGroup);
  RHEA_TRY(throttling.limits.check());
  return throttling;
}

}  // namespace rhea::cli
