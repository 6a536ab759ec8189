// SPDX-License-Identifier: MIT
#include "sys/serial_line.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>

namespace rhea::sys {

namespace {

void make_raw(int fd) {
  termios settings{};
  if (::tcgetattr(fd, &settings) != 0) return;
  ::cfmakeraw(&settings);
  settings.c_cflag |= CLOCAL | CREAD;
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  ::tcsetattr(fd, TCSANOW, &settings);
}

Result<Fd> open_or_error(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return Error("Could not open '{}': {}", path, errno_text());
  struct stat status {};
  if (::fstat(fd.get(), &status) == 0 && S_ISDIR(status.st_mode))
    return Error("Could not open '{}': {}", path, errno_text(EISDIR));
  return fd;
}

}  // namespace

Result<PseudoTerminal> open_pseudo_terminal() {
  PseudoTerminal made;
  made.master = Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  char name[128];
  if (!made.master || ::grantpt(made.master.get()) != 0 || ::unlockpt(made.master.get()) != 0 ||
      ::ptsname_r(made.master.get(), name, sizeof name) != 0)
    return Error("Failed to create PTY: {}", errno_text());
  made.name = name;
  made.slave = Fd(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!made.slave) return Error("Failed to create PTY: {}: {}", name, errno_text());
  make_raw(made.slave.get());
  return made;
}

Result<void> make_link(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) == 0) return {};
  return Error("Failed to create PTY symlink {}: {}", path, errno_text());
}

void remove_link(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) ::unlink(path.c_str());
}

Result<Fd> open_serial_port(const std::string& path) {
  Fd fd = RHEA_TRY(open_or_error(path, O_RDWR));
  if (::isatty(fd.get()) != 1) return Error("'{}' is no serial port", path);
  make_raw(fd.get());
  return fd;
}

Result<Fd> open_both(const std::string& path) { return open_or_error(path, O_RDWR); }
Result<Fd> open_input(const std::string& path) { return open_or_error(path, O_RDONLY); }

Written write_now(int fd, std::span<const u8> data) {
  Written done;
  while (done.count < data.size()) {
    const ssize_t count = ::write(fd, data.data() + done.count, data.size() - done.count);
    if (count > 0) {
      done.count += static_cast<usize>(count);
    } else if (count == 0 || errno != EINTR) {
      done.error = count == 0 ? EAGAIN : errno;
      break;
    }
  }
  return done;
}

}  // namespace rhea::sys
