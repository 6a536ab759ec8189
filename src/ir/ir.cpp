// SPDX-License-Identifier: MIT
#include "ir/ir.h"

#include "ir/eval.h"
#include "ir/op_kinds.h"

namespace rhea::ir {

namespace {

template <typename... Args>
constexpr OpKinds make_kinds(Kind result, Args... args) {
  OpKinds row;
  row.result = result;
  row.count = sizeof...(args);
  unsigned index = 0;
  ((row.args[index++] = args), ...);
  return row;
}

constexpr OpKinds kKinds[] = {
#define Void Kind::Void
#define I Kind::I
#define I32 Kind::I32
#define I64 Kind::I64
#define F Kind::F
#define F32 Kind::F32
#define F64 Kind::F64
#define V Kind::V
#define Any Kind::Any
#define OP(name, ...) make_kinds(__VA_ARGS__),
#include "ir/opcodes.inc"
#undef OP
#undef Void
#undef I
#undef I32
#undef I64
#undef F
#undef F32
#undef F64
#undef V
#undef Any
};

constexpr std::string_view kNames[] = {
#define OP(name, ...) #name,
#include "ir/opcodes.inc"
#undef OP
};

constexpr auto kInfo = [] {
  std::array<OpInfo, static_cast<usize>(Op::kCount)> table{};
  for (usize i = 0; i < table.size(); i++) {
    table[i] = {kNames[i], kKinds[i].count, kKinds[i].result != Kind::Void};
  }
  return table;
}();

constexpr bool op_faults(Op op) {
  switch (op) {
    case Op::Load:
    case Op::Store:
    case Op::LoadF:
    case Op::StoreF:
    case Op::LoadV:
    case Op::StoreV:
    case Op::GroupRead:
    case Op::GroupWrite:
    case Op::CheckAligned:
    case Op::LoadExclusive:
    case Op::StoreExclusive:
    case Op::Call0:
    case Op::Call1:
    case Op::Call2:
    case Op::Call3:  // depends on the helper
      return true;
    default: return false;
  }
}

constexpr bool op_has_effect(Op op) {
  if (op_faults(op) || shapes_flow(op)) return true;
  switch (op) {
    case Op::SetState:
    case Op::SetState8:
    case Op::SetFlags:
    case Op::SetFlagsImage:
    case Op::SetCarry:
    case Op::GroupCommit:
    case Op::PtrStore:
    case Op::ClearExclusive:
    case Op::Fence: return true;
    // Cumulative flags.
    case Op::FAdd:
    case Op::FSub:
    case Op::FMul:
    case Op::FDiv:
    case Op::FSqrt:
    case Op::FMulAdd:
    case Op::FCmp:
    case Op::FToF:
    case Op::FFromS:
    case Op::FFromU:
    case Op::FToS:
    case Op::FToU: return true;
    default:
      if (op >= Op::VSatAddU && op <= Op::VSatDoubleMulLong) return true;
      if (op >= Op::VSatNarrowU && op <= Op::VSatNarrowSU) return true;
      if (op >= Op::VFAdd && op <= Op::VFPairMax) return op != Op::VFNeg && op != Op::VFAbs;
      return false;
  }
}

// The type field is the result's, or the operands' where the result is of a fixed type. Where a row has both I and F
// (or I and V), the other kind follows from the field's width (or is free).
constexpr Type fixed_result(Kind kind) {
  switch (kind) {
    case Kind::I32: return Type::I32;
    case Kind::I64: return Type::I64;
    case Kind::F32: return Type::F32;
    case Kind::F64: return Type::F64;
    default: return Type::Void;
  }
}

}  // namespace

const OpKinds& kinds(Op op) { return kKinds[static_cast<usize>(op)]; }
const OpInfo& info(Op op) { return kInfo[static_cast<usize>(op)]; }

constexpr std::array<OpTraits, static_cast<usize>(Op::kCount)> kOpTraits = [] {
  std::array<OpTraits, static_cast<usize>(Op::kCount)> table{};
  for (usize i = 0; i < table.size(); i++) {
    const Op op = static_cast<Op>(i);
    table[i] = {kKinds[i].count, op_faults(op), op_has_effect(op), fixed_result(kKinds[i].result)};
  }
  return table;
}();

bool matches(Kind kind, Type own, Type actual) {
  const bool wide = own == Type::I64 || own == Type::F64;
  const bool narrow = own == Type::I32 || own == Type::F32;
  switch (kind) {
    case Kind::Void: return false;
    case Kind::I: return (actual == Type::I32 && !wide) || (actual == Type::I64 && !narrow);
    case Kind::I32: return actual == Type::I32;
    case Kind::I64: return actual == Type::I64;
    case Kind::F: return (actual == Type::F32 && !wide) || (actual == Type::F64 && !narrow);
    case Kind::F32: return actual == Type::F32;
    case Kind::F64: return actual == Type::F64;
    case Kind::V: return actual == Type::V128 || actual == Type::V64;
    case Kind::Any: return actual != Type::Void;
  }
  return false;
}

bool holds(Cond cond, u32 image) {
  const bool n = image & kImageN, z = image & kImageZ, c = image & kImageC, v = image & kImageV;
  switch (cond) {
    case Cond::EQ: return z;
    case Cond::NE: return !z;
    case Cond::CS: return c;
    case Cond::CC: return !c;
    case Cond::MI: return n;
    case Cond::PL: return !n;
    case Cond::VS: return v;
    case Cond::VC: return !v;
    case Cond::HI: return c && !z;
    case Cond::LS: return !c || z;
    case Cond::GE: return n == v;
    case Cond::LT: return n != v;
    case Cond::GT: return !z && n == v;
    case Cond::LE: return z || n != v;
    case Cond::AL: return true;
  }
  return true;
}

u8 flags_read(Cond cond) {
  switch (cond) {
    case Cond::EQ:
    case Cond::NE: return kFlagZ;
    case Cond::CS:
    case Cond::CC: return kFlagC;
    case Cond::MI:
    case Cond::PL: return kFlagN;
    case Cond::VS:
    case Cond::VC: return kFlagV;
    case Cond::HI:
    case Cond::LS: return kFlagC | kFlagZ;
    case Cond::GE:
    case Cond::LT: return kFlagN | kFlagV;
    case Cond::GT:
    case Cond::LE: return kFlagN | kFlagZ | kFlagV;
    case Cond::AL: return 0;
  }
  return kFlagNZCV;
}

u32 image_mask(u8 flag_bits) {
  return (flag_bits & kFlagN ? kImageN : 0) | (flag_bits & kFlagZ ? kImageZ : 0) | (flag_bits & kFlagC ? kImageC : 0) |
         (flag_bits & kFlagV ? kImageV : 0);
}

}  // namespace rhea::ir
