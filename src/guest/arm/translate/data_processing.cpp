// SPDX-License-Identifier: MIT
// Data processing: shifter operands, the operations, and the encodings of A32 and T32 (T16: thumb16.cpp).
#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace {

Op shift_op(unsigned type) {
  constexpr Op kOps[] = {Op::Shl, Op::Shr, Op::Sar, Op::Ror};
  return kOps[type & 3];
}

Ref bit_of(Translator& t, Ref value, unsigned index) { return t.b.and_(t.b.shr(value, index), 1); }

}  // namespace

Operand shift_by_field(Translator& t, Ref value, unsigned type, unsigned amount, bool want_carry) {
  ir::Builder& b = t.b;
  if (type == 0 && amount == 0) return {value, ir::kNoRef};
  if (type == 3 && amount == 0) {  // RRX
    const Ref result = b.or_(b.shr(value, 1), b.shl(b.get_carry(), 31));
    return {result, want_carry ? b.and_(value, 1) : ir::kNoRef};
  }
  if (amount == 0) amount = 32;
  Operand operand;
  operand.value = b.op2(shift_op(type), value, b.const32(amount));
  if (want_carry) operand.carry = bit_of(t, value, type == 0 ? 32 - amount : amount - 1);
  return operand;
}

// With the carry, the shift is done in 64 bits with C in the place behind the value, so that it comes out as the
// shifter's carry, and as itself for a shift by 0.
Operand shift_by_register(Translator& t, Ref value, unsigned type, Ref amount, bool want_carry) {
  ir::Builder& b = t.b;
  const Ref count = b.op1(Op::ZExt8, amount);
  if (!want_carry) return {b.op2(shift_op(type), value, count), ir::kNoRef};
  if (type == 0) {
    const Ref wide = b.op2(Op::Shl, Type::I64, b.emit(Op::Pair, Type::I64, value, b.get_carry()), count);
    return {b.emit(Op::Trunc, Type::I32, wide), b.and_(b.emit(Op::HighHalf, Type::I32, wide), 1)};
  }
  if (type == 3) {
    const Ref result = b.op2(Op::Ror, value, count);
    return {result, b.select(count, b.shr(result, 31), b.get_carry())};
  }
  const Ref below = b.shl(b.get_carry(), 31);
  const Ref wide = b.op2(shift_op(type), Type::I64, b.emit(Op::Pair, Type::I64, below, value), count);
  return {b.emit(Op::HighHalf, Type::I32, wide), b.shr(b.emit(Op::Trunc, Type::I32, wide), 31)};
}

Operand arm_immediate(Translator& t, u32 imm12, bool want_carry) {
  const unsigned rotation = 2 * (imm12 >> 8);
  const u32 value = std::rotr(imm12 & 0xff, static_cast<int>(rotation));
  Operand operand{t.b.const32(value), ir::kNoRef};
  if (want_carry && rotation) operand.carry = t.b.const32(value >> 31);
  return operand;
}

u32 thumb_expand_immediate(u32 imm12) {
  const u32 byte = imm12 & 0xff;
  if (imm12 >> 10) return std::rotr(0x80 | (imm12 & 0x7f), static_cast<int>(imm12 >> 7));
  switch (imm12 >> 8) {
    case 0: return byte;
    case 1: return byte << 16 | byte;
    case 2: return byte << 24 | byte << 8;
    default: return byte * 0x01010101u;
  }
}

Operand thumb_immediate(Translator& t, u32 imm12, bool want_carry) {
  const u32 value = thumb_expand_immediate(imm12);
  Operand operand{t.b.const32(value), ir::kNoRef};
  if (want_carry && imm12 >> 10) operand.carry = t.b.const32(value >> 31);
  return operand;
}

Ref add_folded(Translator& t, Ref a, u32 constant) {
  if (t.b.is_const(a)) return t.b.const32(static_cast<u32>(t.b.const_value(a)) + constant);
  return t.b.add(a, constant);
}

namespace {

struct Result {
  Ref value;
  bool arithmetic;  // C and V come from the operation
};

Result compute(Translator& t, Dp op, bool set_flags, Ref first, Ref second) {
  ir::Builder& b = t.b;
  const bool fold = !set_flags && first != ir::kNoRef && b.is_const(first) && b.is_const(second);
  switch (op) {
    case Dp::AND:
    case Dp::TST: return {b.and_(first, second), false};
    case Dp::EOR:
    case Dp::TEQ: return {b.xor_(first, second), false};
    case Dp::SUB:
    case Dp::CMP:
      if (fold) return {b.const32(static_cast<u32>(b.const_value(first) - b.const_value(second))), true};
      return {b.sub(first, second), true};
    case Dp::RSB: return {b.sub(second, first), true};
    case Dp::ADD:
    case Dp::CMN:
      if (fold) return {b.const32(static_cast<u32>(b.const_value(first) + b.const_value(second))), true};
      return {b.add(first, second), true};
    case Dp::ADC: return {b.emit(Op::Adc, Type::I32, first, second, b.get_carry()), true};
    case Dp::SBC: return {b.emit(Op::Sbc, Type::I32, first, second, b.get_carry()), true};
    case Dp::RSC: return {b.emit(Op::Sbc, Type::I32, second, first, b.get_carry()), true};
    case Dp::ORR: return {b.or_(first, second), false};
    case Dp::MOV: return {second, false};
    case Dp::BIC: return {b.op2(Op::AndNot, first, second), false};
    case Dp::MVN: return {b.op1(Op::Not, second), false};
    case Dp::ORN: return {b.or_(first, b.op1(Op::Not, second)), false};
  }
  return {first, false};
}

constexpr bool is_comparison(Dp op) { return op == Dp::TST || op == Dp::TEQ || op == Dp::CMP || op == Dp::CMN; }

}  // namespace

void data_processing(Translator& t, Dp op, bool set_flags, unsigned d, Ref first, Operand second) {
  const bool returns = d == 15 && set_flags && !is_comparison(op);
  const Result result = compute(t, op, set_flags && !returns, first, second.value);
  if (returns) return exception_return(t, result.value);
  if (set_flags) {
    t.b.set_flags(result.value, result.arithmetic ? ir::kFlagNZCV : ir::kFlagNZ);
    if (!result.arithmetic && second.carry != ir::kNoRef) t.b.set_carry(second.carry);
  }
  if (is_comparison(op)) return;
  if (d == 15 && op == Dp::MOV && second.value != ir::kNoRef) {
    // MOV pc, lr is a return.
    const ir::Inst& source = t.b.block().insts[second.value];
    const bool from_lr = source.op == Op::GetState && source.imm == offset_r(14);
    if (t.thumb()) return t.branch_indirect(result.value, from_lr ? ir::ExitKind::ret : ir::ExitKind::jump);
    return t.branch_exchange(result.value, from_lr ? ir::ExitKind::ret : ir::ExitKind::jump);
  }
  t.set_reg_or_pc(d, result.value);
}

// ---- A32 ----

namespace a32 {

namespace {

// Whether the shifter's carry is looked at.
bool wants_carry(Dp op, bool set_flags) {
  switch (op) {
    case Dp::SUB:
    case Dp::RSB:
    case Dp::ADD:
    case Dp::ADC:
    case Dp::SBC:
    case Dp::RSC:
    case Dp::CMP:
    case Dp::CMN: return false;
    default: return set_flags;
  }
}

// Exception returns do not exist in User mode; they are not predictable there and in System mode.
bool is_bad_return(Translator& t, Dp op, bool set_flags, unsigned d) {
  if (!(set_flags && d == 15) || is_comparison(op)) return false;
  return !t.privileged() || t.cpu_mode() == Mode::sys;
}

}  // namespace

void dp_imm(Translator& t, u32 insn) {
  const Dp op = static_cast<Dp>(field(insn, 21, 4));
  const bool s = bit(insn, 20);
  const unsigned d = field(insn, 12, 4), n = field(insn, 16, 4);
  if (is_bad_return(t, op, s, d)) return t.undefined();
  const bool unary = op == Dp::MOV || op == Dp::MVN;
  data_processing(t, op, s, d, unary ? ir::kNoRef : t.reg(n), arm_immediate(t, field(insn, 0, 12), wants_carry(op, s)));
}

void dp_reg(Translator& t, u32 insn) {
  const Dp op = static_cast<Dp>(field(insn, 21, 4));
  const bool s = bit(insn, 20);
  const unsigned d = field(insn, 12, 4), n = field(insn, 16, 4);
  if (is_bad_return(t, op, s, d)) return t.undefined();
  const bool unary = op == Dp::MOV || op == Dp::MVN;
  const Operand second =
      shift_by_field(t, t.reg(field(insn, 0, 4)), field(insn, 5, 2), field(insn, 7, 5), wants_carry(op, s));
  data_processing(t, op, s, d, unary ? ir::kNoRef : t.reg(n), second);
}

void dp_rsr(Translator& t, u32 insn) {
  const Dp op = static_cast<Dp>(field(insn, 21, 4));
  const bool s = bit(insn, 20);
  const unsigned d = field(insn, 12, 4), n = field(insn, 16, 4);
  if (is_bad_return(t, op, s, d)) return t.undefined();
  const bool unary = op == Dp::MOV || op == Dp::MVN;
  const Operand second =
      shift_by_register(t, t.reg(field(insn, 0, 4)), field(insn, 5, 2), t.reg(field(insn, 8, 4)), wants_carry(op, s));
  data_processing(t, op, s, d, unary ? ir::kNoRef : t.reg(n), second);
}

void movw(Translator& t, u32 insn) {
  const u32 value = field(insn, 16, 4) << 12 | field(insn, 0, 12);
  t.set_reg_or_pc(field(insn, 12, 4), t.b.const32(value));
}

void movt(Translator& t, u32 insn) { move_top(t, field(insn, 12, 4), field(insn, 16, 4) << 12 | field(insn, 0, 12)); }

}  // namespace a32

// ---- T32 ----

namespace t32 {

namespace {

constexpr u32 split_immediate(u32 insn) { return bits(insn, 26, 1) << 11 | bits(insn, 12, 3) << 8 | bits(insn, 0, 8); }

struct Decoded {
  Dp op;
  bool unary;
  bool logical;
};

// Operations by bits 24..21; with d or n = 15 some are others.
Decoded decode_dp(u32 op, bool s, unsigned d, unsigned n) {
  const bool compare = d == 15 && s;
  switch (op) {
    case 0: return {compare ? Dp::TST : Dp::AND, false, true};
    case 1: return {Dp::BIC, false, true};
    case 2: return n == 15 ? Decoded{Dp::MOV, true, true} : Decoded{Dp::ORR, false, true};
    case 3: return n == 15 ? Decoded{Dp::MVN, true, true} : Decoded{Dp::ORN, false, true};
    case 4: return {compare ? Dp::TEQ : Dp::EOR, false, true};
    case 8: return {compare ? Dp::CMN : Dp::ADD, false, false};
    case 10: return {Dp::ADC, false, false};
    case 11: return {Dp::SBC, false, false};
    case 13: return {compare ? Dp::CMP : Dp::SUB, false, false};
    default: return {Dp::RSB, false, false};
  }
}

void finish_dp(Translator& t, const Decoded& what, bool s, u32 insn, Operand second) {
  const unsigned d = field(insn, 8, 4), n = field(insn, 16, 4);
  if (d == 15 && !is_comparison(what.op)) return t.undefined();
  data_processing(t, what.op, s, d, what.unary ? ir::kNoRef : t.reg(n), second);
}

}  // namespace

void dp_reg(Translator& t, u32 insn) {
  const bool s = bit(insn, 20);
  const Decoded what = decode_dp(field(insn, 21, 4), s, field(insn, 8, 4), field(insn, 16, 4));
  const unsigned amount = field(insn, 12, 3) << 2 | field(insn, 6, 2);
  finish_dp(t, what, s, insn,
            shift_by_field(t, t.reg(field(insn, 0, 4)), field(insn, 4, 2), amount, s && what.logical));
}

void dp_imm(Translator& t, u32 insn) {
  const bool s = bit(insn, 20);
  const Decoded what = decode_dp(field(insn, 21, 4), s, field(insn, 8, 4), field(insn, 16, 4));
  finish_dp(t, what, s, insn, thumb_immediate(t, split_immediate(insn), s && what.logical));
}

// ADDW, SUBW; from r15: ADR.
void addw(Translator& t, u32 insn) {
  const unsigned d = field(insn, 8, 4), n = field(insn, 16, 4);
  if (d == 15) return t.undefined();
  const u32 imm = split_immediate(insn);
  const Ref base = n == 15 ? t.b.const32(t.aligned_pc()) : t.reg(n);
  t.set_reg(d, add_folded(t, base, bit(insn, 23) ? 0 - imm : imm));
}

void movw(Translator& t, u32 insn) {
  const unsigned d = field(insn, 8, 4);
  if (d == 15) return t.undefined();
  t.set_reg(d, t.b.const32(field(insn, 16, 4) << 12 | split_immediate(insn)));
}

void movt(Translator& t, u32 insn) { move_top(t, field(insn, 8, 4), field(insn, 16, 4) << 12 | split_immediate(insn)); }

void shift_reg(Translator& t, u32 insn) {
  const bool s = bit(insn, 20);
  const unsigned d = field(insn, 8, 4);
  if (d == 15) return t.undefined();
  const Operand shifted =
      shift_by_register(t, t.reg(field(insn, 16, 4)), field(insn, 21, 2), t.reg(field(insn, 0, 4)), s);
  data_processing(t, Dp::MOV, s, d, ir::kNoRef, shifted);
}

}  // namespace t32

void move_top(Translator& t, unsigned d, u32 imm16) {
  if (d == 15) return t.undefined();
  t.set_reg(d, t.b.or_(t.b.op1(Op::ZExt16, t.reg(d)), t.b.const32(imm16 << 16)));
}

}  // namespace rhea::arm
