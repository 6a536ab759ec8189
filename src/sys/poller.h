// SPDX-License-Identifier: MIT
// Waiting for file descriptors (epoll) with a time in nanoseconds, and the monotonic and wall clocks.
#pragma once

#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/types.h"

namespace rhea::sys {

enum : u32 { kPollIn = 1, kPollOut = 2, kPollHangup = 4 };

class Poller {
 public:
  struct Ready {
    u64 id;
    u32 events;
  };
  Poller();
  // Regular files cannot be polled (they are always ready): add returns false for them.
  bool add(int fd, u64 id, u32 events);
  void change(int fd, u64 id, u32 events);
  void remove(int fd);
  // Waits at most `nanoseconds` (negative: for ever).
  void wait(s64 nanoseconds, std::vector<Ready>& ready);

 private:
  Fd epoll_;
};

s64 monotonic_now();
s64 wall_now();
void name_thread(const std::string& name);  // at most 15 characters are kept
int thread_id();

}  // namespace rhea::sys
