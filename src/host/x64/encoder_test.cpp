// SPDX-License-Identifier: MIT
// Each form that Encoder has of its own is what xbyak makes of it, for all registers, widths and kinds of displacement.
#include "host/x64/encoder.h"

#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "host/x64/deferred.h"

namespace rhea::x64 {
namespace {

using Xbyak::Reg32;
using Xbyak::Reg32e;
using Xbyak::Reg64;

constexpr u32 kImmediates[] = {0, 1, 0x7f, 0x80, 0xff, 0x12345678, 0x7fffffff, 0x80000000, 0xffffff80, 0xffffffff};
constexpr Alu kAlus[] = {Alu::add, Alu::or_, Alu::adc, Alu::sbb, Alu::and_, Alu::sub, Alu::xor_, Alu::cmp};

class EncoderTest : public ::testing::Test {
 protected:
  // `own` and `theirs` make the same of an Encoder and of a CodeGenerator.
  template <typename Own, typename Theirs>
  void same(Own&& own, Theirs&& theirs) {
    encoder_.setSize(0);
    theirs_.setSize(0);
    own(encoder_);
    theirs(theirs_);
    const std::vector<u8> a(encoder_.getCode(), encoder_.getCurr()), b(theirs_.getCode(), theirs_.getCurr());
    ASSERT_EQ(a, b);
  }
  template <typename F>
  static void each_register(F&& with) {
    for (int i = 0; i < 16; i++) {
      with(Reg32e(i, 32));
      with(Reg32e(i, 64));
    }
  }
  template <typename F>
  static void each_operand(F&& with) {
    for (u8 base = 0; base < 16; base++) {
      for (u8 index = 0; index < 16; index++) {
        for (const s32 displacement : {0, 1, -1, 127, 128, -128, -129, 0x12345678, INT32_MIN}) {
          with(Mem{.base = base, .index = index, .displacement = displacement});
        }
      }
    }
  }
  template <typename Second>
  static void alu(Xbyak::CodeGenerator& to, Alu op, const Xbyak::Operand& a, const Second& b) {
    switch (op) {
      case Alu::add: to.add(a, b); break;
      case Alu::or_: to.or_(a, b); break;
      case Alu::adc: to.adc(a, b); break;
      case Alu::sbb: to.sbb(a, b); break;
      case Alu::and_: to.and_(a, b); break;
      case Alu::sub: to.sub(a, b); break;
      case Alu::xor_: to.xor_(a, b); break;
      case Alu::cmp: to.cmp(a, b); break;
    }
  }
  std::vector<u8> own_buffer_ = std::vector<u8>(64), their_buffer_ = std::vector<u8>(64);
  Encoder encoder_{own_buffer_.data(), own_buffer_.size()};
  Xbyak::CodeGenerator theirs_{their_buffer_.size(), their_buffer_.data()};
};

TEST_F(EncoderTest, BetweenRegisters) {
  each_register([&](const Reg32e& a) {
    each_register([&](const Reg32e& b) {
      if (a.getBit() != b.getBit()) return;
      same([&](Encoder& e) { e.mov(a, b); }, [&](Xbyak::CodeGenerator& x) { x.mov(a, b); });
      same([&](Encoder& e) { e.test(a, b); }, [&](Xbyak::CodeGenerator& x) { x.test(a, b); });
      for (const Alu op : kAlus) {
        same([&](Encoder& e) { e.alu(op, a, b); }, [&](Xbyak::CodeGenerator& x) { alu(x, op, a, b); });
      }
    });
  });
}

TEST_F(EncoderTest, Immediates) {
  each_register([&](const Reg32e& a) {
    for (const u32 value : kImmediates) {
      same([&](Encoder& e) { e.mov(a, u64{value}); }, [&](Xbyak::CodeGenerator& x) { x.mov(a, u64{value}); });
      for (const Alu op : kAlus) {
        same([&](Encoder& e) { e.alu(op, a, value); }, [&](Xbyak::CodeGenerator& x) { alu(x, op, a, value); });
      }
    }
    if (a.getBit() != 64) return;
    for (const u64 value : {~u64{0}, u64{1} << 32, u64{0x123456789abcdef0}, ~u64{0} << 31}) {
      same([&](Encoder& e) { e.mov(a, value); }, [&](Xbyak::CodeGenerator& x) { x.mov(a, value); });
    }
  });
}

TEST_F(EncoderTest, Memory) {
  each_operand([&](const Mem& mem) {
    for (const int width : {32, 64}) {
      const Mem of = mem.of(static_cast<unsigned>(width));
      const Xbyak::Address theirs = of;
      for (const int number : {0, 3, 4, 5, 7, 8, 12, 13, 15}) {
        const Reg32e reg(number, width);
        same([&](Encoder& e) { e.mov(reg, of); }, [&](Xbyak::CodeGenerator& x) { x.mov(reg, theirs); });
        same([&](Encoder& e) { e.mov(of, reg); }, [&](Xbyak::CodeGenerator& x) { x.mov(theirs, reg); });
        same([&](Encoder& e) { e.lea(reg, of); }, [&](Xbyak::CodeGenerator& x) { x.lea(reg, theirs); });
        same([&](Encoder& e) { e.alu(Alu::sub, reg, of); }, [&](Xbyak::CodeGenerator& x) { x.sub(reg, theirs); });
        same([&](Encoder& e) { e.alu(Alu::xor_, of, reg); }, [&](Xbyak::CodeGenerator& x) { x.xor_(theirs, reg); });
        for (const unsigned narrow : {8u, 16u}) {
          const Mem from = mem.of(narrow);
          const Xbyak::Address their_from = from;
          same([&](Encoder& e) { e.movzx(reg, from); }, [&](Xbyak::CodeGenerator& x) { x.movzx(reg, their_from); });
          same([&](Encoder& e) { e.movsx(reg, from); }, [&](Xbyak::CodeGenerator& x) { x.movsx(reg, their_from); });
        }
      }
    }
  });
}

TEST_F(EncoderTest, ImmediatesToMemory) {
  each_operand([&](const Mem& mem) {
    for (const u32 value : {u32{0}, u32{0x7f}, u32{0x80}, u32{0x7fffffff}}) {
      for (const unsigned width : {32u, 64u}) {
        const Mem to = mem.of(width);
        const Xbyak::Address theirs = to;
        same([&](Encoder& e) { e.mov(to, value); }, [&](Xbyak::CodeGenerator& x) { x.mov(theirs, value); });
        same([&](Encoder& e) { e.alu(Alu::cmp, to, value); }, [&](Xbyak::CodeGenerator& x) { x.cmp(theirs, value); });
      }
    }
    for (const unsigned width : {8u, 16u}) {
      const Mem to = mem.of(width);
      const Xbyak::Address theirs = to;
      same([&](Encoder& e) { e.mov(to, 0x12u); }, [&](Xbyak::CodeGenerator& x) { x.mov(theirs, 0x12u); });
    }
  });
}

TEST(DeferredCalls, RunInTheirOrderWithWhatIsPushedMeanwhile) {
  DeferredCalls calls;
  std::vector<int> seen;
  std::vector<int>* out = &seen;
  DeferredCalls* all = &calls;
  for (int i = 0; i < 3; i++) {
    calls.push([=] {
      out->push_back(i);
      if (i == 0) all->push([=] { out->push_back(9); });
    });
  }
  EXPECT_TRUE(calls.run([] { return true; }));
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 9}));
  seen.clear();
  EXPECT_FALSE(calls.run([&] { return seen.size() < 2; }));
  EXPECT_EQ(seen, (std::vector<int>{0, 1}));
  calls.clear();
  seen.clear();
  EXPECT_TRUE(calls.run([] { return true; }));
  EXPECT_TRUE(seen.empty());
}

}  // namespace
}  // namespace rhea::x64
