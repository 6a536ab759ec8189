// SPDX-License-Identifier: MIT
// Evaluation of opcodes: tables of edge values for integers, for vectors each lane against a computation in 128 bits;
// what the verifier refuses; the printer.
#include "ir/ir.h"

#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/eval.h"
#include "ir/guest.h"
#include "util/bits.h"

namespace rhea::ir {
namespace {

Value run(Op op, Type type, std::initializer_list<Value> args, u64 imm = 0, u8 lane = 0, u8 aux = 0,
          EvalContext* context = nullptr) {
  Inst inst{.op = op, .type = type, .lane = lane, .aux = aux, .imm = imm};
  Value values[3];
  std::copy(args.begin(), args.end(), values);
  EvalContext own;
  return eval(inst, values, context ? *context : own);
}
u32 run32(Op op, u32 a, u32 b = 0, u32 c = 0, u64 imm = 0, u8 lane = 0, u8 aux = 0) {
  return static_cast<u32>(run(op, Type::I32, {{a}, {b}, {c}}, imm, lane, aux).lo);
}
u64 run64(Op op, u64 a, u64 b = 0, u64 c = 0) { return run(op, Type::I64, {{a}, {b}, {c}}).lo; }

bool is_impure(Op op) {
  if (op >= Op::GetState && op <= Op::SetState8) return true;
  if (op >= Op::Load && op <= Op::Call3) return true;
  if (op >= Op::Loc) return true;
  return op == Op::SetFlags;
}

TEST(Eval, EveryPureOpcodeHasAMeaning) {
  for (unsigned i = 0; i < static_cast<unsigned>(Op::kCount); i++) {
    const Op op = static_cast<Op>(i);
    EXPECT_EQ(eval_function(op) == nullptr, is_impure(op)) << info(op).name;
  }
}

// Every opcode with every lane on edge values: nothing traps, narrow results stay narrow.
TEST(Eval, EdgesOfEveryOpcode) {
  constexpr u64 kEdges[] = {0,
                            1,
                            0x7f,
                            0x80,
                            0xff,
                            0x7fff,
                            0x8000,
                            0xffff,
                            0x7fffffff,
                            0x80000000,
                            0xffffffff,
                            0x7fffffffffffffff,
                            0x8000000000000000,
                            ~u64{0},
                            0x7f800000,
                            0x7fc00000,
                            0x7ff0000000000000};
  for (unsigned i = 0; i < static_cast<unsigned>(Op::kCount); i++) {
    const Op op = static_cast<Op>(i);
    if (is_impure(op)) continue;
    for (u8 lane : {8, 16, 32, 64}) {
      for (u64 a : kEdges) {
        for (u64 b : kEdges) {
          run(op, Type::I64, {{a, b}, {b, a}, {a, a}}, b & 63, lane);
          const Value narrow = run(op, Type::I32, {{static_cast<u32>(a)}, {static_cast<u32>(b)}, {1}}, a & 31, lane);
          if (op >= Op::Add && op <= Op::ZExt16) { ASSERT_EQ(narrow.lo >> 32, 0u) << info(op).name; }
        }
      }
    }
  }
}

TEST(Eval, Integers) {
  EXPECT_EQ(run32(Op::Add, 0xffffffff, 1), 0u);
  EXPECT_EQ(run32(Op::Adc, 0xffffffff, 0, 1), 0u);
  EXPECT_EQ(run32(Op::Sbc, 5, 3, 0), 1u);
  EXPECT_EQ(run32(Op::Sbc, 5, 3, 1), 2u);
  EXPECT_EQ(run32(Op::MulHiU, 0xffffffff, 0xffffffff), 0xfffffffeu);
  EXPECT_EQ(run32(Op::MulHiS, 0xffffffff, 0xffffffff), 0u);
  EXPECT_EQ(run64(Op::MulHiU, ~u64{0}, ~u64{0}), ~u64{0} - 1);
  EXPECT_EQ(run64(Op::MulHiS, ~u64{0}, 5), ~u64{0});
  EXPECT_EQ(run32(Op::DivS, 0x80000000, 0xffffffff), 0x80000000u);
  EXPECT_EQ(run32(Op::DivS, 0xfffffff9, 2), 0xfffffffdu);
  EXPECT_EQ(run32(Op::DivU, 7, 0), 0u);
  EXPECT_EQ(run64(Op::DivS, u64{1} << 63, ~u64{0}), u64{1} << 63);
  EXPECT_EQ(run32(Op::AndNot, 0xff, 0x0f), 0xf0u);
  for (u32 n : {31u, 32u, 33u, 255u, 0xffffffffu}) {
    EXPECT_EQ(run32(Op::Shl, 1, n), n < 32 ? 1u << n : 0u);
    EXPECT_EQ(run32(Op::Shr, 0x80000000, n), n < 32 ? 0x80000000u >> n : 0u);
    EXPECT_EQ(run32(Op::Sar, 0x80000000, n), 0xffffffffu);
    EXPECT_EQ(run32(Op::Ror, 0x12345678, n), std::rotr(0x12345678u, static_cast<int>(n % 32)));
  }
  EXPECT_EQ(run32(Op::Clz, 0), 32u);
  EXPECT_EQ(run64(Op::Clz, 1), 63u);
  EXPECT_EQ(run32(Op::Rbit, 1), 0x80000000u);
  EXPECT_EQ(run32(Op::Bswap, 0x11223344), 0x44332211u);
  EXPECT_EQ(run32(Op::Bswap16, 0x11223344), 0x22114433u);
  EXPECT_EQ(run32(Op::SExt8, 0x80), 0xffffff80u);
  EXPECT_EQ(run(Op::SExt32, Type::I64, {{0x80000000}}).lo, 0xffffffff80000000u);
  EXPECT_EQ(run(Op::Pair, Type::I64, {{1}, {2}}).lo, 0x200000001u);
  EXPECT_EQ(run32(Op::CmpLtS, 0x80000000, 0), 1u);
  EXPECT_EQ(run32(Op::CmpLtU, 0x80000000, 0), 0u);
  EXPECT_EQ(run32(Op::SatS, 0x7fffffff, 0, 0, 16), 0x7fffu);
  EXPECT_EQ(run32(Op::SatU, 0xffffffff, 0, 0, 8), 0u);
  EXPECT_EQ(run32(Op::SatU, 300, 0, 0, 8), 255u);
  EXPECT_EQ(run32(Op::DidSatU, 255, 0, 0, 8), 0u);
  EXPECT_EQ(run32(Op::DidSatS, 0x8000, 0, 0, 16), 1u);
}

TEST(Eval, Parallel) {
  EXPECT_EQ(run32(Op::Parallel, 0xff01ff01, 0x01010101, 0, 0, 8, parallel(ParallelKind::add, 0, true)), 0x00020002u);
  EXPECT_EQ(run32(Op::ParallelGe, 0xff01ff01, 0x01010101, 0, 0, 8, parallel(ParallelKind::add, 0, true)), 10u);
  EXPECT_EQ(run32(Op::Parallel, 0xff01ff01, 0x01010101, 0, 0, 8, parallel(ParallelKind::add, 1, true)), 0xff02ff02u);
  EXPECT_EQ(run32(Op::Parallel, 0x7fff8000, 0x00018000, 0, 0, 16, parallel(ParallelKind::add, 1, false)), 0x7fff8000u);
  EXPECT_EQ(run32(Op::Parallel, 0x7fff8000, 0x00018000, 0, 0, 16, parallel(ParallelKind::add, 2, false)), 0x40008000u);
  EXPECT_EQ(run32(Op::ParallelGe, 0x00010002, 0x00020001, 0, 0, 16, parallel(ParallelKind::sub, 0, false)), 3u);
  // SASX: low = low - high', high = high + low'
  EXPECT_EQ(run32(Op::Parallel, 0x00100020, 0x00030004, 0, 0, 16, parallel(ParallelKind::add_sub_exchange, 0, false)),
            0x0014001du);
  EXPECT_EQ(run32(Op::SelectBytes, 5, 0x11223344, 0xaabbccdd), 0xaa22cc44u);
}

TEST(Eval, FlagsOfArithmetic) {
  constexpr u32 kEdges[] = {0, 1, 2, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff};
  for (u32 a : kEdges)
    for (u32 b : kEdges)
      for (u32 c : {0u, 1u}) {
        for (Op op : {Op::Add, Op::Sub, Op::Adc, Op::Sbc}) {
          const Inst def{.op = op, .type = Type::I32};
          const Value args[3] = {{a}, {b}, {c}};
          EvalContext context;
          const Value value = eval(def, args, context);
          const bool sub = op == Op::Sub || op == Op::Sbc;
          const s64 carry = op == Op::Adc ? c : op == Op::Sbc ? -s64{!c} : 0;
          const s64 exact = sub ? s64{a} - b + carry : s64{a} + b + carry;
          const s64 exact_signed = sub ? s64{static_cast<s32>(a)} - static_cast<s32>(b) + carry
                                       : s64{static_cast<s32>(a)} + static_cast<s32>(b) + carry;
          const bool carry_out = sub ? exact >= 0 : exact > 0xffffffff;
          const bool overflow = exact_signed != static_cast<s32>(exact_signed);
          const u32 image = flags_of(def, args, value);
          EXPECT_EQ(!!(image & kImageN), static_cast<u32>(exact) >> 31);
          EXPECT_EQ(!!(image & kImageZ), static_cast<u32>(exact) == 0);
          EXPECT_EQ(!!(image & kImageC), carry_out) << info(op).name << a << " " << b;
          EXPECT_EQ(!!(image & kImageV), overflow) << info(op).name << a << " " << b;
        }
      }
}

TEST(Eval, Conditions) {
  for (u32 bits = 0; bits < 16; bits++) {
    const bool n = bits & 1, z = bits & 2, c = bits & 4, v = bits & 8;
    const u32 image = image_mask(static_cast<u8>(bits));
    const bool expected[] = {z,          !z,     c,      !c,           n,           !n,  v, !v, c && !z,
                             !(c && !z), n == v, n != v, !z && n == v, z || n != v, true};
    for (unsigned cond = 0; cond < 15; cond++) {
      EXPECT_EQ(holds(static_cast<Cond>(cond), image), expected[cond]) << cond;
      // Only the flags it says it reads matter.
      const u8 read = flags_read(static_cast<Cond>(cond));
      EXPECT_EQ(holds(static_cast<Cond>(cond), image & image_mask(read)), expected[cond]) << cond;
    }
  }
}

// ---- vectors, each lane against a computation in 128 bits ----------------------------------------------------------
struct LaneCase {
  Op op;
  bool is_signed;
  s128 (*exact)(s128 a, s128 b, unsigned width);
  bool saturates;
};

s128 lane_of(const Value& value, unsigned lane, unsigned index, bool is_signed) {
  const unsigned bit = lane * index;
  const u64 field = bits(bit < 64 ? value.lo : value.hi, bit % 64, lane);
  return is_signed ? static_cast<s128>(sign_extend(field, lane)) : static_cast<s128>(field);
}

constexpr LaneCase kLaneCases[] = {
    {Op::VAdd, false, [](s128 a, s128 b, unsigned) { return a + b; }, false},
    {Op::VSub, false, [](s128 a, s128 b, unsigned) { return a - b; }, false},
    {Op::VMul, false,
     [](s128 a, s128 b, unsigned) { return static_cast<s128>(static_cast<u128>(a) * static_cast<u128>(b)); }, false},
    {Op::VMinS, true, [](s128 a, s128 b, unsigned) { return a < b ? a : b; }, false},
    {Op::VMinU, false, [](s128 a, s128 b, unsigned) { return a < b ? a : b; }, false},
    {Op::VMaxS, true, [](s128 a, s128 b, unsigned) { return a > b ? a : b; }, false},
    {Op::VMaxU, false, [](s128 a, s128 b, unsigned) { return a > b ? a : b; }, false},
    {Op::VAbsDiffS, true, [](s128 a, s128 b, unsigned) { return a > b ? a - b : b - a; }, false},
    {Op::VAbsDiffU, false, [](s128 a, s128 b, unsigned) { return a > b ? a - b : b - a; }, false},
    {Op::VHalfAddS, true, [](s128 a, s128 b, unsigned) { return (a + b) >> 1; }, false},
    {Op::VHalfAddU, false, [](s128 a, s128 b, unsigned) { return (a + b) >> 1; }, false},
    {Op::VHalfSubS, true, [](s128 a, s128 b, unsigned) { return (a - b) >> 1; }, false},
    {Op::VHalfSubU, false, [](s128 a, s128 b, unsigned) { return (a - b) >> 1; }, false},
    {Op::VRndHalfAddS, true, [](s128 a, s128 b, unsigned) { return (a + b + 1) >> 1; }, false},
    {Op::VRndHalfAddU, false, [](s128 a, s128 b, unsigned) { return (a + b + 1) >> 1; }, false},
    {Op::VSatAddS, true, [](s128 a, s128 b, unsigned) { return a + b; }, true},
    {Op::VSatAddU, false, [](s128 a, s128 b, unsigned) { return a + b; }, true},
    {Op::VSatSubS, true, [](s128 a, s128 b, unsigned) { return a - b; }, true},
    {Op::VSatSubU, false, [](s128 a, s128 b, unsigned) { return a - b; }, true},
    {Op::VSatAbs, true, [](s128 a, s128, unsigned) { return a < 0 ? -a : a; }, true},
    {Op::VSatNeg, true, [](s128 a, s128, unsigned) { return -a; }, true},
    {Op::VNeg, true, [](s128 a, s128, unsigned) { return -a; }, false},
    {Op::VAbs, true, [](s128 a, s128, unsigned) { return a < 0 ? -a : a; }, false},
};

TEST(Eval, VectorLanes) {
  constexpr u64 kEdges[] = {0,
                            1,
                            0x7f80ff0180017fff,
                            0x8000000000000000,
                            0x7fffffffffffffff,
                            ~u64{0},
                            0x0102030405060708,
                            0xfffefffdfffcfffb};
  for (const LaneCase& row : kLaneCases)
    for (u8 lane : {8, 16, 32, 64})
      for (u64 x : kEdges)
        for (u64 y : kEdges) {
          const Value a{x, y}, b{y, x};
          EvalContext context;
          const Value result = run(row.op, Type::V128, {a, b}, 0, lane, 0, &context);
          bool saturated = false;
          for (unsigned i = 0; i < 128u / lane; i++) {
            s128 exact = row.exact(lane_of(a, lane, i, row.is_signed), lane_of(b, lane, i, row.is_signed), lane);
            if (row.saturates) {
              const s128 most = row.is_signed ? (s128{1} << (lane - 1)) - 1 : (s128{1} << lane) - 1;
              const s128 least = row.is_signed ? -(s128{1} << (lane - 1)) : s128{0};
              if (exact > most) {
                exact = most;
                saturated = true;
              }
              if (exact < least) {
                exact = least;
                saturated = true;
              }
            }
            const u64 expected = bits(static_cast<u64>(exact), 0, lane);
            ASSERT_EQ(static_cast<u64>(lane_of(result, lane, i, false)), expected)
                << info(row.op).name << " lane " << +lane << " " << i;
          }
          ASSERT_EQ(context.saturated != 0, saturated) << info(row.op).name;
        }
}

TEST(Eval, VectorShifts) {
  for (int count = -130; count <= 130; count++)
    for (u8 lane : {8, 16, 32, 64}) {
      const s8 byte = static_cast<s8>(count);
      const Value a{0x8000000080008081, 0x7fffffff7fff7f7f};
      const u64 counts = static_cast<u8>(byte) * (lane == 8    ? 0x0101010101010101u
                                                  : lane == 16 ? 0x0001000100010001u
                                                  : lane == 32 ? 0x100000001u
                                                               : 1u);
      const Value by{counts, counts};
      for (Op op : {Op::VShlU, Op::VShlS, Op::VShlRndU, Op::VShlRndS, Op::VSatShlU, Op::VSatShlS, Op::VSatShlRndU,
                    Op::VSatShlRndS}) {
        const bool is_signed = op == Op::VShlS || op == Op::VShlRndS || op == Op::VSatShlS || op == Op::VSatShlRndS;
        const bool rounds = op == Op::VShlRndU || op == Op::VShlRndS || op == Op::VSatShlRndU || op == Op::VSatShlRndS;
        const bool saturates = op >= Op::VSatShlU;
        const Value result = run(op, Type::V128, {a, by}, 0, lane);
        for (unsigned i = 0; i < 128u / lane; i++) {
          s128 exact = lane_of(a, lane, i, is_signed);
          bool huge = false;
          if (byte >= 0) {
            if (byte > 62 && exact) huge = true;
            else exact *= s128{1} << (byte > 62 ? 62 : byte);
          } else {
            for (int n = -byte; n > 0; n--) exact = n == 1 && rounds ? (exact + 1) >> 1 : exact >> 1;
          }
          const s128 most = is_signed ? (s128{1} << (lane - 1)) - 1 : (s128{1} << lane) - 1;
          const s128 least = is_signed ? -(s128{1} << (lane - 1)) : s128{0};
          u64 expected;
          if (huge) {
            const bool negative = exact < 0;
            expected = saturates   ? static_cast<u64>(negative ? least : most)
                       : byte < 64 ? static_cast<u64>(exact) << byte
                                   : 0;
            if (!saturates && lane < 64) expected = 0;
          } else {
            if (saturates && exact > most) exact = most;
            if (saturates && exact < least) exact = least;
            expected = static_cast<u64>(exact);
          }
          ASSERT_EQ(static_cast<u64>(lane_of(result, lane, i, false)), bits(expected, 0, lane))
              << info(op).name << " lane " << +lane << " by " << +byte << " index " << i;
        }
      }
    }
}

TEST(Eval, VectorPermutations) {
  const Value a{0x0706050403020100, 0x0f0e0d0c0b0a0908}, b{0x1716151413121110, 0x1f1e1d1c1b1a1918};
  EXPECT_EQ(run(Op::VZipLo, Type::V128, {a, b}, 0, 8), (Value{0x1303120211011000, 0x1707160615051404}));
  EXPECT_EQ(run(Op::VZipHi, Type::V128, {a, b}, 0, 32), (Value{0x1b1a19180b0a0908, 0x1f1e1d1c0f0e0d0c}));
  EXPECT_EQ(run(Op::VUnzipEven, Type::V128, {a, b}, 0, 16), (Value{0x0d0c090805040100, 0x1d1c191815141110}));
  EXPECT_EQ(run(Op::VUnzipOdd, Type::V128, {a, b}, 0, 8), (Value{0x0f0d0b0907050301, 0x1f1d1b1917151311}));
  EXPECT_EQ(run(Op::VTrnEven, Type::V128, {a, b}, 0, 8), (Value{0x1606140412021000, 0x1e0e1c0c1a0a1808}));
  EXPECT_EQ(run(Op::VTrnOdd, Type::V128, {a, b}, 0, 8), (Value{0x1707150513031101, 0x1f0f1d0d1b0b1909}));
  EXPECT_EQ(run(Op::VExtract, Type::V128, {a, b}, 3), (Value{0x0a09080706050403, 0x1211100f0e0d0c0b}));
  EXPECT_EQ(run(Op::VRev64, Type::V128, {a}, 0, 8), (Value{0x0001020304050607, 0x08090a0b0c0d0e0f}));
  EXPECT_EQ(run(Op::VRev32, Type::V128, {a}, 0, 16), (Value{0x0504070601000302, 0x0d0c0f0e09080b0a}));
  EXPECT_EQ(run(Op::VRev16, Type::V128, {a}, 0, 8).lo, 0x0607040502030001u);
  EXPECT_EQ(run(Op::VTableLookup, Type::V128, {{0xff201f1008070100}, a, b}, 32), (Value{0x00001f1008070100, 0}));
  EXPECT_EQ(run(Op::VTableLookup, Type::V128, {{0xff201f1008070100}, a, b}, 8), (Value{0x0000000000070100, 0}));
  EXPECT_EQ(run(Op::VCls, Type::V128, {{0xff00f07f80c00102}}, 0, 8).lo, 0x0707030000010605u);
  EXPECT_EQ(run(Op::VDupLane, Type::V128, {a}, 3, 16), (Value{0x0706070607060706, 0x0706070607060706}));
  EXPECT_EQ(run(Op::VGetLane, Type::I32, {{0x80}}, 0, 8, 1).lo, 0xffffff80u);
  EXPECT_EQ(run(Op::VPairAdd, Type::V128, {{0x0004000300020001}, {0x0008000700060005}}, 0, 16),
            (Value{0x000f000b00070003, 0}));
  EXPECT_EQ(run(Op::VPairAddLongS, Type::V128, {{0xffff}}, 0, 8).lo, 0xfffeu);
  EXPECT_EQ(run(Op::VSatNarrowSU, Type::V128, {{0x0100ffff00ff0001}}, 0, 16).lo, 0xff00ff01u);
  EXPECT_EQ(run(Op::VMulPoly, Type::V128, {{0xff}, {0x03}}, 0, 8).lo, 0x01u);
  EXPECT_EQ(run(Op::VMulLongPoly, Type::V128, {{0xff}, {0x03}}, 0, 8).lo, 0x101u);
  EXPECT_EQ(run(Op::VSatDoubleMulHi, Type::V128, {{0x8000}, {0x8000}}, 0, 16).lo, 0x7fffu);
}

// ---- verifier ------------------------------------------------------------------------------------------------------
Block simple() {
  Block block;
  Builder b(block);
  b.set(Type::I32, 1000, b.add(b.get(Type::I32, 1000), 1));
  b.exit({});
  return block;
}

TEST(Verifier, AcceptsAndNamesWhatIsWrong) {
  EXPECT_EQ(verify(simple()), "");
  EXPECT_NE(verify(Block{}), "");
  Block block = simple();
  block.insts.pop_back();
  EXPECT_NE(verify(block).find("not with an exit"), std::string::npos);
  block = simple();
  block.insts[2].args[0] = 3;
  EXPECT_NE(verify(block).find("not defined before"), std::string::npos);
  block = simple();
  block.insts[2].args[1] = kNoRef;
  EXPECT_NE(verify(block).find("missing"), std::string::npos);
  block = simple();
  block.insts[0].type = Type::I64;
  EXPECT_NE(verify(block).find("wrong type"), std::string::npos);
  block = simple();
  block.insts.back().imm = 7;
  EXPECT_NE(verify(block).find("exit 7"), std::string::npos);
}

TEST(Verifier, ControlGoesForward) {
  Block block;
  Builder b(block);
  const u16 label = b.new_label();
  b.label(label);
  b.branch(label);
  b.exit({});
  EXPECT_NE(verify(block).find("behind"), std::string::npos);
}

TEST(Verifier, ValuesOfABranchEndAtItsLabel) {
  Block block;
  Builder b(block);
  const u16 label = b.new_label();
  b.branch_if(Cond::EQ, label);
  const Ref value = b.const32(1);
  b.label(label);
  b.set(Type::I32, 1000, value);
  b.exit({});
  EXPECT_NE(verify(block).find("one of the ways"), std::string::npos);
}

TEST(Printer, ShowsEverything) {
  const std::string text = print(simple());
  EXPECT_NE(text.find("%0 = GetState.i32 @1000"), std::string::npos) << text;
  EXPECT_NE(text.find("Exit"), std::string::npos);
}

}  // namespace
}  // namespace rhea::ir
