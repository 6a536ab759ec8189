// SPDX-License-Identifier: MIT
// A process in the background, its pid file, and the privileges it gives up.
#pragma once

#include <optional>
#include <string>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

// Made before any thread is.
class Daemon {
 public:
  // Splits off a process in a session of its own. In the one that called (whose terminal waits) it returns
  // the exit status it is to end with, once the other is ready() or has failed; in the other nothing.
  std::optional<int> start();
  // Lets go of terminal and folder; the first process ends with 0.
  void ready();

 private:
  Fd pipe_;
};

// The file with this process's number, locked as long as it lives; removed when this goes.
class PidFile {
 public:
  ~PidFile();
  // Errors: "cannot create PID file: Cannot lock pid file: Resource temporarily unavailable".
  Result<void> create(const std::string& path);

 private:
  Fd fd_;
  std::string path_;
};

Result<void> change_root(const std::string& path);
// "name", "uid:gid". Errors: "User "foo" doesn't exist (and is not <uid>:<gid>)".
Result<void> change_user(const std::string& user);

}  // namespace rhea::sys
