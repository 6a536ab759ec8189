// SPDX-License-Identifier: MIT
// The ring of copied translations: its oldest piece goes, with all that leads there, and nothing else does.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "accel/mini_machine.h"
#include "accel/translator/code_cache.h"

namespace rhea::accel {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// ---- the tables -----------------------------------------------------------------------------------------------------
constexpr u32 kBuffer = 4u << 20, kPiece = 64u << 10, kPieces = 4;

class CodeRingTest : public testing::Test {
 protected:
  CodeRingTest() {
    x64::Settings settings;
    settings.layout = guest_.layout();
    settings.helpers = guest_.helpers();
    compiler_ = std::make_unique<x64::Compiler>(settings, buffer_.data(), buffer_.data(), buffer_.size());
    ring_ = compiler_->set_aside(kPiece * kPieces);
    hot_ = compiler_->hot_begin();
    cold_ = compiler_->cold_begin();
    cache_.open_ring(ring_, kPiece, kPieces);
  }
  // A block of `bytes` at a pc that begins a page; its exits go to the pcs of `targets`, and have their fields in it.
  u32 make(u64 pc, u32 page, bool in_ring, std::initializer_list<u64> targets, u32 bytes = 256) {
    x64::CompiledBlock compiled;
    compiled.hot_bytes = compiled.cold_bytes = bytes;
    if (in_ring) {
      EXPECT_TRUE(compiler_->place_in_piece(compiled));
    } else {
      compiled.entry = std::exchange(hot_, hot_ + bytes);
      compiled.cold_entry = std::exchange(cold_, cold_ + bytes);
    }
    Translation made;
    made.key = {pc, 0};
    made.pages = {page, 0};
    made.end = {64, 0};
    made.entry = compiled.entry;
    made.first_exit = cache_.take_exits(static_cast<u32>(targets.size()), in_ring);
    ir::Block block;
    for (const u64 target : targets) {
      x64::ExitSite site;
      site.exit = static_cast<u16>(block.exits.size());
      site.jump = compiled.entry + 16 * (site.exit + 1);
      site.stub = compiled.cold_entry + 16 * site.exit;
      compiled.sites.push_back(site);
      block.exits.push_back({.target = {target, 0}});
      compiler_->unlink(site);
    }
    return cache_.add(made, compiled.sites, block, in_ring);
  }
  void fill(u32 piece) {
    cache_.open_piece(piece);
    compiler_->open_piece(cache_.piece_begin(piece), kPiece);
  }
  // Where a block's exit jumps to.
  u32 goes_to(u32 block, u32 exit) {
    const x64::ExitSite& site = cache_.exit(cache_.block(block).first_exit + exit).site;
    return site.jump + 4 + load_raw<u32>(buffer_.data() + site.jump);
  }
  u32 stub(u32 block, u32 exit) { return cache_.exit(cache_.block(block).first_exit + exit).site.stub; }
  void link(u32 block, u32 exit, u32 target) { cache_.link(cache_.block(block).first_exit + exit, target, *compiler_); }

  MiniGuest guest_;
  std::vector<u8> buffer_ = std::vector<u8>(kBuffer);
  std::unique_ptr<x64::Compiler> compiler_;
  CodeCache cache_;
  u32 ring_ = 0, hot_ = 0, cold_ = 0;  // hot_, cold_: where the next block goes that is not in the ring
};

TEST_F(CodeRingTest, WhatLedIntoAPieceLeavesAgain) {
  const u32 lasting = make(0x10000, 1, false, {0x20000, 0x30000});
  fill(0);
  const u32 old = make(0x20000, 2, true, {0x10000, 0x21000, 0x30000});
  const u32 neighbour = make(0x21000, 2, true, {0x20000});
  fill(1);
  const u32 young = make(0x30000, 2, true, {0x20000, 0x10000});
  link(lasting, 0, old);
  link(lasting, 1, young);
  link(old, 0, lasting);
  link(old, 1, neighbour);
  link(old, 2, young);
  link(neighbour, 0, old);
  link(young, 0, old);
  link(young, 1, lasting);
  ASSERT_EQ(goes_to(lasting, 0), cache_.block(old).entry);

  cache_.clear_piece(0, *compiler_);
  EXPECT_EQ(goes_to(lasting, 0), stub(lasting, 0));
  EXPECT_EQ(goes_to(young, 0), stub(young, 0));
  EXPECT_EQ(goes_to(lasting, 1), cache_.block(young).entry);
  EXPECT_EQ(goes_to(young, 1), cache_.block(lasting).entry);
  EXPECT_EQ(cache_.find({0x20000, 0}, 2, 0), kNoBlock);
  EXPECT_EQ(cache_.find({0x21000, 0}, 2, 0), kNoBlock);
  EXPECT_EQ(cache_.find({0x10000, 0}, 1, 0), lasting);
  EXPECT_EQ(cache_.find({0x30000, 0}, 2, 0), young);
  EXPECT_TRUE(cache_.is_empty(0));

  // The lists are whole: what is left can be linked, dropped and made again.
  fill(0);
  const u32 again = make(0x20000, 2, true, {0x30000});
  link(lasting, 0, again);
  link(again, 0, young);
  std::vector<u32> dropped;
  cache_.drop(2, 0, 64, *compiler_, [&](u32 block) { dropped.push_back(block); });
  std::ranges::sort(dropped);
  EXPECT_EQ(dropped, (std::vector<u32>{again, young}));
  EXPECT_EQ(goes_to(lasting, 0), stub(lasting, 0));
  EXPECT_EQ(goes_to(lasting, 1), stub(lasting, 1));
  EXPECT_FALSE(cache_.has_code(2));
  EXPECT_TRUE(cache_.has_code(1));
}

// Pieces are filled and emptied round and round, with blocks that were dropped before among them.
TEST_F(CodeRingTest, TheYoungestPiecesAreThere) {
  std::vector<u64> lasting;
  for (u64 i = 0; i < 200; i++) {
    lasting.push_back(0x4000'0000 + i * 0x1000);
    make(lasting.back(), 1, false, {lasting.front()});
  }
  u64 pc = 0x1000'0000;
  std::array<std::vector<u64>, kPieces> there;
  for (u32 round = 0; round < 30; round++) {
    const u32 piece = round % kPieces;
    cache_.clear_piece(piece, *compiler_);
    fill(piece);
    there[piece].clear();
    for (u32 i = 0; i < 100; i++, pc += 0x1000) {
      const u32 made = make(pc, 2 + i % 7, true, {lasting[i], pc - 0x1000});
      link(made, 0, cache_.find({lasting[i], 0}, 1, 0));
      if (i) link(made, 1, cache_.find({pc - 0x1000, 0}, 2 + (i - 1) % 7, 0));
      there[piece].push_back(pc);
    }
    cache_.drop(cache_.find({pc - 0x1000, 0}, 2 + 99 % 7, 0), *compiler_);
    there[piece].pop_back();
    u32 found = 0;
    for (u64 at = 0x1000'0000; at < pc; at += 0x1000) {
      for (u32 page = 2; page < 9; page++) {
        const u32 block = cache_.find({at, 0}, page, 0);
        if (block == kNoBlock) continue;
        found++;
        EXPECT_FALSE(cache_.block(block).dead);
        EXPECT_EQ(cache_.block_at(cache_.block(block).entry + 20), block);
      }
    }
    usize expected = 0;
    for (const auto& piece_there : there) expected += piece_there.size();
    EXPECT_EQ(found, expected) << "round " << round;
    for (const u64 at : lasting) EXPECT_NE(cache_.find({at, 0}, 1, 0), kNoBlock);
  }
}

TEST_F(CodeRingTest, AddressesAreDroppedInTheRingToo) {
  make(0x10000, 1, false, {});
  fill(3);
  const u32 one = make(0x20000, 2, true, {}), other = make(0x30000, 2, true, {});
  std::vector<u32> dropped;
  cache_.drop_addresses(0x20010, 0x20012, *compiler_, [&](u32 block) { dropped.push_back(block); });
  EXPECT_EQ(dropped, std::vector<u32>{one});
  EXPECT_EQ(cache_.find({0x30000, 0}, 2, 0), other);
}

// ---- programs -------------------------------------------------------------------------------------------------------
constexpr u32 kStart = 0x4000, kCode = 0x2000, kEnd = 0x3000;                // in RAM
constexpr u32 kPlace = 0x3c0, kZero = 0x3c4, kSum = 0x3c8, kRounds = 0x3cc;  // words in the first page
constexpr u32 kInstructions = memory::kPageSize / 2, kBlockLength = 16;
constexpr u32 kPlaceAdds = kInstructions - kInstructions / kBlockLength + 1;  // the last one is no branch

// CPUs that run a page of code at one virtual address after the other, from `first_page` on: at each it adds kPlaceAdds
// to r0. Page 0, which leads there, is another one for each CPU. The page behind the last place stores r0 and counts
// the rounds.
class RingMachine : protected MiniMachine {
 public:
  RingMachine(const Options& options, unsigned cpus, u32 first_page, u32 places)
      : MiniMachine(options), places_(places) {
    create(cpus, [&](MiniGuest& guest, unsigned cpu) { map(guest, cpu, first_page); });
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
      program(start(cpu), {mini(5, 1, kPlace / 4), mini(6, 1)});
      store_raw(ram_->data() + start(cpu) + kPlace, first_page << memory::kPageBits);
    }
    // A branch to the next instruction ends each block; the page's last one goes on in the next page.
    for (u32 i = 0; i < kInstructions; i++) {
      const bool ends = (i + 1) % kBlockLength == 0 && i + 1 < kInstructions;
      program(kCode + 2 * i, {ends ? mini(1, 0, 0) : mini(0, 0, 1)});
    }
    program(kEnd, {mini(4, 0, kSum / 4), mini(5, 3, kRounds / 4), mini(0, 3, 1), mini(4, 3, kRounds / 4),
                   mini(5, 1, kZero / 4), mini(6, 1)});
  }
  std::string statistics() { return engine_->statistics(); }
  u64 count(const char* before) {
    const std::string text = statistics();
    const usize at = text.find(before);
    return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + std::strlen(before), nullptr, 10);
  }
  void start() { engine_->resume(); }
  // Until every CPU has been everywhere as many times; each sum is what it has to be.
  void run(u32 rounds) {
    engine_->resume();
    for (unsigned cpu = 0; cpu < guests_.size(); cpu++) {
      EXPECT_TRUE(eventually([&] { return word(start(cpu) + kRounds) >= rounds; })) << statistics();
    }
    engine_->pause();
    const u32 round = kPlaceAdds * places_;
    for (unsigned cpu = 0; cpu < guests_.size(); cpu++) {
      const u32 sum = word(start(cpu) + kSum), done = word(start(cpu) + kRounds);
      EXPECT_TRUE(sum == done * round || sum == (done + 1) * round) << sum << " after " << done << " rounds";
    }
  }

 private:
  static u32 start(unsigned cpu) { return kStart + memory::kPageSize * cpu; }
  void map(MiniGuest& guest, unsigned index, u32 first_page) {
    guest.mapped = true;
    const auto page = [&](u64 number, u64 physical) {
      guest.pages[{0, number}] = {.mapping = {.physical = physical, .writable = true, .executable = true}};
    };
    page(0, start(index));
    for (u32 i = 0; i < places_; i++) page(first_page + i, kCode);
    page(first_page + places_, kEnd);
  }
  const u32 places_;
};

constexpr const char *kTranslated = "blocks translated", *kCopied = "copied from elsewhere",
                     *kEmptied = "cache emptied", *kPiecesEmptied = "for other addresses;";

Options small() {
  Options options;
  options.cache_size = u64{4} << 20;
  return options;
}

TEST(CopiesTest, MoreThanTheRingHoldsEmptiesNothingElse) {
  RingMachine machine(small(), 1, 0x100, 200);
  machine.run(4);
  EXPECT_EQ(machine.count(kEmptied), 0u);
  EXPECT_GE(machine.count(kPiecesEmptied), 16u);
  EXPECT_LT(machine.count(kTranslated), 3 * kInstructions / kBlockLength);
  EXPECT_GE(machine.count(kCopied), 4u * 150 * kInstructions / kBlockLength);
}

TEST(CopiesTest, PiecesAreEmptiedWhileOtherCpusRun) {
  RingMachine machine(small(), 4, 0x100, 150);
  machine.run(6);
  EXPECT_EQ(machine.count(kEmptied), 0u);
  EXPECT_GE(machine.count(kPiecesEmptied), 16u);
}

// Whoever waits to empty a piece then finds that there is nothing to wait for.
TEST(CopiesTest, TheMachineMayEndMeanwhile) {
  for (unsigned i = 0; i < 60; i++) {
    RingMachine machine(small(), 4, 0x100, 150);
    machine.start();
    std::this_thread::sleep_for(std::chrono::microseconds(8000 + 331 * i));
  }
}

TEST(CopiesTest, CheckedOnesAreEqual) {
  Options options = small();
  options.check_copies = true;
  RingMachine machine(options, 1, 0x100, 20);
  machine.run(1);
  EXPECT_EQ(machine.count(kCopied), 0u);
  EXPECT_NE(machine.statistics().find(" compared, 0 different"), std::string::npos) << machine.statistics();
  EXPECT_GE(machine.count("elsewhere 0 blocks;"), 17u * kInstructions / kBlockLength);
}

TEST(CopiesTest, ThereAreNoneWithoutTheSwitch) {
  Options options = small();
  options.copies = false;
  RingMachine machine(options, 1, 0x100, 20);
  machine.run(2);
  EXPECT_EQ(machine.count(kCopied), 0u);
  EXPECT_GE(machine.count(kTranslated), 20u * kInstructions / kBlockLength);
}

TEST(CopiesTest, TheNextRunCopiesFromTheFile) {
  std::string name = (fs::temp_directory_path() / "rhea-ring-XXXXXX").string();
  Options options = small();
  options.cache_folder = ::mkdtemp(name.data());
  { RingMachine(options, 1, 0x100, 3).run(1); }
  {
    RingMachine machine(options, 1, 0x900, 20);
    ASSERT_TRUE(eventually([&] { return machine.count("kept translations") >= kInstructions / kBlockLength; }));
    machine.run(1);
    EXPECT_LT(machine.count(kTranslated), kInstructions / kBlockLength / 4);
    EXPECT_GE(machine.count(kCopied), 20u * kInstructions / kBlockLength - 8);
  }
  fs::remove_all(options.cache_folder);
}

}  // namespace
}  // namespace rhea::accel
