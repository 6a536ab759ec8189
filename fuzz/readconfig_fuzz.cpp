// SPDX-License-Identifier: MIT
// Configuration files: every option that one yields is one that the command line can be asked about.
#include <string>

#include "cli/read_config.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  const auto options = rhea::cli::read_config_text({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!options.ok()) return 0;
  for (const auto& option : *options) {
    if (option.option.size() < 2 || option.option[0] != '-') __builtin_trap();
    (void)rhea::config::parse_options(option.argument, "");
  }
  return 0;
}
