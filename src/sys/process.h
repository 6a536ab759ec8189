// SPDX-License-Identifier: MIT
// Other programs, and private folders for them.
#pragma once

#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

// A program that runs. Its end is readable on `fd()`; reap() then takes its place in the process table away.
class Child {
 public:
  // Finds words[0] in PATH and starts it in a session of its own, `stream` its standard input, output and
  // error, with the default signals. Errors: what the host says.
  static Result<Child> start(const std::vector<std::string>& words, int stream);
  int fd() const { return pidfd_.get(); }
  int pid() const { return pid_; }
  void reap();

 private:
  int pid_ = 0;
  Fd pidfd_;
};

// A new folder under $TMPDIR (/tmp) that only this user may enter; it is removed with all in it.
class PrivateFolder {
 public:
  static Result<PrivateFolder> make(const std::string& name_start);
  PrivateFolder(PrivateFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PrivateFolder& operator=(PrivateFolder&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~PrivateFolder();
  const std::string& path() const { return path_; }

 private:
  explicit PrivateFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

bool is_executable(const std::string& path);
// 0, or why this folder cannot be read and entered.
int check_folder(const std::string& path);
// The name of the user whose files this process makes; its number when it has none.
std::string user_name();

}  // namespace rhea::sys
