// SPDX-License-Identifier: MIT
#include "util/siphash.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace rhea {
namespace {

constexpr std::array<u64, 2> kKey{0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

TEST(SipHash, OfThePapersExample) {
  std::vector<u8> data(15);  // appendix A: the bytes 00 to 0e
  std::iota(data.begin(), data.end(), u8{0});
  EXPECT_EQ(siphash24(kKey, data), 0xa129ca6149be45e5u);
}

TEST(SipHash, EachBitOfKeyAndDataMatters) {
  std::vector<u8> data(24, 0x5a);
  const u64 hash = siphash24(kKey, data);
  for (usize bit = 0; bit < data.size() * 8; ++bit) {
    std::vector<u8> other = data;
    other[bit / 8] ^= static_cast<u8>(1u << bit % 8);
    EXPECT_NE(siphash24(kKey, other), hash) << bit;
  }
  for (usize bit = 0; bit < 128; ++bit) {
    std::array<u64, 2> key = kKey;
    key[bit / 64] ^= u64{1} << bit % 64;
    EXPECT_NE(siphash24(key, data), hash) << bit;
  }
  EXPECT_NE(siphash24(kKey, std::span(data).first(23)), hash);
}

}  // namespace
}  // namespace rhea
