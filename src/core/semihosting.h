// SPDX-License-Identifier: MIT
// Calls of a guest to the host it is debugged from (Arm semihosting). A CPU hands them on; what they do is decided
// elsewhere.
#pragma once

#include <span>

#include "util/types.h"

namespace rhea {

// The memory of the CPU that calls. False: an address that does not translate.
class SemihostingMemory {
 public:
  virtual ~SemihostingMemory() = default;
  virtual bool read(u32 address, std::span<u8> data) = 0;
  virtual bool write(u32 address, std::span<const u8> data) = 0;
};

class Semihosting {
 public:
  struct Answer {
    u32 value = 0;
    bool again = false;  // not now: the CPU is to make the same call again
  };
  virtual ~Semihosting() = default;
  // On the CPU's thread.
  virtual Answer call(u32 operation, u32 parameter, SemihostingMemory& memory) = 0;
};

}  // namespace rhea
