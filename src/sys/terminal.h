// SPDX-License-Identifier: MIT
// The controlling terminal in raw mode, and its way back: by the destructor, at exit(), at abort().
#pragma once

#include <memory>

#include "util/types.h"

namespace rhea::sys {

bool is_terminal(int fd);

// Keys come one by one, unechoed, with all control characters; output stays processed (\n starts a line).
// One at a time in a process. The state found at construction comes back when it is destroyed, when the
// process exits by exit() or main's return, and when it aborts.
class RawTerminal {
 public:
  // `signals`: Ctrl-C, Ctrl-Z and Ctrl-\ still make signals of the terminal's.
  RawTerminal(int fd, bool signals);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  void enter();  // raw, again: after the process was stopped and continued
  void leave();  // as it was found

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rhea::sys
