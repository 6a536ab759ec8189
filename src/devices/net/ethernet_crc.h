// SPDX-License-Identifier: MIT
// The frame check sequence of Ethernet (IEEE 802.3 section 3.2.9), and the hash that MACs make of an address.
#pragma once

#include <array>
#include <span>

#include "util/bits.h"

namespace rhea::devices {

namespace detail {
using CrcTables = std::array<std::array<u32, 256>, 8>;
constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (u32 i = 0; i < 256; ++i) {
    u32 value = i;
    for (unsigned bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    tables[0][i] = value;
  }
  for (u32 i = 0; i < 256; ++i)
    for (unsigned t = 1; t < 8; ++t) tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
  return tables;
}
inline constexpr CrcTables kCrcTables = make_crc_tables();
}  // namespace detail

// The remainder before the final inversion, bits reversed as the tables have them. Eight bytes a step.
inline u32 ethernet_remainder(std::span<const u8> data) {
  const auto& t = detail::kCrcTables;
  u32 crc = 0xffffffff;
  const u8* at = data.data();
  usize left = data.size();
  for (; left >= 8; left -= 8, at += 8) {
    const u32 low = crc ^ load_le<u32>(at), high = load_le<u32>(at + 4);
    crc = t[7][low & 0xff] ^ t[6][low >> 8 & 0xff] ^ t[5][low >> 16 & 0xff] ^ t[4][low >> 24] ^ t[3][high & 0xff] ^
          t[2][high >> 8 & 0xff] ^ t[1][high >> 16 & 0xff] ^ t[0][high >> 24];
  }
  for (; left; --left) crc = crc >> 8 ^ t[0][(crc ^ *at++) & 0xff];
  return crc;
}

// As it is sent: the first byte on the wire is the lowest.
inline u32 frame_check_sequence(std::span<const u8> data) { return ~ethernet_remainder(data); }

// The upper six bits of the CRC, most significant first: the bit number in a 64-bit multicast filter.
inline unsigned address_hash(std::span<const u8, 6> address) {
  const u32 crc = ethernet_remainder(address);
  unsigned hash = 0;
  for (unsigned bit = 0; bit < 6; ++bit) hash |= (crc >> bit & 1) << (5 - bit);
  return hash;
}

}  // namespace rhea::devices
