// SPDX-License-Identifier: MIT
// RAM of the guest: blocks of host memory (one memfd each, mapped shared) with a flag byte for each 4 KiB page.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "sys/fd.h"
#include "sys/memory_map.h"
#include "util/result.h"
#include "util/types.h"
#include "util/zeroed_array.h"

namespace rhea::memory {

constexpr unsigned kPageBits = 12;
constexpr u64 kPageSize = u64{1} << kPageBits;

enum PageFlag : u8 {
  kPageHasCode = 1,     // translated code depends on this page: stores must be announced
  kPageMaybeMapped = 2  // a CPU's write table may hold an entry for it (used by accel alone)
};

class RamBlock {
 public:
  // `size` is a multiple of the page size. The memory reads as zero and takes host memory as it is touched.
  static Result<std::unique_ptr<RamBlock>> create(std::string name, u64 size);
  // Pages [offset, offset + size) of a file that others may have too. Errors: what the host says; a file that is too
  // short.
  static Result<std::unique_ptr<RamBlock>> adopt(std::string name, sys::Fd file, u64 offset, u64 size);
  ~RamBlock();
  RamBlock(const RamBlock&) = delete;
  RamBlock& operator=(const RamBlock&) = delete;

  const std::string& name() const { return name_; }
  u8* data() const { return map_.data(); }
  u64 size() const { return map_.size(); }
  int fd() const { return fd_.get(); }
  std::atomic<u8>& page_flags(u64 offset) { return flags_[offset >> kPageBits]; }
  // Number of this block's first page among all RAM of its address space's owner (set by the machine): with it
  // a physical page has a small dense index.
  u32 first_page_index = 0;

 private:
  RamBlock(std::string name, sys::Fd fd, sys::MemoryMap map);
  std::string name_;
  sys::Fd fd_;
  sys::MemoryMap map_;
  ZeroedArray<std::atomic<u8>> flags_;
};

}  // namespace rhea::memory
