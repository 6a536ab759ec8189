// SPDX-License-Identifier: MIT
// What the human and the JSON monitor's display commands share.
#pragma once

#include <string>

#include "monitor/monitor.h"

namespace rhea::monitor {

// Saves a display's picture. `device` empty: the display in use. `format`: "ppm" or "png".
Result<void> save_screen(Context& context, const std::string& file, const std::string& format,
                         const std::string& device, u64 head);

}  // namespace rhea::monitor
