// SPDX-License-Identifier: MIT
// Filters from their options: `-object filter-X,id=f0,netdev=n0,...`.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/event_loop.h"
#include "net/filters/filter.h"
#include "net/filters/line.h"

namespace rhea::net {

struct FilterConfig {
  std::string id;
  std::string type;                                          // "filter-dump"
  std::vector<std::pair<std::string, std::string>> options;  // without qom-type and id
};

struct FilterSurroundings {
  EventLoop& loop;
  Clock& wall_clock;
  OpenLine open_line;      // may be empty: there are no character devices
  bool replaying = false;  // the machine's input is recorded or replayed
};

// All names, for help and messages.
const std::vector<std::string>& filter_types();
// What `-object TYPE,help` prints; "" for a type that is no filter.
std::string filter_help(const std::string& type);
Result<std::unique_ptr<Filter>> make_filter(const FilterSurroundings& surroundings, const FilterConfig& config);

}  // namespace rhea::net
