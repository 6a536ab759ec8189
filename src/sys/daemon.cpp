// SPDX-License-Identifier: MIT
#include "sys/daemon.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "util/text.h"

namespace rhea::sys {

std::optional<int> Daemon::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return 1;
  Fd reading(ends[0]);
  pipe_ = Fd(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return 1;
  if (child > 0) {
    pipe_.reset();
    u8 status = 1;
    ssize_t count;
    do count = ::read(reading.get(), &status, 1);
    while (count < 0 && errno == EINTR);
    return count == 1 && status == 0 ? 0 : 1;
  }
  ::setsid();
  const pid_t grandchild = ::fork();  // so that it never gets a terminal
  if (grandchild != 0) ::_exit(grandchild < 0 ? 1 : 0);
  ::umask(027);
  return std::nullopt;
}

void Daemon::ready() {
  if (!pipe_) return;
  const int null = ::open("/dev/null", O_RDWR);
  if (null >= 0) {
    for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
    if (null > 2) ::close(null);
  }
  if (::chdir("/") != 0) return;
  const u8 status = 0;
  if (::write(pipe_.get(), &status, 1) == 1) pipe_.reset();
}

PidFile::~PidFile() {
  if (fd_ && !path_.empty()) ::unlink(path_.c_str());
}

Result<void> PidFile::create(const std::string& path) {
  for (;;) {
    Fd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (!fd) return Error("cannot create PID file: Cannot open pid file: {}", errno_text());
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(fd.get(), F_SETLK, &lock) != 0)
      return Error("cannot create PID file: Cannot lock pid file: {}", errno_text());
    struct stat ours {
    }, there{};
    // Somebody may have removed it between open and lock.
    if (::fstat(fd.get(), &ours) != 0 || ::stat(path.c_str(), &there) != 0 || ours.st_ino != there.st_ino) continue;
    const std::string text = std::to_string(::getpid()) + "\n";
    if (::ftruncate(fd.get(), 0) != 0 ||
        ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return Error("cannot create PID file: Failed to write pid file: {}", errno_text());
    fd_ = std::move(fd);
    char* whole = ::realpath(path.c_str(), nullptr);  // the folder may change
    path_ = whole ? whole : path;
    std::free(whole);
    return {};
  }
}

Result<void> change_root(const std::string& path) {
  if (::chroot(path.c_str()) != 0) return Error("chroot failed: {}", errno_text());
  if (::chdir("/") != 0) return Error("not able to chdir to /: {}", errno_text());
  return {};
}

Result<void> change_user(const std::string& user) {
  uid_t uid;
  gid_t gid;
  const passwd* entry = ::getpwnam(user.c_str());
  if (entry) {
    uid = entry->pw_uid;
    gid = entry->pw_gid;
  } else {
    const usize colon = user.find(':');
    const u64 first = parse_number(user.substr(0, colon)).value_or(UINT_MAX);
    const u64 second = colon == user.npos ? UINT_MAX : parse_number(user.substr(colon + 1)).value_or(UINT_MAX);
    if (first >= UINT_MAX || second >= UINT_MAX)
      return Error("User \"{}\" doesn't exist (and is not <uid>:<gid>)", user);
    uid = static_cast<uid_t>(first);
    gid = static_cast<gid_t>(second);
  }
  if (::setgid(gid) != 0) return Error("Failed to setgid({}): {}", gid, errno_text());
  if ((entry ? ::initgroups(user.c_str(), gid) : ::setgroups(1, &gid)) != 0)
    return Error("Failed to set the groups of {}: {}", user, errno_text());
  if (::setuid(uid) != 0) return Error("Failed to setuid({}): {}", uid, errno_text());
  if (uid != 0 && ::setuid(0) != -1) return Error("Dropping privileges failed");
  return {};
}

}  // namespace rhea::sys
