// SPDX-License-Identifier: MIT
// Multiplication and division (DDI 0406C, A4.4.3 to A4.4.5).
#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace {

Ref widen(Translator& t, Ref value, bool is_signed) {
  return t.b.emit(is_signed ? Op::SExt32 : Op::ZExt32, Type::I64, value);
}
Ref low_half(Translator& t, Ref value) { return t.b.emit(Op::Trunc, Type::I32, value); }
Ref high_half(Translator& t, Ref value) { return t.b.emit(Op::HighHalf, Type::I32, value); }
Ref half(Translator& t, Ref value, bool top) { return top ? t.b.sar(value, 16) : t.b.op1(Op::SExt16, value); }
Ref pair(Translator& t, unsigned low, unsigned high) { return t.b.emit(Op::Pair, Type::I64, t.reg(low), t.reg(high)); }
void set_pair(Translator& t, unsigned low, unsigned high, Ref value) {
  t.set_reg(low, low_half(t, value));
  t.set_reg(high, high_half(t, value));
}
bool any_pc(unsigned a, unsigned b, unsigned c, unsigned d = 0) { return a == 15 || b == 15 || c == 15 || d == 15; }

// Q is set when a 32-bit sum is not the exact one; both operands are exact.
Ref add_setting_q(Translator& t, Ref a, Ref b) {
  ir::Builder& ir = t.b;
  const Ref sum = ir.add(a, b);
  const Ref overflow = ir.shr(ir.and_(ir.xor_(sum, a), ir.xor_(sum, b)), 31);
  ir.set(Type::I32, offsetof(State, cpsr_q), ir.or_(ir.get(Type::I32, offsetof(State, cpsr_q)), overflow));
  return sum;
}

}  // namespace

void multiply(Translator& t, bool set_flags, unsigned d, unsigned n, unsigned m, unsigned a) {
  if (any_pc(d, n, m)) return t.undefined();
  Ref result = t.b.op2(Op::Mul, t.reg(n), t.reg(m));
  if (a != 15) result = t.b.add(result, t.reg(a));
  t.set_reg(d, result);
  if (set_flags) t.b.set_flags(result, ir::kFlagNZ);
}

void multiply_subtract(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a) {
  if (any_pc(d, n, m, a)) return t.undefined();
  t.set_reg(d, t.b.sub(t.reg(a), t.b.op2(Op::Mul, t.reg(n), t.reg(m))));
}

void multiply_long(Translator& t, bool is_signed, bool accumulate, bool set_flags, unsigned low, unsigned high,
                   unsigned n, unsigned m) {
  if (any_pc(low, high, n, m)) return t.undefined();
  Ref result = t.b.op2(Op::Mul, Type::I64, widen(t, t.reg(n), is_signed), widen(t, t.reg(m), is_signed));
  if (accumulate) result = t.b.op2(Op::Add, Type::I64, result, pair(t, low, high));
  set_pair(t, low, high, result);
  if (!set_flags) return;
  // N of 64 bits, Z of 64 bits: from the high half, with its low bits set when the low half is not zero.
  const Ref low_set = t.b.emit(Op::CmpNe, Type::I32, low_half(t, result), t.b.const32(0));
  t.b.set_flags(t.b.or_(high_half(t, result), low_set), ir::kFlagNZ);
}

void multiply_accumulate_accumulate(Translator& t, unsigned low, unsigned high, unsigned n, unsigned m) {
  if (any_pc(low, high, n, m)) return t.undefined();
  Ref result = t.b.op2(Op::Mul, Type::I64, widen(t, t.reg(n), false), widen(t, t.reg(m), false));
  result = t.b.op2(Op::Add, Type::I64, result, widen(t, t.reg(low), false));
  result = t.b.op2(Op::Add, Type::I64, result, widen(t, t.reg(high), false));
  set_pair(t, low, high, result);
}

void multiply_halves(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a, bool n_top, bool m_top) {
  if (any_pc(d, n, m)) return t.undefined();
  const Ref product = t.b.op2(Op::Mul, half(t, t.reg(n), n_top), half(t, t.reg(m), m_top));
  t.set_reg(d, a == 15 ? product : add_setting_q(t, product, t.reg(a)));
}

void multiply_wide(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a, bool m_top) {
  if (any_pc(d, n, m)) return t.undefined();
  const Ref product = t.b.op2(Op::Mul, Type::I64, widen(t, t.reg(n), true), widen(t, half(t, t.reg(m), m_top), true));
  const Ref top = low_half(t, t.b.op2(Op::Sar, Type::I64, product, t.b.const32(16)));
  t.set_reg(d, a == 15 ? top : add_setting_q(t, top, t.reg(a)));
}

void multiply_long_halves(Translator& t, unsigned low, unsigned high, unsigned n, unsigned m, bool n_top, bool m_top) {
  if (any_pc(low, high, n, m)) return t.undefined();
  const Ref product = t.b.op2(Op::Mul, half(t, t.reg(n), n_top), half(t, t.reg(m), m_top));
  set_pair(t, low, high, t.b.op2(Op::Add, Type::I64, widen(t, product, true), pair(t, low, high)));
}

namespace {

// Both products of half-words, in 64 bits.
Ref dual_products(Translator& t, bool subtract, bool exchange, unsigned n, unsigned m) {
  const Ref first = t.reg(n);
  Ref second = t.reg(m);
  if (exchange) second = t.b.op2(Op::Ror, second, t.b.const32(16));
  const Ref bottom = widen(t, t.b.op2(Op::Mul, half(t, first, false), half(t, second, false)), true);
  const Ref top = widen(t, t.b.op2(Op::Mul, half(t, first, true), half(t, second, true)), true);
  return t.b.op2(subtract ? Op::Sub : Op::Add, Type::I64, bottom, top);
}

}  // namespace

void multiply_dual(Translator& t, bool subtract, bool exchange, unsigned d, unsigned n, unsigned m, unsigned a) {
  if (any_pc(d, n, m)) return t.undefined();
  ir::Builder& b = t.b;
  Ref sum = dual_products(t, subtract, exchange, n, m);
  if (a != 15) sum = b.op2(Op::Add, Type::I64, sum, widen(t, t.reg(a), true));
  const Ref result = low_half(t, sum);
  t.set_reg(d, result);
  if (subtract && a == 15) return;  // cannot overflow
  const Ref overflow = b.emit(Op::CmpNe, Type::I32, high_half(t, sum), b.sar(result, 31));
  b.set(Type::I32, offsetof(State, cpsr_q), b.or_(b.get(Type::I32, offsetof(State, cpsr_q)), overflow));
}

void multiply_long_dual(Translator& t, bool subtract, bool exchange, unsigned low, unsigned high, unsigned n,
                        unsigned m) {
  if (any_pc(low, high, n, m)) return t.undefined();
  const Ref sum = dual_products(t, subtract, exchange, n, m);
  set_pair(t, low, high, t.b.op2(Op::Add, Type::I64, sum, pair(t, low, high)));
}

void multiply_most_significant(Translator& t, bool subtract, bool round, unsigned d, unsigned n, unsigned m,
                               unsigned a) {
  if (any_pc(d, n, m)) return t.undefined();
  ir::Builder& b = t.b;
  Ref result = b.op2(Op::Mul, Type::I64, widen(t, t.reg(n), true), widen(t, t.reg(m), true));
  if (a != 15) {
    const Ref addend = b.emit(Op::Pair, Type::I64, b.const32(0), t.reg(a));
    result = b.op2(subtract ? Op::Sub : Op::Add, Type::I64, addend, result);
  }
  if (round) result = b.op2(Op::Add, Type::I64, result, b.const64(0x80000000));
  t.set_reg(d, high_half(t, result));
}

void divide(Translator& t, bool is_signed, unsigned d, unsigned n, unsigned m) {
  if (!t.has_divide() || any_pc(d, n, m)) return t.undefined();
  t.set_reg(d, t.b.op2(is_signed ? Op::DivS : Op::DivU, t.reg(n), t.reg(m)));
}

// Sum of the absolute differences of four bytes; r15 as addend: none.
void sum_of_differences(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a) {
  if (any_pc(d, n, m)) return t.undefined();
  ir::Builder& b = t.b;
  const Ref first = t.reg(n), second = t.reg(m);
  Ref sum = a == 15 ? b.const32(0) : t.reg(a);
  for (unsigned i = 0; i < 4; i++) {
    const Ref x = b.op1(Op::ZExt8, b.shr(first, 8 * i)), y = b.op1(Op::ZExt8, b.shr(second, 8 * i));
    const Ref difference = b.sub(x, y);
    const Ref sign = b.sar(difference, 31);
    sum = b.add(sum, b.sub(b.xor_(difference, sign), sign));
  }
  t.set_reg(d, sum);
}

// QADD, QSUB, QDADD, QDSUB: m first, then n (doubled).
void saturating_add(Translator& t, bool twice, bool subtract, unsigned d, unsigned n, unsigned m) {
  if (any_pc(d, n, m)) return t.undefined();
  ir::Builder& b = t.b;
  Ref q = b.get(Type::I32, offsetof(State, cpsr_q));
  // A 33-bit result that does not fit: the sign of the exact one, from 64 bits.
  const auto saturate64 = [&](Ref wide) {
    const Ref low = low_half(t, wide), high = high_half(t, wide);
    const Ref overflow = b.emit(Op::CmpNe, Type::I32, high, b.sar(low, 31));
    q = b.or_(q, overflow);
    return b.select(overflow, b.xor_(b.sar(high, 31), b.const32(0x7fffffff)), low);
  };
  Ref second = t.reg(n);
  if (twice) {
    const Ref wide = widen(t, second, true);
    second = saturate64(b.op2(Op::Add, Type::I64, wide, wide));
  }
  const Ref result =
      saturate64(b.op2(subtract ? Op::Sub : Op::Add, Type::I64, widen(t, t.reg(m), true), widen(t, second, true)));
  t.set_reg(d, result);
  b.set(Type::I32, offsetof(State, cpsr_q), q);
}

// ---- A32 ----

namespace a32 {

// Multiplications have d in bits 19..16, a in 15..12, m in 11..8, n in 3..0.
struct MultiplyFields {
  unsigned d, a, m, n;
  explicit MultiplyFields(u32 insn)
      : d(field(insn, 16, 4)), a(field(insn, 12, 4)), m(field(insn, 8, 4)), n(field(insn, 0, 4)) {}
};

void mul(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply(t, bit(insn, 20), f.d, f.n, f.m, 15);
}
void mla(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  if (f.a == 15) return t.undefined();
  multiply(t, bit(insn, 20), f.d, f.n, f.m, f.a);
}
void umaal(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_accumulate_accumulate(t, f.a, f.d, f.n, f.m);
}
void mls(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_subtract(t, f.d, f.n, f.m, f.a);
}
void mull(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long(t, bit(insn, 22), bit(insn, 21), bit(insn, 20), f.a, f.d, f.n, f.m);
}
void smlaxy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  if (f.a == 15) return t.undefined();
  multiply_halves(t, f.d, f.n, f.m, f.a, bit(insn, 5), bit(insn, 6));
}
void smulxy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_halves(t, f.d, f.n, f.m, 15, bit(insn, 5), bit(insn, 6));
}
void smlawy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  if (f.a == 15) return t.undefined();
  multiply_wide(t, f.d, f.n, f.m, f.a, bit(insn, 6));
}
void smulwy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_wide(t, f.d, f.n, f.m, 15, bit(insn, 6));
}
void smlalxy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long_halves(t, f.a, f.d, f.n, f.m, bit(insn, 5), bit(insn, 6));
}
void smlad(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_dual(t, false, bit(insn, 5), f.d, f.n, f.m, f.a);
}
void smlsd(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_dual(t, true, bit(insn, 5), f.d, f.n, f.m, f.a);
}
void smlald(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long_dual(t, false, bit(insn, 5), f.a, f.d, f.n, f.m);
}
void smlsld(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long_dual(t, true, bit(insn, 5), f.a, f.d, f.n, f.m);
}
void smmla(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_most_significant(t, false, bit(insn, 5), f.d, f.n, f.m, f.a);
}
void smmls(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  if (f.a == 15) return t.undefined();
  multiply_most_significant(t, true, bit(insn, 5), f.d, f.n, f.m, f.a);
}
void sdiv(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  divide(t, true, f.d, f.n, f.m);
}
void udiv(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  divide(t, false, f.d, f.n, f.m);
}
void usada8(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  sum_of_differences(t, f.d, f.n, f.m, f.a);
}
void qadd(Translator& t, u32 insn) {
  saturating_add(t, bit(insn, 22), bit(insn, 21), field(insn, 12, 4), field(insn, 16, 4), field(insn, 0, 4));
}

}  // namespace a32

// ---- T32 ----

namespace t32 {

// n in bits 19..16, a (or the low register) in 15..12, d (or the high register) in 11..8, m in 3..0.
struct MultiplyFields {
  unsigned n, a, d, m;
  explicit MultiplyFields(u32 insn)
      : n(field(insn, 16, 4)), a(field(insn, 12, 4)), d(field(insn, 8, 4)), m(field(insn, 0, 4)) {}
};

void mla(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply(t, false, f.d, f.n, f.m, f.a);
}
void mls(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_subtract(t, f.d, f.n, f.m, f.a);
}
void smlaxy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_halves(t, f.d, f.n, f.m, f.a, bit(insn, 5), bit(insn, 4));
}
void smlad(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_dual(t, false, bit(insn, 4), f.d, f.n, f.m, f.a);
}
void smlawy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_wide(t, f.d, f.n, f.m, f.a, bit(insn, 4));
}
void smlsd(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_dual(t, true, bit(insn, 4), f.d, f.n, f.m, f.a);
}
void smmla(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_most_significant(t, false, bit(insn, 4), f.d, f.n, f.m, f.a);
}
void smmls(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  if (f.a == 15) return t.undefined();
  multiply_most_significant(t, true, bit(insn, 4), f.d, f.n, f.m, f.a);
}
void usada8(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  sum_of_differences(t, f.d, f.n, f.m, f.a);
}
void mull(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long(t, !bit(insn, 21), bit(insn, 22), false, f.a, f.d, f.n, f.m);
}
void umaal(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_accumulate_accumulate(t, f.a, f.d, f.n, f.m);
}
void smlalxy(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long_halves(t, f.a, f.d, f.n, f.m, bit(insn, 5), bit(insn, 4));
}
void smlald(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long_dual(t, false, bit(insn, 4), f.a, f.d, f.n, f.m);
}
void smlsld(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  multiply_long_dual(t, true, bit(insn, 4), f.a, f.d, f.n, f.m);
}
void sdiv(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  divide(t, true, f.d, f.n, f.m);
}
void udiv(Translator& t, u32 insn) {
  const MultiplyFields f(insn);
  divide(t, false, f.d, f.n, f.m);
}
// T32's order is QADD, QDADD, QSUB, QDSUB.
void qadd(Translator& t, u32 insn) {
  saturating_add(t, bit(insn, 4), bit(insn, 5), field(insn, 8, 4), field(insn, 16, 4), field(insn, 0, 4));
}

}  // namespace t32

}  // namespace rhea::arm
