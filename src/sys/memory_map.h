// SPDX-License-Identifier: MIT
// Mappings of host memory.
#pragma once

#include <string>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

// An owned mapping.
class MemoryMap {
 public:
  MemoryMap() = default;
  MemoryMap(u8* data, usize size) : data_(data), size_(size) {}
  MemoryMap(MemoryMap&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MemoryMap& operator=(MemoryMap&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MemoryMap();

  u8* data() const { return data_; }
  usize size() const { return size_; }
  explicit operator bool() const { return data_ != nullptr; }
  // A shared mapping's pages from `offset` on do not count as this mapping's any more until they are touched again.
  // What they hold stays.
  void unload(usize offset, usize size);

 private:
  u8* data_ = nullptr;
  usize size_ = 0;
};

enum class Protection : u8 { none, read, read_write, read_execute };

// A memory file of a size (memfd), for sharing mappings.
// `sealed`: nobody can make it shorter or longer.
Result<Fd> create_memory_file(const std::string& name, u64 size, bool sealed = false);
// A file of a file system as memory, made if it is not there and made `size` bytes long if it is empty; of a folder one
// without a name. Errors: "can't open backing store ...", one that is shorter.
Result<Fd> open_memory_file(const std::string& path, u64 size);
// The host's memory or disk is there for all of it from now on. Errors: it has not so much.
Result<void> allocate_memory_file(int fd, u64 size);
// Of a memory file, or a file of a file system. Errors: what the host says; it is another kind of file.
Result<u64> memory_file_size(int fd);
// A shared mapping of a memory file. `hint`: where it should lie, if that is free.
Result<MemoryMap> map_shared(int fd, u64 offset, usize size, Protection protection, void* hint = nullptr);
// Memory without a file that is mapped twice, to be written and to be run. To perf it looks like a just-in-time
// compiler's, whose names it takes from the map file.
Result<void> map_anonymous_twice(usize size, MemoryMap& write, MemoryMap& run);
// Private zeroed memory that costs nothing until touched (no swap reserved).
Result<MemoryMap> map_anonymous(usize size);
// Addresses and nothing behind them: every access faults.
Result<MemoryMap> reserve(usize size);
// Within a mapping of one's own: private zeroed memory; pages of a memory file, there at once; nothing
// again. False: the host refuses (too many mappings), and what was there may be gone or not.
bool place_anonymous(u8* at, usize size);
bool place_shared(u8* at, usize size, int fd, u64 offset, bool writable);
bool place_nothing(u8* at, usize size);
// Stores to [at, at+size) fault from now on.
bool write_protect(u8* at, usize size);
// Whether a byte could be read or written now, without a fault where it cannot.
bool can_read(const u8* at);
bool can_write(u8* at);
// From now on the process ends, with status 1 and the text on standard error, where a mapping is touched whose file has
// been cut short by others. `text` lives as long as the process.
void end_on_lost_memory(const char* text);
// Gives the pages of [data, data+size) back: they read as zero again. Private mappings.
void discard(u8* data, usize size);

}  // namespace rhea::sys
