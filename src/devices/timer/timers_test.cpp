// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/testing.h"

namespace rhea::devices {
namespace {

using testing::Bench;

// The windows of a9mpcore_priv.
constexpr unsigned kInterface = 1, kGlobal = 2, kPrivate = 3, kWatchdog = 4, kDistributor = 5;

struct Mpcore : ::testing::Test {
  Bench bench;
  std::unique_ptr<SysbusDevice> chip = bench.make("a9mpcore_priv");
  void SetUp() override {
    Bench::write(*chip, kDistributor, 0, 1);
    for (u16 cpu = 0; cpu < 2; ++cpu) {
      Bench::write(*chip, kInterface, 0, 1, 4, cpu);
      Bench::write(*chip, kInterface, 4, 0xf0, 4, cpu);
      Bench::write(*chip, kDistributor, 0x100, 0xe8000000, 4, cpu);
    }
  }
};

TEST_F(Mpcore, PrivateTimerCountsAndReloads) {
  Bench::write(*chip, kPrivate, 0x0, 99);  // 100 ticks of 10 ns
  Bench::write(*chip, kPrivate, 0x8, 7);
  bench.clock.advance(500);
  EXPECT_EQ(Bench::read(*chip, kPrivate, 0x4), 49u);
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.clock.advance(10'000);
  EXPECT_TRUE(bench.irqs.levels[0]);
  EXPECT_FALSE(bench.irqs.levels[2]) << "it is CPU 0's alone";
  EXPECT_EQ(Bench::read(*chip, kInterface, 0xc), 29u);
  Bench::write(*chip, kPrivate, 0xc, 1);
  Bench::write(*chip, kInterface, 0x10, 29);
  EXPECT_FALSE(bench.irqs.levels[0]);
}

TEST_F(Mpcore, PrivateTimerOneShotStops) {
  Bench::write(*chip, kPrivate, 0x0, 1000, 4, 1);
  Bench::write(*chip, kPrivate, 0x8, 0x105, 4, 1);  // prescaler 1: 20 ns
  bench.clock.advance(19'999);
  EXPECT_FALSE(bench.irqs.levels[2]);
  bench.clock.advance(1);
  EXPECT_TRUE(bench.irqs.levels[2]);
  EXPECT_EQ(Bench::read(*chip, kPrivate, 0x4, 4, 1), 0u);
  EXPECT_EQ(bench.clock.armed(), 0u);
}

// Observed of QEMU by the test program test-arm-mptimer: with a prescaler, a start at zero is a count of one tick.
struct FromZero : Mpcore {
  static constexpr u32 kScaled = 9 << 8;  // 100 ns a tick
  void load(u32 value) { Bench::write(*chip, kPrivate, 0x0, value); }
  void set_counter(u32 value) { Bench::write(*chip, kPrivate, 0x4, value); }
  void control(u32 value) { Bench::write(*chip, kPrivate, 0x8, value); }
  u32 counter() { return Bench::read(*chip, kPrivate, 0x4); }
  // Whether there was an event; it is cleared.
  bool event() {
    const bool there = Bench::read(*chip, kPrivate, 0xc);
    if (there) Bench::write(*chip, kPrivate, 0xc, 1);
    return there;
  }
};

TEST_F(FromZero, OneShotTakesOnePrescaledTick) {
  control(kScaled | 1);
  bench.clock.advance(99);
  EXPECT_FALSE(event());
  EXPECT_EQ(counter(), 0u);
  bench.clock.advance(1);
  EXPECT_TRUE(event());
  bench.clock.advance(1000);
  EXPECT_FALSE(event()) << "once";
  load(0);
  bench.clock.advance(100);
  EXPECT_TRUE(event()) << "a load starts it again";
}

TEST_F(FromZero, WithoutPrescalerThereIsNoEvent) {
  for (const u32 periodic : {0u, 2u}) {
    control(0);
    control(1 | periodic);
    bench.clock.advance(1000);
    EXPECT_FALSE(event()) << periodic;
    EXPECT_EQ(counter(), 0u);
  }
  EXPECT_EQ(bench.clock.armed(), 0u);
}

TEST_F(FromZero, PeriodicWithALoadValue) {
  load(1000);
  set_counter(0);
  control(3);
  EXPECT_EQ(counter(), 1000u) << "it reloads at once";
  bench.clock.advance(100);
  EXPECT_EQ(counter(), 990u);
  EXPECT_FALSE(event());
  control(0);
  set_counter(0);
  control(kScaled | 3);
  EXPECT_EQ(counter(), 0u);
  bench.clock.advance(100);
  EXPECT_EQ(counter(), 1000u) << "one tick of zero";
  EXPECT_TRUE(event());
  bench.clock.advance(100'000);
  EXPECT_EQ(counter(), 0u);
  EXPECT_TRUE(event());
  bench.clock.advance(100);
  EXPECT_EQ(counter(), 1000u);
  EXPECT_FALSE(event());
}

TEST_F(FromZero, PeriodicWithoutALoadValue) {
  control(kScaled | 7);
  for (int i = 0; i < 3; ++i) {
    bench.clock.advance(100);
    EXPECT_TRUE(event()) << i;
    EXPECT_EQ(counter(), 0u);
  }
  control(0);
  set_counter(5);
  control(3);
  bench.clock.advance(50);
  EXPECT_TRUE(event()) << "the counter's own value was counted";
  bench.clock.advance(1000);
  EXPECT_FALSE(event());
}

TEST_F(FromZero, ModeAndPrescalerChangeOnTheWay) {
  control(3);
  control(kScaled | 1);
  bench.clock.advance(100);
  EXPECT_TRUE(event()) << "from periodic without prescaler to one-shot with one";
  bench.clock.advance(100);
  EXPECT_FALSE(event());
  control((9 << 8) * 2 | 1);
  bench.clock.advance(1000);
  EXPECT_FALSE(event()) << "a one-shot that is through stays so";
  control(3);
  bench.clock.advance(1000);
  EXPECT_FALSE(event());
}

TEST_F(Mpcore, NoWakeUpWithoutInterrupt) {
  Bench::write(*chip, kPrivate, 0x0, 99);
  Bench::write(*chip, kPrivate, 0x8, 3);
  EXPECT_EQ(bench.clock.armed(), 0u);
  bench.clock.advance(1'000'000);
  EXPECT_EQ(Bench::read(*chip, kPrivate, 0xc), 1u);
}

TEST_F(Mpcore, WatchdogResets) {
  Bench::write(*chip, kWatchdog, 0x0, 100);
  Bench::write(*chip, kWatchdog, 0x8, 9);
  Bench::write(*chip, kWatchdog, 0x8, 1);  // watchdog mode cannot be left so
  bench.clock.advance(500);
  Bench::write(*chip, kWatchdog, 0x0, 100);
  bench.clock.advance(900);
  EXPECT_EQ(bench.machine.resets, 0u);
  bench.clock.advance(200);
  EXPECT_EQ(bench.machine.resets, 1u);
  EXPECT_EQ(bench.machine.told, (std::vector<std::string>{R"(WATCHDOG {"action": "reset"})"}));
  chip->reset(ResetKind::warm);
  EXPECT_EQ(Bench::read(*chip, kWatchdog, 0x10), 1u);
}

TEST_F(Mpcore, WatchdogDisableSequence) {
  Bench::write(*chip, kWatchdog, 0x0, 100);
  Bench::write(*chip, kWatchdog, 0x8, 9);
  Bench::write(*chip, kWatchdog, 0x14, 0x12345678);
  Bench::write(*chip, kWatchdog, 0x14, 0x87654321);
  EXPECT_EQ(Bench::read(*chip, kWatchdog, 0x8), 1u);
  bench.clock.advance(2000);
  EXPECT_EQ(bench.machine.resets, 0u);
}

TEST_F(Mpcore, GlobalTimerComparesPerCpu) {
  Bench::write(*chip, kGlobal, 0x10, 1000, 4, 1);
  Bench::write(*chip, kGlobal, 0x18, 2000, 4, 1);
  Bench::write(*chip, kGlobal, 0x8, 0xf, 4, 1);
  bench.clock.advance(9'990);
  EXPECT_EQ(Bench::read(*chip, kGlobal, 0x0), 999u);
  EXPECT_FALSE(bench.irqs.levels[2]);
  bench.clock.advance(10);
  EXPECT_TRUE(bench.irqs.levels[2]);
  EXPECT_FALSE(bench.irqs.levels[0]);
  Bench::write(*chip, kGlobal, 0xc, 1, 4, 1);
  EXPECT_EQ(Bench::read(*chip, kGlobal, 0xc, 4, 1), 0u);
  EXPECT_EQ(Bench::read(*chip, kGlobal, 0x10, 4, 1), 3000u) << "auto-increment";
  EXPECT_EQ(Bench::read(*chip, kGlobal, 0x8, 4, 0), 1u) << "enable is shared, the rest banked";
}

TEST_F(Mpcore, ScuTellsTheCpus) {
  EXPECT_EQ(Bench::read(*chip, 0, 4), 0x31u);
  Bench::write(*chip, 0, 9, 3, 1);
  EXPECT_EQ(Bench::read(*chip, 0, 8), 0x300u);
}

struct Sp804Test : ::testing::Test {
  Bench bench;
  std::unique_ptr<SysbusDevice> chip = bench.make("sp804");
};

TEST_F(Sp804Test, PeriodicAndMasked) {
  Bench::write(*chip, 0, 0x08, 0xe2);  // enable, periodic, interrupt, 32 bits
  Bench::write(*chip, 0, 0x00, 1000);
  bench.clock.advance(999'999);
  EXPECT_FALSE(bench.irqs.levels[0]);
  EXPECT_EQ(Bench::read(*chip, 0, 4), 1u);
  bench.clock.advance(1);
  EXPECT_TRUE(bench.irqs.levels[0] && bench.irqs.levels[1]);
  EXPECT_EQ(Bench::read(*chip, 0, 0x14), 1u);
  Bench::write(*chip, 0, 0x0c, 0);
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.clock.advance(1'000'000);
  EXPECT_EQ(bench.irqs.rises[0], 2u);
}

TEST_F(Sp804Test, LostTicksAreMadeUpFor) {
  Bench::write(*chip, 0, 0x08, 0xe2);
  Bench::write(*chip, 0, 0x00, 1000);
  unsigned ticks = 0;
  const auto handle = [&] {
    if (!bench.irqs.levels[0]) return;
    ++ticks;
    Bench::write(*chip, 0, 0x0c, 0);
  };
  bench.clock.advance(10'500'000);  // ten periods in which the guest does not run
  handle();
  EXPECT_EQ(ticks, 1u);
  handle();
  EXPECT_EQ(ticks, 1u) << "not at once";
  for (int i = 0; i < 300; ++i) {
    bench.clock.advance(100'000);
    handle();
  }
  EXPECT_EQ(ticks, 40u) << "40 ms have passed";
  bench.clock.advance(1000 * kSecond);
  handle();
  Bench::write(*chip, 0, 0x08, 0xe2 & ~0x20u);
  EXPECT_EQ(bench.clock.armed(), 0u);
}

TEST_F(Sp804Test, FreeRunningWraps) {
  Bench::write(*chip, 0, 0x20, 5);
  Bench::write(*chip, 0, 0x28, 0x82);
  bench.clock.advance(6000);
  EXPECT_EQ(Bench::read(*chip, 0, 0x24), 0xffffffffu);
  EXPECT_EQ(Bench::read(*chip, 0, 0x30), 1u);
  EXPECT_EQ(bench.clock.armed(), 0u);
  bench.clock.advance(1000);
  EXPECT_EQ(Bench::read(*chip, 0, 0x24), 0xfffffffeu);
}

TEST_F(Sp804Test, OneShot16Bit) {
  Bench::write(*chip, 0, 0x08, 0xa1);
  Bench::write(*chip, 0, 0x00, 0x10003);
  EXPECT_EQ(Bench::read(*chip, 0, 4), 3u);
  bench.clock.advance(3000);
  EXPECT_TRUE(bench.irqs.levels[0]);
  bench.clock.advance(1'000'000'000);
  EXPECT_EQ(Bench::read(*chip, 0, 4), 0u);
}

TEST_F(Sp804Test, BackgroundLoadWaitsForTheReload) {
  Bench::write(*chip, 0, 0x08, 0xe2);
  Bench::write(*chip, 0, 0x00, 10);
  Bench::write(*chip, 0, 0x18, 20);
  EXPECT_EQ(Bench::read(*chip, 0, 4), 10u);
  bench.clock.advance(12'000);
  EXPECT_EQ(Bench::read(*chip, 0, 4), 18u);
}

}  // namespace
}  // namespace rhea::devices
