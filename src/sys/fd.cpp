// SPDX-License-Identifier: MIT
#include "sys/fd.h"

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

void EventFd::signal() {
  const u64 one = 1;
  [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);  // full is signalled too
}

bool EventFd::clear() {
  u64 count = 0;
  return ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

}  // namespace rhea::sys
