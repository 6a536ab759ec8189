// SPDX-License-Identifier: MIT
// Advanced SIMD: two registers and a shift amount, one register and a modified immediate (DDI 0406C, A7.4.4, A7.4.6).
#include "guest/arm/translate/neon.h"

namespace rhea::arm::neon {

namespace {

bool is_unsigned(u32 insn) { return bit(insn, 24); }

// L:imm6 gives the element size by its leading one: 8 for 0001xxx to 64 for 1xxxxxx.
struct Amount {
  unsigned lane;
  unsigned left;   // 0 .. lane - 1
  unsigned right;  // 1 .. lane
};
Amount amount(u32 insn) {
  const u32 number = bit(insn, 7) << 6 | bits(insn, 16, 6);
  const unsigned lane = number & 0x40 ? 64 : number & 0x20 ? 32 : number & 0x10 ? 16 : 8;
  const unsigned left = number & (lane - 1);
  return {lane, left, lane - left};
}

template <typename Body>
void shift(Translator& t, u32 insn, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, bit(insn, 6));
  if (odd(s, false)) return t.undefined();
  s.set(s.d, body(s, amount(insn), s.get(s.m)));
}

void right(Translator& t, u32 insn, Op if_signed, Op if_unsigned, bool accumulate) {
  shift(t, insn, [&](const Simd& s, Amount a, Ref m) {
    const Ref shifted = s.shift(is_unsigned(insn) ? if_unsigned : if_signed, a.lane, m, a.right);
    return accumulate ? s.op(Op::VAdd, a.lane, s.get(s.d), shifted) : shifted;
  });
}

void saturating_left(Translator& t, u32 insn, Op op) {
  shift(t, insn, [&](const Simd& s, Amount a, Ref m) { return s.saturating(op, a.lane, m, kNone, a.left); });
}

// Doubleword d of elements of half the size; the amount is given for the narrow size.
void narrow(Translator& t, u32 insn, Op shift_op, Op narrow_op) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, true);
  if (s.m & 1) return t.undefined();
  const Amount a = amount(insn);
  const Ref shifted = s.shift(shift_op, 2 * a.lane, s.quad_(s.m), a.right);
  s.set_double(s.d, s.op(narrow_op, 2 * a.lane, shifted));
}

}  // namespace

void vshr(Translator& t, u32 insn) { right(t, insn, Op::VShrSImm, Op::VShrUImm, false); }
void vsra(Translator& t, u32 insn) { right(t, insn, Op::VShrSImm, Op::VShrUImm, true); }
void vrshr(Translator& t, u32 insn) { right(t, insn, Op::VShrRndSImm, Op::VShrRndUImm, false); }
void vrsra(Translator& t, u32 insn) { right(t, insn, Op::VShrRndSImm, Op::VShrRndUImm, true); }

void vshl_immediate(Translator& t, u32 insn) {
  shift(t, insn, [](const Simd& s, Amount a, Ref m) { return s.shift(Op::VShlImm, a.lane, m, a.left); });
}

// Insertions keep the bits of d that nothing is shifted into.
void vsri(Translator& t, u32 insn) {
  shift(t, insn, [](const Simd& s, Amount a, Ref m) {
    const u64 ones = ~u64{0} >> (64 - a.lane);
    const u64 mask = a.right == a.lane ? 0 : ones >> a.right;
    return s.op(Op::VBitSelect, 64, s.constant(replicate(mask, a.lane)), s.shift(Op::VShrUImm, a.lane, m, a.right),
                s.get(s.d));
  });
}
void vsli(Translator& t, u32 insn) {
  shift(t, insn, [](const Simd& s, Amount a, Ref m) {
    const u64 ones = ~u64{0} >> (64 - a.lane);
    return s.op(Op::VBitSelect, 64, s.constant(replicate(ones & (ones << a.left), a.lane)),
                s.shift(Op::VShlImm, a.lane, m, a.left), s.get(s.d));
  });
}

void vqshl_immediate(Translator& t, u32 insn) {
  saturating_left(t, insn, is_unsigned(insn) ? Op::VSatShlUImm : Op::VSatShlSImm);
}
void vqshlu(Translator& t, u32 insn) { saturating_left(t, insn, Op::VSatShlSUImm); }

void vshrn(Translator& t, u32 insn) { narrow(t, insn, Op::VShrUImm, Op::VNarrow); }
void vrshrn(Translator& t, u32 insn) { narrow(t, insn, Op::VShrRndUImm, Op::VNarrow); }
void vqshrun(Translator& t, u32 insn) { narrow(t, insn, Op::VShrSImm, Op::VSatNarrowSU); }
void vqrshrun(Translator& t, u32 insn) { narrow(t, insn, Op::VShrRndSImm, Op::VSatNarrowSU); }
void vqshrn(Translator& t, u32 insn) {
  if (is_unsigned(insn)) narrow(t, insn, Op::VShrUImm, Op::VSatNarrowU);
  else narrow(t, insn, Op::VShrSImm, Op::VSatNarrowS);
}
void vqrshrn(Translator& t, u32 insn) {
  if (is_unsigned(insn)) narrow(t, insn, Op::VShrRndUImm, Op::VSatNarrowU);
  else narrow(t, insn, Op::VShrRndSImm, Op::VSatNarrowS);
}

void vshll(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, true);
  const Amount a = amount(insn);
  if (s.d & 1) return t.undefined();
  const Ref wide = s.op(is_unsigned(insn) ? Op::VWidenU : Op::VWidenS, a.lane, s.double_(s.m));
  s.set_quad(s.d, a.left ? s.shift(Op::VShlImm, 2 * a.lane, wide, a.left) : wide);
}

void vcvt_from_fixed(Translator& t, u32 insn) {
  shift(t, insn, [&](const Simd& s, Amount, Ref m) {
    return s.fp(is_unsigned(insn) ? Op::VFFromU : Op::VFFromS, m, kNone, kNone, 64 - bits(insn, 16, 6));
  });
}
void vcvt_to_fixed(Translator& t, u32 insn) {
  shift(t, insn, [&](const Simd& s, Amount, Ref m) {
    return s.fp(is_unsigned(insn) ? Op::VFToU : Op::VFToS, m, kNone, kNone, 64 - bits(insn, 16, 6));
  });
}

namespace {

// AdvSIMDExpandImm (A7.4.6).
u64 expand_immediate(u32 insn) {
  const u64 imm8 = bit(insn, 24) << 7 | bits(insn, 16, 3) << 4 | bits(insn, 0, 4);
  const unsigned cmode = bits(insn, 8, 4);
  const bool op = bit(insn, 5);
  if (cmode < 8) return replicate(imm8 << (8 * (cmode >> 1)), 32);
  if (cmode < 12) return replicate(imm8 << (8 * ((cmode >> 1) & 1)), 16);
  if (cmode == 12) return replicate(imm8 << 8 | 0xff, 32);
  if (cmode == 13) return replicate(imm8 << 16 | 0xffff, 32);
  if (cmode == 15) return replicate(vfp_expand_immediate(static_cast<u32>(imm8), false), 32);
  if (!op) return replicate(imm8, 8);
  u64 value = 0;
  for (unsigned i = 0; i < 8; i++) value |= imm8 >> i & 1 ? u64{0xff} << (8 * i) : 0;
  return value;
}

// body(simd, value): what becomes of d.
template <typename Body>
void modified_immediate(Translator& t, u32 insn, Body body) {
  if (!neon_enabled(t)) return;
  const Simd s(t, insn, bit(insn, 6));
  if (s.quad && (s.d & 1)) return t.undefined();
  s.set(s.d, body(s, expand_immediate(insn)));
}

}  // namespace

void vmov_immediate(Translator& t, u32 insn) {
  modified_immediate(t, insn, [](const Simd& s, u64 value) { return value ? s.constant(value) : s.zero(); });
}
void vmvn_immediate(Translator& t, u32 insn) {
  modified_immediate(t, insn, [](const Simd& s, u64 value) { return s.constant(~value); });
}
void vorr_immediate(Translator& t, u32 insn) {
  modified_immediate(t, insn,
                     [](const Simd& s, u64 value) { return s.op(Op::VOr, 64, s.get(s.d), s.constant(value)); });
}
void vbic_immediate(Translator& t, u32 insn) {
  modified_immediate(t, insn,
                     [](const Simd& s, u64 value) { return s.op(Op::VAndNot, 64, s.get(s.d), s.constant(value)); });
}

}  // namespace rhea::arm::neon
