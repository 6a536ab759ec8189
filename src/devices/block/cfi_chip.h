// SPDX-License-Identifier: MIT
// One 16-bit NOR flash chip with Intel's command set (CFI command set 0001; the chip is as the 28F256 StrataFlash and
// the P30 family: Intel 290737 and 306666), without bus: 256 blocks of 128 KiB, word and buffer programming, block
// erase, block locks. Addresses are words of the chip.
//
// What it does is done at once; the one who owns it says by `busy` that the ready bit shall wait (for a disk).
// A block can be locked, but is not at power up: boot code that does not unlock works.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "core/snapshot.h"
#include "util/log.h"
#include "util/types.h"

namespace rhea::devices {

class CfiChip {
 public:
  static constexpr u32 kWords = 16u << 20;
  static constexpr u32 kBlockWords = 64u << 10;
  static constexpr u32 kBufferWords = 512;
  static constexpr u8 kQueryCommand = 0x98;

  // The array of cells, and what must be known of changes: word and count.
  struct Wiring {
    std::function<u16(u32 word)> read;
    std::function<void(u32 word, u16 value)> write;
    std::function<void(u32 word, u32 words)> changed;
  };
  CfiChip(std::string name, Wiring wiring, Log& log);

  void reset();
  void fields(Visitor& visitor);
  u16 read(u32 word) const;
  void write(u32 word, u16 value);
  // Reads give the array, and no command is half given.
  bool reads_array() const { return mode_ == Mode::array && pending_ == Pending::none; }

  // The next write is a command, not what belongs to one.
  bool expects_command() const { return pending_ == Pending::none; }
  void set_writable(bool writable) { writable_ = writable; }
  void set_busy(bool busy) { busy_ = busy; }
  // The disk refused what was programmed.
  void fail() { status_ |= kProgramError; }

 private:
  enum class Mode : u8 { array, identifier, query, status };
  enum class Pending : u8 { none, program, erase, lock, buffer_count, buffer_data, buffer_confirm, protection };
  // Status register.
  enum Status : u8 { kReady = 0x80, kEraseError = 0x20, kProgramError = 0x10, kLocked = 0x02 };
  enum Lock : u8 { kBlockLocked = 1, kBlockLockedDown = 2 };

  void command(u32 word, u8 code);
  void sequence_error();
  bool may_change(u32 word, u8 error);
  void program(u32 word, u16 value);
  void erase(u32 word, u8 confirm);
  void lock(u32 word, u8 code);
  void take_buffer_data(u32 word, u16 value);
  void program_buffer();
  u16 identifier(u32 word) const;

  std::string name_;
  Wiring wiring_;
  Log& log_;
  Mode mode_ = Mode::array;
  Pending pending_ = Pending::none;
  u8 status_ = kReady;
  bool writable_ = true, busy_ = false;
  std::array<u8, kWords / kBlockWords> locks_{};
  u32 buffer_start_ = 0, buffer_count_ = 0, buffer_taken_ = 0;
  bool buffer_wrong_ = false;
  std::array<u16, kBufferWords> buffer_{};  // what is not given stays erased: 0xffff changes nothing
};

}  // namespace rhea::devices
