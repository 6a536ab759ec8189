// SPDX-License-Identifier: MIT
// Programs in a network of their own (network_namespaces(7)), for users without rights: by a user namespace, in which
// this process is root and outside of which it is who it was.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

// This process is in a network and mount namespace of its own from now on. Errors: the host allows no user namespaces.
Result<void> enter_own_network();
// What a file is for this process and those that it starts; the file itself stays as it is.
Result<void> cover_file(const std::string& path, const std::string& text);
// Becomes another program. Returns why it cannot.
Error become_program(const std::vector<std::string>& words);

// A child process that runs `body`, whose result is its exit status.
class Fork {
 public:
  static Result<Fork> start(const std::function<int()>& body);
  int fd() const { return pidfd_.get(); }  // readable when it has ended
  // Waits for its end: the exit status as a shell gives it (128 + number for a signal).
  int wait();

 private:
  int pid_ = 0;
  Fd pidfd_;
};

// Ctrl-C is for the child alone.
void ignore_terminal_signals();
void default_terminal_signals();

}  // namespace rhea::sys
