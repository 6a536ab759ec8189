// SPDX-License-Identifier: MIT
#include "sys/civil_time.h"

#include <fmt/format.h>
#include <sys/time.h>
#include <time.h>

namespace rhea::sys {

std::optional<s64> parse_civil_time(std::string_view text) {
  const std::string copy(text);
  tm fields{};
  const char* end = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &fields);
  if (!end || *end) {
    fields = {};
    end = ::strptime(copy.c_str(), "%Y-%m-%d", &fields);
  }
  if (!end || *end) return std::nullopt;
  return static_cast<s64>(::timegm(&fields));
}

s64 local_offset() {
  const time_t now = ::time(nullptr);
  tm fields{};
  ::localtime_r(&now, &fields);
  return fields.tm_gmtoff;
}

std::string timestamp_text() {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  tm fields{};
  ::gmtime_r(&now.tv_sec, &fields);
  char text[32];
  ::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &fields);
  return fmt::format("{}.{:06}Z", text, now.tv_usec);
}

}  // namespace rhea::sys
