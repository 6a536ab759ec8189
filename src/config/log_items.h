// SPDX-License-Identifier: MIT
// The items of `-d` and of the monitor's `log`, by name.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "util/log.h"
#include "util/result.h"

namespace rhea::config {

struct LogItemRow {
  std::string_view name;
  LogItem item;
  std::string_view summary;
};
std::span<const LogItemRow> log_items();

// "int,exec" -> a mask for Log::set_mask; "none" is no item. Errors: the item that there is not.
Result<u32> parse_log_items(std::string_view text);
// The list that `-d help` prints.
std::string log_items_help(bool with_none);

}  // namespace rhea::config
