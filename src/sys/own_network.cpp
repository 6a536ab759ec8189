// SPDX-License-Identifier: MIT
#include "sys/own_network.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "sys/claim.h"

namespace rhea::sys {

namespace {

Result<void> write_text(const char* path, const std::string& text) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Error("{}: {}", path, errno_text());
  return {};
}

Result<void> enter_user_namespace() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWUSER) != 0)
    return Error("a user namespace: {}", errno_text())
        .with_hint("This host allows none (kernel.unprivileged_userns_clone, user.max_user_namespaces, AppArmor).");
  RHEA_TRY(write_text("/proc/self/setgroups", "deny"));
  RHEA_TRY(write_text("/proc/self/uid_map", fmt::format("0 {} 1", user)));
  return write_text("/proc/self/gid_map", fmt::format("0 {} 1", group));
}

}  // namespace

Result<void> enter_own_network() {
  // Root has the right already, unless it is a root without rights.
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
    RHEA_TRY(enter_user_namespace());
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return Error("a network namespace: {}", errno_text());
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return Error("a mount namespace: {}", errno_text());
  return {};
}

Result<void> cover_file(const std::string& path, const std::string& text) {
  const std::string cover = RHEA_TRY(runtime_folder()) + fmt::format("/cover-{}", ::getpid());
  Fd fd(::open(cover.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fchmod(fd.get(), 0644) != 0)
    return Error("{}: {}", cover, errno_text());
  const bool covered = ::mount(cover.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0;
  const int error = errno;
  ::unlink(cover.c_str());
  if (!covered) return Error("{}: {}", path, errno_text(error));
  return {};
}

Error become_program(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execvp(arguments[0], arguments.data());
  return Error("{}: {}", words[0], errno_text());
}

Result<Fork> Fork::start(const std::function<int()>& body) {
  Fork child;
  child.pid_ = ::fork();
  if (child.pid_ < 0) return Error("a process: {}", errno_text());
  if (child.pid_ == 0) ::_exit(body());
  child.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0)));
  if (!child.pidfd_) return Error("a process: {}", errno_text());
  return child;
}

int Fork::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0)
    if (errno != EINTR) return 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ignore_terminal_signals() {
  for (const int number : {SIGINT, SIGQUIT}) ::signal(number, SIG_IGN);
}

void default_terminal_signals() {
  for (const int number : {SIGINT, SIGQUIT}) ::signal(number, SIG_DFL);
}

}  // namespace rhea::sys
