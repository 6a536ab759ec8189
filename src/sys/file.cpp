// SPDX-License-Identifier: MIT
#include "sys/file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

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

Result<void> write_file(const std::string& path, const std::vector<u8>& data) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) return Error("{}", errno_text());
  usize done = 0;
  while (done < data.size()) {
    const ssize_t count = ::write(fd.get(), data.data() + done, data.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}", errno_text());
    done += count;
  }
  return {};
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
