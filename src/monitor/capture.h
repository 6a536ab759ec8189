// SPDX-License-Identifier: MIT
// A monitor command whose output is kept instead of shown.
#pragma once

#include <string>
#include <string_view>

#include "monitor/monitor.h"

namespace rhea::monitor {

// Runs one command line; what it prints, lines ended by \n.
std::string run_captured(Context& context, std::string_view line);

}  // namespace rhea::monitor
