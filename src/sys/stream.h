// SPDX-License-Identifier: MIT
// Bytes in and out of a descriptor that may be a terminal, a pipe or a file.
#pragma once

#include <atomic>
#include <span>
#include <string>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

enum class ReadOutcome : u8 { data, would_wait, end, failed };
struct ReadSome {
  ReadOutcome outcome;
  usize count = 0;
  int error = 0;  // errno, when it failed
};
// Never waits, whatever the descriptor's own mode is (which other processes may share).
bool is_open(int fd);  // a descriptor of this process
ReadSome read_now(int fd, std::span<u8> to);

// An output that waits for a slow reader, but not when a signal that ends the process is pending.
class Output {
 public:
  // A descriptor of somebody else's (1). A terminal or a pipe is opened a second time, so that it can be told
  // not to block without telling those who share it.
  explicit Output(int borrowed);
  explicit Output(Fd owned) : own_(std::move(owned)), fd_(own_.get()) {}

  // All of it; 0 or errno. EINTR: gave up, see above.
  int write(std::span<const u8> data);
  // Lets go of what it opened itself: a pipe's reader sees the end once its owner has closed it too.
  void close() { own_.reset(), fd_ = -1; }
  // The same holds (EINTR) while the flag is set.
  void give_up_when(const std::atomic<bool>& flag) { give_up_ = &flag; }
  int fd() const { return fd_; }

 private:
  Fd own_;
  int fd_ = -1;
  const std::atomic<bool>* give_up_ = nullptr;
};

// Fills all of `data`, waiting where it must (but not when a signal that ends the process is pending). Errors: the
// end came before, what the host says.
Result<void> read_all(int fd, std::span<u8> data);

// A file for output, made empty ("file:" chardevs) or appended to.
Result<Fd> open_output(const std::string& path, bool append = false);

}  // namespace rhea::sys
