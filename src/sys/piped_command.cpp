// SPDX-License-Identifier: MIT
#include "sys/piped_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "sys/signals.h"

extern char** environ;

namespace rhea::sys {

Result<PipedCommand> PipedCommand::start(const std::string& command, bool writing) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error("no pipe: {}", errno_text());
  Fd ours(ends[writing ? 1 : 0]), theirs(ends[writing ? 0 : 1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), writing ? STDIN_FILENO : STDOUT_FILENO);
  // Signals are as in a fresh process: ours are blocked or ignored.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::array<char*, 4> arguments = {const_cast<char*>("sh"), const_cast<char*>("-c"),
                                    const_cast<char*>(command.c_str()), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) return Error("cannot run '{}': {}", command, errno_text(error));
  return PipedCommand(std::move(ours), pid);
}

PipedCommand::~PipedCommand() {
  fd_.reset();
  if (pid_) ::waitpid(pid_, nullptr, WNOHANG);
}

Result<void> PipedCommand::finish() {
  constexpr int kLookAround = 100;  // ms between looks at the signals
  fd_.reset();
  int status = 0;
  const int pid = std::exchange(pid_, 0);
  const Fd child(pid ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1);
  pollfd waiting{.fd = child.get(), .events = POLLIN, .revents = 0};
  while (child && ::poll(&waiting, 1, kLookAround) == 0) {
    if (ending_signal_pending()) return Error("it has not ended, and a signal ends the program");
  }
  while (pid && ::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return Error("its end was missed: {}", errno_text());
  }
  if (WIFSIGNALED(status)) return Error("it was ended by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status)) return Error("it exited with status {}", WEXITSTATUS(status));
  return {};
}

int sync_file(int fd) { return ::fdatasync(fd) == 0 ? 0 : errno; }

}  // namespace rhea::sys
