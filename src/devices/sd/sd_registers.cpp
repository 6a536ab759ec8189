// SPDX-License-Identifier: MIT
#include "devices/sd/sd_registers.h"

#include <algorithm>
#include <bit>

#include "util/bits.h"

namespace rhea::devices::sd {
namespace {

std::string size_text(u64 bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  unsigned unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  return fmt::format("{:.4g} {}", value, kUnits[unit]);
}

// The form that rhea-img takes.
std::string size_word(u64 bytes) {
  constexpr char kUnits[] = {'\0', 'K', 'M', 'G', 'T'};
  unsigned unit = 0;
  while (bytes >= 1024 && bytes % 1024 == 0 && unit < 4) bytes /= 1024, ++unit;
  return kUnits[unit] ? fmt::format("{}{}", bytes, kUnits[unit]) : fmt::format("{}", bytes);
}

// Puts a field of a 128-bit register: bits [high, low] as the tables number them.
void put(Register128& value, unsigned high, unsigned low, u64 field) {
  for (unsigned at = low; at <= high; ++at, field >>= 1) {
    u8& byte = value[15 - at / 8];
    byte = static_cast<u8>(with_bits<u32>(byte, at % 8, 1, field & 1));
  }
}

}  // namespace

Result<void> check_capacity(u64 bytes, const std::string& filename) {
  if (bytes > kMostCapacity)
    return Error("Invalid SD card size: {}", size_text(bytes))
        .with_hint(fmt::format("An SD card has at most {}.", size_text(kMostCapacity)));
  if (is_power_of_two(bytes) && bytes >= kLeastCapacity) return {};
  const u64 next = std::max(kLeastCapacity, std::bit_ceil(bytes));
  return Error("Invalid SD card size: {}", size_text(bytes))
      .with_hint(fmt::format("The size of an SD card is a power of 2: here {} would do. Make the image larger with\n"
                             "  rhea-img resize {} {}\n"
                             "(a smaller size would lose the data at its end).",
                             size_text(next), filename, size_word(next)));
}

u8 crc7(const u8* data, usize size) {
  u32 crc = 0;  // x^7 + x^3 + 1
  for (usize i = 0; i < size; ++i)
    for (int shift = 7; shift >= 0; --shift) {
      const u32 feedback = ((crc >> 6) ^ (data[i] >> shift)) & 1;
      crc = ((crc << 1) & 0x7f) ^ (feedback ? 0x09 : 0);
    }
  return static_cast<u8>(crc);
}

void seal(Register128& value) { value[15] = static_cast<u8>(crc7(value.data(), 15) << 1 | 1); }

Register128 make_cid(u32 serial) {  // section 5.2
  Register128 cid{};
  put(cid, 127, 120, 0x7a);    // manufacturer
  put(cid, 119, 104, 0x5248);  // "RH"
  const char name[] = "RHEA1";
  for (unsigned i = 0; i < 5; ++i) put(cid, 103 - 8 * i, 96 - 8 * i, static_cast<u8>(name[i]));
  put(cid, 63, 56, 0x10);  // revision 1.0
  put(cid, 55, 24, serial);
  put(cid, 19, 8, 24u << 4 | 1);  // January 2024
  seal(cid);
  return cid;
}

Register128 make_csd(u64 capacity, bool high_capacity) {  // sections 5.3.2 and 5.3.3
  Register128 csd{};
  put(csd, 119, 112, 0x0e);  // TAAC: 1 ms
  put(csd, 103, 96, 0x32);   // TRAN_SPEED: 25 MHz
  put(csd, 95, 84, 0xdb5);   // classes 0, 2, 4, 5, 7, 8, 10, 11
  put(csd, 28, 26, 2);       // R2W_FACTOR
  put(csd, 46, 46, 1);       // ERASE_BLK_EN: single blocks can be erased
  put(csd, 45, 39, 0x7f);    // SECTOR_SIZE
  if (high_capacity) {
    put(csd, 127, 126, 1);
    put(csd, 83, 80, 9);
    put(csd, 69, 48, capacity / (512 * 1024) - 1);
    put(csd, 25, 22, 9);
  } else {
    // Capacity = (C_SIZE + 1) * 2^(C_SIZE_MULT + 2) * 2^READ_BL_LEN. C_SIZE has 12 bits.
    const unsigned power = static_cast<unsigned>(std::countr_zero(capacity));
    const unsigned length = power <= 30 ? 9 : 10;
    const unsigned multiplier = std::min(7u, power > length + 2 ? power - length - 2 : 0);
    put(csd, 83, 80, length);
    put(csd, 79, 79, 1);  // READ_BL_PARTIAL
    put(csd, 73, 62, (capacity >> (length + multiplier + 2)) - 1);
    put(csd, 49, 47, multiplier);
    put(csd, 25, 22, length);
  }
  seal(csd);
  return csd;
}

std::array<u8, 8> make_scr() {
  // SCR_STRUCTURE 0, SD_SPEC 2, SD_SPEC3, SD_SPEC4, SD_SPECX 2: version 6.00. Erased data reads as 0. Widths 1 and 4.
  // CMD_SUPPORT: CMD23, and CMD48 and CMD49.
  return {0x02, 0x05, 0x84, 0x86, 0, 0, 0, 0};
}

std::array<u8, 64> make_ssr(u64 capacity, bool wide) {
  std::array<u8, 64> ssr{};
  ssr[0] = wide ? 0x80 : 0;    // DAT_BUS_WIDTH
  ssr[8] = 4;                  // SPEED_CLASS: 10
  ssr[10] = 9 << 4;            // AU_SIZE: 4 MiB
  store_be<u16>(&ssr[11], 8);  // ERASE_SIZE, in AUs
  ssr[13] = 1 << 2;            // ERASE_TIMEOUT 1 s, ERASE_OFFSET 0
  ssr[24] = 2;                 // DISCARD_SUPPORT (bit 313)
  return ssr;
}

std::array<u8, 64> make_switch_status(const std::array<u8, 6>& groups) {
  // Functions of groups 1 to 6: default and high speed; else the default one alone.
  constexpr std::array<u16, 6> kSupported = {0x8003, 0x8001, 0x8001, 0x8001, 0x8001, 0x8001};
  std::array<u8, 64> status{};
  store_be<u16>(&status[0], 50);  // mA
  for (unsigned group = 0; group < 6; ++group) {
    store_be<u16>(&status[12 - 2 * group], kSupported[group]);
    u8& pair = status[16 - group / 2];
    pair = static_cast<u8>(pair | (group % 2 ? groups[group] << 4 : groups[group]));
  }
  status[17] = 0;  // data structure version: no busy status
  return status;
}

}  // namespace rhea::devices::sd
