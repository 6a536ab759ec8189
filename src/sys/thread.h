// SPDX-License-Identifier: MIT
// What the standard library's threads lack.
#pragma once

#include <string>

namespace rhea::sys {

// The kernel's number of the calling thread.
int current_thread_id();
// Its name as top and gdb show it; cut at 15 bytes.
void name_current_thread(const std::string& name);
// From now on the calling thread displaces no other when it wakes up, as a batch job does (SCHED_BATCH). Its share of
// the processor stays: who waits for a lock that it holds does not wait long. Where the host refuses, it is as it was.
void run_in_background();
// In a loop that waits for another thread.
inline void relax() { __builtin_ia32_pause(); }

}  // namespace rhea::sys
