// SPDX-License-Identifier: MIT
// Vectors of integers: halving sums, operations on pairs of lanes, counts of bits, polynomial products, table lookup.
#include "host/x64/emit_vector.h"

namespace rhea::x64 {

bool Emitter::vector_halving(const Inst& inst) {
  if (inst.op < Op::VHalfAddU || inst.op > Op::VRndHalfAddS || inst.lane == 64) return false;
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  const u8 to = define(index_);
  if (inst.lane == 32) halving_words(inst, to, a, b);
  else halving_by_average(inst, to, a, b);
  return true;
}

// Bytes and half-words by the host's rounding average, of numbers made unsigned by turning their sign bit.
void Emitter::halving_by_average(const Inst& inst, u8 to, u8 a, u8 b) {
  const bool bytes = inst.lane == 8;
  const u64 sign = bytes ? 0x8080808080808080 : 0x8000800080008000,
            one = bytes ? 0x0101010101010101 : 0x0001000100010001;
  const auto average = [&](u8 d, u8 x, u8 y) { BY_LANE(pavgb, pavgw, pavgw, pavgw, d, x, xmm(y)); };
  const bool is_signed = inst.op == Op::VHalfAddS || inst.op == Op::VHalfSubS || inst.op == Op::VRndHalfAddS;
  if (inst.op == Op::VHalfSubU || inst.op == Op::VHalfSubS) {
    // (a - b) >> 1 = (a + ~b + 1 >> 1) - half of the range; the signs that would be turned cancel out but for ~b's.
    VOP(pxor, kXmmA, b, literal(Constant::ones));
    load_vector_constant(kXmmB, sign, sign);
    if (is_signed) {
      a_.pxor(xmm(kXmmA), xmm(kXmmB));
      VOP(pxor, to, a, xmm(kXmmB));
      average(to, to, kXmmA);
    } else {
      average(to, a, kXmmA);
    }
    a_.pxor(xmm(to), xmm(kXmmB));
    return;
  }
  u8 x = a, y = b;
  const u8 other = take_xmm();
  if (is_signed) {
    load_vector_constant(kXmmB, sign, sign);
    VOP(pxor, kXmmA, a, xmm(kXmmB));
    VOP(pxor, other, b, xmm(kXmmB));
    x = kXmmA;
    y = other;
  }
  average(to, x, y);
  if (inst.op == Op::VHalfAddU || inst.op == Op::VHalfAddS) {
    // Rounded up where one of both is odd.
    VOP(pxor, kXmmA, a, xmm(b));
    load_vector_constant(kXmmB, one, one);
    a_.pand(xmm(kXmmA), xmm(kXmmB));
    if (bytes) a_.psubb(xmm(to), xmm(kXmmA));
    else a_.psubw(xmm(to), xmm(kXmmA));
  }
  if (is_signed) {
    load_vector_constant(kXmmB, sign, sign);
    a_.pxor(xmm(to), xmm(kXmmB));
  }
}

void Emitter::halving_words(const Inst& inst, u8 to, u8 a, u8 b) {
  const bool is_signed = inst.op == Op::VHalfAddS || inst.op == Op::VHalfSubS || inst.op == Op::VRndHalfAddS;
  const auto halve = [&](u8 d, u8 x) { shift_lanes(32, d, x, 1, true, is_signed); };
  switch (inst.op) {
    case Op::VHalfAddU:
    case Op::VHalfAddS:  // common bits, and half of the others
      VOP(pxor, kXmmA, a, xmm(b));
      halve(kXmmA, kXmmA);
      VOP(pand, to, a, xmm(b));
      a_.paddd(xmm(to), xmm(kXmmA));
      break;
    case Op::VRndHalfAddU:
    case Op::VRndHalfAddS:  // all bits, less half of those that differ
      VOP(pxor, kXmmA, a, xmm(b));
      halve(kXmmA, kXmmA);
      VOP(por, to, a, xmm(b));
      a_.psubd(xmm(to), xmm(kXmmA));
      break;
    default:  // halves, less one where only b is odd
      halve(to, a);
      halve(kXmmA, b);
      a_.psubd(xmm(to), xmm(kXmmA));
      VOP(pandn, kXmmA, a, xmm(b));
      a_.pslld(xmm(kXmmA), 31);
      a_.psrad(xmm(kXmmA), 31);
      a_.paddd(xmm(to), xmm(kXmmA));
  }
}

bool Emitter::vector_pairs(const Inst& inst) {
  const unsigned lane = inst.lane;
  switch (inst.op) {
    case Op::VPairAdd:
      if (lane != 8) return false;
      break;
    case Op::VPairMinS:
    case Op::VPairMinU:
    case Op::VPairMaxS:
    case Op::VPairMaxU:
      if (lane > 32) return false;
      break;
    case Op::VPairAddLongU:
    case Op::VPairAddLongS:
      if (lane != 32 && !(lane == 16 && inst.op == Op::VPairAddLongU)) return false;
      break;
    default: return false;
  }
  const u8 a = use(inst.args[0]);
  const u8 b = inst.args[1] == kNoRef ? a : use(inst.args[1]);
  const u8 to = define(index_);
  switch (inst.op) {
    case Op::VPairAdd:
      VOP(punpcklqdq, to, a, xmm(b));
      VSHIFT(psrlw, kXmmA, to, 8);
      a_.paddb(xmm(to), xmm(kXmmA));
      a_.pand(xmm(to), literal(Constant::low_bytes));
      a_.packuswb(xmm(to), xmm(to));
      a_.movq(xmm(to), xmm(to));
      break;
    case Op::VPairAddLongU:
      if (lane == 16) {
        VSHIFT(psrld, kXmmA, a, 16);
        VSHIFT(pslld, to, a, 16);
        a_.psrld(xmm(to), 16);
        a_.paddd(xmm(to), xmm(kXmmA));
      } else {
        VSHIFT(psrlq, kXmmA, a, 32);
        VSHIFT(psllq, to, a, 32);
        a_.psrlq(xmm(to), 32);
        a_.paddq(xmm(to), xmm(kXmmA));
      }
      break;
    case Op::VPairAddLongS:
      a_.pshufd(xmm(to), xmm(a), 0x08);
      a_.pshufd(xmm(kXmmA), xmm(a), 0x0d);
      VOP1(pmovsxdq, to, xmm(to));
      VOP1(pmovsxdq, kXmmA, xmm(kXmmA));
      a_.paddq(xmm(to), xmm(kXmmA));
      break;
    default: {
      const u8 pairs = take_xmm();
      VOP(punpcklqdq, pairs, a, xmm(b));
      if (lane == 32) {
        a_.pshufd(xmm(kXmmA), xmm(pairs), 0x88);
        a_.pshufd(xmm(kXmmB), xmm(pairs), 0xdd);
      } else {
        load_vector_constant(to, unzip_indices(lane, false), unzip_indices(lane, false));
        VOP(pshufb, kXmmA, pairs, xmm(to));
        load_vector_constant(to, unzip_indices(lane, true), unzip_indices(lane, true));
        VOP(pshufb, kXmmB, pairs, xmm(to));
      }
      const Op op = inst.op == Op::VPairMinS   ? Op::VMinS
                    : inst.op == Op::VPairMinU ? Op::VMinU
                    : inst.op == Op::VPairMaxS ? Op::VMaxS
                                               : Op::VMaxU;
      vector_extreme(inst, op, to, kXmmA, kXmmB);
      a_.movq(xmm(to), xmm(to));
    }
  }
  return true;
}

bool Emitter::vector_counts(const Inst& inst) {
  if (inst.op < Op::VClz || inst.op > Op::VPopCount || inst.lane == 64) return false;
  const u8 from = use(inst.args[0]);
  const u8 to = define(index_);
  if (inst.op == Op::VPopCount) {
    if (settings_.features & kAvx512Bitalg) {
      a_.vpopcntb(xmm(to), xmm(from));
      return true;
    }
    const u8 table = take_xmm();
    load_vector_constant(table, 0x0302020102010100, 0x0403030203020201);
    nibbles(kXmmA, kXmmB, from);
    VOP(pshufb, to, table, xmm(kXmmA));
    VOP(pshufb, kXmmA, table, xmm(kXmmB));
    a_.paddb(xmm(to), xmm(kXmmA));
    return true;
  }
  u8 of = from;
  if (inst.op == Op::VCls) {
    // The sign bits become zeros, and the sign itself does not count.
    of = take_xmm();
    a_.pxor(xmm(kXmmA), xmm(kXmmA));
    BY_LANE(pcmpgtb, pcmpgtw, pcmpgtd, pcmpgtd, kXmmA, kXmmA, xmm(from));
    VOP(pxor, of, from, xmm(kXmmA));
  }
  leading_zeros(inst.lane, to, of);
  if (inst.op == Op::VCls) { BY_LANE(paddb, paddw, paddd, paddd, to, to, literal(Constant::ones)); }
  return true;
}

// The low and high four bits of each byte.
void Emitter::nibbles(u8 low, u8 high, u8 from) {
  load_vector_constant(low, 0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f);
  VSHIFT(psrlw, high, from, 4);
  a_.pand(xmm(high), xmm(low));
  a_.pand(xmm(low), xmm(from));
}

// By halves: those of the upper one, and where it is zero those of the lower one too.
void Emitter::leading_zeros(unsigned lane, u8 to, u8 from) {
  if (lane == 32 && settings_.features & kAvx512) {
    a_.vplzcntd(xmm(to), xmm(from));
    return;
  }
  const u8 table = take_xmm(), all = take_xmm();
  load_vector_constant(table, 0x0101010102020304, 0);
  nibbles(kXmmA, kXmmB, from);
  VOP(pshufb, to, table, xmm(kXmmB));
  a_.pshufb(xmm(table), xmm(kXmmA));
  load_vector_constant(all, 0x0404040404040404, 0x0404040404040404);
  a_.pcmpeqb(xmm(all), xmm(to));
  a_.pand(xmm(table), xmm(all));
  a_.paddb(xmm(to), xmm(table));
  if (lane == 8) return;
  load_vector_constant(all, 0x0008000800080008, 0x0008000800080008);
  VSHIFT(psrlw, kXmmA, to, 8);
  a_.pcmpeqw(xmm(all), xmm(kXmmA));
  a_.pand(xmm(to), xmm(all));
  a_.pand(xmm(to), literal(Constant::low_bytes));
  a_.paddw(xmm(to), xmm(kXmmA));
  if (lane == 16) return;
  load_vector_constant(all, 0x0000001000000010, 0x0000001000000010);
  VSHIFT(psrld, kXmmA, to, 16);
  a_.pcmpeqd(xmm(all), xmm(kXmmA));
  a_.pand(xmm(to), xmm(all));
  a_.pslld(xmm(to), 16);
  a_.psrld(xmm(to), 16);
  a_.paddd(xmm(to), xmm(kXmmA));
}

// Products without carries, bit by bit from the top of a: of bytes, or of the low halves' bytes to half-words.
bool Emitter::vector_polynomial(const Inst& inst) {
  if (inst.op != Op::VMulPoly && inst.op != Op::VMulLongPoly) return false;
  const bool long_ = inst.op == Op::VMulLongPoly;
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  const u8 to = define(index_);
  const u8 bits = take_xmm(), other = take_xmm();
  if (long_) {
    a_.pxor(xmm(bits), xmm(bits));
    a_.punpcklbw(xmm(bits), xmm(a));
    VOP1(pmovzxbw, other, xmm(b));
  } else {
    move_xmm(bits, a);
    move_xmm(other, b);
  }
  a_.pxor(xmm(to), xmm(to));
  for (unsigned i = 0; i < 8; i++) {
    if (i) long_ ? a_.paddw(xmm(to), xmm(to)) : a_.paddb(xmm(to), xmm(to));
    a_.pxor(xmm(kXmmA), xmm(kXmmA));
    if (long_) {
      a_.pcmpgtw(xmm(kXmmA), xmm(bits));
      a_.paddw(xmm(bits), xmm(bits));
    } else {
      a_.pcmpgtb(xmm(kXmmA), xmm(bits));
      a_.paddb(xmm(bits), xmm(bits));
    }
    a_.pand(xmm(kXmmA), xmm(other));
    a_.pxor(xmm(to), xmm(kXmmA));
  }
  return true;
}

// Up to 32 bytes of table; an index beyond gives 0. The host takes the low four bits of an index, and gives 0 where the
// top one is set.
bool Emitter::vector_table(const Inst& inst) {
  if (inst.op != Op::VTableLookup) return false;
  const unsigned size = static_cast<unsigned>(std::min<u64>(inst.imm, 32));
  const u8 low = use(inst.args[1]);
  const u8 high = size > 16 ? use(inst.args[2]) : kNone;
  const Inst& indices = block_->insts[inst.args[0]];
  if (indices.op == Op::VConst) {
    const u8 to = define(index_);
    table_of_constants(to, low, high, size, indices.imm);
    return true;
  }
  const u8 index = use(inst.args[0]);
  const u8 to = define(index_);
  // Above 15 the top bit becomes set.
  load_vector_constant(kXmmA, 0x7070707070707070, 0x7070707070707070);
  VOP(paddusb, kXmmB, index, xmm(kXmmA));
  VOP(pshufb, to, low, xmm(kXmmB));
  if (size > 16) {
    load_vector_constant(kXmmB, 0xf0f0f0f0f0f0f0f0, 0xf0f0f0f0f0f0f0f0);
    a_.paddb(xmm(kXmmB), xmm(index));
    a_.paddusb(xmm(kXmmB), xmm(kXmmA));
    VOP(pshufb, kXmmA, high, xmm(kXmmB));
    a_.por(xmm(to), xmm(kXmmA));
  }
  if (size & 8) {
    // A half-full register of table: nothing beyond.
    const u64 last = (size - 1) * 0x0101010101010101u;
    load_vector_constant(kXmmA, last, last);
    a_.pminub(xmm(kXmmA), xmm(index));
    a_.pcmpeqb(xmm(kXmmA), xmm(index));
    a_.pand(xmm(to), xmm(kXmmA));
  }
  a_.movq(xmm(to), xmm(to));
  return true;
}

void Emitter::table_of_constants(u8 to, u8 low, u8 high, unsigned size, u64 indices) {
  u64 in_low = 0, in_high = 0;
  bool any_high = false;
  for (unsigned i = 0; i < 8; i++) {
    const u64 index = indices >> 8 * i & 0xff;
    const bool of_low = index < 16 && index < size, of_high = index >= 16 && index < size;
    any_high |= of_high;
    in_low |= (of_low ? index : 0x80) << 8 * i;
    in_high |= (of_high ? index - 16 : 0x80) << 8 * i;
  }
  constexpr u64 kNothing = 0x8080808080808080;
  load_vector_constant(kXmmA, in_low, kNothing);
  VOP(pshufb, to, low, xmm(kXmmA));
  if (!any_high) return;
  load_vector_constant(kXmmB, in_high, kNothing);
  VOP(pshufb, kXmmA, high, xmm(kXmmB));
  a_.por(xmm(to), xmm(kXmmA));
}

}  // namespace rhea::x64
