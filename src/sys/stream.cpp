// SPDX-License-Identifier: MIT
#include "sys/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sys/signals.h"

namespace rhea::sys {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

ReadSome read_now(int fd, std::span<u8> to) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, 0) == 0) return {ReadOutcome::would_wait};
  for (;;) {
    const ssize_t count = ::read(fd, to.data(), to.size());
    if (count > 0) return {ReadOutcome::data, static_cast<usize>(count)};
    if (count == 0) return {ReadOutcome::end};
    if (errno == EAGAIN) return {ReadOutcome::would_wait};
    if (errno != EINTR) return {ReadOutcome::failed, 0, errno};
  }
}

Output::Output(int borrowed) : fd_(borrowed) {
  struct stat status {};
  if (::fstat(borrowed, &status) != 0) return;
  if (!S_ISFIFO(status.st_mode) && ::isatty(borrowed) != 1) return;
  const std::string path = "/proc/self/fd/" + std::to_string(borrowed);
  own_ = Fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (own_) fd_ = own_.get();
}

int Output::write(std::span<const u8> data) {
  constexpr int kLookAround = 100;  // ms between looks at the signals
  while (!data.empty()) {
    const ssize_t count = ::write(fd_, data.data(), data.size());
    if (count >= 0) {
      data = data.subspan(static_cast<usize>(count));
    } else if (errno == EAGAIN) {
      pollfd waiting{.fd = fd_, .events = POLLOUT, .revents = 0};
      if (::poll(&waiting, 1, kLookAround) != 0) continue;
      if (ending_signal_pending() || (give_up_ && give_up_->load())) return EINTR;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

Result<void> read_all(int fd, std::span<u8> data) {
  constexpr int kLookAround = 100;  // ms between looks at the signals
  while (!data.empty()) {
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kLookAround) == 0) {
      if (ending_signal_pending()) return Error("a signal ends the program");
      continue;
    }
    const ssize_t count = ::read(fd, data.data(), data.size());
    if (count == 0) return Error("it ends in the middle of something");
    if (count < 0 && errno != EINTR && errno != EAGAIN) return Error("{}", errno_text());
    if (count > 0) data = data.subspan(static_cast<usize>(count));
  }
  return {};
}

Result<Fd> open_output(const std::string& path, bool append) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | (append ? O_APPEND : O_TRUNC), 0666));
  if (!fd) return Error("Could not open '{}': {}", path, errno_text());
  return fd;
}

}  // namespace rhea::sys
