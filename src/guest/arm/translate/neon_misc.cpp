// SPDX-License-Identifier: MIT
// Advanced SIMD: two registers, miscellaneous; extract, table lookup, duplicate (DDI 0406C, A7.4.5, A7.4).
#include "guest/arm/translate/neon.h"

namespace rhea::arm::neon {

namespace {

enum Sizes : u8 { k8 = 1, k8To16 = 3, k16 = 2, k32 = 4, k8To32 = 7, k8To64 = 15 };

Simd decode(Translator& t, u32 insn, bool quad) {
  Simd s(t, insn, quad);
  s.size = bits(insn, 18, 2);
  return s;
}

// Decodes, checks, and stores what body(simd, m) makes.
template <typename Body>
void misc(Translator& t, u32 insn, u8 sizes, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s = decode(t, insn, bit(insn, 6));
  if (odd(s, false) || !(sizes >> s.size & 1)) return t.undefined();
  s.set(s.d, body(s, s.get(s.m)));
}

void plain(Translator& t, u32 insn, u8 sizes, Op op) {
  misc(t, insn, sizes, [&](const Simd& s, Ref m) { return s.op(op, s.lane(), m); });
}
void saturating(Translator& t, u32 insn, Op op) {
  misc(t, insn, k8To32, [&](const Simd& s, Ref m) { return s.saturating(op, s.lane(), m); });
}
void fp(Translator& t, u32 insn, Op op) {
  misc(t, insn, k32, [&](const Simd& s, Ref m) { return s.fp(op, m); });
}

// Comparison of m with zero; `swapped`: of zero with m.
void compare_zero(Translator& t, u32 insn, Op op, bool swapped = false) {
  misc(t, insn, k8To32, [&](const Simd& s, Ref m) {
    const Ref zero = s.zero();
    return s.op(op, s.lane(), swapped ? zero : m, swapped ? m : zero);
  });
}
void compare_zero_fp(Translator& t, u32 insn, Op op, bool swapped = false) {
  misc(t, insn, k32, [&](const Simd& s, Ref m) {
    const Ref zero = s.zero();
    return s.fp(op, swapped ? zero : m, swapped ? m : zero);
  });
}

// Both registers change: body(simd, d, m, new d, new m).
template <typename Body>
void exchange(Translator& t, u32 insn, bool (*sizes)(const Simd&), Body body) {
  if (!neon_enabled(t)) return;
  const Simd s = decode(t, insn, bit(insn, 6));
  if (odd(s, false) || !sizes(s)) return t.undefined();
  Ref new_d = kNone, new_m = kNone;
  body(s, s.get(s.d), s.get(s.m), new_d, new_m);
  s.set(s.d, new_d);
  s.set(s.m, new_m);
}

// Doubleword d from Qm.
void narrow(Translator& t, u32 insn, Op op) {
  if (!neon_enabled(t)) return;
  const Simd s = decode(t, insn, true);
  if ((s.m & 1) || s.size == 3) return t.undefined();
  s.set_double(s.d, s.op(op, 2 * s.lane(), s.quad_(s.m)));
}

}  // namespace

void vrev64(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VRev64); }
void vrev32(Translator& t, u32 insn) { plain(t, insn, k8To16, Op::VRev32); }
void vrev16(Translator& t, u32 insn) { plain(t, insn, k8, Op::VRev16); }
void vcls(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VCls); }
void vclz(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VClz); }
void vcnt(Translator& t, u32 insn) { plain(t, insn, k8, Op::VPopCount); }
void vmvn_register(Translator& t, u32 insn) { plain(t, insn, k8, Op::VNot); }
void vabs(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VAbs); }
void vneg(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VNeg); }
void vabs_float(Translator& t, u32 insn) { fp(t, insn, Op::VFAbs); }
void vneg_float(Translator& t, u32 insn) { fp(t, insn, Op::VFNeg); }
void vqabs(Translator& t, u32 insn) { saturating(t, insn, Op::VSatAbs); }
void vqneg(Translator& t, u32 insn) { saturating(t, insn, Op::VSatNeg); }

void vpaddl(Translator& t, u32 insn) { plain(t, insn, k8To32, bit(insn, 7) ? Op::VPairAddLongU : Op::VPairAddLongS); }
void vpadal(Translator& t, u32 insn) {
  misc(t, insn, k8To32, [&](const Simd& s, Ref m) {
    const Ref sums = s.op(bit(insn, 7) ? Op::VPairAddLongU : Op::VPairAddLongS, s.lane(), m);
    return s.op(Op::VAdd, 2 * s.lane(), s.get(s.d), sums);
  });
}

void vcgt_zero(Translator& t, u32 insn) { compare_zero(t, insn, Op::VCmpGtS); }
void vcge_zero(Translator& t, u32 insn) { compare_zero(t, insn, Op::VCmpGeS); }
void vceq_zero(Translator& t, u32 insn) { compare_zero(t, insn, Op::VCmpEq); }
void vcle_zero(Translator& t, u32 insn) { compare_zero(t, insn, Op::VCmpGeS, true); }
void vclt_zero(Translator& t, u32 insn) { compare_zero(t, insn, Op::VCmpGtS, true); }
void vcgt_zero_float(Translator& t, u32 insn) { compare_zero_fp(t, insn, Op::VFCmpGt); }
void vcge_zero_float(Translator& t, u32 insn) { compare_zero_fp(t, insn, Op::VFCmpGe); }
void vceq_zero_float(Translator& t, u32 insn) { compare_zero_fp(t, insn, Op::VFCmpEq); }
void vcle_zero_float(Translator& t, u32 insn) { compare_zero_fp(t, insn, Op::VFCmpGe, true); }
void vclt_zero_float(Translator& t, u32 insn) { compare_zero_fp(t, insn, Op::VFCmpGt, true); }

void vswp(Translator& t, u32 insn) {
  exchange(
      t, insn, [](const Simd& s) { return s.size == 0; },
      [](const Simd&, Ref d, Ref m, Ref& new_d, Ref& new_m) {
        new_d = m;
        new_m = d;
      });
}
void vtrn(Translator& t, u32 insn) {
  exchange(
      t, insn, [](const Simd& s) { return s.size != 3; },
      [](const Simd& s, Ref d, Ref m, Ref& new_d, Ref& new_m) {
        new_d = s.op(Op::VTrnEven, s.lane(), d, m);
        new_m = s.op(Op::VTrnOdd, s.lane(), d, m);
      });
}

namespace {
// Doublewords of two elements have VTRN instead.
bool has_zip(const Simd& s) { return s.size < (s.quad ? 3u : 2u); }
}  // namespace

void vuzp(Translator& t, u32 insn) {
  exchange(t, insn, has_zip, [](const Simd& s, Ref d, Ref m, Ref& new_d, Ref& new_m) {
    if (!s.quad) d = m = s.op(Op::VJoin64, 64, d, m);
    new_d = s.op(Op::VUnzipEven, s.lane(), d, m);
    new_m = s.op(Op::VUnzipOdd, s.lane(), d, m);
  });
}
void vzip(Translator& t, u32 insn) {
  exchange(t, insn, has_zip, [](const Simd& s, Ref d, Ref m, Ref& new_d, Ref& new_m) {
    new_d = s.op(Op::VZipLo, s.lane(), d, m);
    new_m = s.quad ? s.op(Op::VZipHi, s.lane(), d, m) : s.op(Op::VHigh64, 64, new_d);
  });
}

void vmovn(Translator& t, u32 insn) { narrow(t, insn, Op::VNarrow); }
void vqmovun(Translator& t, u32 insn) { narrow(t, insn, Op::VSatNarrowSU); }
void vqmovn(Translator& t, u32 insn) { narrow(t, insn, bit(insn, 6) ? Op::VSatNarrowU : Op::VSatNarrowS); }

void vshll_maximum(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const Simd s = decode(t, insn, true);
  if ((s.d & 1) || s.size == 3) return t.undefined();
  s.set_quad(s.d, s.shift(Op::VShlImm, 2 * s.lane(), s.op(Op::VWidenU, s.lane(), s.double_(s.m)), s.lane()));
}

void vcvt_to_half(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const Simd s = decode(t, insn, true);
  if ((s.m & 1) || s.size != 1) return t.undefined();
  const Ref from = s.quad_(s.m);
  Ref result = s.zero();
  for (unsigned i = 0; i < 4; i++) {
    const Ref single = t.b.emit(Op::VGetLane, Type::I32, from, kNone, kNone, i, 32);
    result = s.op(Op::VSetLane, 16, result, single_to_half(t, single, kStandard), kNone, i);
  }
  s.set_double(s.d, result);
}
void vcvt_from_half(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const Simd s = decode(t, insn, true);
  if ((s.d & 1) || s.size != 1) return t.undefined();
  const Ref from = s.double_(s.m);
  Ref result = s.zero();
  for (unsigned i = 0; i < 4; i++) {
    const Ref half = t.b.emit(Op::VGetLane, Type::I32, from, kNone, kNone, i, 16);
    result = s.op(Op::VSetLane, 32, result, half_to_single(t, half, kStandard), kNone, i);
  }
  s.set_quad(s.d, result);
}

void vrecpe(Translator& t, u32 insn) {
  if (bit(insn, 8)) fp(t, insn, Op::VFRecipEstimate);
  else plain(t, insn, k32, Op::VRecipEstimateU);
}
void vrsqrte(Translator& t, u32 insn) {
  if (bit(insn, 8)) fp(t, insn, Op::VFRsqrtEstimate);
  else plain(t, insn, k32, Op::VRsqrtEstimateU);
}
void vcvt_from_integer(Translator& t, u32 insn) { fp(t, insn, bit(insn, 7) ? Op::VFFromU : Op::VFFromS); }
void vcvt_to_integer(Translator& t, u32 insn) { fp(t, insn, bit(insn, 7) ? Op::VFToU : Op::VFToS); }

void vext(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, bit(insn, 6));
  const unsigned first = bits(insn, 8, 4);
  if (odd(s, true) || (!s.quad && first >= 8)) return t.undefined();
  Ref low = s.get(s.n), high = s.get(s.m);
  if (!s.quad) low = high = s.op(Op::VJoin64, 64, low, high);
  s.set(s.d, s.op(Op::VExtract, 8, low, high, kNone, first));
}

namespace {

void table_lookup(Translator& t, u32 insn, bool extend) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, false);
  const unsigned length = bits(insn, 8, 2) + 1;
  if (s.n + length > 32) return t.undefined();  // UNPREDICTABLE
  const auto pair = [&](unsigned first) {
    if (first >= length) return s.zero();
    if (first + 1 >= length) return s.double_(s.n + first);
    return s.op(Op::VJoin64, 64, s.double_(s.n + first), s.double_(s.n + first + 1));
  };
  const Ref indices = s.double_(s.m);
  Ref found = s.op(Op::VTableLookup, 8, indices, pair(0), pair(2), 8 * length);
  if (extend) {
    const Ref outside = s.op(Op::VCmpGeU, 8, indices, s.constant(replicate(8 * length, 8)));
    found = s.op(Op::VBitSelect, 64, outside, s.double_(s.d), found);
  }
  s.set_double(s.d, found);
}

}  // namespace

void vtbl(Translator& t, u32 insn) { table_lookup(t, insn, false); }
void vtbx(Translator& t, u32 insn) { table_lookup(t, insn, true); }

void vdup_scalar(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, bit(insn, 6));
  const u32 imm4 = bits(insn, 16, 4);
  if ((s.quad && (s.d & 1)) || !(imm4 & 7)) return t.undefined();
  const unsigned size = imm4 & 1 ? 0 : imm4 & 2 ? 1 : 2;
  s.set(s.d, s.op_imm(Op::VDupLane, 8u << size, s.double_(s.m), imm4 >> (size + 1)));
}

}  // namespace rhea::arm::neon
