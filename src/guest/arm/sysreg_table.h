// SPDX-License-Identifier: MIT
// The table of system registers: sysregs.inc compiled, with its hooks.
#pragma once

#include <span>
#include <string_view>

#include "guest/arm/state.h"

namespace rhea::arm {

enum SysRegAccess : u8 {
  kReadPrivileged = 1,
  kWritePrivileged = 2,
  kReadAny = 4,
  kWriteAny = 8,
  kSecureOnly = 16,   // not in Non-secure state
  kSecureWrite = 32,  // written in Secure state alone
  kRO = kReadPrivileged,
  kWO = kWritePrivileged,
  kRW = kReadPrivileged | kWritePrivileged,
  kUserRO = kReadAny | kReadPrivileged,
  kUserWO = kWriteAny | kWritePrivileged,
  kUserRW = kUserRO | kUserWO,
};

enum SysRegFlag : u8 {
  kEndsBlock = 1,    // a write ends the block (translation of addresses may change)
  kChangesMode = 2,  // a write may change the mode word
  kUserEnabled = 4,  // User mode may access it when PMUSERENR.EN is set
  kBarrierIsb = 8,
  kBarrierDsb = 16,
  kBarrierDmb = 32,  // CP15 forms of the barriers
};

// kAny as a part of a register's number: whatever it is.
constexpr u8 kAny = 0xff;

struct SysRegKey {
  u8 cp, crn, op1, crm, op2;
};

struct SysReg {
  SysRegKey key;
  std::string_view name;
  u8 access;
  u32 offset[2];  // in State: Secure, Non-secure; 0: not stored
  u32 mask;       // bits that a write changes
  u32 reset;
  u32 (*read)(Cpu& cpu);
  void (*write)(Cpu& cpu, u32 value);  // instead of the store
  u8 flags;
  constexpr bool stored() const { return offset[0] != 0; }
};

std::span<const SysReg> sysregs();
const SysReg* find_sysreg(const SysRegKey& key);
u32 sysreg_index(const SysReg& reg);

}  // namespace rhea::arm
