// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/testing.h"

namespace rhea::devices {
namespace {

using testing::Bench;

// A host that moves the wires, as Linux' i2c-algo-bit does.
struct I2c : ::testing::Test {
  Bench bench;
  std::unique_ptr<SysbusDevice> port = bench.make("versatile_i2c");
  void scl(bool high) { Bench::write(*port, 0, high ? 0 : 4, 1); }
  void sda(bool high) { Bench::write(*port, 0, high ? 0 : 4, 2); }
  bool data() { return Bench::read(*port, 0, 0) & 2; }
  void start() {
    sda(true);
    scl(true);
    sda(false);
    scl(false);
  }
  void stop() {
    sda(false);
    scl(true);
    sda(true);
  }
  bool bit(bool out) {
    sda(out);
    scl(true);
    const bool in = data();
    scl(false);
    return in;
  }
  bool send(u8 byte) {  // acknowledged?
    for (int i = 7; i >= 0; --i) bit(byte >> i & 1);
    return !bit(true);
  }
  u8 receive(bool last) {
    u8 byte = 0;
    for (int i = 0; i < 8; ++i) byte = static_cast<u8>(byte << 1 | bit(true));
    bit(last);
    return byte;
  }
  std::vector<u8> read(u8 address, u8 reg, usize count) {
    start();
    EXPECT_TRUE(send(static_cast<u8>(address << 1)));
    EXPECT_TRUE(send(reg));
    start();
    EXPECT_TRUE(send(static_cast<u8>(address << 1 | 1)));
    std::vector<u8> bytes;
    for (usize i = 0; i < count; ++i) bytes.push_back(receive(i + 1 == count));
    stop();
    return bytes;
  }
  void write(u8 address, u8 reg, u8 value) {
    start();
    EXPECT_TRUE(send(static_cast<u8>(address << 1)));
    EXPECT_TRUE(send(reg));
    EXPECT_TRUE(send(value));
    stop();
  }
};

TEST_F(I2c, NobodyElseAnswers) {
  for (u8 address = 0; address < 0x80; ++address) {
    start();
    EXPECT_EQ(send(static_cast<u8>(address << 1)), address == 0x39 || address == 0x50) << int(address);
    stop();
  }
  EXPECT_EQ(Bench::read(*port, 0, 0), 3u);
}

TEST_F(I2c, EdidIsSound) {
  const std::vector<u8> edid = read(0x50, 0, 128);
  u8 sum = 0;
  for (const u8 byte : edid) sum = static_cast<u8>(sum + byte);
  EXPECT_EQ(sum, 0);
  EXPECT_EQ(load_be<u64>(edid.data()), 0x00ffffffffffff00u);
  EXPECT_EQ(edid[56] | (edid[58] >> 4) << 8, 1024);
  EXPECT_EQ(edid[59] | (edid[61] >> 4) << 8, 768);
  EXPECT_EQ(load_le<u16>(&edid[54]), 6499) << "10 kHz: 1344 x 806 at 60 Hz";
  EXPECT_EQ(read(0x50, 8, 2), (std::vector<u8>{edid[8], edid[9]}));
}

TEST_F(I2c, Transmitter) {
  EXPECT_EQ(read(0x39, 0x1b, 1)[0], 0);
  write(0x39, 0xc7, 0);
  EXPECT_EQ(read(0x39, 0x1b, 3), (std::vector<u8>{0xb0, 0x02, 0x03}));
  write(0x39, 0x1a, 4);
  EXPECT_EQ(read(0x39, 0x1a, 1)[0], 6) << "the DDC bus is granted";
  write(0x39, 0x1a, 0);
  EXPECT_EQ(read(0x39, 0x1a, 1)[0], 0);
  EXPECT_EQ(read(0x39, 0x3d, 1)[0], 0x0c);
}

}  // namespace
}  // namespace rhea::devices
