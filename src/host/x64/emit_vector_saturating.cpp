// SPDX-License-Identifier: MIT
// Vector operations that saturate, and note it in the state where a lane did.
//
// Each makes its result and a vector that has bits set where something saturated; note_saturation() looks at that.
// Operands of D registers have clear high halves, and zeros do not saturate.
#include "host/x64/emit_vector.h"

namespace rhea::x64 {

using ir::StateHeader;

namespace {

// A value of `lane` bits in every lane of 64.
u64 repeat(u64 value, unsigned lane) {
  for (unsigned have = lane; have < 64; have *= 2) value |= value << have;
  return value;
}
u64 ones(unsigned bits) { return ~u64{0} >> (64 - bits); }

}  // namespace

bool Emitter::vector_saturating(const Inst& inst) {
  const bool wide = inst.lane == 64;
  void (Emitter::*emit)(const Inst&, u8, u8, u8) = nullptr;
  switch (inst.op) {
    case Op::VSatAddU:
    case Op::VSatAddS:
    case Op::VSatSubU:
    case Op::VSatSubS: emit = inst.lane <= 16 ? &Emitter::saturating_sum : &Emitter::saturating_wide_sum; break;
    case Op::VSatShlUImm:
    case Op::VSatShlSImm:
    case Op::VSatShlSUImm: emit = &Emitter::saturating_shift; break;
    case Op::VSatAbs:
    case Op::VSatNeg: emit = wide ? nullptr : &Emitter::saturating_sign; break;
    case Op::VSatDoubleMulHi:
    case Op::VSatRndDoubleMulHi: emit = &Emitter::saturating_product; break;
    case Op::VSatDoubleMulLong: emit = &Emitter::saturating_long_product; break;
    case Op::VSatNarrowU:
    case Op::VSatNarrowS:
    case Op::VSatNarrowSU: emit = wide ? &Emitter::saturating_narrow_wide : &Emitter::saturating_narrow; break;
    default: break;
  }
  if (!emit) return false;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 a = use(inst.args[0]);
  const u8 b = inst.args[1] == kNoRef ? a : use(inst.args[1]);
  const u8 to = define(index_);
  (this->*emit)(inst, to, a, b);
  return true;
}

void Emitter::note_saturation(u8 where) {
  a_.ptest(xmm(where), xmm(where));
  const u32 fine = a_.short_jump(Cc::e);
  a_.mov(dword_state(offsetof(StateHeader, saturated)), 1);
  a_.bind_short(fine);
}

// Bytes and half-words: the host has the operation. Saturated where the result is not the plain one.
void Emitter::saturating_sum(const Inst& inst, u8 to, u8 a, u8 b) {
  switch (inst.op) {
    case Op::VSatAddU: BY_LANE(paddusb, paddusw, paddusw, paddusw, to, a, xmm(b)); break;
    case Op::VSatAddS: BY_LANE(paddsb, paddsw, paddsw, paddsw, to, a, xmm(b)); break;
    case Op::VSatSubU: BY_LANE(psubusb, psubusw, psubusw, psubusw, to, a, xmm(b)); break;
    default: BY_LANE(psubsb, psubsw, psubsw, psubsw, to, a, xmm(b)); break;
  }
  if (inst.op == Op::VSatAddU || inst.op == Op::VSatAddS) {
    BY_LANE(paddb, paddw, paddw, paddw, kXmmA, a, xmm(b));
  } else {
    BY_LANE(psubb, psubw, psubw, psubw, kXmmA, a, xmm(b));
  }
  a_.pxor(xmm(kXmmA), xmm(to));
  note_saturation(kXmmA);
}

// The sign of each lane of 32 or 64 bits in all its bits.
void Emitter::lane_signs(unsigned lane, u8 to, u8 from) {
  if (lane == 64) {
    a_.pshufd(xmm(to), xmm(from), 0xf5);
    a_.psrad(xmm(to), 31);
  } else {
    VSHIFT(psrad, to, from, 31);
  }
}

// Words and doublewords.
void Emitter::saturating_wide_sum(const Inst& inst, u8 to, u8 a, u8 b) {
  const bool wide = inst.lane == 64, adds = inst.op == Op::VSatAddU || inst.op == Op::VSatAddS;
  if (adds) {
    BY_LANE(paddd, paddd, paddd, paddq, to, a, xmm(b));
  } else {
    BY_LANE(psubd, psubd, psubd, psubq, to, a, xmm(b));
  }
  if (inst.op == Op::VSatAddS || inst.op == Op::VSatSubS) {
    // Too large where the sign came out wrong; then the nearest value has the sign of a.
    VOP(pxor, kXmmA, to, xmm(a));
    VOP(pxor, kXmmB, adds ? to : a, xmm(b));
    a_.pand(xmm(kXmmA), xmm(kXmmB));
    lane_signs(inst.lane, kXmmA, kXmmA);
    lane_signs(inst.lane, kXmmB, a);
    a_.pxor(xmm(kXmmB), literal(wide ? Constant::abs64 : Constant::abs32));
    a_.pxor(xmm(kXmmB), xmm(to));
    a_.pand(xmm(kXmmB), xmm(kXmmA));
    a_.pxor(xmm(to), xmm(kXmmB));
    return note_saturation(kXmmA);
  }
  // A = lanes where it wrapped: a > sum, or b > a.
  const u8 more = adds ? a : b, less = adds ? to : a;
  if (wide) {
    VOP(pxor, kXmmA, more, literal(Constant::sign64));
    VOP(pxor, kXmmB, less, literal(Constant::sign64));
    a_.pcmpgtq(xmm(kXmmA), xmm(kXmmB));
  } else {
    VOP(pmaxud, kXmmA, more, xmm(less));
    a_.pcmpeqd(xmm(kXmmA), xmm(less));
    a_.pxor(xmm(kXmmA), literal(Constant::ones));
  }
  if (adds) {
    a_.por(xmm(to), xmm(kXmmA));
  } else {
    VOP(pand, kXmmB, to, xmm(kXmmA));
    a_.pxor(xmm(to), xmm(kXmmB));
  }
  note_saturation(kXmmA);
}

// Left by a constant: too large is what is beyond the bounds shifted right.
void Emitter::saturating_shift(const Inst& inst, u8 to, u8 a, u8) {
  const unsigned lane = inst.lane, count = static_cast<unsigned>(inst.imm);
  const bool is_signed = inst.op == Op::VSatShlSImm, to_unsigned = inst.op == Op::VSatShlSUImm;
  const u8 over = take_xmm(), under = take_xmm();
  const u64 most = is_signed ? ones(lane - 1) >> count : ones(lane) >> count;
  const auto greater = [&](u8 d, u8 x, u8 y) { BY_LANE(pcmpgtb, pcmpgtw, pcmpgtd, pcmpgtq, d, x, xmm(y)); };
  const u64 bound = to_unsigned ? std::min(most, ones(lane - 1)) : most;
  load_vector_constant(kXmmA, repeat(bound, lane), repeat(bound, lane));
  if (is_signed || to_unsigned) {
    greater(over, a, kXmmA);
  } else if (lane == 64) {
    VOP(pxor, over, a, literal(Constant::sign64));
    a_.pxor(xmm(kXmmA), literal(Constant::sign64));
    a_.pcmpgtq(xmm(over), xmm(kXmmA));
  } else {
    vector_extreme(inst, Op::VMaxU, over, a, kXmmA);
    BY_LANE(pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqd, over, over, xmm(kXmmA));
    a_.pxor(xmm(over), literal(Constant::ones));
  }
  if (lane == 8) {
    const u64 kept = repeat(0xffu << count & 0xff, 8);
    VSHIFT(psllw, to, a, count);
    load_vector_constant(kXmmA, kept, kept);
    a_.pand(xmm(to), xmm(kXmmA));
  } else {
    shift_lanes(lane, to, a, count, false, false);
  }
  if (is_signed) {
    const u64 least = repeat(~most & ones(lane), lane), top = repeat(ones(lane - 1), lane);
    load_vector_constant(kXmmA, least, least);
    greater(under, kXmmA, a);
    a_.por(xmm(over), xmm(under));
    // The sign, and all other bits its opposite.
    a_.pxor(xmm(kXmmB), xmm(kXmmB));
    greater(under, kXmmB, a);
    load_vector_constant(kXmmA, top, top);
    a_.pxor(xmm(under), xmm(kXmmA));
    a_.pxor(xmm(under), xmm(to));
    a_.pand(xmm(under), xmm(over));
    a_.pxor(xmm(to), xmm(under));
  } else {
    a_.por(xmm(to), xmm(over));
    if (to_unsigned) {
      a_.pxor(xmm(kXmmB), xmm(kXmmB));
      greater(under, kXmmB, a);
      VOP(pand, kXmmA, to, xmm(under));
      a_.pxor(xmm(to), xmm(kXmmA));
      a_.por(xmm(over), xmm(under));
    }
  }
  note_saturation(over);
}

// Absolute value and negation: the least number alone has none, and becomes the greatest.
void Emitter::saturating_sign(const Inst& inst, u8 to, u8 a, u8) {
  const u64 least = repeat(u64{1} << (inst.lane - 1), inst.lane);
  load_vector_constant(kXmmA, least, least);
  BY_LANE(pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqd, kXmmA, kXmmA, xmm(a));
  if (inst.op == Op::VSatAbs) {
    if (inst.lane == 8) VOP1(pabsb, to, xmm(a));
    else if (inst.lane == 16) VOP1(pabsw, to, xmm(a));
    else VOP1(pabsd, to, xmm(a));
  } else {
    a_.pxor(xmm(to), xmm(to));
    BY_LANE(psubb, psubw, psubd, psubd, to, to, xmm(a));
  }
  BY_LANE(paddb, paddw, paddd, paddd, to, to, xmm(kXmmA));
  note_saturation(kXmmA);
}

// The high half of twice the product. Only the least number squared is too large, and gives the least one.
void Emitter::saturating_product(const Inst& inst, u8 to, u8 a, u8 b) {
  const bool rounds = inst.op == Op::VSatRndDoubleMulHi;
  if (inst.lane == 16) {
    if (rounds) {
      VOP(pmulhrsw, to, a, xmm(b));
    } else {
      VOP(pmulhw, kXmmA, a, xmm(b));
      VOP(pmullw, to, a, xmm(b));
      a_.psllw(xmm(kXmmA), 1);
      a_.psrlw(xmm(to), 15);
      a_.por(xmm(to), xmm(kXmmA));
    }
    load_vector_constant(kXmmA, 0x8000800080008000, 0x8000800080008000);
    a_.pcmpeqw(xmm(kXmmA), xmm(to));
  } else {
    VSHIFT(psrlq, kXmmA, a, 32);
    VSHIFT(psrlq, kXmmB, b, 32);
    a_.pmuldq(xmm(kXmmA), xmm(kXmmB));
    VOP(pmuldq, to, a, xmm(b));
    a_.paddq(xmm(kXmmA), xmm(kXmmA));
    a_.paddq(xmm(to), xmm(to));
    if (rounds) {
      load_vector_constant(kXmmB, 0x80000000, 0x80000000);
      a_.paddq(xmm(kXmmA), xmm(kXmmB));
      a_.paddq(xmm(to), xmm(kXmmB));
    }
    a_.psrlq(xmm(to), 32);
    a_.pblendw(xmm(to), xmm(kXmmA), 0xcc);
    a_.movaps(xmm(kXmmA), literal(Constant::sign32));
    a_.pcmpeqd(xmm(kXmmA), xmm(to));
  }
  a_.pxor(xmm(to), xmm(kXmmA));
  note_saturation(kXmmA);
}

// Twice the product, of the low halves. The same.
void Emitter::saturating_long_product(const Inst& inst, u8 to, u8 a, u8 b) {
  if (inst.lane == 16) {
    VOP(pmulhw, kXmmA, a, xmm(b));
    VOP(pmullw, to, a, xmm(b));
    a_.punpcklwd(xmm(to), xmm(kXmmA));
    a_.paddd(xmm(to), xmm(to));
    a_.movaps(xmm(kXmmA), literal(Constant::sign32));
    a_.pcmpeqd(xmm(kXmmA), xmm(to));
  } else {
    a_.pshufd(xmm(to), xmm(a), 0x50);
    a_.pshufd(xmm(kXmmA), xmm(b), 0x50);
    a_.pmuldq(xmm(to), xmm(kXmmA));
    a_.paddq(xmm(to), xmm(to));
    a_.movaps(xmm(kXmmA), literal(Constant::sign64));
    a_.pcmpeqq(xmm(kXmmA), xmm(to));
  }
  a_.pxor(xmm(to), xmm(kXmmA));
  note_saturation(kXmmA);
}

// To bytes and half-words: saturated where widening does not give back what was there.
void Emitter::saturating_narrow(const Inst& inst, u8 to, u8 a, u8) {
  const bool bytes = inst.lane == 16;
  u8 from = a;
  switch (inst.op) {
    case Op::VSatNarrowS:
      if (bytes) VOP(packsswb, to, a, xmm(a));
      else VOP(packssdw, to, a, xmm(a));
      break;
    case Op::VSatNarrowU: {
      const u64 most = bytes ? 0x00ff00ff00ff00ff : 0x0000ffff0000ffff;
      load_vector_constant(kXmmA, most, most);
      if (bytes) a_.pminuw(xmm(kXmmA), xmm(a));
      else a_.pminud(xmm(kXmmA), xmm(a));
      from = kXmmA;
      [[fallthrough]];
    }
    default:
      if (bytes) VOP(packuswb, to, from, xmm(from));
      else VOP(packusdw, to, from, xmm(from));
  }
  a_.movq(xmm(to), xmm(to));
  if (inst.op == Op::VSatNarrowS) {
    if (bytes) VOP1(pmovsxbw, kXmmA, xmm(to));
    else VOP1(pmovsxwd, kXmmA, xmm(to));
  } else {
    if (bytes) VOP1(pmovzxbw, kXmmA, xmm(to));
    else VOP1(pmovzxwd, kXmmA, xmm(to));
  }
  a_.pxor(xmm(kXmmA), xmm(a));
  note_saturation(kXmmA);
}

// To words: by what the high words are.
void Emitter::saturating_narrow_wide(const Inst& inst, u8 to, u8 a, u8) {
  a_.pshufd(xmm(to), xmm(a), 0x08);
  a_.pshufd(xmm(kXmmA), xmm(a), 0x0d);
  a_.movq(xmm(to), xmm(to));
  a_.movq(xmm(kXmmA), xmm(kXmmA));
  if (inst.op == Op::VSatNarrowS) VSHIFT(psrad, kXmmB, to, 31);
  else a_.pxor(xmm(kXmmB), xmm(kXmmB));
  a_.pcmpeqd(xmm(kXmmB), xmm(kXmmA));
  a_.pxor(xmm(kXmmB), literal(Constant::ones));
  note_saturation(kXmmB);
  switch (inst.op) {
    case Op::VSatNarrowS:
      a_.psrad(xmm(kXmmA), 31);
      a_.pxor(xmm(kXmmA), literal(Constant::abs32));
      a_.pxor(xmm(kXmmA), xmm(to));
      a_.pand(xmm(kXmmA), xmm(kXmmB));
      a_.pxor(xmm(to), xmm(kXmmA));
      break;
    case Op::VSatNarrowU: a_.por(xmm(to), xmm(kXmmB)); break;
    default:
      a_.por(xmm(to), xmm(kXmmB));
      a_.psrad(xmm(kXmmA), 31);
      a_.pandn(xmm(kXmmA), xmm(to));
      move_xmm(to, kXmmA);
  }
}

}  // namespace rhea::x64
