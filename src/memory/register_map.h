// SPDX-License-Identifier: MIT
// A device's registers as one table: access splitting, reset, trace, save and restore all read it.
//
//   struct Pl031 : ... {
//     u32 read_dr();  void write_lr(u32 value);
//     RegisterFile registers_;
//   };
//   constexpr Register kRegisters[] = {
//       // offset name    reset  writable    hooks                                      manual: DDI 0224 3.2
//       {0x000, "RTCDR",  0,     0,          hook<Pl031, &Pl031::read_dr>(),   nullptr},
//       {0x008, "RTCLR",  0,     ~0u,        nullptr, hook<Pl031, &Pl031::write_lr>()},
//   };
//
// A plain register is stored in the file: a write changes the bits of its writable mask. A read hook gives the
// value instead; a write hook is called after the store (with the new value of the register; the writable mask
// has been applied, so a register that only triggers has mask 0 and reads the written bits from `written`).
// Registers are 32 bits wide, little endian; narrower accesses are split and merged here.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "core/snapshot.h"
#include "memory/address_space.h"
#include "util/log.h"
#include "util/types.h"

namespace rhea::memory {

using ReadHook = u32 (*)(void* device);
using WriteHook = void (*)(void* device, u32 written);

struct Register {
  u32 offset;
  std::string_view name;
  u32 reset;
  u32 writable;
  ReadHook read = nullptr;
  WriteHook write = nullptr;
  u32 clear_on_one = 0;  // bits that a written one clears
};

template <typename Device, auto Method>
constexpr auto hook() {
  if constexpr (requires(Device & d) {
                  { (d.*Method)() } -> std::convertible_to<u32>;
                }) {
    return +[](void* device) -> u32 { return (static_cast<Device*>(device)->*Method)(); };
  } else {
    return +[](void* device, u32 written) { (static_cast<Device*>(device)->*Method)(written); };
  }
}

// The values of a table's registers, and access to them.
class RegisterFile {
 public:
  // `owner` is what the hooks are called with; `name` is used in traces and messages. The table must outlive it.
  RegisterFile(std::span<const Register> table, void* owner, std::string name, Log& log);

  void reset();
  // An access of 1, 2 or 4 bytes within one register. Not in the table: logged as a guest error, reads 0.
  u32 read(u64 offset, unsigned size);
  void write(u64 offset, u32 value, unsigned size);
  // The stored value, by offset (must be in the table).
  u32& operator[](u32 offset);
  u32 operator[](u32 offset) const;
  bool has(u32 offset) const { return index_of(offset) >= 0; }
  void fields(Visitor& visitor);

 private:
  int index_of(u64 offset) const;
  std::span<const Register> table_;
  void* owner_;
  std::string name_;
  Log& log_;
  std::vector<s16> index_;  // by offset/4
  std::vector<u32> values_;
};

}  // namespace rhea::memory
