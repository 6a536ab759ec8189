// SPDX-License-Identifier: MIT
// Advanced SIMD: three registers of different lengths, and two registers and a scalar (DDI 0406C, A7.4.2, A7.4.3).
#include "guest/arm/translate/neon.h"

namespace rhea::arm::neon {

namespace {

bool is_unsigned(u32 insn) { return bit(insn, 24); }

// ---- three registers of different lengths ----

// Long: Qd from doublewords n and m.
template <typename Body>
void long_(Translator& t, u32 insn, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, true);
  if (s.d & 1) return t.undefined();
  s.set_quad(s.d, body(s, s.double_(s.n), s.double_(s.m)));
}

Ref widen(const Simd& s, u32 insn, Ref value) {
  return s.op(is_unsigned(insn) ? Op::VWidenU : Op::VWidenS, s.lane(), value);
}

void add_long(Translator& t, u32 insn, Op op) {
  long_(t, insn,
        [&](const Simd& s, Ref n, Ref m) { return s.op(op, 2 * s.lane(), widen(s, insn, n), widen(s, insn, m)); });
}

// Wide: Qd from Qn and doubleword m.
void add_wide(Translator& t, u32 insn, Op op) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, true);
  if ((s.d | s.n) & 1) return t.undefined();
  s.set_quad(s.d, s.op(op, 2 * s.lane(), s.quad_(s.n), widen(s, insn, s.double_(s.m))));
}

// High half, narrow: doubleword d from Qn and Qm.
void high_narrow(Translator& t, u32 insn, Op op, bool round) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, true);
  if ((s.n | s.m) & 1) return t.undefined();
  const unsigned wide = 2 * s.lane();
  Ref sum = s.op(op, wide, s.quad_(s.n), s.quad_(s.m));
  if (round) sum = s.op(Op::VAdd, wide, sum, s.constant(replicate(u64{1} << (s.lane() - 1), wide)));
  s.set_double(s.d, s.op(Op::VNarrow, wide, s.shift(Op::VShrUImm, wide, sum, s.lane())));
}

Ref difference_long(const Simd& s, u32 insn, Ref n, Ref m) {
  const Ref difference = s.op(is_unsigned(insn) ? Op::VAbsDiffU : Op::VAbsDiffS, s.lane(), n, m);
  return s.op(Op::VWidenU, s.lane(), difference);
}

// ---- products, common to both groups; m may be a scalar in all lanes ----

Ref product_long(const Simd& s, u32 insn, Ref n, Ref m) {
  return s.op(is_unsigned(insn) ? Op::VMulLongU : Op::VMulLongS, s.lane(), n, m);
}
Ref accumulate_long(const Simd& s, u32 insn, Op op, Ref n, Ref m) {
  return s.op(op, 2 * s.lane(), s.quad_(s.d), product_long(s, insn, n, m));
}
Ref double_product(const Simd& s, Ref n, Ref m) { return s.op(Op::VSatDoubleMulLong, s.lane(), n, m); }
Ref accumulate_double(const Simd& s, Op op, Ref n, Ref m) {
  return s.op(op, 2 * s.lane(), s.quad_(s.d), double_product(s, n, m));
}

// VQDMULL and its like have no bytes.
template <typename Body>
void double_long(Translator& t, u32 insn, Body body) {
  if (!bits(insn, 20, 2)) {
    if (neon_enabled(t)) t.undefined();
    return;
  }
  long_(t, insn, body);
}

// ---- two registers and a scalar ----

// The scalar in every lane of a register of the form `quad`.
Ref scalar(const Simd& s, u32 insn, bool quad) {
  const bool half = s.size == 1;
  const unsigned reg = half ? bits(insn, 0, 3) : bits(insn, 0, 4);
  const unsigned index = half ? bit(insn, 5) << 1 | bit(insn, 3) : bit(insn, 5);
  const Ref all = s.op_imm(Op::VDupLane, s.lane(), s.double_(reg), index);
  return quad ? all : s.op(Op::VLow64, 64, all);
}

// Same length, D or Q by bit 24.
template <typename Body>
void by_scalar(Translator& t, u32 insn, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, bit(insn, 24));
  if (s.quad && ((s.d | s.n) & 1)) return t.undefined();
  s.set(s.d, body(s, s.get(s.n), scalar(s, insn, s.quad)));
}

template <typename Body>
void long_by_scalar(Translator& t, u32 insn, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, true);
  if (s.d & 1) return t.undefined();
  s.set_quad(s.d, body(s, s.double_(s.n), scalar(s, insn, false)));
}

}  // namespace

void vaddl(Translator& t, u32 insn) { add_long(t, insn, Op::VAdd); }
void vsubl(Translator& t, u32 insn) { add_long(t, insn, Op::VSub); }
void vaddw(Translator& t, u32 insn) { add_wide(t, insn, Op::VAdd); }
void vsubw(Translator& t, u32 insn) { add_wide(t, insn, Op::VSub); }
void vaddhn(Translator& t, u32 insn) { high_narrow(t, insn, Op::VAdd, false); }
void vraddhn(Translator& t, u32 insn) { high_narrow(t, insn, Op::VAdd, true); }
void vsubhn(Translator& t, u32 insn) { high_narrow(t, insn, Op::VSub, false); }
void vrsubhn(Translator& t, u32 insn) { high_narrow(t, insn, Op::VSub, true); }

void vabdl(Translator& t, u32 insn) {
  long_(t, insn, [&](const Simd& s, Ref n, Ref m) { return difference_long(s, insn, n, m); });
}
void vabal(Translator& t, u32 insn) {
  long_(t, insn, [&](const Simd& s, Ref n, Ref m) {
    return s.op(Op::VAdd, 2 * s.lane(), s.quad_(s.d), difference_long(s, insn, n, m));
  });
}

void vmull(Translator& t, u32 insn) {
  long_(t, insn, [&](const Simd& s, Ref n, Ref m) { return product_long(s, insn, n, m); });
}
void vmlal(Translator& t, u32 insn) {
  long_(t, insn, [&](const Simd& s, Ref n, Ref m) { return accumulate_long(s, insn, Op::VAdd, n, m); });
}
void vmlsl(Translator& t, u32 insn) {
  long_(t, insn, [&](const Simd& s, Ref n, Ref m) { return accumulate_long(s, insn, Op::VSub, n, m); });
}
void vmull_polynomial(Translator& t, u32 insn) {
  if (bits(insn, 20, 2)) {
    if (neon_enabled(t)) t.undefined();
    return;
  }
  long_(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VMulLongPoly, 8, n, m); });
}
void vqdmull(Translator& t, u32 insn) {
  double_long(t, insn, [](const Simd& s, Ref n, Ref m) { return double_product(s, n, m); });
}
void vqdmlal(Translator& t, u32 insn) {
  double_long(t, insn, [](const Simd& s, Ref n, Ref m) { return accumulate_double(s, Op::VSatAddS, n, m); });
}
void vqdmlsl(Translator& t, u32 insn) {
  double_long(t, insn, [](const Simd& s, Ref n, Ref m) { return accumulate_double(s, Op::VSatSubS, n, m); });
}

void vmul_scalar(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VMul, s.lane(), n, m); });
}
void vmla_scalar(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) {
    return s.op(Op::VAdd, s.lane(), s.get(s.d), s.op(Op::VMul, s.lane(), n, m));
  });
}
void vmls_scalar(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) {
    return s.op(Op::VSub, s.lane(), s.get(s.d), s.op(Op::VMul, s.lane(), n, m));
  });
}
void vmul_scalar_float(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return s.fp(Op::VFMul, n, m); });
}
void vmla_scalar_float(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return s.fp(Op::VFAdd, s.get(s.d), s.fp(Op::VFMul, n, m)); });
}
void vmls_scalar_float(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return s.fp(Op::VFSub, s.get(s.d), s.fp(Op::VFMul, n, m)); });
}
void vqdmulh_scalar(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return s.saturating(Op::VSatDoubleMulHi, s.lane(), n, m); });
}
void vqrdmulh_scalar(Translator& t, u32 insn) {
  by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return s.saturating(Op::VSatRndDoubleMulHi, s.lane(), n, m); });
}
void vmull_scalar(Translator& t, u32 insn) {
  long_by_scalar(t, insn, [&](const Simd& s, Ref n, Ref m) { return product_long(s, insn, n, m); });
}
void vmlal_scalar(Translator& t, u32 insn) {
  long_by_scalar(t, insn, [&](const Simd& s, Ref n, Ref m) { return accumulate_long(s, insn, Op::VAdd, n, m); });
}
void vmlsl_scalar(Translator& t, u32 insn) {
  long_by_scalar(t, insn, [&](const Simd& s, Ref n, Ref m) { return accumulate_long(s, insn, Op::VSub, n, m); });
}
void vqdmull_scalar(Translator& t, u32 insn) {
  long_by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return double_product(s, n, m); });
}
void vqdmlal_scalar(Translator& t, u32 insn) {
  long_by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return accumulate_double(s, Op::VSatAddS, n, m); });
}
void vqdmlsl_scalar(Translator& t, u32 insn) {
  long_by_scalar(t, insn, [](const Simd& s, Ref n, Ref m) { return accumulate_double(s, Op::VSatSubS, n, m); });
}

}  // namespace rhea::arm::neon
