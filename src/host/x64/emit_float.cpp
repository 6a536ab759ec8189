// SPDX-License-Identifier: MIT
// Scalar floating point with the host's SSE, exact.
//
// Host and guest agree on values and cumulative flags but for these, which go to a slow path that computes the
// operation anew with ir/fp.h: a NaN as the result (which one, and its sign), and the least normal number as the result
// of an operation that may underflow (the guest detects tininess before rounding, the host after). The flags that the
// host has raised by then are among those that the slow path raises. One comparison finds both cases: UCOMIS sets ZF
// for equal and for unordered.
//
// The guest's rounding is the host's (FpClass::other where it is not to nearest). With flush-to-zero the operation runs
// as NEON's do (FpClass::neon; emit_vector_float.cpp says what is looked for then); with both it is computed out of
// line.
#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::StateHeader;

// FpClass::other has the rounding of `mode` put into its image before, the byte of it that has no cumulative flags.
void Emitter::write_fp_class(FpClass from, FpClass to, u8 mode) {
  constexpr u32 kOffsets[] = {offsetof(StateHeader, mxcsr_ieee), offsetof(StateHeader, mxcsr_neon),
                              offsetof(StateHeader, mxcsr_other)};
  a_.stmxcsr(dword_state(kOffsets[static_cast<u8>(from)]));
  if (to == FpClass::other) {
    constexpr u8 kRounding[] = {0, 2, 1, 3};  // nearest, up, down, to zero: as MXCSR.RC
    a_.mov(byte_state(offsetof(StateHeader, mxcsr_other) + 1), 0x1f | kRounding[mode & ir::kFpRoundMask] << 5);
  }
  a_.ldmxcsr(dword_state(kOffsets[static_cast<u8>(to)]));
}

void Emitter::set_fp_class(FpClass fp, u8 mode) {
  if (fp_class_ == fp && (fp != FpClass::other || fp_other_mode_ == mode)) return;
  write_fp_class(fp_class_, fp, mode);
  fp_class_ = fp;
  fp_other_mode_ = mode;
}

namespace {

constexpr u32 kUnderflow = 1u << 4;  // of MXCSR

bool rounds_nearest(const Inst& inst) { return !(inst.aux & ir::kFpRoundMask); }
bool flushes(const Inst& inst) { return inst.aux & ir::kFpFlushToZero; }
// Whether the result may have been rounded.
bool rounds(const Inst& inst) {
  switch (inst.op) {
    case Op::FCmp: return false;
    case Op::FFromS:
    case Op::FFromU:
    case Op::FToF: return inst.type == Type::F32;
    case Op::FToS:
    case Op::FToU: return !(inst.imm & 1);
    default: return true;
  }
}

}  // namespace

bool Emitter::emit_float(const Inst& inst) {
  if (inst.op < Op::FAdd || inst.op > Op::FToBits || !settings_.inline_fp) return false;
  switch (inst.op) {
    case Op::FNeg:
    case Op::FAbs: float_sign(inst); return true;
    case Op::BitsToF: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      if (inst.type == Type::F32) a_.movd(xmm(to), r32(from));
      else a_.movq(xmm(to), r64(from));
      return true;
    }
    case Op::FToBits: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      if (type_of(index_) == Type::I32) a_.movd(r32(to), xmm(from));
      else a_.movq(r64(to), xmm(from));
      return true;
    }
    default: break;
  }
  const bool directed = rounds(inst) && !rounds_nearest(inst);
  const bool from_integer = inst.op == Op::FFromS || inst.op == Op::FFromU;
  if (directed && flushes(inst) && !from_integer) return false;
  if (inst.op == Op::FMulAdd && !(settings_.features & kFma)) return false;
  const FpClass fp = directed ? FpClass::other : flushes(inst) && !from_integer ? FpClass::neon : FpClass::ieee;
  switch (inst.op) {
    case Op::FCmp: float_compare(inst, fp); break;
    case Op::FFromS:
    case Op::FFromU: float_from_integer(inst, fp); break;
    case Op::FToS:
    case Op::FToU: float_to_integer(inst, fp); break;
    case Op::FToF: float_convert(inst, fp); break;
    default: float_arithmetic(inst, fp); break;
  }
  return true;
}

void Emitter::float_sign(const Inst& inst) {
  const bool wide = inst.type == Type::F64;
  const u8 from = use(inst.args[0]);
  const u8 to = define(index_);
  if (inst.op == Op::FNeg) {
    const Xbyak::Address sign = literal(wide ? Constant::sign64 : Constant::sign32);
    if (avx()) a_.vxorps(xmm(to), xmm(from), sign);
    else {
      move_xmm(to, from);
      a_.xorps(xmm(to), sign);
    }
  } else {
    const Xbyak::Address rest = literal(wide ? Constant::abs64 : Constant::abs32);
    if (avx()) a_.vandps(xmm(to), xmm(from), rest);
    else {
      move_xmm(to, from);
      a_.andps(xmm(to), rest);
    }
  }
}

// Recomputes the operation by the evaluator, with the operands where they are now.
void Emitter::repair(const Inst& inst, Label& cold, u8 to) {
  struct Argument {
    u8 reg;
    Type type;
  };
  std::array<Argument, 3> args{};
  unsigned count = 0;
  for (const Ref arg : inst.args) {
    if (arg != kNoRef) args[count++] = {where(arg), type_of(arg)};
  }
  const Saved saved = this->saved();
  const Type type = type_of(index_);
  const u32 back = a_.position();
  cold_.push([=, this, &cold] {
    a_.bind(cold);
    for (unsigned i = 0; i < count; i++) {
      const Xbyak::RegExp slot = a_.rsp + (kArgsOffset + 16 * static_cast<s32>(i));
      switch (args[i].type) {
        case Type::F32:
          a_.movd(a_.dword[slot], xmm(args[i].reg));
          a_.mov(a_.dword[slot + 4], 0);
          break;
        case Type::F64: a_.movq(a_.qword[slot], xmm(args[i].reg)); break;
        case Type::I32:
        case Type::I64: a_.mov(a_.qword[slot], r64(args[i].reg)); break;
        default: a_.movaps(a_.xword[slot], xmm(args[i].reg)); break;
      }
    }
    save_temps(saved);
    // The instruction's copy lies behind the code that uses it.
    a_.lea(a_.rax, a_.ptr[a_.rip + 0]);
    const u32 field = a_.position() - 4;
    a_.call_to(stubs_.eval);
    if (in_xmm(type)) {
      if (type == Type::F32) a_.movd(xmm(to), a_.eax);
      else a_.movq(xmm(to), a_.rax);
      if (type == Type::V128) a_.pinsrq(xmm(to), a_.rdx, 1);
    } else {
      move(to, kRax, type);
    }
    restore_temps(saved);
    a_.jump(back);
    while (a_.position() & 7) a_.db(0xcc);
    a_.set_relative(field, a_.position());
    write_instruction(inst);
  });
}

// With flush-to-zero a denormal operand raises a flag of its own.
void Emitter::jump_if_denormal_scalar(u8 reg, bool wide, Label& cold) {
  const u8 bits = take();
  // Twice the magnitude, less one, without sign: zero comes out on top.
  if (wide) {
    a_.movq(r64(bits), xmm(reg));
    a_.lea(r64(bits), a_.ptr[r64(bits) + r64(bits) - 1]);
    a_.cmp(r64(bits), a_.qword[a_.rip_to(stubs_.constants + 16 * static_cast<u32>(Constant::denormals64))]);
  } else {
    a_.movd(r32(bits), xmm(reg));
    a_.lea(r32(bits), a_.ptr[r64(bits) + r64(bits) - 1]);
    a_.cmp(r32(bits), 0x00ffffff);
  }
  a_.jump(Cc::b, cold);
  locked_ &= ~(1u << bits);
}

// What may be flushed is known to be zero, least normal or NaN. Nothing of it runs while the guest's inexact flag is
// clear: the host raises it for a flushed result. Its underflow flag, which is never left set, tells what was flushed.
void Emitter::jump_if_flushed(u8 reg, bool wide, Label& cold) {
  Label& odd = new_cold_label();
  compare_with_least(reg, wide);
  a_.jump(Cc::be, odd);
  const u32 back = a_.position();
  cold_.push([=, this, &odd, &cold] {
    const u32 image = offsetof(StateHeader, mxcsr_neon);
    a_.bind(odd);
    a_.stmxcsr(dword_state(image));
    a_.xorps(xmm(kXmmA), xmm(kXmmA));
    if (wide) a_.ucomisd(xmm(kXmmA), xmm(reg));
    else a_.ucomiss(xmm(kXmmA), xmm(reg));
    const u32 nan = a_.short_jump(Cc::p);
    const u32 least = a_.short_jump(Cc::ne);
    a_.test(dword_state(image), kUnderflow);
    a_.jump(Cc::e, back);
    a_.bind_short(nan);
    a_.bind_short(least);
    a_.and_(dword_state(image), ~kUnderflow);
    a_.ldmxcsr(dword_state(image));
    a_.jump(cold);
  });
}

void Emitter::float_arithmetic(const Inst& inst, FpClass fp) {
  const bool wide = inst.type == Type::F64;
  const bool two = inst.op != Op::FSqrt, three = inst.op == Op::FMulAdd;
  const bool flush = fp == FpClass::neon;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 a = use(inst.args[0]);
  const u8 b = two ? use(inst.args[1]) : kNone;
  const u8 c = three ? use(inst.args[2]) : kNone;
  set_fp_class(fp, inst.aux);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  if (flush) {
    for (const u8 operand : {a, b, c}) {
      if (operand != kNone) jump_if_denormal_scalar(operand, wide, cold);
    }
    if (two) {
      a_.test(byte_state(offsetof(StateHeader, fp_flags)), ir::kFpInexact);
      a_.jump(Cc::e, cold);
    }
  }
  if (three) {
    move_xmm(to, c);
    if (wide) a_.vfmadd231sd(xmm(to), xmm(a), xmm(b));
    else a_.vfmadd231ss(xmm(to), xmm(a), xmm(b));
  } else {
    scalar(inst.op, wide, to, a, b);
  }
  if (flush && two) {
    jump_if_flushed(to, wide, cold);
  } else if (inst.op == Op::FAdd || inst.op == Op::FSub || inst.op == Op::FSqrt) {
    if (wide) a_.ucomisd(xmm(to), xmm(to));
    else a_.ucomiss(xmm(to), xmm(to));
    a_.jump(Cc::p, cold);
  } else {
    jump_if_nan_or_least(to, wide, cold);
  }
  repair(inst, cold, to);
}

// EFLAGS of the magnitude against the least normal number.
void Emitter::compare_with_least(u8 reg, bool wide) {
  const Xbyak::Address rest = literal(wide ? Constant::abs64 : Constant::abs32);
  if (avx()) {
    a_.vandps(xmm(kXmmA), xmm(reg), rest);
  } else {
    a_.movaps(xmm(kXmmA), xmm(reg));
    a_.andps(xmm(kXmmA), rest);
  }
  if (wide) a_.ucomisd(xmm(kXmmA), literal(Constant::least64));
  else a_.ucomiss(xmm(kXmmA), literal(Constant::least32));
}

void Emitter::jump_if_nan_or_least(u8 reg, bool wide, Label& cold) {
  compare_with_least(reg, wide);
  a_.jump(Cc::e, cold);
}

void Emitter::scalar(Op op, bool wide, u8 to, u8 a, u8 b) {
  const Xbyak::Xmm d = xmm(to), x = xmm(a), y = xmm(b == kNone ? a : b);
  if (op == Op::FSqrt) {
    if (wide && avx()) a_.vsqrtsd(d, x, x);
    else if (avx()) a_.vsqrtss(d, x, x);
    else if (wide) a_.sqrtsd(d, x);
    else a_.sqrtss(d, x);
    return;
  }
  if (!avx()) {
    move_xmm(to, a);
    switch (op) {
      case Op::FAdd: wide ? a_.addsd(d, y) : a_.addss(d, y); break;
      case Op::FSub: wide ? a_.subsd(d, y) : a_.subss(d, y); break;
      case Op::FMul: wide ? a_.mulsd(d, y) : a_.mulss(d, y); break;
      default: wide ? a_.divsd(d, y) : a_.divss(d, y); break;
    }
    return;
  }
  switch (op) {
    case Op::FAdd: wide ? a_.vaddsd(d, x, y) : a_.vaddss(d, x, y); break;
    case Op::FSub: wide ? a_.vsubsd(d, x, y) : a_.vsubss(d, x, y); break;
    case Op::FMul: wide ? a_.vmulsd(d, x, y) : a_.vmulss(d, x, y); break;
    default: wide ? a_.vdivsd(d, x, y) : a_.vdivss(d, x, y); break;
  }
}

// The image of ARM's comparison from UCOMIS: greater C; less N; equal Z C; unordered C V.
void Emitter::float_compare(const Inst& inst, FpClass fp) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  set_fp_class(fp, inst.aux);
  const u8 image = take(), other = take();
  const bool wide = inst.type == Type::F64;
  Label* cold = nullptr;
  if (fp == FpClass::neon) {
    cold = &new_cold_label();
    jump_if_denormal_scalar(a, wide, *cold);
    jump_if_denormal_scalar(b, wide, *cold);
  }
  if (inst.imm & 1) wide ? a_.comisd(xmm(a), xmm(b)) : a_.comiss(xmm(a), xmm(b));
  else wide ? a_.ucomisd(xmm(a), xmm(b)) : a_.ucomiss(xmm(a), xmm(b));
  a_.mov(r32(image), ir::kImageC);
  a_.mov(r32(other), ir::kImageN);
  a_.cmovb(r32(image), r32(other));
  a_.mov(r32(other), ir::kImageZ | ir::kImageC);
  a_.cmove(r32(image), r32(other));
  a_.mov(r32(other), ir::kImageC | ir::kImageV);
  a_.cmovp(r32(image), r32(other));
  define_in(index_, image);
  if (cold) repair(inst, *cold, image);
}

void Emitter::float_from_integer(const Inst& inst, FpClass fp) {
  const u8 from = use(inst.args[0]);
  set_fp_class(fp, inst.aux);
  const u8 to = define(index_);
  // An unsigned number is a signed one of 64 bits.
  const Xbyak::Reg32e source = rt(from, inst.op == Op::FFromU ? Type::I64 : Type::I32);
  a_.xorps(xmm(to), xmm(to));
  if (inst.type == Type::F64) a_.cvtsi2sd(xmm(to), source);
  else a_.cvtsi2ss(xmm(to), source);
}

void Emitter::float_to_integer(const Inst& inst, FpClass fp) {
  const bool wide = inst.type == Type::F64, truncate = inst.imm & 1;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  no_target(index_);
  const u8 from = use(inst.args[0]);
  set_fp_class(fp, inst.aux);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  if (fp == FpClass::neon) jump_if_denormal_scalar(from, wide, cold);
  const auto convert = [&](const Xbyak::Reg& reg) {
    if (truncate) wide ? a_.cvttsd2si(reg, xmm(from)) : a_.cvttss2si(reg, xmm(from));
    else wide ? a_.cvtsd2si(reg, xmm(from)) : a_.cvtss2si(reg, xmm(from));
  };
  if (inst.op == Op::FToS) {
    // The host's answer to what does not fit is the least integer.
    convert(r32(to));
    a_.cmp(r32(to), 1);
    a_.jump(Cc::o, cold);
  } else {
    // Out of range is found before: the conversion to 64 bits would raise inexact.
    a_.xorps(xmm(kXmmA), xmm(kXmmA));
    wide ? a_.ucomisd(xmm(from), xmm(kXmmA)) : a_.ucomiss(xmm(from), xmm(kXmmA));
    a_.jump(Cc::b, cold);
    if (wide) a_.ucomisd(xmm(from), literal(truncate ? Constant::two_to_32_wide : Constant::most_u32_wide));
    else a_.ucomiss(xmm(from), literal(Constant::two_to_32));
    a_.jump(Cc::ae, cold);
    convert(r64(to));
  }
  repair(inst, cold, to);
}

void Emitter::float_convert(const Inst& inst, FpClass fp) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 from = use(inst.args[0]);
  set_fp_class(fp, inst.aux);
  const u8 to = define(index_);
  Label& cold = new_cold_label();
  if (type_of(inst.args[0]) == inst.type) {
    move_xmm(to, from);
    return;
  }
  const bool widens = inst.type == Type::F64, flush = fp == FpClass::neon;
  if (flush) jump_if_denormal_scalar(from, !widens, cold);
  if (flush && !widens) {
    a_.test(byte_state(offsetof(StateHeader, fp_flags)), ir::kFpInexact);
    a_.jump(Cc::e, cold);
  }
  a_.xorps(xmm(to), xmm(to));
  if (widens) {
    a_.cvtss2sd(xmm(to), xmm(from));
    a_.ucomisd(xmm(to), xmm(to));
    a_.jump(Cc::p, cold);
  } else {
    a_.cvtsd2ss(xmm(to), xmm(from));
    if (flush) jump_if_flushed(to, false, cold);
    else jump_if_nan_or_least(to, false, cold);
  }
  repair(inst, cold, to);
}

}  // namespace rhea::x64
