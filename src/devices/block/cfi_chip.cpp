// SPDX-License-Identifier: MIT
#include "devices/block/cfi_chip.h"

#include <algorithm>

namespace rhea::devices {
namespace {

enum Command : u8 {
  kWordProgram = 0x40,
  kWordProgramOld = 0x10,
  kBlockErase = 0x20,
  kClearStatus = 0x50,
  kLockSetup = 0x60,
  kReadStatus = 0x70,
  kReadIdentifier = 0x90,
  kSuspend = 0xb0,
  kProtectionProgram = 0xc0,
  kConfirm = 0xd0,
  kBufferProgram = 0xe8,
  kReadArray = 0xff
};
enum LockCode : u8 { kLockBlock = 0x01, kLockDown = 0x2f, kConfiguration = 0x03, kUnlockBlock = 0xd0 };

constexpr u16 kManufacturer = 0x0089, kDevice = 0x0018;
constexpr u32 kQueryStart = 0x10;

// The CFI query from word 0x10 on (JEDEC JESD68, Intel application note 646): identification, timing, geometry, and
// Intel's own table.
constexpr u8 kQueryTable[] = {
    'Q',  'R',  'Y',  0x01, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00,  // 10: command set 1, its table at 31
    0x27, 0x36, 0x00, 0x00,                                            // 1b: 2.7 to 3.6 V, no programming voltage
    0x07, 0x07, 0x0a, 0x00,        // 1f: 128 us for a word and a buffer, 1 s for a block (powers of 2)
    0x04, 0x04, 0x04, 0x00,        // 23: at most 16 times that
    25,   0x01, 0x00, 0x0a, 0x00,  // 27: 32 MiB, 16 bits wide, buffer of 1 KiB
    0x01, 0xff, 0x00, 0x00, 0x02,  // 2c: one region: 256 blocks of 512 * 256 bytes
    'P',  'R',  'I',  '1',  '0',   // 31
    0x26, 0x00, 0x00, 0x00,        // 36: erase and program can be suspended, blocks locked one by one
    0x01,                          // 3a: programming while an erase is suspended
    0x03, 0x00,                    // 3b: lock and lock-down bits can be read
    0x30, 0x00, 0x00,              // 3d: 3.0 V, no programming voltage, no protection registers
};

}  // namespace

CfiChip::CfiChip(std::string name, Wiring wiring, Log& log)
    : name_(std::move(name)), wiring_(std::move(wiring)), log_(log) {
  buffer_.fill(0xffff);
}

void CfiChip::reset() {
  mode_ = Mode::array;
  pending_ = Pending::none;
  status_ = kReady;
  locks_ = {};
  buffer_start_ = buffer_count_ = buffer_taken_ = 0;
  buffer_wrong_ = false;
  buffer_.fill(0xffff);
}

u16 CfiChip::read(u32 word) const {
  word %= kWords;
  switch (mode_) {
    case Mode::array: return wiring_.read(word);
    case Mode::identifier: return identifier(word);
    case Mode::query: {
      const u32 at = word & 0xff;
      return at >= kQueryStart && at < kQueryStart + sizeof kQueryTable ? kQueryTable[at - kQueryStart] : 0;
    }
    case Mode::status: break;
  }
  return static_cast<u16>(busy_ ? status_ & ~kReady : status_);
}

u16 CfiChip::identifier(u32 word) const {
  switch (word & 0xff) {
    case 0: return kManufacturer;
    case 1: return kDevice;
    case 2: return locks_[word / kBlockWords];
    default: return 0;
  }
}

void CfiChip::write(u32 word, u16 value) {
  word %= kWords;
  const u8 code = static_cast<u8>(value);
  const Pending pending = pending_;
  pending_ = Pending::none;
  switch (pending) {
    case Pending::none: command(word, code); break;
    case Pending::program: program(word, value); break;
    case Pending::erase: erase(word, code); break;
    case Pending::lock: lock(word, code); break;
    case Pending::protection:  // there are no registers to program
      status_ |= kProgramError | kLocked;
      break;
    case Pending::buffer_count:
      if (value >= kBufferWords) return sequence_error();
      buffer_count_ = value + 1u;
      buffer_taken_ = 0;
      buffer_wrong_ = false;
      pending_ = Pending::buffer_data;
      break;
    case Pending::buffer_data: take_buffer_data(word, value); break;
    case Pending::buffer_confirm:
      if (code == kConfirm && !buffer_wrong_) program_buffer();
      else sequence_error();
      buffer_.fill(0xffff);
      break;
  }
}

void CfiChip::command(u32 word, u8 code) {
  switch (code) {
    case kReadArray: mode_ = Mode::array; return;
    case kReadIdentifier: mode_ = Mode::identifier; return;
    case kQueryCommand: mode_ = Mode::query; return;
    case kClearStatus: status_ = kReady; return;
    case kWordProgram:
    case kWordProgramOld: pending_ = Pending::program; break;
    case kBlockErase: pending_ = Pending::erase; break;
    case kLockSetup: pending_ = Pending::lock; break;
    case kProtectionProgram: pending_ = Pending::protection; break;
    case kBufferProgram: pending_ = Pending::buffer_count; break;
    case kReadStatus:
    case kSuspend:
    case kConfirm: break;  // nothing runs that could be suspended or resumed
    default:
      // Software that looks for other chips writes their commands: the array is read after those.
      log_.guest_error("{}: command {:#x} at word {:#x}: there is none", name_, code, word);
      mode_ = Mode::array;
      return;
  }
  mode_ = Mode::status;
}

void CfiChip::sequence_error() {
  log_.guest_error("{}: commands in a wrong order", name_);
  status_ |= kEraseError | kProgramError;
}

bool CfiChip::may_change(u32 word, u8 error) {
  if (writable_ && !(locks_[word / kBlockWords] & kBlockLocked)) return true;
  status_ = static_cast<u8>(status_ | error | kLocked);
  return false;
}

// Programming only clears bits.
void CfiChip::program(u32 word, u16 value) {
  if (!may_change(word, kProgramError)) return;
  wiring_.write(word, wiring_.read(word) & value);
  wiring_.changed(word, 1);
}

void CfiChip::erase(u32 word, u8 confirm) {
  if (confirm != kConfirm) return sequence_error();
  if (!may_change(word, kEraseError)) return;
  const u32 first = word / kBlockWords * kBlockWords;
  for (u32 at = first; at < first + kBlockWords; ++at) wiring_.write(at, 0xffff);
  wiring_.changed(first, kBlockWords);
}

void CfiChip::lock(u32 word, u8 code) {
  u8& bits = locks_[word / kBlockWords];
  switch (code) {
    case kLockBlock: bits |= kBlockLocked; break;
    case kLockDown: bits |= kBlockLocked | kBlockLockedDown; break;
    case kUnlockBlock: bits &= static_cast<u8>(~kBlockLocked); break;  // WP# is high: locked-down ones too
    case kConfiguration: break;                                        // reads are asynchronous whatever it says
    default: sequence_error(); break;
  }
}

void CfiChip::take_buffer_data(u32 word, u16 value) {
  if (buffer_taken_ == 0) {
    buffer_start_ = word;
    buffer_wrong_ = word % kBlockWords + buffer_count_ > kBlockWords;
  }
  // All words lie within the count from the first one's address, and in its block.
  const u32 at = word - buffer_start_;
  if (at >= buffer_count_) buffer_wrong_ = true;
  else buffer_[at] = value;
  pending_ = ++buffer_taken_ == buffer_count_ ? Pending::buffer_confirm : Pending::buffer_data;
}

void CfiChip::program_buffer() {
  if (!may_change(buffer_start_, kProgramError)) return;
  for (u32 i = 0; i < buffer_count_; ++i)
    wiring_.write(buffer_start_ + i, wiring_.read(buffer_start_ + i) & buffer_[i]);
  wiring_.changed(buffer_start_, buffer_count_);
}

void CfiChip::fields(Visitor& visitor) {
  visitor.begin(name_, 1);
  visitor.field("mode", mode_);
  visitor.field("pending", pending_);
  visitor.field("status", status_);
  visitor.field("locks", locks_);
  visitor.field("buffer_start", buffer_start_);
  visitor.field("buffer_count", buffer_count_);
  visitor.field("buffer_taken", buffer_taken_);
  visitor.field("buffer_wrong", buffer_wrong_);
  visitor.field("buffer", buffer_);
  visitor.end();
  if (!visitor.restoring()) return;
  if (mode_ > Mode::status) mode_ = Mode::array;
  if (pending_ > Pending::protection) pending_ = Pending::none;
  buffer_start_ %= kWords;
  buffer_count_ = std::min({buffer_count_, kBufferWords, kBlockWords - buffer_start_ % kBlockWords});
  if (pending_ >= Pending::buffer_data && (buffer_count_ == 0 || buffer_taken_ > buffer_count_))
    pending_ = Pending::none;
}

}  // namespace rhea::devices
