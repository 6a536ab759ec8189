// SPDX-License-Identifier: MIT
// Advanced SIMD: three registers of the same length (DDI 0406C, A7.4.1).
#include "guest/arm/cpu.h"
#include "guest/arm/translate/neon.h"

namespace rhea::arm::neon {

namespace {

// Element sizes that an instruction has, as a mask of 1 << size.
enum Sizes : u8 { k8 = 1, k8To32 = 7, k16To32 = 6, k8To64 = 15 };

// Decodes, checks, and stores what body(simd) makes.
template <typename Body>
void same(Translator& t, u32 insn, u8 sizes, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, bit(insn, 6));
  if (odd(s, true) || !(sizes >> s.size & 1)) return t.undefined();
  s.set(s.d, body(s));
}

bool is_unsigned(u32 insn) { return bit(insn, 24); }

void plain(Translator& t, u32 insn, u8 sizes, Op op) {
  same(t, insn, sizes, [&](const Simd& s) { return s.op(op, s.lane(), s.get(s.n), s.get(s.m)); });
}
void by_sign(Translator& t, u32 insn, u8 sizes, Op if_signed, Op if_unsigned) {
  plain(t, insn, sizes, is_unsigned(insn) ? if_unsigned : if_signed);
}
void saturating(Translator& t, u32 insn, u8 sizes, Op op) {
  same(t, insn, sizes, [&](const Simd& s) { return s.saturating(op, s.lane(), s.get(s.n), s.get(s.m)); });
}
// Shifts by register: the value is m, the counts are n.
void shift(Translator& t, u32 insn, Op if_signed, Op if_unsigned) {
  same(t, insn, k8To64, [&](const Simd& s) {
    return s.saturating(is_unsigned(insn) ? if_unsigned : if_signed, s.lane(), s.get(s.m), s.get(s.n));
  });
}
// Bitwise operations: the size field belongs to the opcode.
template <typename Body>
void bitwise(Translator& t, u32 insn, Body body) {
  same(t, insn, k8To64, [&](const Simd& s) { return body(s, s.get(s.n), s.get(s.m)); });
}
// Single precision; the size field belongs to the opcode.
void fp(Translator& t, u32 insn, Op op) {
  same(t, insn, k8To64, [&](const Simd& s) { return s.fp(op, s.get(s.n), s.get(s.m)); });
}

}  // namespace

void vhadd(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VHalfAddS, Op::VHalfAddU); }
void vrhadd(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VRndHalfAddS, Op::VRndHalfAddU); }
void vhsub(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VHalfSubS, Op::VHalfSubU); }
void vcgt(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VCmpGtS, Op::VCmpGtU); }
void vcge(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VCmpGeS, Op::VCmpGeU); }
void vmax(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VMaxS, Op::VMaxU); }
void vmin(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VMinS, Op::VMinU); }
void vabd(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VAbsDiffS, Op::VAbsDiffU); }
void vpmax(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VPairMaxS, Op::VPairMaxU); }
void vpmin(Translator& t, u32 insn) { by_sign(t, insn, k8To32, Op::VPairMinS, Op::VPairMinU); }
void vadd(Translator& t, u32 insn) { plain(t, insn, k8To64, Op::VAdd); }
void vsub(Translator& t, u32 insn) { plain(t, insn, k8To64, Op::VSub); }
void vtst(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VTest); }
void vceq(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VCmpEq); }
void vmul(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VMul); }
void vmul_polynomial(Translator& t, u32 insn) { plain(t, insn, k8, Op::VMulPoly); }
void vpadd(Translator& t, u32 insn) { plain(t, insn, k8To32, Op::VPairAdd); }

void vqadd(Translator& t, u32 insn) { saturating(t, insn, k8To64, is_unsigned(insn) ? Op::VSatAddU : Op::VSatAddS); }
void vqsub(Translator& t, u32 insn) { saturating(t, insn, k8To64, is_unsigned(insn) ? Op::VSatSubU : Op::VSatSubS); }
void vqdmulh(Translator& t, u32 insn) { saturating(t, insn, k16To32, Op::VSatDoubleMulHi); }
void vqrdmulh(Translator& t, u32 insn) { saturating(t, insn, k16To32, Op::VSatRndDoubleMulHi); }

void vshl_register(Translator& t, u32 insn) { shift(t, insn, Op::VShlS, Op::VShlU); }
void vrshl(Translator& t, u32 insn) { shift(t, insn, Op::VShlRndS, Op::VShlRndU); }
void vqshl_register(Translator& t, u32 insn) { shift(t, insn, Op::VSatShlS, Op::VSatShlU); }
void vqrshl(Translator& t, u32 insn) { shift(t, insn, Op::VSatShlRndS, Op::VSatShlRndU); }

void vaba(Translator& t, u32 insn) {
  same(t, insn, k8To32, [&](const Simd& s) {
    const Op op = is_unsigned(insn) ? Op::VAbsDiffU : Op::VAbsDiffS;
    return s.op(Op::VAdd, s.lane(), s.get(s.d), s.op(op, s.lane(), s.get(s.n), s.get(s.m)));
  });
}
void vmla(Translator& t, u32 insn) {
  same(t, insn, k8To32, [&](const Simd& s) {
    return s.op(Op::VAdd, s.lane(), s.get(s.d), s.op(Op::VMul, s.lane(), s.get(s.n), s.get(s.m)));
  });
}
void vmls(Translator& t, u32 insn) {
  same(t, insn, k8To32, [&](const Simd& s) {
    return s.op(Op::VSub, s.lane(), s.get(s.d), s.op(Op::VMul, s.lane(), s.get(s.n), s.get(s.m)));
  });
}

void vand(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VAnd, 64, n, m); });
}
void vbic_register(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VAndNot, 64, n, m); });
}
void vorr_register(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.n == s.m ? n : s.op(Op::VOr, 64, n, m); });
}
void vorn(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VOrNot, 64, n, m); });
}
void veor(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.n == s.m ? s.zero() : s.op(Op::VXor, 64, n, m); });
}
void vbsl(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VBitSelect, 64, s.get(s.d), n, m); });
}
void vbit(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VBitSelect, 64, m, n, s.get(s.d)); });
}
void vbif(Translator& t, u32 insn) {
  bitwise(t, insn, [](const Simd& s, Ref n, Ref m) { return s.op(Op::VBitSelect, 64, m, s.get(s.d), n); });
}

void vadd_float(Translator& t, u32 insn) { fp(t, insn, Op::VFAdd); }
void vsub_float(Translator& t, u32 insn) { fp(t, insn, Op::VFSub); }
void vmul_float(Translator& t, u32 insn) { fp(t, insn, Op::VFMul); }
void vabd_float(Translator& t, u32 insn) { fp(t, insn, Op::VFAbsDiff); }
void vpadd_float(Translator& t, u32 insn) { fp(t, insn, Op::VFPairAdd); }
void vceq_float(Translator& t, u32 insn) { fp(t, insn, Op::VFCmpEq); }
void vcge_float(Translator& t, u32 insn) { fp(t, insn, Op::VFCmpGe); }
void vcgt_float(Translator& t, u32 insn) { fp(t, insn, Op::VFCmpGt); }
void vacge(Translator& t, u32 insn) { fp(t, insn, Op::VFCmpAbsGe); }
void vacgt(Translator& t, u32 insn) { fp(t, insn, Op::VFCmpAbsGt); }
void vmax_float(Translator& t, u32 insn) { fp(t, insn, Op::VFMax); }
void vmin_float(Translator& t, u32 insn) { fp(t, insn, Op::VFMin); }
void vpmax_float(Translator& t, u32 insn) { fp(t, insn, Op::VFPairMax); }
void vpmin_float(Translator& t, u32 insn) { fp(t, insn, Op::VFPairMin); }
void vrecps(Translator& t, u32 insn) { fp(t, insn, Op::VFRecipStep); }
void vrsqrts(Translator& t, u32 insn) { fp(t, insn, Op::VFRsqrtStep); }

// Rounded twice.
void vmla_float(Translator& t, u32 insn) {
  same(t, insn, k8To64,
       [](const Simd& s) { return s.fp(Op::VFAdd, s.get(s.d), s.fp(Op::VFMul, s.get(s.n), s.get(s.m))); });
}
void vmls_float(Translator& t, u32 insn) {
  same(t, insn, k8To64,
       [](const Simd& s) { return s.fp(Op::VFSub, s.get(s.d), s.fp(Op::VFMul, s.get(s.n), s.get(s.m))); });
}

// Rounded once: VFPv4's.
void vfma(Translator& t, u32 insn) {
  if (!t.cpu.model().fused_mac) return t.undefined();
  same(t, insn, k8To64, [](const Simd& s) { return s.fp(Op::VFMulAdd, s.get(s.n), s.get(s.m), s.get(s.d)); });
}
void vfms(Translator& t, u32 insn) {
  if (!t.cpu.model().fused_mac) return t.undefined();
  same(t, insn, k8To64,
       [](const Simd& s) { return s.fp(Op::VFMulAdd, s.op(Op::VFNeg, 32, s.get(s.n)), s.get(s.m), s.get(s.d)); });
}

}  // namespace rhea::arm::neon
