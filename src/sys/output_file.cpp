// SPDX-License-Identifier: MIT
#include "sys/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace rhea::sys {

Result<std::unique_ptr<OutputFile>> OutputFile::create(const std::string& path) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666));
  if (!fd) return Error("{}", errno_text());
  return std::make_unique<OutputFile>(std::move(fd));
}

Result<void> OutputFile::write_at(u64 offset, std::span<const u8> data) {
  while (!data.empty()) {
    const ssize_t count = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Error("{}", errno_text());
    offset += static_cast<u64>(count);
    data = data.subspan(static_cast<usize>(count));
  }
  return {};
}

}  // namespace rhea::sys
