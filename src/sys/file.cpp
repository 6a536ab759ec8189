// SPDX-License-Identifier: MIT
#include "sys/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "sys/fd.h"

namespace rhea::sys {

Result<std::vector<u8>> read_file(const std::string& path, u64 limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return Error("{}", errno_text());
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Error("{}", errno_text());
  if (S_ISDIR(status.st_mode)) return Error("Is a directory");
  std::vector<u8> data;
  data.reserve(status.st_size > 0 ? std::min<u64>(status.st_size, limit) : 0);
  for (;;) {
    const usize old = data.size();
    const usize step = std::max<usize>(usize{1} << 16, data.capacity() - old);
    data.resize(old + step);
    const ssize_t count = ::read(fd.get(), data.data() + old, step);
    data.resize(old + (count > 0 ? count : 0));
    if (count < 0 && errno != EINTR) return Error("{}", errno_text());
    if (count == 0) return data;
    if (data.size() > limit) return Error("it is larger than {} bytes", limit);
  }
}

namespace {

Result<void> write_all(const Fd& fd, std::span<const u8> data) {
  while (!data.empty()) {
    const ssize_t count = ::write(fd.get(), data.data(), data.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}", errno_text());
    data = data.subspan(static_cast<usize>(count));
  }
  return {};
}

}  // namespace

Result<void> write_file(const std::string& path, const std::vector<u8>& data) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) return Error("{}", errno_text());
  return write_all(fd, data);
}

Result<void> replace_file(const std::string& path, std::span<const std::span<const u8>> pieces) {
  std::string name = path + ".XXXXXX";
  const Fd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) return Error("{}: {}", name, errno_text());
  Result<void> written;
  for (usize i = 0; i < pieces.size() && written.ok(); i++) written = write_all(fd, pieces[i]);
  if (written.ok() && ::rename(name.c_str(), path.c_str()) != 0) written = Error("{}: {}", path, errno_text());
  if (!written.ok()) ::unlink(name.c_str());
  return written;
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

void prune_files(const std::string& folder, const std::string& prefix, usize keep) {
  namespace fs = std::filesystem;
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!at->path().filename().string().starts_with(prefix)) continue;
    const fs::file_time_type changed = fs::last_write_time(at->path(), error);
    if (!error) files.emplace_back(changed, at->path());
    error.clear();
  }
  std::sort(files.rbegin(), files.rend());
  for (usize i = keep; i < files.size(); i++) fs::remove(files[i].second, error);
}

Result<std::shared_ptr<InputFile>> InputFile::open(const std::string& path) {
  auto file = std::make_shared<InputFile>();
  file->fd_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!file->fd_) return Error("{}", errno_text());
  struct stat status {};
  if (::fstat(file->fd_.get(), &status) != 0) return Error("{}", errno_text());
  if (S_ISDIR(status.st_mode)) return Error("Is a directory");
  if (!S_ISREG(status.st_mode)) return Error("Not a regular file");
  file->size_ = static_cast<u64>(status.st_size);
  file->path_ = path;
  return file;
}

std::shared_ptr<InputFile> open_beneath(const std::string& folder, const std::string& name, int& error) {
  const auto failed = [&](int number) {
    error = number;
    return nullptr;
  };
  const Fd root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root) return failed(errno);
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, root.get(), name.c_str(), &how, sizeof how)));
  if (!fd) return failed(errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return failed(errno);
  if (!S_ISREG(status.st_mode)) return failed(S_ISDIR(status.st_mode) ? EISDIR : EACCES);
  auto file = std::make_shared<InputFile>();
  file->fd_ = std::move(fd);
  file->size_ = static_cast<u64>(status.st_size);
  file->path_ = name;
  error = 0;
  return file;
}

Result<void> InputFile::read_at(u64 offset, std::span<u8> data) const {
  while (!data.empty()) {
    const ssize_t count = ::pread(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}: {}", path_, errno_text());
    if (count == 0) return Error("{}: it ends at byte {}", path_, offset);
    offset += static_cast<u64>(count);
    data = data.subspan(static_cast<usize>(count));
  }
  return {};
}

}  // namespace rhea::sys
