// SPDX-License-Identifier: MIT
// Limits of a drive's device: throttling.* of -drive, and their old names (bps, iops_rd, bps_max ...).
#pragma once

#include <string>
#include <vector>

#include "block/throttle.h"
#include "config/options.h"

namespace rhea::cli {

// Rows for the table of -drive's parameters.
std::vector<config::Parameter> throttle_parameters();

struct Throttling {
  block::ThrottleLimits limits;
  std::string group;  // empty: the drive's own; without limits it is one that is there (-object throttle-group)
};
// Errors: a name and its old name both; what goes against what.
Result<Throttling> read_throttling(const config::Values& values);

}  // namespace rhea::cli
