// SPDX-License-Identifier: MIT
// Dates: from text, and the distance of local time from UTC.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "util/types.h"

namespace rhea::sys {

// Seconds since 1970 of "2006-06-17T16:01:21" or "2006-06-17" (UTC).
std::optional<s64> parse_civil_time(std::string_view text);
// Local time minus UTC now, seconds.
s64 local_offset();
// "2026-01-02T03:04:05.678901Z", now.
std::string timestamp_text();

}  // namespace rhea::sys
