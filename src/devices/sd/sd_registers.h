// SPDX-License-Identifier: MIT
// The registers of an SD memory card and what their bits mean (SD Physical Layer Simplified Specification 6.00).
#pragma once

#include <array>
#include <string>

#include "util/result.h"
#include "util/types.h"

namespace rhea::devices::sd {

// Card status, R1 (section 4.10.1).
enum Status : u32 {
  kOutOfRange = 1u << 31,
  kAddressError = 1u << 30,
  kBlockLengthError = 1u << 29,
  kEraseSequenceError = 1u << 28,
  kEraseParameter = 1u << 27,
  kWriteProtectViolation = 1u << 26,
  kCardIsLocked = 1u << 25,
  kLockUnlockFailed = 1u << 24,
  kCommandCrcError = 1u << 23,
  kIllegalCommand = 1u << 22,
  kCardEccFailed = 1u << 21,
  kControllerError = 1u << 20,
  kGeneralError = 1u << 19,
  kCsdOverwrite = 1u << 16,
  kWriteProtectEraseSkip = 1u << 15,
  kEraseReset = 1u << 13,
  kReadyForData = 1u << 8,
  kAppCommand = 1u << 5
};
// Cleared once they have been sent in a response (table 4-42, clear condition C); kIllegalCommand and
// kCommandCrcError are cleared by the next valid command (condition B), which has sent them.
constexpr u32 kClearedByRead = kOutOfRange | kAddressError | kBlockLengthError | kEraseSequenceError | kEraseParameter |
                               kWriteProtectViolation | kLockUnlockFailed | kCommandCrcError | kIllegalCommand |
                               kCardEccFailed | kControllerError | kGeneralError | kCsdOverwrite |
                               kWriteProtectEraseSkip | kEraseReset;

// CURRENT_STATE of the card status.
enum class State : u8 {
  idle,
  ready,
  identification,
  standby,
  transfer,
  sending,
  receiving,
  programming,
  disconnect,
  inactive
};

// Operation conditions, OCR (section 5.1).
enum Ocr : u32 { kPoweredUp = 1u << 31, kHighCapacity = 1u << 30, kVoltages = 0x00ff8000 };

constexpr u32 kBlock = 512;
constexpr u64 kOpenEnded = u64{1} << 40;  // blocks of a transfer that CMD12 ends

// Sizes that a card can have, in bytes.
constexpr u64 kLeastCapacity = 4096;
constexpr u64 kMostStandard = u64{2} << 30;  // SDSC: addressed in bytes
constexpr u64 kMostCapacity = u64{2} << 40;  // SDXC

// Whether a card of that many bytes can be: a power of two between the two. The error says what would do.
Result<void> check_capacity(u64 bytes, const std::string& filename);

using Register128 = std::array<u8, 16>;  // as sent: bit 127 first

// `serial` is the product serial number.
Register128 make_cid(u32 serial);
Register128 make_csd(u64 capacity, bool high_capacity);
// Sets the last byte: CRC7 of the others and the end bit (section 4.5).
void seal(Register128& value);
u8 crc7(const u8* data, usize size);

// SD configuration, SCR (section 5.6).
std::array<u8, 8> make_scr();
// SD status (section 4.10.2).
std::array<u8, 64> make_ssr(u64 capacity, bool wide);
// The answer to CMD6 (section 4.3.10.4): `groups` are the functions that are selected or asked for, 0xf: error.
std::array<u8, 64> make_switch_status(const std::array<u8, 6>& groups);

}  // namespace rhea::devices::sd
