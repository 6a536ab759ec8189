// SPDX-License-Identifier: MIT
// Helpers for devices: a handler in front of a register table, and accesses of any width cut into 32-bit words.
#pragma once

#include <algorithm>

#include "memory/address_space.h"
#include "memory/register_map.h"
#include "util/bits.h"

namespace rhea::devices {

// The register table of a device as a window.
class RegisterWindow : public memory::MmioHandler {
 public:
  explicit RegisterWindow(memory::RegisterFile& registers) : registers_(registers) {}

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes& attributes) override {
    if (attributes.debug)  // no hook is called: reading may change the device
      return {registers_.has(static_cast<u32>(offset)) ? registers_[static_cast<u32>(offset)] : 0};
    if (size < 8) return {registers_.read(offset, size)};
    const u64 low = registers_.read(offset, 4);
    return {low | u64{registers_.read(offset + 4, 4)} << 32};
  }
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override {
    registers_.write(offset, static_cast<u32>(value), std::min(size, 4u));
    if (size == 8) registers_.write(offset + 4, static_cast<u32>(value >> 32), 4);
    return true;
  }

 private:
  memory::RegisterFile& registers_;
};

// For chips whose registers are banked or computed: `Read` is u32(cpu attributes, aligned offset) and `Write` is
// void(attributes, aligned offset, value, mask of the bytes written).
template <typename Read>
memory::ReadResult read_words(u64 offset, unsigned size, const Read& read) {
  if (size == 8) return {u64{read(static_cast<u32>(offset))} | u64{read(static_cast<u32>(offset + 4))} << 32};
  const u32 word = read(static_cast<u32>(offset & ~u64{3}));
  const unsigned shift = static_cast<unsigned>(offset & 3) * 8;
  const u64 mask = (u64{1} << (size * 8)) - 1;
  return {(word >> shift) & mask};
}

template <typename Write>
bool write_words(u64 offset, u64 value, unsigned size, const Write& write) {
  if (size == 8) {
    write(static_cast<u32>(offset), static_cast<u32>(value), ~0u);
    write(static_cast<u32>(offset + 4), static_cast<u32>(value >> 32), ~0u);
    return true;
  }
  const unsigned shift = static_cast<unsigned>(offset & 3) * 8;
  const u64 mask = ((u64{1} << (size * 8)) - 1) << shift;
  write(static_cast<u32>(offset & ~u64{3}), static_cast<u32>(value << shift & mask), static_cast<u32>(mask));
  return true;
}

}  // namespace rhea::devices
