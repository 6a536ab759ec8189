// SPDX-License-Identifier: MIT
// `rhea lan exec NAME COMMAND...`: a program of the host inside a LAN of guests, without root.
#pragma once

#include <string>

#include "config/json.h"
#include "tool/tool.h"

namespace rhea::tool {

// What the members of a LAN that answer say of themselves (lan_command.cpp).
std::vector<config::Json> ask_lan(const std::string& lan);

// Returns when the program has ended; `status` is its exit status.
Result<std::string> lan_exec(const Words& words, int& status);

}  // namespace rhea::tool
