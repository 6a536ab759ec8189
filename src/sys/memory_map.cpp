// SPDX-License-Identifier: MIT
#include "sys/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace rhea::sys {

void MemoryMap::unload(usize offset, usize size) { ::madvise(data_ + offset, size, MADV_DONTNEED); }

MemoryMap::~MemoryMap() {
  if (data_) ::munmap(data_, size_);
}

Result<Fd> create_memory_file(const std::string& name, u64 size, bool sealed) {
  Fd fd(::memfd_create(name.c_str(), sealed ? MFD_CLOEXEC | MFD_ALLOW_SEALING : MFD_CLOEXEC));
  if (!fd) return Error("memfd {}: {}", name, errno_text());
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    return Error("memory of {} bytes for {}: {}", size, name, errno_text());
  if (sealed && ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return Error("sealing memfd {}: {}", name, errno_text());
  return fd;
}

Result<Fd> open_memory_file(const std::string& path, u64 size) {
  struct stat status {};
  const bool folder = ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  Fd fd(::open(path.c_str(), folder ? O_TMPFILE | O_RDWR | O_CLOEXEC : O_CREAT | O_RDWR | O_CLOEXEC, 0644));
  if (!fd || ::fstat(fd.get(), &status) != 0)
    return Error("can't open backing store {} for guest RAM: {}", path, errno_text());
  if (!S_ISREG(status.st_mode)) return Error("backing store {} for guest RAM is no file", path);
  if (status.st_size == 0 && ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    return Error("backing store {} of {} bytes: {}", path, size, errno_text());
  if (status.st_size && static_cast<u64>(status.st_size) < size)
    return Error("backing store size {:#x} does not match 'size' option {:#x}", status.st_size, size);
  return fd;
}

Result<void> allocate_memory_file(int fd, u64 size) {
  if (const int error = ::posix_fallocate(fd, 0, static_cast<off_t>(size)))
    return Error("the host has no {} MiB for the guest's RAM: {}", size >> 20, errno_text(error));
  return {};
}

Result<u64> memory_file_size(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Error("memory: {}", errno_text());
  if (!S_ISREG(status.st_mode)) return Error("what is to be memory is no file");
  return static_cast<u64>(status.st_size);
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

Result<void> map_anonymous_twice(usize size, MemoryMap& write, MemoryMap& run) {
  void* first = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (first == MAP_FAILED) return Error("mapping {} bytes: {}", size, errno_text());
  write = MemoryMap(static_cast<u8*>(first), size);
  // mremap(2): of a shared mapping, an old size of 0 makes another one of the same pages.
  void* second = ::mremap(first, 0, size, MREMAP_MAYMOVE);
  if (second == MAP_FAILED) return Error("mapping {} bytes once more: {}", size, errno_text());
  run = MemoryMap(static_cast<u8*>(second), size);
  if (::mprotect(second, size, PROT_READ | PROT_EXEC) != 0) return Error("making code runnable: {}", errno_text());
  return {};
}

Result<MemoryMap> map_anonymous(usize size) {
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return Error("mapping {} bytes: {}", size, errno_text());
  return MemoryMap(static_cast<u8*>(data), size);
}

Result<MemoryMap> reserve(usize size) {
  void* data = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) return Error("reserving {} bytes of addresses: {}", size, errno_text());
  return MemoryMap(static_cast<u8*>(data), size);
}

bool place_anonymous(u8* at, usize size) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  return ::mmap(at, size, PROT_READ | PROT_WRITE, kFlags, -1, 0) != MAP_FAILED;
}

bool place_shared(u8* at, usize size, int fd, u64 offset, bool writable) {
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  constexpr int kFlags = MAP_SHARED | MAP_NORESERVE | MAP_FIXED | MAP_POPULATE;
  return ::mmap(at, size, protection, kFlags, fd, static_cast<off_t>(offset)) != MAP_FAILED;
}

bool place_nothing(u8* at, usize size) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
  return ::mmap(at, size, PROT_NONE, kFlags, -1, 0) != MAP_FAILED;
}

bool write_protect(u8* at, usize size) { return ::mprotect(at, size, PROT_READ) == 0; }

namespace {

// The kernel copies for us, and says so where it may not.
class Courier {
 public:
  Courier() {
    if (::pipe2(ends_, O_CLOEXEC) != 0) ends_[0] = ends_[1] = -1;
  }
  ~Courier() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  bool take(const u8* from) { return ::write(ends_[1], from, 1) == 1; }
  bool bring(u8* to) { return ::read(ends_[0], to, 1) == 1; }

 private:
  int ends_[2];
};

}  // namespace

bool can_read(const u8* at) { return Courier().take(at); }

bool can_write(u8* at) {
  Courier courier;
  return courier.take(at) && courier.bring(at);
}

namespace {
const char* g_lost_memory_text = "";

void lost_memory(int) {
  [[maybe_unused]] const auto said = ::write(STDERR_FILENO, g_lost_memory_text, std::strlen(g_lost_memory_text));
  ::_exit(1);
}
}  // namespace

void end_on_lost_memory(const char* text) {
  g_lost_memory_text = text;
  struct sigaction action {};
  action.sa_handler = lost_memory;
  ::sigaction(SIGBUS, &action, nullptr);
}

void discard(u8* data, usize size) { ::madvise(data, size, MADV_DONTNEED); }

}  // namespace rhea::sys
