// SPDX-License-Identifier: MIT
// Signals as readable events of a descriptor, so that they are handled in a loop and not in a handler.
#pragma once

#include <optional>
#include <string>

#include "sys/fd.h"
#include "util/types.h"

namespace rhea::sys {

enum class Signal : u8 { end, stop, resume };

struct SignalEvent {
  Signal kind;
  int number = 0;
  int sender = 0;       // process, or 0: the kernel (a key of the terminal)
  std::string command;  // of the sender, if it can be known
};

// Made before any thread is: threads inherit that these signals are blocked. Takes SIGINT, SIGTERM, SIGHUP
// and SIGQUIT (end), SIGTSTP (stop) and SIGCONT (resume); SIGPIPE is ignored from then on. A SIGHUP that was
// ignored (nohup) stays ignored.
class SignalWatch {
 public:
  SignalWatch();
  int fd() const { return fd_.get(); }
  std::optional<SignalEvent> next();  // never waits

 private:
  Fd fd_;
};

// One of the ending signals waits to be read.
bool ending_signal_pending();
// Stops this process as SIGTSTP would; returns when it is continued.
void stop_this_process();

}  // namespace rhea::sys
