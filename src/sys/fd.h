// SPDX-License-Identifier: MIT
// An owned file descriptor, and the text of errno.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// "No such file or directory", of the calling thread's errno or of a number.
std::string errno_text();
std::string errno_text(int number);

// An event counter that wakes a loop: write from any thread, read in the loop.
class EventFd {
 public:
  EventFd();
  // One that another process made. Nothing: it is no event counter. From then on it never waits, for them neither.
  static std::optional<EventFd> adopt(Fd fd);
  void signal();
  // Resets it; false if nothing was signalled.
  bool clear();
  int fd() const { return fd_.get(); }

 private:
  explicit EventFd(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// A second descriptor of the same file; invalid when the host has none left.
Fd duplicate(int fd);

}  // namespace rhea::sys
