// SPDX-License-Identifier: MIT
// Regions that are being made: what makes them come to nothing, and the thread that makes them.
#include "accel/translator/regions.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <semaphore>
#include <thread>

#include "accel/mini_machine.h"
#include "accel/translator/region_queue.h"

namespace rhea::accel {
namespace {

using namespace std::chrono_literals;

// ---- the tables -----------------------------------------------------------------------------------------------------
TEST(RegionsTest, OneThatIsMadeIsToldOfItsBlocks) {
  Regions regions;
  RegionParts first{.head = 1, .others = {2, 3}}, second{.head = 4, .others = {3, 5}};
  regions.await(first);
  regions.await(second);
  EXPECT_TRUE(regions.is_awaited(1));
  EXPECT_FALSE(regions.is_awaited(2));
  regions.block_died(7);
  EXPECT_FALSE(first.died || second.died);
  regions.block_died(5);
  EXPECT_FALSE(first.died);
  EXPECT_TRUE(second.died);
  EXPECT_FALSE(regions.is_awaited(4));
  regions.forget(second);
  regions.await(second);  // its blocks were made again
  regions.block_died(1);
  EXPECT_TRUE(first.died);
  EXPECT_FALSE(second.died);
  regions.blocks_die([](u32 block) { return block == 3; });
  EXPECT_TRUE(second.died);
  regions.forget(second);
  second.died = false;
  regions.block_died(4);
  EXPECT_FALSE(second.died);
}

// Two loops through each other's heads are found at the same time.
TEST(RegionsTest, HeadsOfOthersMayBecomeRegionsMeanwhile) {
  Regions regions;
  RegionParts first{.head = 1, .others = {2, 3}}, second{.head = 2, .others = {1, 4}};
  regions.await(first);
  regions.await(second);
  regions.forget(first);
  regions.add(11, first.head, first.others);
  EXPECT_FALSE(second.died);
  EXPECT_EQ(second.others, (std::vector<u32>{11, 4}));
  regions.forget(second);
  regions.add(12, second.head, second.others);
  // What drops one drops the other, and nothing else.
  regions.block_died(3);
  EXPECT_EQ(regions.take_doomed(), std::vector<u32>{11});
  regions.block_died(11);
  EXPECT_EQ(regions.take_doomed(), std::vector<u32>{12});
  regions.block_died(12);
  EXPECT_EQ(regions.count(), 0u);
}

TEST(RegionsTest, NoneIsLeftWhenAllBlocksGo) {
  Regions regions;
  RegionParts parts{.head = 1, .others = {2}};
  regions.await(parts);
  regions.clear();
  EXPECT_TRUE(parts.died);
  EXPECT_FALSE(regions.is_awaited(1));
}

// ---- the thread -----------------------------------------------------------------------------------------------------
TEST(RegionQueueTest, ThereAreOnlySoManyRequests) {
  RegionQueue queue;
  std::vector<RegionRequest*> taken;
  for (RegionRequest* request; (request = queue.take());) taken.push_back(request);
  EXPECT_EQ(taken.size(), RegionQueue::kRequests);
  queue.put_back(*taken.back());
  EXPECT_EQ(queue.take(), taken.back());
  EXPECT_EQ(queue.take(), nullptr);
  EXPECT_FALSE(queue.has_thread());
}

TEST(RegionQueueTest, TheThreadWorksOnThemInTheirOrderAndPutsThemBack) {
  std::vector<RegionRequest*> done;
  std::mutex mutex;
  RegionQueue queue;
  queue.start([&](RegionRequest& request) {
    std::lock_guard lock(mutex);
    done.push_back(&request);
  });
  std::vector<RegionRequest*> queued;
  for (usize i = 0; i < 3 * RegionQueue::kRequests; i++) {
    RegionRequest* request = nullptr;
    ASSERT_TRUE(eventually([&] { return (request = queue.take()) != nullptr; }));
    queued.push_back(request);
    queue.queue(*request);
  }
  EXPECT_TRUE(eventually([&] {
    std::lock_guard lock(mutex);
    return done.size() == queued.size();
  }));
  queue.stop();
  EXPECT_EQ(done, queued);
}

TEST(RegionQueueTest, NothingIsDoneWhileItIsHeld) {
  std::atomic<int> done{0};
  RegionQueue queue;
  queue.start([&](RegionRequest&) { done++; });
  {
    const auto held = queue.hold();
    queue.queue(*queue.take());
    ASSERT_TRUE(eventually([&] { return queue.waiting() == 0; }));  // the thread has it
    EXPECT_EQ(done, 0);
  }
  EXPECT_TRUE(eventually([&] { return done == 1; }));
}

TEST(RegionQueueTest, ItEndsBehindTheRequestThatItIsAt) {
  std::binary_semaphore began{0}, goes_on{0};
  std::atomic<int> done{0};
  RegionQueue queue;
  queue.start([&](RegionRequest&) {
    began.release();
    goes_on.acquire();
    done++;
  });
  for (int i = 0; i < 3; i++) queue.queue(*queue.take());
  began.acquire();
  std::thread stops([&] { queue.stop(); });
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(done, 0);
  goes_on.release();
  stops.join();
  EXPECT_EQ(done, 1);
  EXPECT_EQ(queue.waiting(), 2u);
  queue.stop();
}

// ---- programs -------------------------------------------------------------------------------------------------------
constexpr u32 kWhere = 0x3c0;                                   // word: the loop that the CPUs are to run
constexpr u32 kLoops = 0x2000, kLoopBytes = 0x400, kLast = 55;  // in RAM
constexpr u32 kLoopBlocks = 50, kStores = 8;                    // of a loop, of each of its blocks
constexpr u32 kResults = 0x1000, kResultBytes = 0x100;          // of each CPU

// CPUs that run a loop of many short blocks: it stores its number, and goes to where kWhere says.
class Loops : protected MiniMachine {
 public:
  Loops(const Options& options, unsigned cpus) : MiniMachine(options) {
    create(cpus);
    for (unsigned i = 0; i < cpus; i++) {
      guests_[i]->s.r[3] = kResults + kResultBytes * i;
      guests_[i]->s.r[5] = guests_[i]->s.r[3] + 64;
    }
    program(0, {mini(5, 2, kWhere / 4), mini(6, 2)});
    program(MiniGuest::kVector, {mini(13)});
    for (u32 loop = 0; loop <= kLast; loop++) make(place(loop));
    go_to(0);
  }
  void start() { engine_->resume(); }
  void pause() { engine_->pause(); }
  Log& log() { return log_; }
  std::string statistics() { return engine_->statistics(); }
  u64 count(const char* before) {
    const std::string text = statistics();
    const usize at = text.find(before);
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + std::strlen(before), nullptr, 10);
  }
  void go_to(u32 loop) {
    __atomic_store_n(reinterpret_cast<u32*>(ram_->data() + kWhere), place(loop), __ATOMIC_RELEASE);
  }
  void write_number(u32 loop, u16 number) { memory_.write(place(loop), mini(3, 0, number), 2, {}); }
  // Where the CPUs look up, they may find a path.
  void interrupt() {
    for (unsigned cpu = 0; cpu < guests_.size(); cpu++) {
      engine_->cpu(cpu).pins().set_irq(0, true);
      engine_->cpu(cpu).pins().set_irq(0, false);
    }
  }
  bool all_store(u16 number) {
    for (unsigned cpu = 0; cpu < guests_.size(); cpu++) {
      const u32 at = kResults + kResultBytes * cpu;
      if (!eventually([&] { return static_cast<u16>(word(at)) == number; })) return false;
    }
    return true;
  }

 private:
  static u32 place(u32 loop) { return kLoops + kLoopBytes * loop; }
  void make(u32 at) {
    program(at, {mini(3, 0, 0), mini(1, 0, 0)});
    at += 4;
    for (u32 i = 0; i < kLoopBlocks; i++) {
      for (u32 store = 0; store < kStores; store++) program(at + 2 * store, {mini(12, 1, 5)});
      program(at + 2 * kStores, {mini(1, 0, 0)});
      at += 2 * (kStores + 1);
    }
    program(at, {mini(12, 0, 3), mini(6, 4)});
  }
};

constexpr const char *kMade = "regions             ", *kGivenUp = "requests were in use, ",
                     *kEmptied = "cache emptied ";

Options eager() {
  Options options;
  options.eager_tier2 = true;
  options.cache_size = u64{4} << 20;
  return options;
}

// Each number is written a little later behind an interrupt, to meet all that a path goes through: while it is
// followed, read, waits, is compiled, and runs. Everything that was made from the old one is gone then.
void write_numbers(Loops& loops, u32 loop, u32 times) {
  static u16 number = 0;
  loops.go_to(loop);
  for (u32 i = 0; i < times; i++) {
    number = static_cast<u16>(number % 255 + 1);
    loops.interrupt();
    std::this_thread::sleep_for(std::chrono::microseconds(137 * (number % 19)));
    loops.write_number(loop, number);
    ASSERT_TRUE(loops.all_store(number)) << loops.statistics();
    loops.interrupt();
    std::this_thread::sleep_for(100us);
    // Who went into a region since stores it, too.
    ASSERT_TRUE(loops.all_store(number)) << loops.statistics();
  }
}

TEST(RegionThreadTest, CodeIsWrittenWhileItsPathIsCompiled) {
  for (const unsigned cpus : {1u, 4u}) {
    Loops loops(eager(), cpus);
    loops.start();
    for (u32 loop = 0; loop <= kLast; loop++) write_numbers(loops, loop, 4);
    loops.pause();
    EXPECT_GT(loops.count(kMade), 20u) << loops.statistics();
    EXPECT_GT(loops.count(kGivenUp), 0u) << loops.statistics();
  }
}

TEST(RegionThreadTest, ThereIsNoneWhereItIsOff) {
  Options options = eager();
  options.tier2_thread = false;
  Loops loops(options, 4);
  loops.start();
  for (u32 loop = 0; loop <= kLast; loop += 4) write_numbers(loops, loop, 4);
  loops.pause();
  EXPECT_GT(loops.count(kMade), 5u) << loops.statistics();
  EXPECT_NE(loops.statistics().find("; 0 ms beside the CPUs"), std::string::npos);
}

// With each block shown, and back: all is dropped, and the compiler starts anew.
TEST(RegionThreadTest, EverythingIsDroppedMeanwhile) {
  Loops loops(eager(), 4);
  loops.start();
  for (u32 loop = 0; loop <= kLast; loop++) {
    loops.log().set_mask(loop % 2 ? static_cast<u32>(LogItem::nochain) : 0);
    write_numbers(loops, loop, 2);
  }
  loops.log().set_mask(0);
  write_numbers(loops, 0, 2);
  loops.pause();
  EXPECT_GT(loops.count(kEmptied), kLast / 2) << loops.statistics();
  EXPECT_GT(loops.count(kMade), 5u) << loops.statistics();
}

TEST(RegionThreadTest, TheMachineMayEndWhileSomeWait) {
  for (u32 i = 0; i < 60; i++) {
    Loops loops(eager(), 4);
    loops.start();
    ASSERT_TRUE(loops.all_store(0));
    for (u32 loop = 1; loop < 4; loop++) {
      loops.go_to(loop);
      loops.interrupt();
      std::this_thread::sleep_for(std::chrono::microseconds(100 + 61 * i));
    }
  }
}

}  // namespace
}  // namespace rhea::accel
