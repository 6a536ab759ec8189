// SPDX-License-Identifier: MIT
#include "sys/memory_map.h"

#include <sys/mman.h>
#include <unistd.h>

namespace rhea::sys {

void MemoryMap::unload(usize offset, usize size) { ::madvise(data_ + offset, size, MADV_DONTNEED); }

MemoryMap::~MemoryMap() {
  if (data_) ::munmap(data_, size_);
}

Result<Fd> create_memory_file(const std::string& name, u64 size) {
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!fd) return Error("memfd {}: {}", name, errno_text());
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    return Error("memory of {} bytes for {}: {}", size, name, errno_text());
  return fd;
}

Result<MemoryMap> map_shared(int fd, u64 offset, usize size, Protection protection, void* hint) {
  int flags = PROT_NONE;
  if (protection != Protection::none) flags = PROT_READ;
  if (protection == Protection::read_write) flags |= PROT_WRITE;
  if (protection == Protection::read_execute) flags |= PROT_EXEC;
  void* data = ::mmap(hint, size, flags, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return Error("mapping {} bytes: {}", size, errno_text());
  return MemoryMap(static_cast<u8*>(data), size);
}

Result<MemoryMap> map_anonymous(usize size) {
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return Error("mapping {} bytes: {}", size, errno_text());
  return MemoryMap(static_cast<u8*>(data), size);
}

void discard(u8* data, usize size) { ::madvise(data, size, MADV_DONTNEED); }

}  // namespace rhea::sys
