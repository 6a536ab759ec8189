// SPDX-License-Identifier: MIT
#include "sys/thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rhea::sys {

int current_thread_id() { return static_cast<int>(syscall(SYS_gettid)); }

void name_current_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

void run_in_background() {
  const sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

}  // namespace rhea::sys
