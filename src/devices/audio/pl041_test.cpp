// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/testing.h"

namespace rhea::devices {
namespace {

using testing::Bench;

struct Speaker : audio::Backend {
  std::string id() const override { return "speaker"; }
  std::string driver() const override { return "test"; }
  void play(std::span<const s16> samples, u32 rate, float left, float right) override {
    heard.insert(heard.end(), samples.begin(), samples.end());
    last_rate = rate;
    volumes = {left, right};
  }
  std::vector<s16> heard;
  u32 last_rate = 0;
  std::pair<float, float> volumes;
};

struct Pl041Test : ::testing::Test {
  Pl041Test() {
    auto backend = std::make_unique<Speaker>();
    speaker = backend.get();
    bench.audio.add(std::move(backend));
    aaci = bench.make("pl041", {{"nc_fifo_depth", "512"}});
    put(0x7c, 1);
    put(0x78, 0x79);  // the interface, and slots 1 and 2 both ways
  }
  u32 get(u32 offset) { return Bench::read(*aaci, 0, offset); }
  void put(u32 offset, u32 value) { Bench::write(*aaci, 0, offset, value); }
  u16 codec(u32 reg) {
    put(0x54, reg << 12 | 1u << 19);
    EXPECT_EQ(get(0x68) & 0x140, 0x140u);
    EXPECT_EQ(get(0x50), reg << 12);
    return static_cast<u16>(get(0x58) >> 4);
  }
  void codec(u32 reg, u16 value) {
    put(0x5c, u32{value} << 4);
    put(0x54, reg << 12);
  }
  Bench bench;
  Speaker* speaker;
  std::unique_ptr<SysbusDevice> aaci;
};

TEST_F(Pl041Test, CodecRegisters) {
  EXPECT_EQ(get(0xfe0) | get(0xfe4) << 8 | get(0xfe8) << 16, 0x41041u);
  EXPECT_EQ(codec(0x7c), 0x4e53);
  EXPECT_EQ(codec(0x02), 0x8000);
  codec(0x02, 0x0a0a);
  EXPECT_EQ(codec(0x02), 0x0a0a);
  codec(0x2c, 8000);
  EXPECT_EQ(codec(0x2c), 48000) << "the rate is fixed until VRA is on";
  codec(0x2a, 1);
  codec(0x2c, 8000);
  EXPECT_EQ(codec(0x2c), 8000);
  codec(0x00, 0);
  EXPECT_EQ(codec(0x02), 0x8000);
  EXPECT_EQ(get(0x68) & 0x140, 0u) << "reading the slots takes their words";
}

TEST_F(Pl041Test, PlaysWhatIsWritten) {
  codec(0x02, 0);
  codec(0x18, 0x0808);
  put(0x10, 4);
  put(0x04, 1u << 16 | 1u << 15 | 3u << 3 | 1);  // FIFO, compact, slots 3 and 4
  EXPECT_TRUE(bench.irqs.levels[0]) << "the FIFO is at most half full";
  for (u32 i = 0; i < 256; ++i) {
    EXPECT_FALSE(get(0x08) & 0x20) << i;
    put(0x90, i | (1000 + i) << 16);
  }
  EXPECT_EQ(get(0x08) & 0x2a, 0x20u) << "full";
  EXPECT_FALSE(bench.irqs.levels[0]);
  bench.clock.advance(129 * kSecond / 48000 + 50'000);
  EXPECT_TRUE(bench.irqs.levels[0]);
  bench.clock.advance(kSecond);
  ASSERT_EQ(speaker->heard.size(), 512u);
  for (s16 i = 0; i < 256; ++i) {
    EXPECT_EQ(speaker->heard[static_cast<usize>(i) * 2], i);
    EXPECT_EQ(speaker->heard[static_cast<usize>(i) * 2 + 1], 1000 + i);
  }
  EXPECT_EQ(speaker->last_rate, 48000u);
  EXPECT_FLOAT_EQ(speaker->volumes.first, 1.0f);
  EXPECT_TRUE(get(0x0c) & 1) << "complete";
  EXPECT_EQ(get(0x08) & 2, 2u);
  EXPECT_TRUE(get(0x08) & 0x200) << "underrun";
  put(0x74, 1);
  EXPECT_EQ(bench.clock.armed(), 0u) << "silence needs no timer";
}

TEST_F(Pl041Test, OneSampleAWord) {
  put(0x04, 1u << 16 | 3u << 3 | 2u << 13 | 1);  // 20 bits
  put(0x90, 0x12340);
  put(0x94, 0xffff0);
  bench.clock.advance(kSecond);
  EXPECT_EQ(speaker->heard, (std::vector<s16>{0x1234, -1}));
  EXPECT_EQ(speaker->volumes.first, 0) << "muted after a reset";
}

TEST_F(Pl041Test, StopsWithTheInterface) {
  put(0x04, 1u << 16 | 1u << 15 | 3u << 3 | 1);
  put(0x90, 0x10001);
  put(0x78, 0);
  bench.clock.advance(kSecond);
  EXPECT_TRUE(speaker->heard.empty());
  EXPECT_EQ(bench.clock.armed(), 0u);
  put(0x78, 1);
  bench.clock.advance(kSecond);
  EXPECT_EQ(speaker->heard.size(), 2u);
}

TEST(Pl041, TheAudiodevMustExist) {
  Bench bench;
  EXPECT_FALSE(bench.make("pl041", {{"audiodev", "nope"}}));
  EXPECT_FALSE(bench.make("pl041", {{"nc_fifo_depth", "100"}}));
  EXPECT_TRUE(bench.make("pl041"));
}

}  // namespace
}  // namespace rhea::devices
