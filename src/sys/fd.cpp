// SPDX-License-Identifier: MIT
#include "sys/fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rhea::sys {

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string errno_text() { return errno_text(errno); }

std::string errno_text(int number) {
  char buffer[256];
  return ::strerror_r(number, buffer, sizeof buffer);
}

EventFd::EventFd() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

std::optional<EventFd> EventFd::adopt(Fd fd) {
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  if (::readlink(link.c_str(), target, sizeof target - 1) < 0) return std::nullopt;
  if (std::strcmp(target, "anon_inode:[eventfd]") != 0) return std::nullopt;
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return std::nullopt;
  return EventFd(std::move(fd));
}

void EventFd::signal() {
  const u64 one = 1;
  [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);  // full is signalled too
}

bool EventFd::clear() {
  u64 count = 0;
  return ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

Fd duplicate(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

}  // namespace rhea::sys
