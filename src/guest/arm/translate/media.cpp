// SPDX-License-Identifier: MIT
// Packed arithmetic, saturation, extension, bit fields (DDI 0406C, A4.4.2, A4.4.6 to A4.4.8).
#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace {

bool any_pc(unsigned a, unsigned b, unsigned c = 0) { return a == 15 || b == 15 || c == 15; }

void or_into_q(Translator& t, Ref value) {
  t.b.set(Type::I32, offsetof(State, cpsr_q), t.b.or_(t.b.get(Type::I32, offsetof(State, cpsr_q)), value));
}

}  // namespace

void parallel_arithmetic(Translator& t, bool is_unsigned, unsigned prefix, unsigned op, unsigned d, unsigned n,
                         unsigned m) {
  if (any_pc(d, n, m)) return t.undefined();
  using ir::ParallelKind;
  constexpr ParallelKind kKinds[] = {ParallelKind::add,
                                     ParallelKind::add_sub_exchange,
                                     ParallelKind::sub_add_exchange,
                                     ParallelKind::sub,
                                     ParallelKind::add,
                                     ParallelKind::sub};
  const u8 lane = op >= 4 ? 8 : 16;
  const u8 aux = ir::parallel(kKinds[op], prefix, is_unsigned);
  const Ref first = t.reg(n), second = t.reg(m);
  const Ref result = t.b.emit(Op::Parallel, Type::I32, first, second, ir::kNoRef, 0, lane, aux);
  if (prefix == 0) {
    const Ref ge = t.b.emit(Op::ParallelGe, Type::I32, first, second, ir::kNoRef, 0, lane, aux);
    t.b.set(Type::I32, offsetof(State, cpsr_ge), ge);
  }
  t.set_reg(d, result);
}

void pack(Translator& t, bool top_first, unsigned amount, unsigned d, unsigned n, unsigned m) {
  if (any_pc(d, n, m)) return t.undefined();
  ir::Builder& b = t.b;
  const Ref first = t.reg(n), second = t.reg(m);
  if (top_first) {
    const Ref shifted = b.sar(second, amount ? amount : 32);
    t.set_reg(d, b.or_(b.and_(first, 0xffff0000), b.op1(Op::ZExt16, shifted)));
  } else {
    t.set_reg(d, b.or_(b.op1(Op::ZExt16, first), b.and_(b.shl(second, amount), 0xffff0000)));
  }
}

void select_bytes(Translator& t, unsigned d, unsigned n, unsigned m) {
  if (any_pc(d, n, m)) return t.undefined();
  const Ref ge = t.b.get(Type::I32, offsetof(State, cpsr_ge));
  t.set_reg(d, t.b.emit(Op::SelectBytes, Type::I32, ge, t.reg(n), t.reg(m)));
}

void extend_and_add(Translator& t, Extend kind, unsigned rotation, unsigned d, unsigned n, unsigned m) {
  if (any_pc(d, m)) return t.undefined();
  ir::Builder& b = t.b;
  Ref value = t.reg(m);
  if (rotation) value = b.op2(Op::Ror, value, b.const32(8 * rotation));
  const bool pair = kind == Extend::SXTB16 || kind == Extend::UXTB16;
  switch (kind) {
    case Extend::SXTB: value = b.op1(Op::SExt8, value); break;
    case Extend::SXTH: value = b.op1(Op::SExt16, value); break;
    case Extend::UXTB: value = b.op1(Op::ZExt8, value); break;
    case Extend::UXTH: value = b.op1(Op::ZExt16, value); break;
    case Extend::UXTB16: value = b.and_(value, 0x00ff00ff); break;
    case Extend::SXTB16: {
      const Ref low = b.op1(Op::ZExt16, b.op1(Op::SExt8, value));
      const Ref high = b.shl(b.op1(Op::SExt8, b.shr(value, 16)), 16);
      value = b.or_(low, high);
      break;
    }
  }
  if (n != 15) {
    if (pair) {
      const u8 aux = ir::parallel(ir::ParallelKind::add, 0, false);
      value = b.emit(Op::Parallel, Type::I32, t.reg(n), value, ir::kNoRef, 0, 16, aux);
    } else {
      value = b.add(t.reg(n), value);
    }
  }
  t.set_reg(d, value);
}

void saturate(Translator& t, bool is_signed, unsigned width, bool arithmetic_right, unsigned amount, unsigned d,
              unsigned n) {
  if (any_pc(d, n)) return t.undefined();
  ir::Builder& b = t.b;
  Ref value = t.reg(n);
  value = arithmetic_right ? b.sar(value, amount ? amount : 32) : b.shl(value, amount);
  const Ref result = b.emit(is_signed ? Op::SatS : Op::SatU, Type::I32, value, ir::kNoRef, ir::kNoRef, width);
  or_into_q(t, b.emit(is_signed ? Op::DidSatS : Op::DidSatU, Type::I32, value, ir::kNoRef, ir::kNoRef, width));
  t.set_reg(d, result);
}

void saturate_halves(Translator& t, bool is_signed, unsigned width, unsigned d, unsigned n) {
  if (any_pc(d, n)) return t.undefined();
  ir::Builder& b = t.b;
  const Op op = is_signed ? Op::SatS : Op::SatU, did = is_signed ? Op::DidSatS : Op::DidSatU;
  const Ref value = t.reg(n);
  const Ref low = b.op1(Op::SExt16, value), high = b.sar(value, 16);
  const Ref low_result = b.emit(op, Type::I32, low, ir::kNoRef, ir::kNoRef, width);
  const Ref high_result = b.emit(op, Type::I32, high, ir::kNoRef, ir::kNoRef, width);
  or_into_q(t, b.or_(b.emit(did, Type::I32, low, ir::kNoRef, ir::kNoRef, width),
                     b.emit(did, Type::I32, high, ir::kNoRef, ir::kNoRef, width)));
  t.set_reg(d, b.or_(b.op1(Op::ZExt16, low_result), b.shl(high_result, 16)));
}

void reverse(Translator& t, Reverse kind, unsigned d, unsigned m) {
  if (any_pc(d, m)) return t.undefined();
  ir::Builder& b = t.b;
  const Ref value = t.reg(m);
  switch (kind) {
    case Reverse::REV: return t.set_reg(d, b.op1(Op::Bswap, value));
    case Reverse::REV16: return t.set_reg(d, b.op1(Op::Bswap16, value));
    case Reverse::RBIT: return t.set_reg(d, b.op1(Op::Rbit, value));
    case Reverse::REVSH: return t.set_reg(d, b.op1(Op::SExt16, b.op1(Op::Bswap16, value)));
  }
}

void count_leading_zeros(Translator& t, unsigned d, unsigned m) {
  if (any_pc(d, m)) return t.undefined();
  t.set_reg(d, t.b.op1(Op::Clz, t.reg(m)));
}

void extract_field(Translator& t, bool is_signed, unsigned low, unsigned width, unsigned d, unsigned n) {
  if (any_pc(d, n) || low + width > 32) return t.undefined();
  ir::Builder& b = t.b;
  const Ref at_top = b.shl(t.reg(n), 32 - low - width);
  t.set_reg(d, is_signed ? b.sar(at_top, 32 - width) : b.shr(at_top, 32 - width));
}

void insert_field(Translator& t, unsigned low, unsigned high, unsigned d, unsigned n) {
  if (d == 15 || high < low) return t.undefined();
  ir::Builder& b = t.b;
  const u32 ones = high - low == 31 ? ~0u : (1u << (high - low + 1)) - 1;
  const Ref cleared = b.and_(t.reg(d), ~(ones << low));
  if (n == 15) return t.set_reg(d, cleared);
  t.set_reg(d, b.or_(cleared, b.shl(b.and_(t.reg(n), ones), low)));
}

// ---- A32: d in bits 15..12, n in 19..16 or 3..0, m in 3..0 ----

namespace a32 {

void parallel_add(Translator& t, u32 insn) {
  constexpr u8 kOps[] = {0, 1, 2, 3, 4, 0, 0, 5};
  parallel_arithmetic(t, bit(insn, 22), field(insn, 20, 2) - 1, kOps[field(insn, 5, 3)], field(insn, 12, 4),
                      field(insn, 16, 4), field(insn, 0, 4));
}
void pkh(Translator& t, u32 insn) {
  pack(t, bit(insn, 6), field(insn, 7, 5), field(insn, 12, 4), field(insn, 16, 4), field(insn, 0, 4));
}
void sel(Translator& t, u32 insn) { select_bytes(t, field(insn, 12, 4), field(insn, 16, 4), field(insn, 0, 4)); }
void extend(Translator& t, u32 insn) {
  constexpr Extend kKinds[] = {Extend::SXTB16, Extend::SXTB16, Extend::SXTB, Extend::SXTH,
                               Extend::UXTB16, Extend::UXTB16, Extend::UXTB, Extend::UXTH};
  extend_and_add(t, kKinds[field(insn, 20, 3)], field(insn, 10, 2), field(insn, 12, 4), field(insn, 16, 4),
                 field(insn, 0, 4));
}
void ssat(Translator& t, u32 insn) {
  saturate(t, true, field(insn, 16, 5) + 1, bit(insn, 6), field(insn, 7, 5), field(insn, 12, 4), field(insn, 0, 4));
}
void usat(Translator& t, u32 insn) {
  saturate(t, false, field(insn, 16, 5), bit(insn, 6), field(insn, 7, 5), field(insn, 12, 4), field(insn, 0, 4));
}
void ssat16(Translator& t, u32 insn) {
  saturate_halves(t, true, field(insn, 16, 4) + 1, field(insn, 12, 4), field(insn, 0, 4));
}
void usat16(Translator& t, u32 insn) {
  saturate_halves(t, false, field(insn, 16, 4), field(insn, 12, 4), field(insn, 0, 4));
}
void rev(Translator& t, u32 insn) { reverse(t, Reverse::REV, field(insn, 12, 4), field(insn, 0, 4)); }
void rev16(Translator& t, u32 insn) { reverse(t, Reverse::REV16, field(insn, 12, 4), field(insn, 0, 4)); }
void rbit(Translator& t, u32 insn) { reverse(t, Reverse::RBIT, field(insn, 12, 4), field(insn, 0, 4)); }
void revsh(Translator& t, u32 insn) { reverse(t, Reverse::REVSH, field(insn, 12, 4), field(insn, 0, 4)); }
void clz(Translator& t, u32 insn) { count_leading_zeros(t, field(insn, 12, 4), field(insn, 0, 4)); }
void sbfx(Translator& t, u32 insn) {
  extract_field(t, true, field(insn, 7, 5), field(insn, 16, 5) + 1, field(insn, 12, 4), field(insn, 0, 4));
}
void ubfx(Translator& t, u32 insn) {
  extract_field(t, false, field(insn, 7, 5), field(insn, 16, 5) + 1, field(insn, 12, 4), field(insn, 0, 4));
}
void bfi(Translator& t, u32 insn) {
  insert_field(t, field(insn, 7, 5), field(insn, 16, 5), field(insn, 12, 4), field(insn, 0, 4));
}

}  // namespace a32

// ---- T32: d in bits 11..8, n in 19..16, m in 3..0; split immediates in 14..12 and 7..6 ----

namespace t32 {

namespace {
constexpr u32 imm5(u32 insn) { return bits(insn, 12, 3) << 2 | bits(insn, 6, 2); }
}  // namespace

void parallel_add(Translator& t, u32 insn) {
  constexpr u8 kOps[] = {4, 0, 1, 0, 5, 3, 2, 0};
  parallel_arithmetic(t, bit(insn, 6), field(insn, 4, 2), kOps[field(insn, 20, 3)], field(insn, 8, 4),
                      field(insn, 16, 4), field(insn, 0, 4));
}
void pkh(Translator& t, u32 insn) {
  pack(t, bit(insn, 5), imm5(insn), field(insn, 8, 4), field(insn, 16, 4), field(insn, 0, 4));
}
void sel(Translator& t, u32 insn) { select_bytes(t, field(insn, 8, 4), field(insn, 16, 4), field(insn, 0, 4)); }
void extend(Translator& t, u32 insn) {
  constexpr Extend kKinds[] = {Extend::SXTH, Extend::UXTH, Extend::SXTB16, Extend::UXTB16,
                               Extend::SXTB, Extend::UXTB, Extend::UXTB,   Extend::UXTB};
  extend_and_add(t, kKinds[field(insn, 20, 3)], field(insn, 4, 2), field(insn, 8, 4), field(insn, 16, 4),
                 field(insn, 0, 4));
}
void ssat(Translator& t, u32 insn) {
  saturate(t, true, field(insn, 0, 5) + 1, bit(insn, 21), imm5(insn), field(insn, 8, 4), field(insn, 16, 4));
}
void usat(Translator& t, u32 insn) {
  saturate(t, false, field(insn, 0, 5), bit(insn, 21), imm5(insn), field(insn, 8, 4), field(insn, 16, 4));
}
void ssat16(Translator& t, u32 insn) {
  saturate_halves(t, true, field(insn, 0, 4) + 1, field(insn, 8, 4), field(insn, 16, 4));
}
void usat16(Translator& t, u32 insn) {
  saturate_halves(t, false, field(insn, 0, 4), field(insn, 8, 4), field(insn, 16, 4));
}
void reverse(Translator& t, u32 insn) {
  constexpr Reverse kKinds[] = {Reverse::REV, Reverse::REV16, Reverse::RBIT, Reverse::REVSH};
  arm::reverse(t, kKinds[field(insn, 4, 2)], field(insn, 8, 4), field(insn, 0, 4));
}
void clz(Translator& t, u32 insn) { count_leading_zeros(t, field(insn, 8, 4), field(insn, 0, 4)); }
void sbfx(Translator& t, u32 insn) {
  extract_field(t, true, imm5(insn), field(insn, 0, 5) + 1, field(insn, 8, 4), field(insn, 16, 4));
}
void ubfx(Translator& t, u32 insn) {
  extract_field(t, false, imm5(insn), field(insn, 0, 5) + 1, field(insn, 8, 4), field(insn, 16, 4));
}
void bfi(Translator& t, u32 insn) {
  insert_field(t, imm5(insn), field(insn, 0, 5), field(insn, 8, 4), field(insn, 16, 4));
}

}  // namespace t32

}  // namespace rhea::arm
