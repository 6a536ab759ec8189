// SPDX-License-Identifier: MIT
#include "ir/join.h"

#include <gtest/gtest.h>

#include "ir/passes/passes.h"
#include "ir/test_machine.h"

namespace rhea::ir {
namespace {

constexpr Key kFirst{1, 0}, kSecond{2, 0}, kBehind{3, 0}, kElsewhere{77, 0};
constexpr usize kNone = ~usize{0};

// Two random blocks of which the first one may go on to the second.
struct Pair {
  Block first, second;
  usize exit = kNone;  // of the first block's exits, which leads on

  explicit Pair(u32 seed)
      : first(RandomBlock(seed).make(5 + seed % 40)), second(RandomBlock(seed + 1'000'000).make(5 + seed % 30)) {
    first.key = kFirst;
    second.key = kSecond;
    first.guest_insns = second.guest_insns = 1;
    for (Block* block : {&first, &second}) {
      for (ExitInfo& exit : block->exits) exit.live_flags = kFlagNZCV;
    }
    switch (seed % 3) {
      case 0: leads_on(first.insts.back().imm); break;
      case 1: lead_on_from_condition(); break;
      default: lead_on_indirectly(seed / 3 % 2 ? kSecond : kElsewhere); break;
    }
  }

 private:
  void leads_on(usize number) {
    exit = number;
    first.exits[number].target = kSecond;
  }
  void lead_on_from_condition() {
    for (const Inst& inst : first.insts) {
      if (inst.op != Op::ExitIf && inst.op != Op::ExitIfZero && inst.op != Op::ExitIfNonZero) continue;
      leads_on(inst.imm);
      first.exits[exit].has_next = true;
      first.exits[exit].next = kBehind;
      return;
    }
  }
  void lead_on_indirectly(const Key& to) {
    exit = first.insts.back().imm;
    first.insts.pop_back();
    const Ref pc = static_cast<Ref>(first.insts.size());
    first.insts.push_back({.op = Op::Const, .type = Type::I32, .imm = to.pc});
    first.insts.push_back({.op = Op::Const, .type = Type::I32, .imm = to.mode});
    first.insts.push_back({.op = Op::ExitIndirect, .args = {pc, static_cast<Ref>(pc + 1), kNoRef}, .imm = exit});
  }
};

TestMachine random_machine(u32 seed) {
  TestMachine machine;
  std::mt19937 random(seed);
  for (u32 i = TestMachine::kSlots; i < machine.state.size(); i++) machine.state[i] = static_cast<u8>(random());
  for (u8& byte : machine.memory) byte = static_cast<u8>(random());
  machine.flags = random() & kImageMask;
  return machine;
}

// A region does what its blocks do one behind the other, and leaves where they do.
TEST(Joiner, RegionsAreTheirBlocks) {
  unsigned joined = 0, went_through = 0;
  for (u32 seed = 0; seed < 6000; seed++) {
    const Pair pair(seed);
    Block region;
    Joiner joiner(region, false);
    if (pair.exit == kNone || !joiner.append(pair.first, kSecond, 0)) continue;
    ASSERT_TRUE(joiner.finish(pair.second, 0));
    joined++;
    if (seed / 6 % 2) run_passes(region, {}, {});
    ASSERT_EQ(verify(region), "") << "seed " << seed << "\n" << print(region);
    for (u32 run = 0; run < 3; run++) {
      TestMachine blocks = random_machine(seed * 3 + run), whole = blocks;
      blocks.run(pair.first);
      const bool through = blocks.exit_pc == kSecond.pc;
      if (through) blocks.run(pair.second);
      whole.run(region);
      // The rest of the first block is no part of the region.
      if (whole.exit_pc == kBehind.pc) {
        EXPECT_FALSE(through && blocks.exit == pair.exit) << "seed " << seed;
        continue;
      }
      went_through += through;
      ASSERT_TRUE(blocks.state == whole.state && blocks.memory == whole.memory && blocks.exit_pc == whole.exit_pc &&
                  blocks.flags == whole.flags)
          << "seed " << seed << "\n"
          << print(pair.first) << print(pair.second) << "become\n"
          << print(region);
    }
  }
  EXPECT_GT(joined, 3000u);
  EXPECT_GT(went_through, 3000u);
}

Block jump(const Key& from, const Key& to, bool poll) {
  Block block;
  Builder b(block);
  block.key = from;
  block.guest_insns = 3;
  b.loc(from.pc);
  b.loc(from.pc + 1);
  b.exit({.target = to, .poll = poll, .insns = 3});
  return block;
}

// Three of them; the first one's jump polls, the second one's page is asked for if it is not 0.
void join_three(Block& region, bool polls, u32 page) {
  Joiner joiner(region, polls);
  ASSERT_TRUE(joiner.append(jump({100, 0}, {200, 0}, true), {200, 0}, 0));
  ASSERT_TRUE(joiner.append(jump({200, 0}, {300, 0}, false), {300, 0}, page));
  ASSERT_TRUE(joiner.finish(jump({300, 0}, {100, 0}, true), 0));
}

unsigned count(const Block& block, Op op) {
  unsigned found = 0;
  for (const Inst& inst : block.insts) found += inst.op == op;
  return found;
}

TEST(Joiner, CountsInstructions) {
  Block region;
  ASSERT_NO_FATAL_FAILURE(join_three(region, false, 17));
  EXPECT_EQ(region.guest_insns, 9);
  EXPECT_EQ(region.key, (Key{100, 0}));
  EXPECT_EQ(region.exits.back().insns, 9);
  EXPECT_EQ(insns_from(region, region.insts.back().op == Op::Exit ? region.insts[region.insts.size() - 2] : Inst{}),
            2u);
  // The second block's page is asked for, where three instructions are done.
  ASSERT_EQ(count(region, Op::ExitIfMoved), 1u);
  EXPECT_EQ(region.exits[0].page, 17u);
  EXPECT_EQ(region.exits[0].insns, 3);
  EXPECT_EQ(count(region, Op::ExitIfPolled), 0u);
}

TEST(Joiner, LooksAtThePollWordWhereBlocksDo) {
  Block region;
  ASSERT_NO_FATAL_FAILURE(join_three(region, true, 0));
  ASSERT_EQ(count(region, Op::ExitIfPolled), 1u);
  EXPECT_EQ(region.exits[0].target, (Key{200, 0}));
  EXPECT_EQ(region.exits[0].insns, 3);
}

TEST(Joiner, RefusesWhatDoesNotLeadOn) {
  Block region;
  Joiner joiner(region, false);
  EXPECT_FALSE(joiner.append(jump({100, 0}, {200, 0}, true), {300, 0}, 0));
  EXPECT_FALSE(joiner.append(jump({100, 0}, {200, 1}, true), {200, 1}, 0));  // another mode
  EXPECT_TRUE(region.insts.empty());
  Block helper;
  Builder b(helper);
  b.exit_dispatch({.poll = true});
  EXPECT_FALSE(joiner.append(helper, {200, 0}, 0));
}

}  // namespace
}  // namespace rhea::ir
