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
// flags clear (first_inexact).
#include "host/x64/emitter.h"

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
    move_xmm(to, from);
    if (inst.op == Op::VFNeg) a_.xorps(xmm(to), literal(wide ? Constant::sign64 : Constant::sign32));
    else a_.andps(xmm(to), literal(wide ? Constant::abs64 : Constant::abs32));
    if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
    return true;
  }
  if (inst.lane != 32 || inst.aux != ir::kFpModeNeon) return false;
  switch (inst.op) {
    case Op::VFAdd:
    case Op::VFSub:
    case Op::VFMul: vector_float_arithmetic(inst); return true;
    case Op::VFCmpEq:
    case Op::VFCmpGe:
    case Op::VFCmpGt: vector_float_compare(inst); return true;
    case Op::VFFromS:
      if (inst.imm) return false;
      vector_float_from_integer(inst);
      return true;
    default: return false;
  }
}

// Goes to `cold` if a lane of a or b is denormal. Uses both scratch registers and `free`.
void Emitter::jump_if_denormal(u8 a, u8 b, u8 free, Label& cold) {
  if (settings_.features & kAvx512) {
    // Not vfpclassps: with DAZ it calls denormals zeros.
    a_.vptestnmd(a_.k1, xmm(a), literal(Constant::exponent32));
    a_.vptestnmd(a_.k2, xmm(b), literal(Constant::exponent32));
    a_.vptestmd(a_.k1 | a_.k1, xmm(a), literal(Constant::mantissa32));
    a_.vptestmd(a_.k2 | a_.k2, xmm(b), literal(Constant::mantissa32));
    a_.kortestb(a_.k1, a_.k2);
    a_.jump(Cc::ne, cold);
    return;
  }
  // Magnitude - 1 is at most 0x7ffffe, without sign.
  const auto find = [&](u8 to, u8 from) {
    a_.movaps(xmm(to), xmm(from));
    a_.andps(xmm(to), literal(Constant::abs32));
    a_.paddd(xmm(to), literal(Constant::ones));
    a_.movaps(xmm(kXmmB), literal(Constant::least_denormal_range));
    a_.pminud(xmm(kXmmB), xmm(to));
    a_.pcmpeqd(xmm(to), xmm(kXmmB));
  };
  find(free, a);
  find(kXmmA, b);
  a_.por(xmm(kXmmA), xmm(free));
  a_.ptest(xmm(kXmmA), xmm(kXmmA));
  a_.jump(Cc::ne, cold);
}

void Emitter::vector_float_op(Op op, u8 to, u8 a, u8 b) {
  if (!avx()) move_xmm(to, a);
  switch (op) {
    case Op::VFAdd: avx() ? a_.vaddps(xmm(to), xmm(a), xmm(b)) : a_.addps(xmm(to), xmm(b)); break;
    case Op::VFSub: avx() ? a_.vsubps(xmm(to), xmm(a), xmm(b)) : a_.subps(xmm(to), xmm(b)); break;
    default: avx() ? a_.vmulps(xmm(to), xmm(a), xmm(b)) : a_.mulps(xmm(to), xmm(b)); break;
  }
}

void Emitter::vector_float_arithmetic(const Inst& inst) {
  const u8 lanes = inst.aux2 & 1 ? 3 : 15;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  set_fp_class(FpClass::neon);
  const u8 mask = take();
  const u8 to = define(index_);
  const Op op = inst.op;
  Label &cold = new_cold_label(), &first = new_cold_label(), &odd = new_cold_label();
  jump_if_denormal(a, b, to, cold);
  a_.test(byte_state(offsetof(StateHeader, fp_flags)), ir::kFpInexact);
  a_.jump(Cc::e, first);
  vector_float_op(op, to, a, b);
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
  const u32 image = offsetof(StateHeader, mxcsr_neon);
  cold_.push_back([=, this, &first, &odd, &cold] {
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
    vector_float_op(op, to, a, b);
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
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  set_fp_class(FpClass::neon);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  jump_if_denormal(a, b, to, cold);
  // Equal: quiet; greater by "less" the other way round, which raises invalid for quiet NaNs too.
  if (inst.op == Op::VFCmpEq) {
    move_xmm(to, a);
    a_.cmpps(xmm(to), xmm(b), 0);
  } else {
    move_xmm(to, b);
    a_.cmpps(xmm(to), xmm(a), inst.op == Op::VFCmpGt ? 1 : 2);
  }
  if (inst.aux2 & 1) a_.movq(xmm(to), xmm(to));
  repair(inst, cold, to);
}

void Emitter::vector_float_from_integer(const Inst& inst) {
  const u8 from = use(inst.args[0]);
  set_fp_class(FpClass::neon);
  const u8 to = define(index_);
  a_.cvtdq2ps(xmm(to), xmm(from));
}

}  // namespace rhea::x64
