// SPDX-License-Identifier: MIT
#include "ir/passes/passes.h"

#include <gtest/gtest.h>

#include "ir/test_machine.h"

namespace rhea::ir {
namespace {

void randomize(TestMachine& machine, u32 seed) {
  std::mt19937 random(seed);
  for (u32 i = TestMachine::kSlots; i < machine.state.size(); i++)
    machine.state[i] = static_cast<u8>(random() % 5 ? random() : 0);
  for (u8& byte : machine.memory) byte = static_cast<u8>(random());
  machine.flags = random() & kImageMask;
}

// Runs both and compares what may be looked at: all state, memory, and the flags that live at the exit taken.
void expect_same(const Block& before, const Block& after, u32 seed, bool lazy) {
  TestMachine a, b;
  randomize(a, seed);
  b = a;
  a.run(before);
  b.run(after);
  const u32 mask = lazy && a.exit < before.exits.size() ? image_mask(before.exits[a.exit].live_flags) : kImageMask;
  const bool same = a.state == b.state && a.memory == b.memory && a.exit_pc == b.exit_pc &&
                    (a.flags & mask) == (b.flags & mask) && a.saturated == b.saturated;
  ASSERT_TRUE(same) << "seed " << seed << "\n" << print(before) << "becomes\n" << print(after);
}

void check_pass(void (*pass)(Block&), bool lazy) {
  for (u32 seed = 0; seed < 3000; seed++) {
    Block block = RandomBlock(seed).make(5 + seed % 60);
    ASSERT_EQ(verify(block), "") << "seed " << seed << "\n" << print(block);
    Block changed = block;
    pass(changed);
    ASSERT_EQ(verify(changed), "") << "seed " << seed << "\n" << print(block) << "becomes\n" << print(changed);
    for (u32 run = 0; run < 4; run++) {
      expect_same(block, changed, seed * 4 + run, lazy);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Passes, Forward) {
  check_pass([](Block& b) { forward(b, {}); }, false);
}
TEST(Passes, Raise) {
  check_pass([](Block& b) { raise(b); }, false);
}
TEST(Passes, Sweep) {
  check_pass([](Block& b) { sweep(b, {}, {}); }, true);
}
TEST(Passes, SweepWithAllFlagsLiveAtExits) {
  check_pass([](Block& b) { sweep(b, {}, {.lazy_flags = false}); }, false);
}
TEST(Passes, SweepThatDropsNothing) {
  check_pass([](Block& b) { sweep(b, {}, {.lazy_flags = false, .drop = false}); }, false);
}
TEST(Passes, SweepOfFlagsAlone) {
  check_pass([](Block& b) { sweep(b, {}, {.drop = false}); }, true);
}
TEST(Passes, ExpandGroups) {
  check_pass([](Block& b) { expand_groups(b); }, false);
}
TEST(Passes, All) {
  check_pass([](Block& b) { run_passes(b, {}, {}); }, true);
}
TEST(Passes, AllWithoutGroups) {
  check_pass([](Block& b) { run_passes(b, {}, {.group = false}); }, true);
}
TEST(Passes, NoneButUses) {
  check_pass([](Block& b) { run_passes(b, {}, {.optimize = false}); }, false);
}

usize count(const Block& block, Op op) {
  return static_cast<usize>(
      std::count_if(block.insts.begin(), block.insts.end(), [&](const Inst& i) { return i.op == op; }));
}

TEST(Passes, FlagsThatNobodyReadsAreNotWritten) {
  Block block;
  Builder b(block);
  const Ref a = b.get(Type::I32, TestMachine::kSlots), c = b.get(Type::I32, TestMachine::kSlots + 4);
  b.set_flags(b.add(a, c), kFlagNZCV);
  b.set_flags(b.sub(a, c), kFlagNZCV);
  b.exit_if(Cond::EQ, {.live_flags = 0});
  b.exit({.live_flags = 0});
  run_passes(block, {}, {});
  EXPECT_EQ(count(block, Op::SetFlags), 1u);
  EXPECT_EQ(count(block, Op::Add), 0u);
  for (const Inst& inst : block.insts) {
    if (inst.op == Op::SetFlags) {
      EXPECT_EQ(inst.aux, kFlagZ);
      EXPECT_EQ(inst.aux2, 0);
    }
  }
}

TEST(Passes, FlagsLiveWhereAFaultMayBe) {
  Block block;
  Builder b(block);
  const Ref a = b.get(Type::I32, TestMachine::kSlots);
  b.set_flags(b.add(a, a), kFlagNZCV);
  b.loc(1);
  b.load(32, a);
  b.set_flags(b.sub(a, a), kFlagNZCV);
  b.exit({});
  run_passes(block, {}, {});
  EXPECT_EQ(count(block, Op::SetFlags), 2u);
}

TEST(Passes, StateIsReadOnceAndWrittenOnce) {
  Block block;
  Builder b(block);
  const u32 slot = TestMachine::kSlots;
  for (unsigned i = 0; i < 5; i++) b.set(Type::I32, slot, b.add(b.get(Type::I32, slot), 1));
  b.exit({});
  run_passes(block, {}, {});
  EXPECT_EQ(count(block, Op::GetState), 1u);
  EXPECT_EQ(count(block, Op::SetState), 1u);
}

// VSHR and VSLI, VSHL and VSRI of one vector; with counts that do not make up the lane, or a mask of another, no
// rotation.
TEST(Passes, InsertedShiftsAreRotations) {
  for (u32 seed = 0; seed < 400; seed++) {
    const unsigned lane = seed & 1 ? 64 : 32, left = 1 + seed / 4 % (lane - 1), off = seed % 5 == 4;
    const u64 ones = ~u64{0} >> (64 - lane);
    const bool keeps_left = seed & 2;
    u64 mask = (keeps_left ? ones << left : ones >> (lane - left)) & ones;
    if (lane == 32) mask |= mask << 32;
    if (seed % 7 == 6) mask ^= u64{1} << (seed % 64);
    Block block;
    Builder b(block);
    const Ref from = b.get(Type::V128, TestMachine::kVectors);
    const auto shift = [&](Op op, unsigned by) {
      return b.emit(op, Type::V128, from, kNoRef, kNoRef, by, static_cast<u8>(lane));
    };
    const Ref shl = shift(Op::VShlImm, left), shr = shift(Op::VShrUImm, lane - left + off);
    const Ref bits = b.emit(Op::VConst, Type::V128, kNoRef, kNoRef, kNoRef, mask);
    b.set(Type::V128, TestMachine::kVectors + 16,
          b.emit(Op::VBitSelect, Type::V128, bits, keeps_left ? shl : shr, keeps_left ? shr : shl, 0, 64));
    b.exit({});
    ASSERT_EQ(verify(block), "");
    Block changed = block;
    run_passes(changed, {}, {});
    ASSERT_EQ(verify(changed), "");
    EXPECT_EQ(count(changed, Op::VRotlImm), off || seed % 7 == 6 ? 0u : 1u) << seed;
    expect_same(block, changed, seed, false);
  }
}

// A step of a division: cmp r0, r1; subhs r0, r0, r1; orrhs r2, r2, r3.
TEST(Passes, FlagsStayBesideTheirReaders) {
  Block block;
  Builder b(block);
  const auto reg = [](u32 n) { return TestMachine::kSlots + 4 * n; };
  const auto get = [&](u32 n) { return b.get(Type::I32, reg(n)); };
  b.set_flags(b.sub(get(0), get(1)), kFlagNZCV);
  b.set(Type::I32, reg(0), b.select(b.test(Cond::CS), b.sub(get(0), get(1)), get(0)));
  b.set(Type::I32, reg(2), b.select(b.test(Cond::CS), b.or_(get(2), get(3)), get(2)));
  b.exit({.live_flags = 0});
  Block changed = block;
  run_passes(changed, {}, {});
  ASSERT_EQ(verify(changed), "");
  bool after = false;
  for (const Inst& inst : changed.insts) {
    after |= inst.op == Op::SetFlags;
    EXPECT_FALSE(after && (inst.op == Op::Sub || inst.op == Op::Or)) << print(changed);
  }
  for (u32 run = 0; run < 200; run++) expect_same(block, changed, run, true);
}

TEST(Passes, HelpersSeeAndChangeState) {
  const Helper helpers[] = {{"peek", nullptr, kReadsState}, {"poke", nullptr, kWritesState}, {"pure", nullptr, kPure}};
  for (u64 helper = 0; helper < 3; helper++) {
    Block block;
    Builder b(block);
    const u32 slot = TestMachine::kSlots;
    b.set(Type::I32, slot, b.const32(1));
    b.emit(Op::Call0, Type::I32, kNoRef, kNoRef, kNoRef, helper);
    b.set(Type::I32, slot + 4, b.get(Type::I32, slot));
    b.set(Type::I32, slot, b.const32(2));
    b.exit({});
    run_passes(block, helpers, {});
    EXPECT_EQ(count(block, Op::SetState), helper == 2 ? 2u : 3u);
    EXPECT_EQ(count(block, Op::GetState), helper == 1 ? 1u : 0u);
    EXPECT_EQ(count(block, Op::Call0), helper == 2 ? 0u : 1u);
  }
}

}  // namespace
}  // namespace rhea::ir
