// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "accel/code_reader.h"
#include "accel/mini_machine.h"

namespace rhea::accel {
namespace {

using namespace std::chrono_literals;

class EngineTest : public testing::Test, protected MiniMachine {
 protected:
  EngineTest() : MiniMachine(interpreted()) {}
  static Options interpreted() {
    Options options;
    options.engine = "interp";
    return options;
  }
};

TEST_F(EngineTest, RunsPausesAndResumes) {
  create(1);
  program(0, {mini(0, 0, 1), mini(4, 0, 64), mini(1, 0, 3)});  // count into 0x100
  EXPECT_FALSE(engine_->running());
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(word(0x100), 0u);
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return word(0x100) > 1000; }));
  engine_->pause();
  const u32 at = word(0x100);
  const s64 time = engine_->virtual_clock().now();
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(word(0x100), at);
  EXPECT_EQ(engine_->virtual_clock().now(), time);
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return word(0x100) != at; }));
  for (int i = 0; i < 200; i++) {
    u32 seen = 0;
    engine_->at_safe_point([&] {
      seen = word(0x100);
      EXPECT_EQ(guests_[0]->s.r[0] - seen <= 1, true);
      EXPECT_EQ(word(0x100), seen);
    });
  }
}

TEST_F(EngineTest, SleepsUntilAnInterrupt) {
  create(1);
  program(0, {mini(2), mini(0, 1, 1), mini(4, 1, 65), mini(1, 0, 4)});
  program(MiniGuest::kVector, {mini(0, 2, 1), mini(4, 2, 66), mini(13)});
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return engine_->cpu(0).halted(); }));
  for (u32 i = 1; i <= 50; i++) {
    engine_->cpu(0).pins().set_irq(0, true);
    ASSERT_TRUE(eventually([&] { return word(0x108) >= i; })) << i;
    engine_->cpu(0).pins().set_irq(0, false);
    ASSERT_TRUE(eventually([&] { return engine_->cpu(0).halted(); })) << i;
  }
  engine_->pause();
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return engine_->cpu(0).halted(); }));
}

TEST_F(EngineTest, ModifiedCodeRunsAnew) {
  create(1);
  // r3 = 0x40; loop: the instruction at 0x40 is called by a jump and overwritten by r4 in between.
  program(0, {mini(3, 3, 0x40), mini(3, 5, 8), mini(12, 4, 3), mini(6, 3)});
  program(0x40, {mini(15)});
  program(0x42, {mini(4, 1, 65), mini(0, 4, 1), mini(6, 5)});
  program(8, {mini(12, 4, 3), mini(6, 3)});
  // r4 starts as "r1 = 1", and counts up its constant.
  guests_[0]->s.r[4] = mini(3, 1, 1);
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return word(0x104) >= 100; }));
}

// Four CPUs make blocks of one page at a time while a device writes to it: none runs old code for long.
TEST_F(EngineTest, CodeIsWrittenWhileCpusTranslateIt) {
  constexpr unsigned kCpus = 4, kBursts = 150, kWrites = 12;
  options_.engine = "tcg";
  for (const bool copies : {false, true}) {
    options_.copies = copies;
    create(kCpus);
    // r0 = a number that is rewritten, behind other blocks; to the address in r3; and again.
    program(0, {mini(0, 1, 1), mini(8), mini(0, 1, 1), mini(8)});
    program(8, {mini(3, 0, 0), mini(8), mini(12, 0, 3), mini(6, 2)});
    for (unsigned i = 0; i < kCpus; i++) guests_[i]->s.r[3] = 0x1000 + 0x100 * i;
    engine_->resume();
    u16 number = 0;
    for (unsigned burst = 0; burst < kBursts; burst++) {
      for (unsigned i = 0; i < kWrites; i++) {
        number = static_cast<u16>(number % 255 + 1);
        memory_.write(8, mini(3, 0, number), 2, {});
      }
      for (unsigned i = 0; i < kCpus; i++) {
        ASSERT_TRUE(eventually([&] { return static_cast<u16>(word(0x1000 + 0x100 * i)) == number; }))
            << "CPU " << i << ", burst " << burst << ", copies " << copies;
      }
    }
    engine_->pause();
  }
}

// A translation is remembered with the code that it was made from, not with what was written there meanwhile.
TEST_F(EngineTest, AReaderKeepsWhatItFetched) {
  create(1);
  program(0, {mini(0, 0, 1), mini(8)});
  PageReader reader;
  ASSERT_TRUE(reader.open(static_cast<VirtualCpu&>(engine_->cpu(0)), 0, 8));
  u16 value = 0;
  ASSERT_TRUE(reader.fetch16(0, value));
  program(0, {mini(0, 0, 2), mini(9)});
  ASSERT_TRUE(reader.fetch16(0, value));
  EXPECT_EQ(value, mini(0, 0, 1));
  EXPECT_EQ(reader.word(0), u32{mini(9)} << 16 | mini(0, 0, 1));
  unsigned runs = 0;
  reader.for_each_run([&](unsigned page, usize begin, std::span<const u8> code) {
    runs++;
    EXPECT_EQ(page, 0u);
    EXPECT_EQ(begin, 0u);
    ASSERT_EQ(code.size(), 2u);
    EXPECT_EQ(load_raw<u16>(code.data()), mini(0, 0, 1));
  });
  EXPECT_EQ(runs, 1u);
}

// A block that might go on into the next page marks it, and ends before: data there is data again with its first store.
// What all CPUs have added is there: in the interpreter, through tables, through windows; and what one has that is
// alone.
TEST_F(EngineTest, ExclusivesLoseNothing) {
  constexpr u32 kWord = 0x2000;
  for (const unsigned cpus : {1u, 4u}) {
    for (const char* engine : {"interp", "tcg", "windows"}) {
      SCOPED_TRACE(testing::Message() << engine << ", CPUs: " << cpus);
      const bool windows = engine == std::string_view("windows");
      options_.engine = windows ? "tcg" : engine;
      options_.windows = options_.eager_windows = windows;
      create(cpus);
      for (MiniGuest* guest : guests_) guest->s.r[3] = kWord;
      store_raw(ram_->data() + kWord, u32{0});
      program(0, {mini(14, 0, 3), mini(14, 0, 3), mini(1, 0, 3)});
      engine_->resume();
      EXPECT_TRUE(eventually([&] { return word(kWord) > 200000; }));
      engine_->pause();
      u32 sum = 0;
      for (const MiniGuest* guest : guests_) sum += guest->s.r[0];
      EXPECT_EQ(word(kWord), sum);
    }
  }
}

TEST_F(EngineTest, DataBehindCodeIsNoCode) {
  for (const char* engine : {"interp", "tcg"}) {
    options_.engine = engine;
    store_raw(ram_->data() + 0x1800, u16{0});
    create(1);
    program(0, {mini(6, 2)});
    program(0xff0, {mini(0, 4, 1), mini(12, 4, 3), mini(6, 2)});
    guests_[0]->s.r[2] = 0xff0;
    guests_[0]->s.r[3] = 0x1800;
    engine_->resume();
    EXPECT_TRUE(eventually([&] { return static_cast<u16>(word(0x1800)) > 100; })) << engine;
    engine_->pause();
    EXPECT_TRUE(ram_->page_flags(0) & memory::kPageHasCode) << engine;
    EXPECT_FALSE(ram_->page_flags(0x1000) & memory::kPageHasCode) << engine;
  }
}

// One page of code at four addresses: the first two are translated, the others copied, and all are dropped when it is
// written.
TEST_F(EngineTest, CodeAtOtherAddressesIsCopied) {
  for (const bool check : {false, true}) {
    options_.engine = "tcg";
    options_.check_copies = check;
    create(1);
    MiniGuest& guest = *guests_[0];
    guest.mapped = true;
    for (const u64 page : {0, 0x21, 0x42, 0x63, 0xa4}) {
      guest.pages[{0, page}].mapping = {
          .physical = page ? 0x1000u : 0u, .writable = true, .executable = true, .global = true};
    }
    store_raw(ram_->data() + 0x100, u32{0});
    // Four calls, for ever: r3 is where they return to.
    program(0, {mini(3, 3, 8), mini(6, 4)});
    program(8, {mini(3, 3, 16), mini(6, 5)});
    program(16, {mini(3, 3, 24), mini(6, 6)});
    program(24, {mini(3, 3, 0), mini(6, 7)});
    program(0x1000, {mini(0, 0, 1), mini(8), mini(4, 0, 64), mini(8), mini(9, 0, 0), mini(6, 3), mini(1, 0, 6)});
    for (unsigned i = 0; i < 4; i++) guest.s.r[4 + i] = 0x21000 * (i + 1) + (i == 3 ? 0x20000 : 0);
    const auto count = [&](const char* before) {
      const std::string text = engine_->statistics();
      const usize at = text.find(before);
      return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + std::strlen(before));
    };
    engine_->resume();
    EXPECT_TRUE(eventually([&] { return word(0x100) > 100; }));
    engine_->pause();
    if (check) {
      EXPECT_GT(count("elsewhere 0 blocks; "), 2);
      EXPECT_EQ(count("compared, "), 0);
    } else {
      EXPECT_GT(count("copied from elsewhere "), 2);
    }
    // From now on it counts by 100.
    const u32 before = guest.s.r[0];
    memory_.write(0x1000, mini(0, 0, 100), 2, {});
    engine_->resume();
    EXPECT_TRUE(eventually([&] { return word(0x100) > before + 100'000; }));
    engine_->pause();
    EXPECT_LE((guest.s.r[0] - before) % 100, 1u);
  }
}

// A loop through two pages: it becomes a region at the first poll, is left for interrupts, and is dropped with either
// of its blocks.
TEST_F(EngineTest, HotPathsAreRegions) {
  options_.engine = "tcg";
  options_.eager_tier2 = true;
  create(1);
  // r0 and r1 count; r2 is zero every 256th time only.
  program(0, {mini(0, 0, 1), mini(6, 4)});
  program(0x1000, {mini(0, 1, 1), mini(4, 1, 65), mini(9, 3), mini(6, 5), mini(6, 5)});
  program(MiniGuest::kVector, {mini(0, 6, 1), mini(4, 6, 66), mini(13)});
  guests_[0]->s.r[4] = 0x1000;
  guests_[0]->s.r[3] = 1;
  const auto count = [&](const char* before) {
    const std::string text = engine_->statistics();
    const usize at = text.find(before);
    return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + std::strlen(before));
  };
  const auto run = [&](u32 least) {
    const u32 before = word(0x104);
    engine_->resume();
    EXPECT_TRUE(eventually([&] { return word(0x104) - before > least; }));
    engine_->pause();
  };
  for (int i = 0; i < 100 && !count("regions             "); i++) run(100);
  EXPECT_GT(count("regions             "), 0);
  run(1'000'000);
  EXPECT_LE(guests_[0]->s.r[0] - guests_[0]->s.r[1], 1u);
  engine_->resume();
  engine_->cpu(0).pins().set_irq(0, true);
  EXPECT_TRUE(eventually([&] { return word(0x108) > 0; }));
  engine_->cpu(0).pins().set_irq(0, false);
  engine_->pause();
  // The block in its middle counts by 100 from now on.
  memory_.write(0x1000, mini(0, 1, 100), 2, {});
  const u32 first = guests_[0]->s.r[0], second = guests_[0]->s.r[1];
  run(100'000'000);
  const u32 rounds = guests_[0]->s.r[0] - first;
  EXPECT_LE(guests_[0]->s.r[1] - second - (rounds - 1) * 100, 200u);
  EXPECT_GT(count(" live, "), 0);
}

TEST_F(EngineTest, EventsWakeOtherCpus) {
  create(2);
  // CPU 1 starts at 0x200: waits for an event, counts at 0x108. CPU 0 sends events and counts at 0x104.
  program(0, {mini(8), mini(0, 1, 1), mini(4, 1, 65), mini(1, 0, 4)});
  program(0x200, {mini(7), mini(0, 1, 1), mini(4, 1, 66), mini(1, 0, 4)});
  guests_[1]->s.header.pc = 0x200;
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return word(0x108) > 50 && word(0x104) > 50; }));
}

TEST_F(EngineTest, BroadcastMaintenanceDoesNotBlock) {
  create(4);
  program(0, {mini(0, 1, 1), mini(4, 1, 64), mini(11), mini(1, 0, 4)});
  program(0x200, {mini(0, 1, 1), mini(4, 1, 65), mini(11), mini(1, 0, 4)});
  program(0x300, {mini(2), mini(1, 0, 2)});
  program(0x400, {mini(0, 1, 1), mini(4, 1, 66), mini(1, 0, 3)});
  for (unsigned i = 1; i < 4; i++) guests_[i]->s.header.pc = 0x100 * (i + 1);
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return word(0x100) > 500 && word(0x104) > 500 && word(0x108) > 500; }));
  // Whoever waits for the others is between two blocks when it is stopped.
  for (int i = 0; i < 200; i++) {
    engine_->pause();
    for (u32 cpu = 0; cpu < 2; cpu++) {
      const u64 pc = engine_->cpu(cpu).pc() - 0x200 * cpu;
      EXPECT_TRUE(pc == 0 || pc == 6) << pc;
      EXPECT_EQ(guests_[cpu]->s.r[1], word(0x100 + 4 * cpu));
    }
    engine_->resume();
  }
}

TEST_F(EngineTest, APauserMayHoldTheLockThatACpuWaitsFor) {
  struct Slow final : memory::MmioHandler {
    std::atomic<u32> accesses{0};
    memory::ReadResult read(u64, unsigned, const memory::Attributes&) override { return {++accesses}; }
    bool write(u64, u64, unsigned, const memory::Attributes&) override { return ++accesses, true; }
  } device;
  memory_.begin();
  memory_.add_device(0x3c0, 0x40, device, &loop_.loop().lock(), "slow");
  memory_.commit();
  create(1);
  program(0x1000, {mini(5, 1, 0xf0), mini(1, 0, 2)});
  guests_[0]->s.header.pc = 0x1000;  // the device shares the page at 0
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return device.accesses > 10; }));
  for (int i = 0; i < 100; i++) {
    std::lock_guard lock(loop_.loop().lock());
    std::this_thread::sleep_for(1ms);  // the CPU is waiting by now
    const u32 before = device.accesses;
    engine_->pause();
    std::this_thread::sleep_for(1ms);
    EXPECT_EQ(device.accesses, before);
    engine_->resume();
  }
  engine_->end();  // before the device goes
}

TEST_F(EngineTest, RealTimersStandWhilePaused) {
  create(1);
  program(0, {mini(2), mini(1, 0, 2)});
  std::atomic<int> fired{0};
  std::unique_ptr<Timer> timer = engine_->virtual_clock().timer([&] { fired++; });
  {
    std::lock_guard lock(loop_.loop().lock());
    timer->arm(engine_->virtual_clock().now() + 20 * kMillisecond);
  }
  std::this_thread::sleep_for(60ms);
  EXPECT_EQ(fired, 0);
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return fired == 1; }));
  std::lock_guard lock(loop_.loop().lock());
  EXPECT_EQ(timer->deadline(), kNever);
  timer.reset();
}

// A periodic timer that raises the pin; the trace of two runs is the same, and so is that of one without passes.
class CountedTest : public EngineTest {
 protected:
  std::string run(bool passes, unsigned cpus) {
    std::memset(ram_->data(), 0, kRam);
    options_.icount = true;
    options_.passes = passes;
    options_.trace_file = testing::TempDir() + "rhea_trace:100";
    create(cpus);
    program(0, {mini(0, 0, 1), mini(0, 1, 3), mini(4, 0, 64), mini(9, 1), mini(2), mini(1, 0, 6)});
    program(MiniGuest::kVector, {mini(0, 2, 1), mini(4, 2, 66), mini(13)});
    Clock& clock = engine_->virtual_clock();
    int count = 0;
    std::unique_ptr<Timer> timer;
    timer = clock.timer([&] {
      count++;
      engine_->cpu(0).pins().set_irq(0, count & 1);
      if (count < 40) timer->arm(clock.now() + 7777);
    });
    {
      std::lock_guard lock(loop_.loop().lock());
      timer->arm(5000);
    }
    engine_->resume();
    EXPECT_TRUE(eventually([&] {
      std::lock_guard lock(loop_.loop().lock());
      return count == 40;
    }));
    engine_->pause();
    timer.reset();
    engine_.reset();
    std::ifstream file(testing::TempDir() + "rhea_trace");
    std::string text, line;
    for (int i = 0; i < 300 && std::getline(file, line); i++) text += line + "\n";
    return text;
  }
};

TEST_F(CountedTest, TwoRunsAreTheSame) {
  for (unsigned cpus : {1u, 2u}) {
    const std::string first = run(true, cpus);
    EXPECT_GT(first.size(), 1000u);
    EXPECT_EQ(first, run(true, cpus));
    EXPECT_EQ(first, run(false, cpus));
  }
}

TEST_F(EngineTest, IdleTimeIsSkipped) {
  options_.icount = true;
  create(1);
  program(0, {mini(2), mini(1, 0, 2)});
  std::atomic<int> fired{0};
  std::unique_ptr<Timer> timer = engine_->virtual_clock().timer([&] { fired++; });
  {
    std::lock_guard lock(loop_.loop().lock());
    timer->arm(3600 * kSecond);
  }
  engine_->resume();
  EXPECT_TRUE(eventually([&] { return fired == 1; }));
  EXPECT_GE(engine_->virtual_clock().now(), 3600 * kSecond);
  // Armed from outside while all sleep.
  std::this_thread::sleep_for(10ms);
  {
    std::lock_guard lock(loop_.loop().lock());
    timer->arm(7200 * kSecond);
  }
  EXPECT_TRUE(eventually([&] { return fired == 2; }));
  engine_->pause();
  timer.reset();
}

TEST_F(EngineTest, ReadsAndWritesVirtualMemory) {
  create(1);
  const u8 data[] = {1, 2, 3, 4};
  EXPECT_TRUE(engine_->cpu(0).write_virtual(0x1ffe, data));
  u8 back[4] = {};
  EXPECT_TRUE(engine_->cpu(0).read_virtual(0x1ffe, back));
  EXPECT_EQ(std::memcmp(data, back, 4), 0);
  EXPECT_FALSE(engine_->cpu(0).read_virtual(0x70000000, back));
  u64 value = 0;
  EXPECT_TRUE(engine_->cpu(0).register_value("r0", value));
  EXPECT_NE(engine_->statistics().find("CPU 0"), std::string::npos);
}

}  // namespace
}  // namespace rhea::accel
