// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/options.h"
#include "util/result.h"

namespace rhea::cli {

struct ConfigOption {
  std::string option;    // "-device"
  std::string argument;  // "id=n0,driver=..."
};

// The options that a configuration file stands for. Errors: "FILE:LINE: parse error: ...", "There is no
// option group 'X'".
Result<std::vector<ConfigOption>> read_config_file(const std::string& path);
Result<std::vector<ConfigOption>> read_config_text(std::string_view text, const std::string& name);

}  // namespace rhea::cli
