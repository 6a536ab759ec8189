// SPDX-License-Identifier: MIT
// What tells this build of the program from every other.
#pragma once

#include <string>

namespace rhea::sys {

// The running program's GNU build id (the linker's hash over what it made) as hexadecimal digits; empty: it was linked
// without one.
std::string build_id();

}  // namespace rhea::sys
