// SPDX-License-Identifier: MIT
#include "util/sha1.h"

#include <bit>
#include <string>

namespace rhea {

namespace {

void mix(std::array<u32, 5>& hash, const char* block) {
  std::array<u32, 80> words;
  for (usize t = 0; t < 16; ++t) {
    words[t] = 0;
    for (usize i = 0; i < 4; ++i) words[t] = words[t] << 8 | static_cast<u8>(block[4 * t + i]);
  }
  for (usize t = 16; t < 80; ++t) words[t] = std::rotl(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
  auto [a, b, c, d, e] = hash;
  for (usize t = 0; t < 80; ++t) {
    const u32 f = t < 20 ? (b & c) | (~b & d) : t < 40 || t >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
    constexpr u32 kConstants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    const u32 next = std::rotl(a, 5) + f + e + kConstants[t / 20] + words[t];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  hash[0] += a;
  hash[1] += b;
  hash[2] += c;
  hash[3] += d;
  hash[4] += e;
}

}  // namespace

std::array<u8, 20> sha1(std::string_view text) {
  constexpr usize kBlock = 64;
  std::string padded(text);
  padded += '\x80';
  while (padded.size() % kBlock != kBlock - 8) padded += '\0';
  for (unsigned i = 8; i > 0; --i) padded += static_cast<char>((u64{text.size()} * 8) >> (8 * (i - 1)));
  std::array<u32, 5> hash = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (usize at = 0; at < padded.size(); at += kBlock) mix(hash, padded.data() + at);
  std::array<u8, 20> digest;
  for (usize i = 0; i < digest.size(); ++i) digest[i] = static_cast<u8>(hash[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

}  // namespace rhea
