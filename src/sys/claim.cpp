// SPDX-License-Identifier: MIT
#include "sys/claim.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>

#include "util/text.h"

namespace rhea::sys {

namespace {

bool is_own_folder(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == ::geteuid() &&
         (status.st_mode & 022) == 0;
}

Result<std::string> own_folder(std::string path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Error("{}: {}", path, errno_text());
  if (!is_own_folder(path)) return Error("{} is not a folder that only this user may write to", path);
  return path;
}

}  // namespace

Result<std::string> runtime_folder() {
  const char* given = std::getenv("XDG_RUNTIME_DIR");
  const std::string of_user = fmt::format("/run/user/{}", ::geteuid());
  std::string path;
  if (given && *given == '/' && is_own_folder(given)) path = std::string(given) + "/rhea";
  else if (is_own_folder(of_user)) path = of_user + "/rhea";
  else path = fmt::format("/tmp/rhea-{}", ::geteuid());
  return own_folder(path);
}

Result<std::string> runtime_folder(const std::string& below) {
  return own_folder(RHEA_TRY(runtime_folder()) + "/" + below);
}

Result<std::string> state_folder(const std::string& below) {
  if (::geteuid() != 0) return runtime_folder(below);
  const std::string path = "/run/rhea", folder = path + "/" + below;
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return runtime_folder(below);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return Error("{}: {}", folder, errno_text());
  if (!is_own_folder(path) || !is_own_folder(folder))
    return Error("{} is not a folder that only this user may write to", folder);
  return folder;
}

Result<std::string> cache_folder() {
  const char* given = std::getenv("XDG_CACHE_HOME");
  if (given && *given == '/') return own_folder(std::string(given) + "/rhea");
  const char* home = std::getenv("HOME");
  if (!home || *home != '/') return Error("neither XDG_CACHE_HOME nor HOME names a folder");
  const std::string caches = std::string(home) + "/.cache";
  ::mkdir(caches.c_str(), 0700);
  return own_folder(caches + "/rhea");
}

Result<Fd> claim(const std::string& name) { return claim_file(RHEA_TRY(runtime_folder()) + "/" + name); }

Result<Fd> claim_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error("{}: {}", path, errno_text());
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0) return fd;
  if (errno == EAGAIN || errno == EACCES) return Fd();
  return Error("{}: {}", path, errno_text());
}

std::optional<std::string> claim_text(const std::string& name) {
  auto folder = runtime_folder();
  if (!folder.ok()) return std::nullopt;
  const Fd fd(::open((*folder + "/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return std::nullopt;
  std::array<char, 256> text;
  const ssize_t count = ::read(fd.get(), text.data(), text.size());
  return std::string(text.data(), static_cast<usize>(std::max<ssize_t>(count, 0)));
}

void set_claim_text(const Fd& claim, const std::string& text) {
  // A text that could not be kept is one that is forgotten.
  if (::ftruncate(claim.get(), 0) != 0 || ::pwrite(claim.get(), text.data(), text.size(), 0) < 0) return;
}

Result<void> append_claim_text(const Fd& claim, const std::string& text) {
  const off_t end = ::lseek(claim.get(), 0, SEEK_END);
  const ssize_t count = ::pwrite(claim.get(), text.data(), text.size(), end);
  if (count != static_cast<ssize_t>(text.size())) return Error("writing what is about to be done: {}", errno_text());
  return {};
}

std::string machine_identity() {
  std::string text;
  std::ifstream file("/etc/machine-id");
  if (std::getline(file, text) && !text.empty()) return text;
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string();
}

unsigned user_id() { return ::geteuid(); }

std::optional<unsigned> user_number(const std::string& name) {
  if (const passwd* entry = ::getpwnam(name.c_str())) return entry->pw_uid;
  const auto number = parse_number(name);
  if (!number || *number >= UINT_MAX) return std::nullopt;
  return static_cast<unsigned>(*number);
}

void remove_file(const std::string& path) { ::unlink(path.c_str()); }

int process_id() { return ::getpid(); }

}  // namespace rhea::sys
