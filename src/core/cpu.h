// SPDX-License-Identifier: MIT
// A virtual CPU as the monitor and the debugger see it, whatever engine runs it. All members are called with the
// CPU stopped or at a safe point (the machine's `at_safe_point`), except `thread_id` and `halted`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea {

// A register as a debugger sees it. `type` and `group` are those of gdb's target descriptions.
struct RegisterInfo {
  std::string name;
  unsigned bits = 32;
  std::string type = "int";
  std::string group;
};
// Registers that belong together; `first` is the number of the first one.
struct RegisterFeature {
  std::string name;
  unsigned first = 0;
  std::vector<RegisterInfo> registers;
  std::string types;  // elements of a target description that define types
};

class Cpu {
 public:
  virtual ~Cpu() = default;
  virtual unsigned index() const = 0;
  virtual int thread_id() const = 0;
  virtual bool halted() const = 0;
  virtual u64 pc() const = 0;
  // `info registers`: as QEMU prints them, lines ended by \n.
  virtual std::string registers_text() const = 0;
  // The value of a register by its name ("pc", "r0", "cpsr"), or nothing.
  virtual bool register_value(std::string_view name, u64& value) const = 0;
  // All registers by number, for debuggers: the architecture's name, features in ascending order of their numbers.
  virtual std::string architecture() const { return {}; }
  virtual std::span<const RegisterFeature> register_features() const { return {}; }
  // Little endian, of the register's size. False: there is no such register, or it cannot be written.
  virtual bool read_register(unsigned number, std::vector<u8>& bytes) const { return false; }
  virtual bool write_register(unsigned number, std::span<const u8> bytes) { return false; }
  // Guest-virtual memory through this CPU's MMU, without side effects: no faults raised, MMIO not touched.
  virtual bool read_virtual(u64 address, std::span<u8> data) const = 0;
  virtual bool write_virtual(u64 address, std::span<const u8> data) = 0;
  // Where an address of guest-virtual memory lies, whatever is there. False: it does not translate.
  virtual bool physical_address(u64 address, u64& physical) const { return false; }
  // One instruction at an address: text and length in bytes. `bytes` are those that were fetched.
  struct Disassembly {
    std::string text;
    unsigned length = 0;
  };
  virtual Disassembly disassemble(u64 address, std::span<const u8> bytes) const = 0;
};

}  // namespace rhea
