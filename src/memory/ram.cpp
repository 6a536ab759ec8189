// SPDX-License-Identifier: MIT
#include "memory/ram.h"

#include "sys/memory_map.h"

namespace rhea::memory {

Result<std::unique_ptr<RamBlock>> RamBlock::create(std::string name, u64 size) {
  sys::Fd fd = RHEA_TRY(sys::create_memory_file(name, size));
  sys::MemoryMap map = RHEA_TRY(sys::map_shared(fd.get(), 0, size, sys::Protection::read_write));
  return std::unique_ptr<RamBlock>(new RamBlock(std::move(name), std::move(fd), std::move(map)));
}

Result<std::unique_ptr<RamBlock>> RamBlock::adopt(std::string name, sys::Fd file, u64 offset, u64 size) {
  const u64 there = RHEA_TRY(sys::memory_file_size(file.get()));
  if (offset > there || size > there - offset)
    return Error("{}: a file of {} bytes where {} are to be used from {} on", name, there, size, offset);
  sys::MemoryMap map = RHEA_TRY(sys::map_shared(file.get(), offset, size, sys::Protection::read_write));
  return std::unique_ptr<RamBlock>(new RamBlock(std::move(name), std::move(file), std::move(map)));
}

RamBlock::RamBlock(std::string name, sys::Fd fd, sys::MemoryMap map)
    : name_(std::move(name)), fd_(std::move(fd)), map_(std::move(map)), flags_(map_.size() >> kPageBits) {}

RamBlock::~RamBlock() = default;

}  // namespace rhea::memory
