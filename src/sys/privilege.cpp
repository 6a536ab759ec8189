// SPDX-License-Identifier: MIT
#include "sys/privilege.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "sys/fd.h"
#include "util/types.h"

namespace rhea::sys {

namespace {

constexpr usize kLargestFile = 1 << 20;

// Only CAP_NET_ADMIN, effective and permitted.
bool drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2]{};
  data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN;
  return ::syscall(SYS_capset, &header, data) == 0;
}

bool has_network_right() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2]{};
  return ::syscall(SYS_capget, &header, data) == 0 && (data[0].permitted & (1u << CAP_NET_ADMIN));
}

}  // namespace

bool enter_setuid_program() {
  if (::clearenv() != 0) return false;
  for (int fd = 0; fd < 3; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) return false;
  ::umask(077);
  return true;
}

Result<void> keep_only_network_rights() {
  if (!has_network_right()) return {};
  const uid_t user = ::getuid();
  const gid_t group = ::getgid();
  if (::geteuid() != user || ::getegid() != group) {
    if (::prctl(PR_SET_KEEPCAPS, 1) != 0 || ::setresgid(group, group, group) != 0 || ::setresuid(user, user, user) != 0)
      return Error("cannot give rights up: {}", errno_text());
  }
  if (!drop_capabilities() || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return Error("cannot give rights up: {}", errno_text());
  return {};
}

Result<void> give_up_all_rights() {
  constexpr gid_t kNobody = 65534;
  // EINVAL: a user namespace that has no such user, whose root has no rights outside it.
  if ((::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
       ::setresuid(kNobody, kNobody, kNobody) != 0) &&
      errno != EINVAL && errno != EPERM)
    return Error("cannot give rights up: {}", errno_text());
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct none[2]{};
  if (::syscall(SYS_capset, &header, none) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return Error("cannot give rights up: {}", errno_text());
  return {};
}

bool is_there(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 || errno != ENOENT;
}

Result<std::string> read_trusted(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) return Error("{}: {}", path, errno_text());
  if (!S_ISREG(status.st_mode)) return Error("{} is no file", path);
  if (status.st_uid != 0 || (status.st_mode & 022) != 0)
    return Error("{} is not safe: only root may own and write it", path);
  std::string text(kLargestFile, 0);
  usize size = 0;
  for (;;) {
    const ssize_t count = ::read(fd.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}: {}", path, errno_text());
    if (count == 0) break;
    size += static_cast<usize>(count);
    if (size == text.size()) return Error("{} is larger than {} bytes", path, kLargestFile);
  }
  text.resize(size);
  return text;
}

}  // namespace rhea::sys
