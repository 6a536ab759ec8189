// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/testing.h"

namespace rhea::devices {
namespace {

using testing::Bench;

struct Pl111Test : ::testing::Test {
  Bench bench;
  std::unique_ptr<SysbusDevice> lcd = bench.make("pl111");
  display::Screen& screen() { return *bench.screens.main(); }
  u32 get(u32 offset) { return Bench::read(*lcd, 0, offset); }
  void put(u32 offset, u32 value, unsigned size = 4) { Bench::write(*lcd, 0, offset, value, size); }
  u8* memory(u32 offset = 0) { return bench.ram->data() + offset; }
  // 16 by 4 pixels at the start of RAM.
  void turn_on(u32 bpp, u32 more = 0) {
    put(0x00, 0);
    put(0x04, 3);
    put(0x10, Bench::kRamBase);
    put(0x18, 0x801 | bpp << 1 | 0x20 | more);
  }
  u32 pixel(u32 x, u32 y = 0) { return screen().frame().row(y)[x]; }
};

TEST_F(Pl111Test, Identifies) {
  EXPECT_EQ(get(0xfe0) | get(0xfe4) << 8 | get(0xfe8) << 16 | get(0xfec) << 24, 0x241111u);
  EXPECT_EQ(get(0xff0) | get(0xff4) << 8 | get(0xff8) << 16 | get(0xffc) << 24, 0xb105f00du);
}

TEST_F(Pl111Test, IsBlankUntilItIsOn) {
  EXPECT_FALSE(screen().is_on());
  EXPECT_EQ(screen().frame().width, 640u);
  turn_on(5);
  EXPECT_TRUE(screen().is_on());
  EXPECT_EQ(screen().frame().width, 16u);
  EXPECT_EQ(screen().frame().height, 4u);
}

TEST_F(Pl111Test, TrueColour) {
  store_le<u32>(memory(), 0x00112233);
  store_le<u32>(memory(16 * 4 * 3 + 4), 0xffabcdef);
  turn_on(5);
  EXPECT_EQ(pixel(0), 0x332211u);
  EXPECT_EQ(pixel(1, 3), 0xefcdabu);
  turn_on(5, 0x100);
  EXPECT_EQ(pixel(0), 0x112233u);
}

TEST_F(Pl111Test, SixteenBits) {
  store_le<u32>(memory(), 0x001f | 0x7c00u << 16);
  turn_on(4);
  EXPECT_EQ(pixel(0), 0xff0000u);
  EXPECT_EQ(pixel(1), 0x0000ffu);
  turn_on(4, 0x200);
  EXPECT_EQ(pixel(0), 0x0000ffu) << "BEBO exchanges the half-words";
  store_le<u32>(memory(), 0x07e0 | 0xf800u << 16);
  turn_on(6, 0x100);
  EXPECT_EQ(pixel(0), 0x00ff00u);
  EXPECT_EQ(pixel(1), 0xff0000u);
  store_le<u32>(memory(), 0x0f5a);
  turn_on(7);
  EXPECT_EQ(pixel(0), 0xaa55ffu);
}

TEST_F(Pl111Test, PaletteAndOrders) {
  put(0x200, 0x001f | 0x03e0u << 16);
  put(0x204, 0x7c00);
  put(0x206, 0x7fff, 2);
  EXPECT_EQ(get(0x204), 0x7fff7c00u);
  constexpr u32 kInks[] = {0xff0000, 0x00ff00, 0x0000ff, 0xffffff};
  memory()[0] = 0b11100100;  // 3 2 1 0 from the high bits down
  turn_on(1);
  for (u32 x = 0; x < 4; ++x) EXPECT_EQ(pixel(x), kInks[x]);
  turn_on(1, 0x400);
  for (u32 x = 0; x < 4; ++x) EXPECT_EQ(pixel(x), kInks[3 - x]) << "BEPO";
  turn_on(1, 0x200);
  EXPECT_EQ(pixel(12), kInks[0]) << "BEBO: the first byte of a word is its last";
  memory()[0] = 0x01;
  turn_on(0);
  EXPECT_EQ(pixel(0), kInks[1]);
  EXPECT_EQ(pixel(1), kInks[0]);
  memory()[0] = 0x32;
  turn_on(2);
  EXPECT_EQ(pixel(0), kInks[2]);
  EXPECT_EQ(pixel(1), kInks[3]);
  memory()[1] = 3;
  turn_on(3);
  EXPECT_EQ(pixel(1), kInks[3]);
}

TEST_F(Pl111Test, OutsideMemoryIsBlack) {
  turn_on(5);
  put(0x10, 0x12345678);
  EXPECT_EQ(get(0x10), 0x12345678u);
  EXPECT_EQ(pixel(0), 0u);
}

TEST_F(Pl111Test, Cursor) {
  turn_on(5);
  store_le<u32>(memory(4 * 3), 0x00ffffff);
  put(0xc08, 0x0000ff);  // red
  put(0xc0c, 0x00ff00);
  put(0x800, 0b00'01'10'11);  // palette 0, palette 1, transparent, inverted
  put(0xc00, 1);
  EXPECT_EQ(pixel(0), 0xff0000u);
  EXPECT_EQ(pixel(1), 0x00ff00u);
  EXPECT_EQ(pixel(2), 0u);
  EXPECT_EQ(pixel(3), 0u) << "white inverted";
  put(0xc10, 5 | 2 << 16);
  EXPECT_EQ(pixel(5, 2), 0xff0000u);
  put(0xc14, 1);
  EXPECT_EQ(pixel(5, 2), 0x00ff00u);
}

TEST_F(Pl111Test, FrameInterruptsCostNothingUnlessWanted) {
  turn_on(5);
  EXPECT_EQ(bench.clock.armed(), 0u);
  bench.clock.advance(kSecond);
  EXPECT_EQ(get(0x20), 0xcu) << "base update and vertical compare";
  put(0x28, 0xc);
  EXPECT_EQ(get(0x20), 0u);
  put(0x1c, 8);
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.clock.advance(kSecond / 50);
  EXPECT_TRUE(bench.irqs.levels[0]);
  EXPECT_EQ(get(0x24), 8u);
  EXPECT_EQ(bench.clock.armed(), 0u) << "not before it is cleared";
  put(0x28, 8);
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.clock.advance(kSecond / 50);
  EXPECT_TRUE(bench.irqs.levels[0]);
}

}  // namespace
}  // namespace rhea::devices
