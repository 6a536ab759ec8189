// SPDX-License-Identifier: MIT
// A shell command with one end of a pipe in our hands.
#pragma once

#include <string>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

class PipedCommand {
 public:
  // `writing`: we write to its input; else we read its output. The command runs in /bin/sh.
  static Result<PipedCommand> start(const std::string& command, bool writing);
  PipedCommand(PipedCommand&& other) noexcept : fd_(std::move(other.fd_)), pid_(std::exchange(other.pid_, 0)) {}
  ~PipedCommand();
  int fd() const { return fd_.get(); }
  // Closes the pipe and waits for the command. Errors: "exited with status 3", "was ended by signal 9".
  Result<void> finish();

 private:
  PipedCommand(Fd fd, int pid) : fd_(std::move(fd)), pid_(pid) {}
  Fd fd_;
  int pid_ = 0;
};

// Waits until what was written to a file is on its disk; 0 or errno.
int sync_file(int fd);

}  // namespace rhea::sys
