// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/testing.h"

namespace rhea::devices {
namespace {

using testing::Bench;
using Bytes = std::vector<u8>;

struct Kmi : ::testing::Test {
  explicit Kmi(const char* type = "pl050_keyboard") : port(bench.make(type)) { put(0, 0x14); }
  Bench bench;
  std::unique_ptr<SysbusDevice> port;
  u32 get(u32 offset) { return Bench::read(*port, 0, offset); }
  void put(u32 offset, u32 value) { Bench::write(*port, 0, offset, value); }
  Bytes take() {
    Bytes bytes;
    while ((get(4) & 0x10) && bytes.size() < 100) bytes.push_back(static_cast<u8>(get(8)));
    return bytes;
  }
  Bytes send(const Bytes& bytes) {
    for (const u8 byte : bytes) put(8, byte);
    return take();
  }
  Bytes press(const char* name) {
    bench.inputs.key(*display::find_key(name), true);
    return take();
  }
  Bytes release(const char* name) {
    bench.inputs.key(*display::find_key(name), false);
    return take();
  }
};

TEST_F(Kmi, RegistersAndInterrupt) {
  EXPECT_EQ(get(0xfe0) | get(0xfe4) << 8 | get(0xfe8) << 16, 0x41050u);
  EXPECT_EQ(get(4) & 0x50, 0x40u);
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.inputs.key(*display::find_key("a"), true);
  EXPECT_TRUE(bench.irqs.levels[0]);
  EXPECT_EQ(get(0x10), 3u);
  EXPECT_EQ(get(8), 0x1cu);
  EXPECT_EQ(get(4) & 4, 0u) << "0x1c has three bits: no parity bit";
  EXPECT_FALSE(bench.irqs.levels[0]);
  put(0, 0x1c);
  EXPECT_TRUE(bench.irqs.levels[0]) << "the transmitter is always empty";
  put(0, 0);
  EXPECT_FALSE(bench.irqs.levels[0]);
}

TEST_F(Kmi, Commands) {
  EXPECT_EQ(send({0xff}), (Bytes{0xfa, 0xaa}));
  EXPECT_EQ(send({0xf2}), (Bytes{0xfa, 0xab, 0x83}));
  EXPECT_EQ(send({0xee}), (Bytes{0xee}));
  EXPECT_EQ(send({0xed, 2}), (Bytes{0xfa, 0xfa}));
  EXPECT_EQ(send({0xf3, 0x20}), (Bytes{0xfa, 0xfa}));
  EXPECT_EQ(send({0xf0, 0}), (Bytes{0xfa, 0xfa, 2}));
  EXPECT_EQ(send({0xf0, 9}), (Bytes{0xfa, 0xfe}));
  EXPECT_EQ(send({0x42}), (Bytes{0xfe}));
  EXPECT_EQ(send({0xf5}), (Bytes{0xfa}));
  EXPECT_EQ(press("a"), (Bytes{}));
  EXPECT_EQ(send({0xf4}), (Bytes{0xfa}));
  EXPECT_EQ(release("a"), (Bytes{0xf0, 0x1c}));
  EXPECT_EQ(send({0xfe}), (Bytes{0x1c}));
}

TEST_F(Kmi, ScanSets) {
  EXPECT_EQ(press("right"), (Bytes{0xe0, 0x74}));
  EXPECT_EQ(release("right"), (Bytes{0xe0, 0xf0, 0x74}));
  EXPECT_EQ(press("pause"), (Bytes{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77}));
  EXPECT_EQ(release("pause"), (Bytes{}));
  EXPECT_EQ(press("print"), (Bytes{0xe0, 0x12, 0xe0, 0x7c}));
  release("print");
  press("alt");
  EXPECT_EQ(press("print"), (Bytes{0x84}));
  release("print");
  release("alt");
  send({0xf0, 1});
  EXPECT_EQ(press("right"), (Bytes{0xe0, 0x4d}));
  EXPECT_EQ(release("right"), (Bytes{0xe0, 0xcd}));
  send({0xf0, 3});
  EXPECT_EQ(press("right"), (Bytes{0x6a}));
  EXPECT_EQ(release("right"), (Bytes{0xf0, 0x6a}));
  send({0xf9});
  EXPECT_EQ(press("right"), (Bytes{0x6a}));
  EXPECT_EQ(release("right"), (Bytes{}));
}

TEST_F(Kmi, HeldKeysRepeat) {
  EXPECT_EQ(press("x"), (Bytes{0x22}));
  bench.clock.advance(499 * kMillisecond);
  EXPECT_EQ(take(), (Bytes{}));
  bench.clock.advance(2 * kMillisecond);
  EXPECT_EQ(take(), (Bytes{0x22}));
  bench.clock.advance(100 * kMillisecond);
  EXPECT_EQ(take(), (Bytes{0x22}));
  release("x");
  bench.clock.advance(10 * kSecond);
  EXPECT_EQ(take(), (Bytes{}));
  EXPECT_EQ(bench.clock.armed(), 0u);
}

TEST_F(Kmi, OverrunIsToldAndAnswersComeFirst) {
  for (int i = 0; i < 20; ++i) bench.inputs.key(*display::find_key("a"), true);
  put(8, 0xee);
  Bytes bytes = take();
  ASSERT_EQ(bytes.size(), 17u);
  EXPECT_EQ(bytes[0], 0xee);
  EXPECT_EQ(bytes[16], 0x1c);
  for (int i = 0; i < 5; ++i) bench.inputs.key(*display::find_key("pause"), true);
  bytes = take();
  EXPECT_EQ(bytes.size(), 16u);
}

struct KmiMouse : Kmi {
  KmiMouse() : Kmi("pl050_mouse") {}
};

TEST_F(KmiMouse, ReportsMovements) {
  bench.inputs.move(5, 5, 0);
  EXPECT_EQ(take(), (Bytes{})) << "not before it is told to";
  EXPECT_EQ(send({0xff}), (Bytes{0xfa, 0xaa, 0x00}));
  EXPECT_EQ(send({0xf4}), (Bytes{0xfa}));
  bench.inputs.move(3, 4, 0);
  EXPECT_EQ(take(), (Bytes{0x28, 3, 0xfc}));
  bench.inputs.set_buttons(display::kButtonLeft | display::kButtonMiddle);
  EXPECT_EQ(take(), (Bytes{0x0d, 0, 0}));
  bench.inputs.move(-600, 0, 0);
  EXPECT_EQ(take(), (Bytes{0x1d, 0x01, 0, 0x1d, 0x01, 0, 0x1d, 0xa6, 0}));
  EXPECT_EQ(send({0xe9}), (Bytes{0xfa, 0x26, 2, 100}));
  EXPECT_EQ(send({0xf5}), (Bytes{0xfa}));
}

TEST_F(KmiMouse, WheelAndFiveButtons) {
  const auto knock = [&](std::initializer_list<u8> rates) {
    for (const u8 rate : rates) send({0xf3, rate});
  };
  knock({200, 100, 80});
  EXPECT_EQ(send({0xf2}), (Bytes{0xfa, 3}));
  send({0xf4});
  bench.inputs.move(1, 0, 1);
  EXPECT_EQ(take(), (Bytes{0x08, 1, 0, 0xff}));
  knock({200, 200, 80});
  EXPECT_EQ(send({0xf2}), (Bytes{0xfa, 4}));
  bench.inputs.set_buttons(display::kButtonExtra);
  EXPECT_EQ(take(), (Bytes{0x08, 0, 0, 0x20}));
}

TEST_F(KmiMouse, RemoteAndWrapMode) {
  send({0xf0});
  bench.inputs.move(7, 0, 0);
  EXPECT_EQ(take(), (Bytes{}));
  EXPECT_EQ(send({0xeb}), (Bytes{0xfa, 0x08, 7, 0}));
  EXPECT_EQ(send({0xee}), (Bytes{0xfa}));
  EXPECT_EQ(send({0x55, 0xf4}), (Bytes{0x55, 0xf4}));
  EXPECT_EQ(send({0xec}), (Bytes{0xfa}));
}

TEST_F(KmiMouse, NothingIsLostToAGuestThatSleeps) {
  send({0xf4});
  for (int i = 0; i < 1000; ++i) bench.inputs.move(1, 0, 0);
  int sum = 0;
  for (int round = 0; round < 100; ++round) {
    const Bytes bytes = take();
    for (usize i = 0; i + 3 <= bytes.size(); i += 3) sum += bytes[i + 1];
  }
  EXPECT_EQ(sum, 1000);
}

}  // namespace
}  // namespace rhea::devices
