// SPDX-License-Identifier: MIT
// What the standard library's threads lack.
#pragma once

#include <string>

namespace rhea::sys {

// The kernel's number of the calling thread.
int current_thread_id();
// Its name as top and gdb show it; cut at 15 bytes.
void name_current_thread(const std::string& name);
// In a loop that waits for another thread.
inline void relax() { __builtin_ia32_pause(); }

}  // namespace rhea::sys
