// SPDX-License-Identifier: MIT
// VFP data processing. An instruction names its operation on registers d, n, m of one precision; for_elements()
// repeats it for a short vector (DDI 0406C, appendix F2) where the model has them and FPSCR.LEN asks for it.
#include "guest/arm/translate/vfp.h"

#include "guest/arm/cpu.h"

namespace rhea::arm {

bool fp_enabled(Translator& t) {
  constexpr u32 needed = kModeFpAccess | kModeFpEnabled;
  if ((t.mode & needed) == needed) return true;
  t.undefined();
  return false;
}

bool neon_enabled(Translator& t) {
  if (t.mode & kModeNeonOff) {
    t.undefined();
    return false;
  }
  return fp_enabled(t);
}

u64 vfp_expand_immediate(u32 imm8, bool is_double) {
  const u64 sign = bit(imm8, 7), b6 = bit(imm8, 6), low = bits(imm8, 0, 6);
  if (is_double) return sign << 63 | (b6 ^ 1) << 62 | (b6 ? u64{0xff} << 54 : 0) | low << 48;
  return sign << 31 | (b6 ^ 1) << 30 | (b6 ? u64{0x1f} << 25 : 0) | low << 19;
}

Ref half_to_single(Translator& t, Ref value, u8 mode) {
  return t.call(HelperId::vfp_half_to_single, value, t.b.const32(mode | alternative_half(t) << 8));
}

Ref single_to_half(Translator& t, Ref value, u8 mode) {
  return t.call(HelperId::vfp_single_to_half, value, t.b.const32(mode | alternative_half(t) << 8));
}

namespace vfp {

namespace {

// Registers of one precision.
struct Precision {
  Translator& t;
  bool is_double;

  Type type() const { return is_double ? Type::F64 : Type::F32; }
  u32 offset(unsigned n) const { return is_double ? offset_d(n) : offset_s(n); }
  Ref get(unsigned n) const { return t.b.get(type(), offset(n)); }
  void set(unsigned n, Ref value) const { t.b.set(type(), offset(n), value); }
  Ref op(Op op, Ref a, Ref b = ir::kNoRef, Ref c = ir::kNoRef) const {
    return t.b.emit(op, type(), a, b, c, 0, 0, fp_mode(t));
  }
  Ref neg(Ref a) const { return op(Op::FNeg, a); }
  Ref constant(u64 value) const {
    return t.b.emit(Op::BitsToF, type(), is_double ? t.b.const64(value) : t.b.const32(static_cast<u32>(value)));
  }
};

bool is_double(u32 insn) { return bit(insn, 8); }
unsigned number_d(u32 insn) { return is_double(insn) ? field_d(insn) : single_d(insn); }
unsigned number_n(u32 insn) { return is_double(insn) ? field_n(insn) : single_n(insn); }
unsigned number_m(u32 insn) { return is_double(insn) ? field_m(insn) : single_m(insn); }

// The next register of a short vector: it wraps within its bank of 8 singles or 4 doubles.
unsigned advance(unsigned reg, unsigned delta, bool is_double) {
  const unsigned mask = is_double ? 3 : 7;
  return (reg & ~mask) | ((reg + delta) & mask);
}
bool in_scalar_bank(unsigned reg, bool is_double) { return is_double ? !(reg & 0xc) : !(reg & 0x18); }

// A model without short vectors leaves them to software: FPEXC.DEX says why the instruction is undefined.
void without_vectors(Translator& t) {
  const Ref fpexc = t.b.get(Type::I32, offsetof(State, fpexc));
  t.b.set(Type::I32, offsetof(State, fpexc), t.b.or_(fpexc, t.b.const32(kFpexcDex)));
  t.undefined();
}

// Calls body(precision, d, n, m) for each element: once, unless FPSCR.LEN makes it a vector.
template <typename Body>
void for_elements(Translator& t, u32 insn, bool reads_m, Body body) {
  if (!fp_enabled(t)) return;
  const unsigned length = bits(t.mode, 16, 3) + 1, stride_field = bits(t.mode, 20, 2);
  const bool has_vectors = bits(t.cpu.model().mvfr0, 24, 4) != 0;
  if (!has_vectors && length > 1) return without_vectors(t);
  const Precision p{t, is_double(insn)};
  unsigned d = number_d(insn), n = number_n(insn), m = number_m(insn);
  const bool scalar = length == 1 || in_scalar_bank(d, p.is_double);
  const unsigned stride = stride_field == 3 ? 2 : 1;
  const unsigned step_m = reads_m && in_scalar_bank(m, p.is_double) ? 0 : stride;
  for (unsigned i = 0; i < (scalar ? 1 : length); i++) {
    body(p, d, n, m);
    d = advance(d, stride, p.is_double);
    n = advance(n, stride, p.is_double);
    m = advance(m, step_m, p.is_double);
  }
}

void binary(Translator& t, u32 insn, Op op, bool negate = false) {
  for_elements(t, insn, true, [&](const Precision& p, unsigned d, unsigned n, unsigned m) {
    const Ref result = p.op(op, p.get(n), p.get(m));
    p.set(d, negate ? p.neg(result) : result);
  });
}

// Multiply-accumulate rounded twice: FPAdd(+-d, +-FPMul(n, m)).
void accumulate(Translator& t, u32 insn, bool negate_d, bool negate_product) {
  for_elements(t, insn, true, [&](const Precision& p, unsigned d, unsigned n, unsigned m) {
    const Ref product = p.op(Op::FMul, p.get(n), p.get(m));
    const Ref addend = p.get(d);
    p.set(d, p.op(Op::FAdd, negate_d ? p.neg(addend) : addend, negate_product ? p.neg(product) : product));
  });
}

// Rounded once. VFPv4, which has no short vectors: undefined for any LEN.
void fused(Translator& t, u32 insn, bool negate_d, bool negate_n) {
  if (!fp_enabled(t)) return;
  if (!t.cpu.model().fused_mac || bits(t.mode, 16, 3)) return t.undefined();
  const Precision p{t, is_double(insn)};
  const Ref n = p.get(number_n(insn)), d = p.get(number_d(insn));
  p.set(number_d(insn), p.op(Op::FMulAdd, negate_n ? p.neg(n) : n, p.get(number_m(insn)), negate_d ? p.neg(d) : d));
}

void unary(Translator& t, u32 insn, Op op) {
  for_elements(t, insn, true, [&](const Precision& p, unsigned d, unsigned, unsigned m) {
    p.set(d, op == Op::Copy ? p.get(m) : p.op(op, p.get(m)));
  });
}

void compare(Translator& t, u32 insn, bool with_zero) {
  if (!fp_enabled(t)) return;
  const Precision p{t, is_double(insn)};
  const Ref a = p.get(number_d(insn));
  const Ref b = with_zero ? p.constant(0) : p.get(number_m(insn));
  const Ref image = t.b.emit(Op::FCmp, p.type(), a, b, ir::kNoRef, bit(insn, 7), 0, fp_mode(t));
  t.b.set(Type::I32, offsetof(State, fpscr_nzcv), image);
}

// VCVT with fixed point: false when the encoding asks for more fraction bits than there are bits.
bool fixed_format(const Translator& t, u32 insn, FixedFormat& format) {
  const unsigned size = bit(insn, 7) ? 32 : 16, less = bits(insn, 0, 4) << 1 | bit(insn, 5);
  if (less > size) return false;
  format = {static_cast<u8>(size), static_cast<u8>(size - less), !bit(insn, 16), fp_mode(t)};
  return true;
}

}  // namespace

void vmla(Translator& t, u32 insn) { accumulate(t, insn, false, false); }
void vmls(Translator& t, u32 insn) { accumulate(t, insn, false, true); }
void vnmls(Translator& t, u32 insn) { accumulate(t, insn, true, false); }
void vnmla(Translator& t, u32 insn) { accumulate(t, insn, true, true); }
void vmul(Translator& t, u32 insn) { binary(t, insn, Op::FMul); }
void vnmul(Translator& t, u32 insn) { binary(t, insn, Op::FMul, true); }
void vadd(Translator& t, u32 insn) { binary(t, insn, Op::FAdd); }
void vsub(Translator& t, u32 insn) { binary(t, insn, Op::FSub); }
void vdiv(Translator& t, u32 insn) { binary(t, insn, Op::FDiv); }
void vfma(Translator& t, u32 insn) { fused(t, insn, false, false); }
void vfms(Translator& t, u32 insn) { fused(t, insn, false, true); }
void vfnma(Translator& t, u32 insn) { fused(t, insn, true, true); }
void vfnms(Translator& t, u32 insn) { fused(t, insn, true, false); }
void vmov_register(Translator& t, u32 insn) { unary(t, insn, Op::Copy); }
void vabs(Translator& t, u32 insn) { unary(t, insn, Op::FAbs); }
void vneg(Translator& t, u32 insn) { unary(t, insn, Op::FNeg); }
void vsqrt(Translator& t, u32 insn) { unary(t, insn, Op::FSqrt); }

void vmov_immediate(Translator& t, u32 insn) {
  const u64 value = vfp_expand_immediate(bits(insn, 16, 4) << 4 | bits(insn, 0, 4), is_double(insn));
  for_elements(t, insn, false,
               [&](const Precision& p, unsigned d, unsigned, unsigned) { p.set(d, p.constant(value)); });
}

void vcmp(Translator& t, u32 insn) { compare(t, insn, false); }
void vcmp_zero(Translator& t, u32 insn) { compare(t, insn, true); }

void vcvt_precision(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  const Precision from{t, is_double(insn)}, to{t, !is_double(insn)};
  const Ref value = from.get(number_m(insn));
  to.set(to.is_double ? field_d(insn) : single_d(insn), to.op(Op::FToF, value));
}

void vcvt_from_integer(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  const Precision p{t, is_double(insn)};
  const Ref value = t.b.get(Type::I32, offset_s(single_m(insn)));
  p.set(number_d(insn), p.op(bit(insn, 7) ? Op::FFromS : Op::FFromU, value));
}

void vcvt_to_integer(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  const Precision p{t, is_double(insn)};
  const Ref value = p.get(number_m(insn));
  const Ref result = t.b.emit(bit(insn, 16) ? Op::FToS : Op::FToU, p.type(), value, ir::kNoRef, ir::kNoRef,
                              bit(insn, 7), 0, fp_mode(t));
  t.b.set(Type::I32, offset_s(single_d(insn)), result);
}

void vcvt_from_fixed(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  FixedFormat format;
  if (!fixed_format(t, insn, format)) return t.undefined();
  const Precision p{t, is_double(insn)};
  const u32 offset = p.offset(number_d(insn));
  Ref value = t.b.get(Type::I32, offset);
  if (format.bits == 16) value = t.b.op1(format.is_signed ? Op::SExt16 : Op::ZExt16, value);
  // Rounded to nearest (A8.8.304); the fraction bits only change the exponent, of a number that stays normal.
  const u8 mode = static_cast<u8>(fp_mode(t) & ~ir::kFpRoundMask);
  Ref result =
      t.b.emit(format.is_signed ? Op::FFromS : Op::FFromU, p.type(), value, ir::kNoRef, ir::kNoRef, 0, 0, mode);
  if (format.fraction) {
    const u64 scale = p.is_double ? u64{1023u - format.fraction} << 52 : u64{127u - format.fraction} << 23;
    result = t.b.emit(Op::FMul, p.type(), result, p.constant(scale), ir::kNoRef, 0, 0, ir::kFpDefaultNan);
  }
  p.set(number_d(insn), result);
}

void vcvt_to_fixed(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  FixedFormat format;
  if (!fixed_format(t, insn, format)) return t.undefined();
  const Precision p{t, is_double(insn)};
  const u32 offset = p.offset(number_d(insn));
  const Type type = p.is_double ? Type::I64 : Type::I32;
  const Ref value = t.b.get(type, offset), number = t.b.const32(format.number());
  t.b.set(type, offset,
          t.call(p.is_double ? HelperId::vfp_double_to_fixed : HelperId::vfp_single_to_fixed, value, number, type));
}

void vcvt_from_half(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  const Ref word = t.b.get(Type::I32, offset_s(single_m(insn)));
  const Ref half = bit(insn, 7) ? t.b.shr(word, 16) : t.b.and_(word, 0xffffu);
  t.b.set(Type::I32, offset_s(single_d(insn)), half_to_single(t, half, fp_mode(t)));
}

void vcvt_to_half(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  const u32 offset = offset_s(single_d(insn));
  const Ref half = single_to_half(t, t.b.get(Type::I32, offset_s(single_m(insn))), fp_mode(t));
  const Ref old = t.b.get(Type::I32, offset);
  const bool top = bit(insn, 7);
  t.b.set(Type::I32, offset, t.b.or_(t.b.and_(old, top ? 0xffffu : 0xffff0000u), top ? t.b.shl(half, 16) : half));
}

}  // namespace vfp

}  // namespace rhea::arm
