// SPDX-License-Identifier: MIT
// The command line: lines of the input are the arguments. Whatever they say, it is settings, a text, or an
// error.
#include <string>
#include <vector>

#include "chardev/spec.h"
#include "cli/device_options.h"
#include "cli/settings.h"
#include "config/options.h"
#include "util/text.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  using namespace rhea;
  constexpr usize kMost = 4096;
  if (size > kMost) return 0;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string> lines = split(text, '\n');
  const auto settings = cli::parse_command_line("rhea-system-arm", lines);
  if (!settings.ok() && settings.error().message().empty()) __builtin_trap();
  for (const std::string& line : lines) {
    const auto parsed = config::parse_options(line, "type");
    if (parsed.ok())
      for (const config::Part& part : parsed->parts) {
        // A value that is quoted and read again is the same value.
        const auto again = config::parse_options("k=" + config::quote_value(part.value), "");
        if (!again.ok() || *again->find("k") != part.value) __builtin_trap();
      }
    (void)chardev::parse_spec(line);
    (void)cli::plan_device({"-device", line});
    (void)config::parse_size("size", line, 'M');
  }
  return 0;
}
