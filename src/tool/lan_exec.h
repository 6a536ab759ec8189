// SPDX-License-Identifier: MIT
// `rhea lan exec NAME COMMAND...`: a program of the host inside a LAN of guests, without root.
#pragma once

#include <string>

#include "tool/tool.h"

namespace rhea::tool {

// Returns when the program has ended; `status` is its exit status.
Result<std::string> lan_exec(const Words& words, int& status);

}  // namespace rhea::tool
