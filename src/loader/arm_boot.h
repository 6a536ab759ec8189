// SPDX-License-Identifier: MIT
// Code and lists with which a 32-bit ARM board starts Linux (Documentation/arm/booting): the stub at the start of
// RAM, the parking code of the other CPUs, the ATAG list.
#pragma once

#include <string>
#include <vector>

#include "util/types.h"

namespace rhea::loader {

// r0 = 0, r1 = machine id, r2 = `parameters` (ATAGs or a device tree), then `entry`.
std::vector<u8> boot_stub(u32 machine_id, u32 parameters, u32 entry);

// The other CPUs: enable the interrupt interface of their MPCore, sleep until interrupted, go where the flags
// register says as soon as that is not zero.
std::vector<u8> secondary_stub(u32 gic_cpu_interface, u32 flags_register);

struct AtagParameters {
  u64 ram_base = 0, ram_size = 0;
  u64 initrd_base = 0, initrd_size = 0;  // size 0: none
  std::string command_line;
};
std::vector<u8> atags(const AtagParameters& parameters);

// Where the initrd goes: base + half of RAM, at most 128 MiB above the base.
u64 initrd_address(u64 ram_base, u64 ram_size);

}  // namespace rhea::loader
