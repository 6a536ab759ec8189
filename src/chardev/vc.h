// SPDX-License-Identifier: MIT
// A text console in the display as a character device.
#pragma once

#include <memory>

#include "chardev/backend.h"
#include "chardev/spec.h"
#include "display/text_console.h"

namespace rhea::chardev {

// Shows what is written on a console of the size; `label` names it among the screens. What it answers (where its
// cursor is) is input.
std::unique_ptr<Backend> make_vc(display::Screens& screens, display::TextConsole::Size size, const std::string& label);

// The console for a size as it was given: in pixels, in characters, or not at all (80 by 24 characters).
display::TextConsole::Size console_size(const ConsoleSize& given);

}  // namespace rhea::chardev
