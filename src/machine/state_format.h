// SPDX-License-Identifier: MIT
// Numbers of the state stream (state.h), for who writes and who reads it.
#pragma once

#include <string>
#include <vector>

#include "core/snapshot.h"
#include "machine/machine.h"

namespace rhea::machine {

constexpr u64 kStateMagic = 0x31455441'54534852;  // "RHSTATE1"
constexpr u32 kStateVersion = 1;
constexpr u32 kMaxSection = u32{1} << 28;  // bytes of content

enum class Section : u32 { machine = 1, clock, ram, device, cpu, end, info };
enum class PageKind : u32 { zero, raw, deflated };

// At the start of a ram section.
struct RamHead {
  u32 block;   // its number
  u32 kind;    // PageKind
  u64 offset;  // of the first page
  u32 bytes;   // of guest memory: a multiple of the page size, at most kRunBytes unless zero
  u32 reserved;
};
static_assert(sizeof(RamHead) == 24);
constexpr u32 kRunBytes = u32{1} << 20;

// What both sides must have alike. As fields, so that it can grow.
struct MachineShape {
  std::string board, cpu;
  u32 cpus = 0;
  u8 counted = 0;  // icount
  u32 shift = 0;
  std::vector<std::pair<std::string, u64>> ram;  // name, bytes
  std::vector<std::string> devices;              // types, in order

  void fields(Visitor& visitor);
  static MachineShape of(Machine& machine);
  // Nothing, or what differs: "it has 4 CPUs, this machine has 1".
  std::string difference(const MachineShape& here) const;
};

std::vector<memory::RamBlock*> ram_blocks(Machine& machine);

}  // namespace rhea::machine
