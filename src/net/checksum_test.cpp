// SPDX-License-Identifier: MIT
#include "net/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace rhea::net {

// As RFC 1071 says it, a word at a time.
static u16 plain(const std::vector<u8>& data) {
  u32 sum = 0;
  for (usize i = 0; i < data.size(); ++i) sum += i % 2 ? data[i] : u32{data[i]} << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(~sum);
}

TEST(Checksum, ExampleOfTheRfc) {
  const u8 data[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum(data, sizeof data), static_cast<u16>(~0xddf2));
}

TEST(Checksum, AnyLengthAnySplit) {
  std::mt19937 random(1);
  for (unsigned round = 0; round < 2000; ++round) {
    std::vector<u8> data(random() % 3000);
    for (u8& byte : data) byte = round % 3 ? static_cast<u8>(random()) : 0xff;
    EXPECT_EQ(checksum(data.data(), data.size()), plain(data));
    ChecksumSum sum;
    for (usize at = 0; at < data.size();) {
      const usize part = std::min<usize>(data.size() - at, random() % 200);
      sum.add(data.data() + at, part);
      at += part;
    }
    EXPECT_EQ(sum.checksum(), plain(data));
  }
}

TEST(Checksum, LargeAndFull) {
  const std::vector<u8> data(65535, 0xff);
  EXPECT_EQ(checksum(data.data(), data.size()), plain(data));
}

}  // namespace rhea::net
