// SPDX-License-Identifier: MIT
#include "sys/process.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace rhea::sys {

namespace {

// Released when they go out of scope.
struct Actions {
  Actions() { posix_spawn_file_actions_init(&value); }
  ~Actions() { posix_spawn_file_actions_destroy(&value); }
  posix_spawn_file_actions_t value;
};
struct Attributes {
  Attributes() { posix_spawnattr_init(&value); }
  ~Attributes() { posix_spawnattr_destroy(&value); }
  posix_spawnattr_t value;
};

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& words, int stream) {
  Actions actions;
  for (int fd = 0; fd < 3; ++fd) posix_spawn_file_actions_adddup2(&actions.value, stream, fd);
  Attributes attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes.value, &none);
  posix_spawnattr_setsigdefault(&attributes.value, &all);
  posix_spawnattr_setflags(&attributes.value, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], &actions.value, &attributes.value, arguments.data(), environ);
  if (error) return Error("{}: {}", words[0], errno_text(error));
  Child child;
  child.pid_ = pid;
  child.pidfd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  return child;
}

void Child::reap() {
  if (pid_) waitpid(pid_, nullptr, pidfd_ ? 0 : WNOHANG);
  pid_ = 0;
}

Result<PrivateFolder> PrivateFolder::make(const std::string& name_start) {
  const char* place = getenv("TMPDIR");
  std::string path = std::string(place && *place ? place : "/tmp") + "/" + name_start + ".XXXXXX";
  if (!mkdtemp(path.data())) return Error("could not make a folder '{}': {}", path, errno_text());
  return PrivateFolder(std::move(path));
}

PrivateFolder::~PrivateFolder() {
  if (path_.empty()) return;
  std::error_code ignored;  // at the end of the process nobody could help
  std::filesystem::remove_all(path_, ignored);
}

bool is_executable(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

int check_folder(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status)) return errno;
  if (!S_ISDIR(status.st_mode)) return ENOTDIR;
  return access(path.c_str(), R_OK | X_OK) ? errno : 0;
}

std::string user_name() {
  const passwd* entry = getpwuid(geteuid());
  return entry ? entry->pw_name : std::to_string(geteuid());
}

}  // namespace rhea::sys
