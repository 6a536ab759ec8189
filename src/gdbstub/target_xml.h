// SPDX-License-Identifier: MIT
// The documents that gdb reads: the target description and the list of threads ("Debugging with GDB", appendix G and
// E.14).
#pragma once

#include <string>

#include "core/debug_target.h"

namespace rhea::gdbstub {

std::string target_description(const Cpu& cpu);
std::string thread_list(DebugTarget& target);
// "CPU#0 [halted]"
std::string thread_info(const Cpu& cpu);

}  // namespace rhea::gdbstub
