// SPDX-License-Identifier: MIT
// Vectors of single-precision floats as NEON computes them: round to nearest, denormals flushed, default NaNs.
//
// They run with DAZ and FTZ (FpClass::neon). The host then agrees in values and flags but for these cases, which are
// looked for in each operation and computed anew by the evaluator:
//   - an operand is denormal (the guest raises "input denormal", the host nothing);
//   - a result is a NaN, or the least normal number (tininess before rounding);
//   - a result was flushed: the host raises inexact with underflow, the guest underflow alone.
// A flushed result is zero, and zeros are common: where the only odd results are zeros, the host's sticky underflow
// flag, which is never left set, tells. By then inexact is set too and cannot be told from an earlier one: therefore
// nothing runs here before the guest's own inexact flag is set; until then each operation is done with the sticky
// flags clear.
// Comparisons, conversions, minima and steps of an approximation have no such results, by what their operands are
// allowed to be: what is not in range is computed by the evaluator.
#include "host/x64/emit_vector.h"

namespace rhea::x64 {

using ir::StateHeader;

namespace {

constexpr u32 kUnderflow = 1u << 4, kPrecision = 1u << 5, kSticky = 0x3f;  // of MXCSR

}  // namespace

bool Emitter::vector_float(const Inst& inst) {
  if (inst.op == Op::VFNeg || inst.op == Op::VFAbs) {
    const bool wide = inst.lane == 64;
    const u8 from = use(inst.args[0]);
    const u8 to = define(index_);
    if (inst.op == Op::VFNeg) VOP(xorps, to, from, literal(wide ? Constant::sign64 : Constant::sign32));
    else VOP(andps, to, from, literal(wide ? Constant::abs64 : Constant::abs32));
    if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
    return true;
  }
  if (inst.op == Op::VRecipEstimateU || inst.op == Op::VRsqrtEstimateU) return vector_integer_estimate(inst);
  if (inst.lane != 32 || inst.aux != ir::kFpModeNeon) return false;
  switch (inst.op) {
    case Op::VFMulAdd:
      if (!(settings_.features & kFma)) return false;
      [[fallthrough]];
    case Op::VFAdd:
    case Op::VFSub:
    case Op::VFMul:
    case Op::VFAbsDiff:
    case Op::VFPairAdd: vector_float_arithmetic(inst); return true;
    case Op::VFMin:
    case Op::VFMax:
    case Op::VFPairMin:
    case Op::VFPairMax: vector_float_extreme(inst); return true;
    case Op::VFCmpEq:
    case Op::VFCmpGe:
    case Op::VFCmpGt:
    case Op::VFCmpAbsGe:
    case Op::VFCmpAbsGt: vector_float_compare(inst); return true;
    case Op::VFFromS:
    case Op::VFFromU: vector_float_from_integer(inst); return true;
    case Op::VFToS:
    case Op::VFToU: vector_float_to_integer(inst); return true;
    case Op::VFRecipEstimate:
    case Op::VFRsqrtEstimate: return vector_float_estimate(inst);
    case Op::VFRecipStep:
    case Op::VFRsqrtStep: vector_float_step(inst); return true;
    default: return false;
  }
}

// Goes to `cold` if a lane of a, b, or c (if any) is denormal. Uses both scratch registers and `free`.
void Emitter::jump_if_denormal(u8 a, u8 b, u8 c, u8 free, Label& cold) {
  if (settings_.features & kAvx512) {
    // Not vfpclassps: with DAZ it calls denormals zeros.
    a_.vptestnmd(a_.k1, xmm(a), literal(Constant::exponent32));
    a_.vptestmd(a_.k1 | a_.k1, xmm(a), literal(Constant::mantissa32));
    a_.vptestnmd(a_.k2, xmm(b), literal(Constant::exponent32));
    a_.vptestmd(a_.k2 | a_.k2, xmm(b), literal(Constant::mantissa32));
    if (c != kNone) {
      a_.vptestnmd(a_.k3, xmm(c), literal(Constant::exponent32));
      a_.vptestmd(a_.k3 | a_.k3, xmm(c), literal(Constant::mantissa32));
      a_.korb(a_.k1, a_.k1, a_.k3);
    }
    a_.kortestb(a_.k1, a_.k2);
    a_.jump(Cc::ne, cold);
    return;
  }
  // Magnitude - 1 is at most 0x7ffffe, without sign: the least of all of them tells.
  VOP(andps, free, a, literal(Constant::abs32));
  a_.paddd(xmm(free), literal(Constant::ones));
  for (const u8 other : {b, c}) {
    if (other == kNone || other == a) continue;
    VOP(andps, kXmmA, other, literal(Constant::abs32));
    a_.paddd(xmm(kXmmA), literal(Constant::ones));
    a_.pminud(xmm(free), xmm(kXmmA));
  }
  a_.movaps(xmm(kXmmB), literal(Constant::least_denormal_range));
  a_.pminud(xmm(kXmmB), xmm(free));
  a_.pcmpeqd(xmm(kXmmB), xmm(free));
  a_.ptest(xmm(kXmmB), xmm(kXmmB));
  a_.jump(Cc::ne, cold);
}

// Goes to `cold` if magnitude - low is above or at `range`, without sign, in a lane that counts. With `with_sign` the
// sign bit belongs to the magnitude. Uses both scratch registers.
void Emitter::jump_if_outside(const Inst& inst, u8 from, bool with_sign, u32 low, u32 range, Label& cold) {
  const u64 least = low | u64{low} << 32, most = (range - 1) | u64{range - 1} << 32;
  load_vector_constant(kXmmB, least, least);
  if (with_sign) VOP(psubd, kXmmA, from, xmm(kXmmB));
  else VOP(andps, kXmmA, from, literal(Constant::abs32));
  if (!with_sign) a_.psubd(xmm(kXmmA), xmm(kXmmB));
  load_vector_constant(kXmmB, most, most);
  a_.pminud(xmm(kXmmB), xmm(kXmmA));
  a_.pcmpeqd(xmm(kXmmB), xmm(kXmmA));
  if (inst.aux2 & 1) {
    // The high half is zero and does not count.
    a_.punpcklqdq(xmm(kXmmB), xmm(kXmmB));
  }
  a_.pxor(xmm(kXmmB), literal(Constant::ones));
  a_.ptest(xmm(kXmmB), xmm(kXmmB));
  a_.jump(Cc::ne, cold);
}

void Emitter::vector_float_op(Op op, u8 to, u8 a, u8 b, u8 c) {
  switch (op) {
    case Op::VFAdd:
    case Op::VFPairAdd: VOP(addps, to, a, xmm(b)); break;
    case Op::VFSub:
    case Op::VFAbsDiff: VOP(subps, to, a, xmm(b)); break;
    case Op::VFMulAdd:
      move_xmm(to, c);
      a_.vfmadd231ps(xmm(to), xmm(a), xmm(b));
      break;
    default: VOP(mulps, to, a, xmm(b)); break;
  }
}

// The operands of operations on pairs: first and second lanes, with clear high halves.
void Emitter::pair_operands(const Inst& inst, u8& a, u8& b) {
  if (inst.op < Op::VFPairAdd) return;
  const u8 first = take_xmm(), second = take_xmm();
  VOP(punpcklqdq, kXmmA, a, xmm(b));
  a_.pshufd(xmm(first), xmm(kXmmA), 0x08);
  a_.pshufd(xmm(second), xmm(kXmmA), 0x0d);
  a_.movq(xmm(first), xmm(first));
  a_.movq(xmm(second), xmm(second));
  a = first;
  b = second;
}

void Emitter::vector_float_arithmetic(const Inst& inst) {
  const Op op = inst.op;
  const u8 lanes = inst.aux2 & 1 || op == Op::VFPairAdd ? 3 : 15;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  u8 a = use(inst.args[0]), b = use(inst.args[1]);
  const u8 c = op == Op::VFMulAdd ? use(inst.args[2]) : kNone;
  set_fp_class(FpClass::neon);
  pair_operands(inst, a, b);
  const u8 mask = take();
  const u8 to = define(index_);
  Label &cold = new_cold_label(), &first = new_cold_label(), &odd = new_cold_label();
  jump_if_denormal(a, b, c, to, cold);
  a_.test(byte_state(offsetof(StateHeader, fp_flags)), ir::kFpInexact);
  a_.jump(Cc::e, first);
  vector_float_op(op, to, a, b, c);
  const u32 check = a_.position();
  // Magnitude - least - 1 is above the range of finite numbers and infinity: NaN, zero, least.
  if (settings_.features & kAvx512) {
    a_.vandps(xmm(kXmmA), xmm(to), literal(Constant::abs32));
    a_.vpsubd(xmm(kXmmA), xmm(kXmmA), literal(Constant::least32_next));
    a_.vpcmpud(a_.k1, xmm(kXmmA), literal(Constant::finite_range), 6);
    a_.kmovb(r32(mask), a_.k1);
  } else {
    a_.movaps(xmm(kXmmA), xmm(to));
    a_.andps(xmm(kXmmA), literal(Constant::abs32));
    a_.psubd(xmm(kXmmA), literal(Constant::least32_next));
    a_.movaps(xmm(kXmmB), literal(Constant::finite_range_next));
    a_.pmaxud(xmm(kXmmB), xmm(kXmmA));
    a_.pcmpeqd(xmm(kXmmB), xmm(kXmmA));
    a_.movmskps(r32(mask), xmm(kXmmB));
  }
  a_.test(r8(mask), lanes);
  a_.jump(Cc::ne, odd);
  const u32 back = a_.position();
  repair(inst, cold, to);
  if (op == Op::VFAbsDiff) a_.andps(xmm(to), literal(Constant::abs32));
  const u32 image = offsetof(StateHeader, mxcsr_neon);
  cold_.push([=, this, &first, &odd, &cold] {
    // Odd results: fine if they are all zeros and none was flushed.
    a_.bind(odd);
    a_.pxor(xmm(kXmmA), xmm(kXmmA));
    a_.pcmpeqd(xmm(kXmmA), xmm(to));
    a_.movaps(xmm(kXmmB), literal(Constant::sign32));
    a_.pcmpeqd(xmm(kXmmB), xmm(to));
    a_.por(xmm(kXmmA), xmm(kXmmB));
    const u8 zeros = mask == kRax ? kRcx : kRax;
    a_.mov(a_.qword[a_.rsp + kSaveOffset], r64(zeros));
    a_.movmskps(r32(zeros), xmm(kXmmA));
    a_.not_(r32(zeros));
    a_.and_(r32(zeros), r32(mask));
    a_.test(r8(zeros), lanes);
    a_.mov(r64(zeros), a_.qword[a_.rsp + kSaveOffset]);
    const u32 worse = a_.short_jump(Cc::ne);
    a_.stmxcsr(dword_state(image));
    a_.test(dword_state(image), kUnderflow);
    a_.jump(Cc::e, back);
    a_.and_(dword_state(image), ~kUnderflow);
    a_.ldmxcsr(dword_state(image));
    const u32 flushed = a_.short_jump();
    a_.bind_short(worse);
    // A flush in another lane leaves the flag set as well.
    a_.stmxcsr(dword_state(image));
    a_.and_(dword_state(image), ~kUnderflow);
    a_.ldmxcsr(dword_state(image));
    a_.bind_short(flushed);
    a_.jump(cold);

    // The guest's inexact flag is clear: with the host's sticky flags clear it is seen whether this sets it. Then the
    // evaluator says whether the guest's is set.
    a_.bind(first);
    a_.stmxcsr(dword_state(image));
    a_.mov(r32(mask), dword_state(image));
    a_.and_(dword_state(image), ~kSticky);
    a_.ldmxcsr(dword_state(image));
    vector_float_op(op, to, a, b, c);
    a_.stmxcsr(dword_state(image));
    a_.test(dword_state(image), kUnderflow | kPrecision);
    const u32 exact = a_.short_jump(Cc::e);
    a_.mov(dword_state(image), r32(mask));
    a_.ldmxcsr(dword_state(image));
    a_.jump(cold);
    a_.bind_short(exact);
    a_.or_(r32(mask), dword_state(image));
    a_.mov(dword_state(image), r32(mask));
    a_.ldmxcsr(dword_state(image));
    a_.jump(check);
  });
}

void Emitter::vector_float_compare(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  u8 a = use(inst.args[0]), b = use(inst.args[1]);
  set_fp_class(FpClass::neon);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  jump_if_denormal(a, b, kNone, to, cold);
  if (inst.op == Op::VFCmpAbsGe || inst.op == Op::VFCmpAbsGt) {
    VOP(andps, kXmmA, a, literal(Constant::abs32));
    VOP(andps, kXmmB, b, literal(Constant::abs32));
    a = kXmmA;
    b = kXmmB;
  }
  // Equal: quiet; greater by "less" the other way round, which raises invalid for quiet NaNs too.
  const auto compare = [&](u8 x, u8 y, u8 how) {
    if (avx()) {
      a_.vcmpps(xmm(to), xmm(x), xmm(y), how);
    } else {
      move_xmm(to, x);
      a_.cmpps(xmm(to), xmm(y), how);
    }
  };
  if (inst.op == Op::VFCmpEq) compare(a, b, 0);
  else compare(b, a, inst.op == Op::VFCmpGt || inst.op == Op::VFCmpAbsGt ? 1 : 2);
  if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
  repair(inst, cold, to);
}

// NaNs are out of line. Zeros of both signs: the host gives its second operand.
void Emitter::vector_float_extreme(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  u8 a = use(inst.args[0]), b = use(inst.args[1]);
  set_fp_class(FpClass::neon);
  pair_operands(inst, a, b);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  jump_if_denormal(a, b, kNone, to, cold);
  a_.movaps(xmm(kXmmA), xmm(a));
  a_.cmpps(xmm(kXmmA), xmm(b), 3);  // unordered
  a_.ptest(xmm(kXmmA), xmm(kXmmA));
  a_.jump(Cc::ne, cold);
  if (inst.op == Op::VFMin || inst.op == Op::VFPairMin) {
    VOP(minps, kXmmA, a, xmm(b));
    VOP(minps, to, b, xmm(a));
    a_.orps(xmm(to), xmm(kXmmA));
  } else {
    VOP(maxps, kXmmA, a, xmm(b));
    VOP(maxps, to, b, xmm(a));
    a_.andps(xmm(to), xmm(kXmmA));
  }
  repair(inst, cold, to);
}

namespace {

// 2^exponent in every lane.
u64 power_of_two(int exponent) {
  const u64 bits = static_cast<u64>(127 + exponent) << 23;
  return bits | bits << 32;
}

}  // namespace

// Fraction bits only change the exponent, of numbers that stay normal.
void Emitter::vector_float_from_integer(const Inst& inst) {
  const u8 from = use(inst.args[0]);
  set_fp_class(FpClass::neon);
  const u8 to = define(index_);
  if (inst.op == Op::VFFromS) {
    VOP1(cvtdq2ps, to, xmm(from));
  } else if (settings_.features & kAvx512) {
    a_.vcvtudq2ps(xmm(to), xmm(from));
  } else {
    // Both halves are exact: only their sum is rounded.
    VSHIFT(psrld, kXmmA, from, 16);
    VSHIFT(pslld, to, from, 16);
    a_.psrld(xmm(to), 16);
    a_.cvtdq2ps(xmm(kXmmA), xmm(kXmmA));
    a_.cvtdq2ps(xmm(to), xmm(to));
    load_vector_constant(kXmmB, power_of_two(16), power_of_two(16));
    a_.mulps(xmm(kXmmA), xmm(kXmmB));
    a_.addps(xmm(to), xmm(kXmmA));
  }
  if (!inst.imm) return;
  const u64 scale = power_of_two(-static_cast<int>(inst.imm));
  load_vector_constant(kXmmA, scale, scale);
  a_.mulps(xmm(to), xmm(kXmmA));
}

// What is zero or normal, and fits; to unsigned without AVX-512 only below 2^31.
void Emitter::vector_float_to_integer(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const bool is_signed = inst.op == Op::VFToS, all = !is_signed && settings_.features & kAvx512;
  const int fraction = static_cast<int>(inst.imm);
  const u8 from = use(inst.args[0]);
  set_fp_class(FpClass::neon);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  // Magnitude - the least normal number, without sign: above the range, and not zero.
  constexpr u32 kLeast = 0x00800000;
  const u64 range = ((power_of_two((all ? 32 : 31) - fraction) & 0xffffffff) - kLeast) * 0x0000000100000001u;
  u8 magnitude = from;
  if (is_signed) {
    VOP(andps, to, from, literal(Constant::abs32));
    magnitude = to;
  }
  VOP(psubd, kXmmA, magnitude, literal(Constant::least32));
  load_vector_constant(kXmmB, range, range);
  a_.pmaxud(xmm(kXmmB), xmm(kXmmA));
  a_.pcmpeqd(xmm(kXmmB), xmm(kXmmA));
  a_.pxor(xmm(kXmmA), xmm(kXmmA));
  a_.pcmpeqd(xmm(kXmmA), xmm(magnitude));
  a_.pandn(xmm(kXmmA), xmm(kXmmB));
  a_.ptest(xmm(kXmmA), xmm(kXmmA));
  a_.jump(Cc::ne, cold);
  u8 scaled = from;
  if (fraction) {
    load_vector_constant(kXmmA, power_of_two(fraction), power_of_two(fraction));
    a_.mulps(xmm(kXmmA), xmm(from));
    scaled = kXmmA;
  }
  if (all) a_.vcvttps2udq(xmm(to), xmm(scaled));
  else a_.cvttps2dq(xmm(to), xmm(scaled));
  repair(inst, cold, to);
}

// 2 - a * b and (3 - a * b) / 2, where the product can be neither tiny nor infinite.
void Emitter::vector_float_step(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  set_fp_class(FpClass::neon);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  constexpr u32 kLow = (127 - 63) << 23, kRange = 127 << 23;  // 2^-63 to below 2^64
  jump_if_outside(inst, a, false, kLow, kRange, cold);
  jump_if_outside(inst, b, false, kLow, kRange, cold);
  const bool root = inst.op == Op::VFRsqrtStep;
  const u64 from = root ? 0x4040000040400000 : 0x4000000040000000;
  load_vector_constant(kXmmA, from, from);
  VOP(mulps, kXmmB, a, xmm(b));
  VOP(subps, to, kXmmA, xmm(kXmmB));
  if (root) {
    load_vector_constant(kXmmA, power_of_two(-1), power_of_two(-1));
    a_.mulps(xmm(to), xmm(kXmmA));
  }
  if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
  repair(inst, cold, to);
}

// ---- estimates: the tables of the guest, in the code buffer
// ----------------------------------------------------------

// d = the table's entries for the numbers in d. Uses kXmmB.
void Emitter::look_up_estimates(bool root, u8 d) {
  const u8 base = take();
  a_.lea(r64(base), a_.ptr[a_.rip_to(stubs_.estimates + (root ? 1024u : 0u))]);
  const u8 index = take_xmm();
  move_xmm(index, d);
  a_.pcmpeqd(xmm(kXmmB), xmm(kXmmB));
  a_.vpgatherdd(xmm(d), a_.ptr[r64(base) + xmm(index) * 4], xmm(kXmmB));
}

bool Emitter::vector_float_estimate(const Inst& inst) {
  if (!(settings_.features & kAvx2)) return false;
  const bool root = inst.op == Op::VFRsqrtEstimate;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 from = use(inst.args[0]);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  // Normal operands; of roots: positive ones; of reciprocals: below 2^126, whose result is normal too.
  jump_if_outside(inst, from, root, 0x00800000, root ? 0x7f000000 : 0x7e000000, cold);
  a_.vpsrld(xmm(to), xmm(from), root ? 16 : 15);
  a_.vpand(xmm(to), xmm(to), literal(Constant::low_bytes_of_words));
  if (root) {
    load_vector_constant(kXmmA, 0x0000008000000080, 0x0000008000000080);
    a_.vpxor(xmm(to), xmm(to), xmm(kXmmA));
  }
  look_up_estimates(root, to);
  if (root) {
    load_vector_constant(kXmmA, u64{380} << 32 | 380, u64{380} << 32 | 380);
    a_.vpsrld(xmm(kXmmB), xmm(from), 23);
    a_.vpsubd(xmm(kXmmA), xmm(kXmmA), xmm(kXmmB));
    a_.vpsrld(xmm(kXmmA), xmm(kXmmA), 1);
    a_.vpslld(xmm(kXmmA), xmm(kXmmA), 23);
    a_.vpor(xmm(to), xmm(to), xmm(kXmmA));
  } else {
    load_vector_constant(kXmmA, 0x7e8000007e800000, 0x7e8000007e800000);
    a_.vpand(xmm(kXmmB), xmm(from), literal(Constant::exponent32));
    a_.vpsubd(xmm(kXmmA), xmm(kXmmA), xmm(kXmmB));
    a_.vpor(xmm(to), xmm(to), xmm(kXmmA));
    a_.vpand(xmm(kXmmB), xmm(from), literal(Constant::sign32));
    a_.vpor(xmm(to), xmm(to), xmm(kXmmB));
  }
  if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
  repair(inst, cold, to);
  return true;
}

// Of fixed-point numbers below one: what is too small gives all ones.
bool Emitter::vector_integer_estimate(const Inst& inst) {
  if (!(settings_.features & kAvx2)) return false;
  const bool root = inst.op == Op::VRsqrtEstimateU;
  const u8 from = use(inst.args[0]);
  const u8 to = define(index_);
  a_.vpsrld(xmm(to), xmm(from), 23);
  if (root) {
    // In [0.5, 1): the seven bits below the leading one and 128; in [0.25, 0.5): the seven bits below.
    const u8 large = take_xmm();
    load_vector_constant(kXmmA, 0x0000007f0000007f, 0x0000007f0000007f);
    a_.vpand(xmm(to), xmm(to), xmm(kXmmA));
    a_.vpsrld(xmm(large), xmm(from), 24);  // bit 31 is the 128
    a_.vblendvps(xmm(to), xmm(to), xmm(large), xmm(from));
  } else {
    a_.vpand(xmm(to), xmm(to), literal(Constant::low_bytes_of_words));
  }
  look_up_estimates(root, to);
  a_.vpslld(xmm(to), xmm(to), 8);
  a_.vpor(xmm(to), xmm(to), literal(Constant::sign32));
  if (root) {
    a_.vpsrld(xmm(kXmmA), xmm(from), 30);
    a_.vpxor(xmm(kXmmB), xmm(kXmmB), xmm(kXmmB));
    a_.vpcmpeqd(xmm(kXmmA), xmm(kXmmA), xmm(kXmmB));
  } else {
    a_.vpsrad(xmm(kXmmA), xmm(from), 31);
    a_.vpxor(xmm(kXmmA), xmm(kXmmA), literal(Constant::ones));
  }
  a_.vpor(xmm(to), xmm(to), xmm(kXmmA));
  if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
  return true;
}

}  // namespace rhea::x64
