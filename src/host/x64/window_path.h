// SPDX-License-Identifier: MIT
// What an access through a window does where it faults on the host: data behind a call of Stubs::window_path, which one
// function reads. Such accesses are in most blocks, several in each, and few of them ever fault: code for each would be
// the larger part of a translation, to be written and to be kept.
//
// The call keeps all registers and EFLAGS but for what is loaded, and goes on behind the access. Fields that depend on
// where code lies, or on the guest's addresses, are four bytes each and differ by what a copy of the code at another
// place differs by (accel/translator/code_copies.h).
#pragma once

#include "host/x64/compiler.h"
#include "ir/guest.h"
#include "util/types.h"

namespace rhea::x64 {

struct WindowPath {
  // Bits of `how` above the logarithm of the bytes.
  static constexpr u8 kLog = 7, kStore = 8, kVector = 16, kWide = 32;  // kWide: what is loaded goes to 64 bits
  static constexpr u8 kPointer = 64;    // the register has the window's pointer, not the guest's address
  static constexpr u8 kConstant = 128;  // what is stored follows: four bytes, sign-extended where kWide says so
  // Bits of `flags` above the guest's flags (ir::FlagBits) that EFLAGS have and the image has not.
  static constexpr u8 kCarryInverted = 16;
  static constexpr unsigned kClassShift = 5;  // FpClass that MXCSR is of: two bits
  static constexpr u8 kExclusive = 128;       // LoadExclusive, StoreExclusive

  s32 back = 0;  // from behind this field to where the code goes on
  u32 location_low = 0, location_high = 0;
  u32 displacement = 0;      // added to the register, or the address where there is none
  u8 address = 0, data = 0;  // registers by their numbers (data of kVector: xmm), address may be kNone
  u8 how = 0;
  u8 access = 0;  // MemFlag
  u8 flags = 0;
  u8 result = 0;  // register, of a StoreExclusive
  u16 ahead = 0;  // StateHeader::ahead
};
static_assert(sizeof(WindowPath) == 24);

// The bytes of one in code, with the constant that may follow.
u32 window_path_bytes(const u8* code);

// What the call has saved, on the host's stack.
struct WindowFrame {
  u64 gprs[16];
  u64 xmms[16][2];  // the first kXmmTemps
  u32 mxcsr;
  u32 unused[3];
  u64 rflags;
  const u8* path;  // where the call would return to: its WindowPath. Afterwards: where it does
};

// Makes the access. After a fault StateHeader::exception is 1 and MXCSR is of FpClass::ieee.
void follow_window_path(ir::StateHeader* state, WindowFrame* frame, const Runtime* runtime);

}  // namespace rhea::x64
