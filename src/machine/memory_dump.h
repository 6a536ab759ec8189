// SPDX-License-Identifier: MIT
// The guest's memory and the registers of its CPUs as an ELF core file, for gdb and crash.
#pragma once

#include <optional>

#include "machine/machine.h"
#include "sys/stream.h"

namespace rhea::machine {

struct DumpRequest {
  struct Part {
    u64 begin, length;
  };
  std::optional<Part> part;           // physical addresses; nothing: all RAM
  std::optional<unsigned> by_tables;  // segments lie where this CPU's tables map RAM; nothing: at physical addresses
};

// On the loop, under its lock; the machine stands meanwhile. Returns how many bytes of memory were written. Errors: no
// RAM in the part, more segments than a core file can have, what the host says.
Result<u64> dump_memory(Machine& machine, const DumpRequest& request, sys::Output& output);

}  // namespace rhea::machine
