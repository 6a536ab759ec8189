// SPDX-License-Identifier: MIT
// Vectors of integers, with SSE4.2 or AVX. What is not here is computed out of line.
//
// Results go to registers of their own, so operands stay as they are: two-operand forms copy first. xmm14 and xmm15
// are scratch within one instruction.
#include "host/x64/emit_vector.h"

namespace rhea::x64 {

using ir::StateHeader;

bool Emitter::emit_vector(const Inst& inst) {
  if (!settings_.inline_fp) return false;
  if (inst.op == Op::Select && in_xmm(inst.type)) return vector_select(inst);
  if (inst.op < Op::VConst || inst.op > Op::VFPairMax) return false;
  if (inst.op >= Op::VFAdd) return vector_float(inst);
  return vector_moves(inst) || vector_logic(inst) || vector_arithmetic(inst) || vector_compare(inst) ||
         vector_shift(inst) || vector_saturating(inst) || vector_widths(inst) || vector_permute(inst) ||
         vector_halving(inst) || vector_pairs(inst) || vector_shift_variable(inst) || vector_table(inst) ||
         vector_counts(inst) || vector_polynomial(inst);
}

bool Emitter::vector_select(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 yes = use(inst.args[1]), no = use(inst.args[2]);
  const u8 condition = use(inst.args[0]);
  const u8 to = define(index_);
  move_xmm(to, yes);
  a_.test(r32(condition), r32(condition));
  const u32 done = a_.short_jump(Cc::ne);
  move_xmm(to, no);
  a_.bind_short(done);
  return true;
}

// A constant of this block, in the cold area.
void Emitter::load_vector_constant(u8 to, u64 low, u64 high) {
  Label& label = new_cold_label();
  // movups xmm, [rip + label]
  if (to >= 8) a_.db(0x44);
  a_.db(0x0f);
  a_.db(0x10);
  a_.db(0x05 | (to & 7) << 3);
  a_.refer(label);
  cold_.push([=, this, &label] {
    while (a_.position() & 15) a_.db(0xcc);
    a_.bind(label);
    a_.dq(low);
    a_.dq(high);
  });
}

bool Emitter::vector_moves(const Inst& inst) {
  const auto lane = static_cast<u8>(inst.imm);
  switch (inst.op) {
    case Op::VZero: {
      const u8 to = define(index_);
      VOP(pxor, to, to, xmm(to));
      return true;
    }
    case Op::VConst: {
      const u8 to = define(index_);
      if (inst.imm == 0) VOP(pxor, to, to, xmm(to));
      else load_vector_constant(to, inst.imm, inst.imm);
      return true;
    }
    case Op::VDup: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      if (inst.lane == 64) a_.movq(xmm(to), r64(from));
      else a_.movd(xmm(to), r32(from));
      duplicate(to, to, inst.lane, 0);
      return true;
    }
    case Op::VDupLane: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      duplicate(to, from, inst.lane, lane);
      return true;
    }
    case Op::VGetLane: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      switch (inst.lane) {
        case 8:
          a_.pextrb(r32(to), xmm(from), lane);
          if (inst.aux & 1) a_.movsx(rt(to, inst.type), r8(to));
          break;
        case 16:
          a_.pextrw(r32(to), xmm(from), lane);
          if (inst.aux & 1) a_.movsx(rt(to, inst.type), r16(to));
          break;
        case 32:
          if (lane == 0) a_.movd(r32(to), xmm(from));
          else a_.pextrd(r32(to), xmm(from), lane);
          if (inst.aux & 1 && inst.type == Type::I64) a_.movsxd(r64(to), r32(to));
          break;
        default:
          if (lane == 0) a_.movq(r64(to), xmm(from));
          else a_.pextrq(r64(to), xmm(from), lane);
          if (inst.type == Type::I32) a_.mov(r32(to), r32(to));
      }
      return true;
    }
    case Op::VSetLane: {
      const u8 vector = use(inst.args[0]), value = use(inst.args[1]);
      const u8 to = define(index_);
      move_xmm(to, vector);
      switch (inst.lane) {
        case 8: a_.pinsrb(xmm(to), r32(value), lane); break;
        case 16: a_.pinsrw(xmm(to), r32(value), lane); break;
        case 32: a_.pinsrd(xmm(to), r32(value), lane); break;
        default: a_.pinsrq(xmm(to), r64(value), lane); break;
      }
      return true;
    }
    case Op::VFromF: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      if (inst.lane == 64 || type_of(inst.args[0]) == Type::F64) {
        a_.movq(xmm(to), xmm(from));
      } else {
        a_.xorps(xmm(to), xmm(to));
        a_.movss(xmm(to), xmm(from));
      }
      return true;
    }
    case Op::VToF: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      if (inst.type == Type::F32) a_.pshufd(xmm(to), xmm(from), lane & 3);
      else a_.pshufd(xmm(to), xmm(from), lane & 1 ? 0xee : 0x44);
      return true;
    }
    case Op::VLow64: {
      const u8 from = use(inst.args[0]);
      a_.movq(xmm(define(index_)), xmm(from));
      return true;
    }
    case Op::VHigh64: {
      const u8 from = use(inst.args[0]);
      const u8 to = define(index_);
      VSHIFT(psrldq, to, from, 8);
      return true;
    }
    case Op::VJoin64: {
      const u8 a = use(inst.args[0]), b = use(inst.args[1]);
      const u8 to = define(index_);
      VOP(punpcklqdq, to, a, xmm(b));
      return true;
    }
    default: return false;
  }
}

// A lane into all lanes; `to` may be `from`.
void Emitter::duplicate(u8 to, u8 from, unsigned lane_bits, unsigned lane) {
  switch (lane_bits) {
    case 64: a_.pshufd(xmm(to), xmm(from), lane ? 0xee : 0x44); break;
    case 32: a_.pshufd(xmm(to), xmm(from), static_cast<u8>(lane * 0x55)); break;
    case 16:
      if (lane < 4) {
        a_.pshuflw(xmm(to), xmm(from), static_cast<u8>(lane * 0x55));
        a_.pshufd(xmm(to), xmm(to), 0x00);
      } else {
        a_.pshufhw(xmm(to), xmm(from), static_cast<u8>((lane - 4) * 0x55));
        a_.pshufd(xmm(to), xmm(to), 0xaa);
      }
      break;
    default: {
      const u64 indices = lane * 0x0101010101010101u;
      load_vector_constant(kXmmA, indices, indices);
      move_xmm(to, from);
      a_.pshufb(xmm(to), xmm(kXmmA));
    }
  }
}

bool Emitter::vector_logic(const Inst& inst) {
  if (inst.op < Op::VAnd || inst.op > Op::VBitSelect) return false;
  const u8 a = use(inst.args[0]);
  const u8 b = inst.args[1] == kNoRef ? a : use(inst.args[1]);
  const u8 c = inst.args[2] == kNoRef ? a : use(inst.args[2]);
  if (inst.op == Op::VBitSelect && settings_.features & kAvx512) {
    a_.vpternlogq(xmm(define_from(index_, inst.args[0])), xmm(b), xmm(c), 0xca);
    return true;
  }
  const u8 to = define(index_);
  switch (inst.op) {
    case Op::VAnd: VOP(pand, to, a, xmm(b)); break;
    case Op::VOr: VOP(por, to, a, xmm(b)); break;
    case Op::VXor: VOP(pxor, to, a, xmm(b)); break;
    case Op::VAndNot: VOP(pandn, to, b, xmm(a)); break;
    case Op::VNot: VOP(pxor, to, a, literal(Constant::ones)); break;
    case Op::VOrNot:
      VOP(pxor, kXmmA, b, literal(Constant::ones));
      VOP(por, to, a, xmm(kXmmA));
      break;
    default:  // VBitSelect
      VOP(pand, kXmmA, a, xmm(b));
      VOP(pandn, to, a, xmm(c));
      a_.por(xmm(to), xmm(kXmmA));
  }
  return true;
}

void Emitter::vector_extreme(const Inst& inst, Op op, u8 to, u8 a, u8 b) {
  switch (op) {
    case Op::VMinS: BY_LANE(pminsb, pminsw, pminsd, pminsd, to, a, xmm(b)); break;
    case Op::VMinU: BY_LANE(pminub, pminuw, pminud, pminud, to, a, xmm(b)); break;
    case Op::VMaxS: BY_LANE(pmaxsb, pmaxsw, pmaxsd, pmaxsd, to, a, xmm(b)); break;
    default: BY_LANE(pmaxub, pmaxuw, pmaxud, pmaxud, to, a, xmm(b)); break;
  }
}

bool Emitter::vector_arithmetic(const Inst& inst) {
  const bool wide = inst.lane == 64;
  switch (inst.op) {
    case Op::VAdd:
    case Op::VSub:
    case Op::VNeg: break;
    case Op::VMul:
    case Op::VAbs:
    case Op::VMinS:
    case Op::VMinU:
    case Op::VMaxS:
    case Op::VMaxU:
    case Op::VAbsDiffS:
    case Op::VAbsDiffU:
      if (wide) return false;
      break;
    default: return false;
  }
  const u8 a = use(inst.args[0]);
  const u8 b = inst.args[1] == kNoRef ? a : use(inst.args[1]);
  const u8 to = define(index_);
  switch (inst.op) {
    case Op::VAdd: BY_LANE(paddb, paddw, paddd, paddq, to, a, xmm(b)); break;
    case Op::VSub: BY_LANE(psubb, psubw, psubd, psubq, to, a, xmm(b)); break;
    case Op::VNeg:
      a_.pxor(xmm(kXmmA), xmm(kXmmA));
      BY_LANE(psubb, psubw, psubd, psubq, to, kXmmA, xmm(a));
      break;
    case Op::VMul:
      if (inst.lane != 8) {
        BY_LANE(pmullw, pmullw, pmulld, pmulld, to, a, xmm(b));
        break;
      }
      // Even and odd bytes as half-words.
      VSHIFT(psrlw, kXmmA, a, 8);
      VSHIFT(psrlw, kXmmB, b, 8);
      a_.pmullw(xmm(kXmmA), xmm(kXmmB));
      a_.psllw(xmm(kXmmA), 8);
      VOP(pmullw, to, a, xmm(b));
      a_.pand(xmm(to), literal(Constant::low_bytes));
      a_.por(xmm(to), xmm(kXmmA));
      break;
    case Op::VAbs:
      if (inst.lane == 8) VOP1(pabsb, to, xmm(a));
      else if (inst.lane == 16) VOP1(pabsw, to, xmm(a));
      else VOP1(pabsd, to, xmm(a));
      break;
    case Op::VAbsDiffS:
    case Op::VAbsDiffU: {
      const bool is_signed = inst.op == Op::VAbsDiffS;
      vector_extreme(inst, is_signed ? Op::VMinS : Op::VMinU, kXmmA, a, b);
      vector_extreme(inst, is_signed ? Op::VMaxS : Op::VMaxU, to, a, b);
      switch (inst.lane) {
        case 8: a_.psubb(xmm(to), xmm(kXmmA)); break;
        case 16: a_.psubw(xmm(to), xmm(kXmmA)); break;
        default: a_.psubd(xmm(to), xmm(kXmmA)); break;
      }
      break;
    }
    default: vector_extreme(inst, inst.op, to, a, b); break;
  }
  return true;
}

bool Emitter::vector_compare(const Inst& inst) {
  if (inst.op < Op::VCmpEq || inst.op > Op::VTest || inst.lane == 64) return false;
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  const u8 to = define(index_);
  bool invert = false;
  switch (inst.op) {
    case Op::VCmpEq: BY_LANE(pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqd, to, a, xmm(b)); break;
    case Op::VCmpGtS: BY_LANE(pcmpgtb, pcmpgtw, pcmpgtd, pcmpgtd, to, a, xmm(b)); break;
    case Op::VCmpGeS:
      BY_LANE(pcmpgtb, pcmpgtw, pcmpgtd, pcmpgtd, to, b, xmm(a));
      invert = true;
      break;
    case Op::VCmpGeU:
      vector_extreme(inst, Op::VMaxU, kXmmA, a, b);
      BY_LANE(pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqd, to, a, xmm(kXmmA));
      break;
    case Op::VCmpGtU:
      vector_extreme(inst, Op::VMinU, kXmmA, a, b);
      BY_LANE(pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqd, to, a, xmm(kXmmA));
      invert = true;
      break;
    default:  // VTest
      VOP(pand, kXmmA, a, xmm(b));
      a_.pxor(xmm(kXmmB), xmm(kXmmB));
      BY_LANE(pcmpeqb, pcmpeqw, pcmpeqd, pcmpeqd, to, kXmmA, xmm(kXmmB));
      invert = true;
  }
  if (invert) a_.pxor(xmm(to), literal(Constant::ones));
  return true;
}

// to = from shifted by a constant; not for bytes. Uses xmm15.
void Emitter::shift_lanes(unsigned lane, u8 to, u8 from, unsigned count, bool right, bool is_signed) {
  if (!right) {
    switch (lane) {
      case 16: VSHIFT(psllw, to, from, count); break;
      case 32: VSHIFT(pslld, to, from, count); break;
      default: VSHIFT(psllq, to, from, count); break;
    }
  } else if (!is_signed) {
    switch (lane) {
      case 16: VSHIFT(psrlw, to, from, count); break;
      case 32: VSHIFT(psrld, to, from, count); break;
      default: VSHIFT(psrlq, to, from, count); break;
    }
  } else if (lane == 16) {
    VSHIFT(psraw, to, from, std::min(count, 15u));
  } else if (lane == 64 && settings_.features & kAvx512) {
    a_.vpsraq(xmm(to), xmm(from), static_cast<u8>(std::min(count, 63u)));
  } else if (lane == 64) {
    // Of the complement where it is negative.
    a_.pxor(xmm(kXmmB), xmm(kXmmB));
    a_.pcmpgtq(xmm(kXmmB), xmm(from));
    VOP(pxor, to, from, xmm(kXmmB));
    a_.psrlq(xmm(to), static_cast<u8>(count));
    a_.pxor(xmm(to), xmm(kXmmB));
  } else {
    VSHIFT(psrad, to, from, std::min(count, 31u));
  }
}

void Emitter::rotate_lanes(const Inst& inst) {
  const unsigned count = static_cast<unsigned>(inst.imm), lane = inst.lane;
  const u8 from = use(inst.args[0]);
  if (settings_.features & kAvx512) {
    const u8 to = define(index_);
    if (lane == 32) a_.vprold(xmm(to), xmm(from), static_cast<u8>(count));
    else a_.vprolq(xmm(to), xmm(from), static_cast<u8>(count));
    return;
  }
  shift_lanes(lane, kXmmA, from, lane - count, true, false);
  const u8 to = define(index_);
  shift_lanes(lane, to, from, count, false, false);
  a_.por(xmm(to), xmm(kXmmA));
}

bool Emitter::vector_shift(const Inst& inst) {
  const unsigned count = static_cast<unsigned>(inst.imm), lane = inst.lane;
  const bool rounds = inst.op == Op::VShrRndUImm || inst.op == Op::VShrRndSImm;
  const bool is_signed = inst.op == Op::VShrSImm || inst.op == Op::VShrRndSImm;
  switch (inst.op) {
    case Op::VRotlImm: rotate_lanes(inst); return true;
    case Op::VShlImm:
    case Op::VShrUImm:
    case Op::VShrSImm:
    case Op::VShrRndUImm:
    case Op::VShrRndSImm: break;
    default: return false;
  }
  const u8 from = use(inst.args[0]);
  const u8 to = define(index_);
  if (lane == 8) {
    if (rounds || is_signed) {
      vector_shift_bytes(to, from, count, is_signed, rounds);
      return true;
    }
    if (inst.op == Op::VShlImm) {
      const u64 mask = (0xffu << count & 0xff) * 0x0101010101010101u;
      VSHIFT(psllw, to, from, count);
      load_vector_constant(kXmmA, mask, mask);
    } else {
      const u64 mask = (0xffu >> count) * 0x0101010101010101u;
      VSHIFT(psrlw, to, from, count);
      load_vector_constant(kXmmA, mask, mask);
    }
    a_.pand(xmm(to), xmm(kXmmA));
    return true;
  }
  shift_lanes(lane, to, from, count, inst.op != Op::VShlImm, is_signed);
  if (!rounds) return true;
  // The last bit that goes out is added.
  shift_lanes(lane, kXmmA, from, count - 1, true, false);
  shift_lanes(lane, kXmmA, kXmmA, lane - 1, false, false);
  shift_lanes(lane, kXmmA, kXmmA, lane - 1, true, false);
  switch (lane) {
    case 16: a_.paddw(xmm(to), xmm(kXmmA)); break;
    case 32: a_.paddd(xmm(to), xmm(kXmmA)); break;
    default: a_.paddq(xmm(to), xmm(kXmmA)); break;
  }
  return true;
}

// Right shifts of bytes by way of half-words.
void Emitter::vector_shift_bytes(u8 to, u8 from, unsigned count, bool is_signed, bool rounds) {
  const auto half = [&](u8 reg) {
    // The byte is in the high half of a half-word: what is kept of its low half is the part that rounds.
    if (rounds) {
      const u64 add = (u64{1} << (count + 7)) * 0x0001000100010001;
      if (is_signed) {
        a_.psraw(xmm(reg), 1);  // room for the sum
        load_vector_constant(kXmmB, add >> 1, add >> 1);
        a_.paddw(xmm(reg), xmm(kXmmB));
        a_.psraw(xmm(reg), static_cast<u8>(count + 7));
      } else {
        a_.psrlw(xmm(reg), 1);
        load_vector_constant(kXmmB, add >> 1, add >> 1);
        a_.paddw(xmm(reg), xmm(kXmmB));
        a_.psrlw(xmm(reg), static_cast<u8>(count + 7));
      }
    } else {
      a_.psraw(xmm(reg), static_cast<u8>(std::min(count + 8, 15u)));
    }
  };
  a_.pxor(xmm(kXmmA), xmm(kXmmA));
  a_.pxor(xmm(to), xmm(to));
  a_.punpckhbw(xmm(kXmmA), xmm(from));
  a_.punpcklbw(xmm(to), xmm(from));
  half(kXmmA);
  half(to);
  if (is_signed) a_.packsswb(xmm(to), xmm(kXmmA));
  else a_.packuswb(xmm(to), xmm(kXmmA));
}

bool Emitter::vector_widths(const Inst& inst) {
  const unsigned lane = inst.lane;
  switch (inst.op) {
    case Op::VWidenU:
    case Op::VWidenS:
    case Op::VNarrow: break;
    case Op::VMulLongU:
    case Op::VMulLongS: break;
    case Op::VPairAdd:
      if (lane != 16 && lane != 32) return false;
      break;
    case Op::VPairAddLongU:
    case Op::VPairAddLongS:
      if (lane != 8 && !(lane == 16 && inst.op == Op::VPairAddLongS)) return false;
      break;
    default: return false;
  }
  const u8 a = use(inst.args[0]);
  const u8 b = inst.args[1] == kNoRef ? a : use(inst.args[1]);
  const u8 to = define(index_);
  const auto widen = [&](u8 d, u8 x, bool is_signed) {
    switch (lane) {
      case 8: is_signed ? VOP1(pmovsxbw, d, xmm(x)) : VOP1(pmovzxbw, d, xmm(x)); break;
      case 16: is_signed ? VOP1(pmovsxwd, d, xmm(x)) : VOP1(pmovzxwd, d, xmm(x)); break;
      default: is_signed ? VOP1(pmovsxdq, d, xmm(x)) : VOP1(pmovzxdq, d, xmm(x)); break;
    }
  };
  switch (inst.op) {
    case Op::VWidenU:
    case Op::VWidenS: widen(to, a, inst.op == Op::VWidenS); break;
    case Op::VMulLongU:
    case Op::VMulLongS: {
      const bool is_signed = inst.op == Op::VMulLongS;
      widen(to, a, is_signed);
      widen(kXmmA, b, is_signed);
      if (lane == 8) a_.pmullw(xmm(to), xmm(kXmmA));
      else if (lane == 16) a_.pmulld(xmm(to), xmm(kXmmA));
      else is_signed ? a_.pmuldq(xmm(to), xmm(kXmmA)) : a_.pmuludq(xmm(to), xmm(kXmmA));
      break;
    }
    case Op::VNarrow:
      if (lane == 64) {
        a_.pshufd(xmm(to), xmm(a), 0x08);
        a_.movq(xmm(to), xmm(to));
      } else {
        load_vector_constant(kXmmA, lane == 16 ? 0x0e0c0a0806040200 : 0x0d0c090805040100, 0x8080808080808080);
        VOP(pshufb, to, a, xmm(kXmmA));
      }
      break;
    case Op::VPairAdd:
      VOP(punpcklqdq, to, a, xmm(b));
      if (lane == 16) a_.phaddw(xmm(to), xmm(to));
      else a_.phaddd(xmm(to), xmm(to));
      a_.movq(xmm(to), xmm(to));
      break;
    default:
      if (lane == 16) {
        VOP(pmaddwd, to, a, literal(Constant::one16));
      } else if (inst.op == Op::VPairAddLongU) {
        VOP(pmaddubsw, to, a, literal(Constant::one8));
      } else {
        a_.movaps(xmm(to), literal(Constant::one8));
        a_.pmaddubsw(xmm(to), xmm(a));
      }
  }
  return true;
}

namespace {

u64 reverse_indices(unsigned lane, unsigned within, unsigned half) {
  u64 indices = 0;
  const unsigned bytes = lane / 8, group = within / 8;
  for (unsigned i = 0; i < 8; i++) {
    const unsigned base = i / group * group, in_group = i % group;
    const unsigned from = base + (group - bytes - in_group / bytes * bytes) + in_group % bytes;
    indices |= u64{from + 8 * half} << 8 * i;
  }
  return indices;
}

}  // namespace

bool Emitter::vector_permute(const Inst& inst) {
  const unsigned lane = inst.lane;
  switch (inst.op) {
    case Op::VZipLo:
    case Op::VZipHi:
    case Op::VUnzipEven:
    case Op::VUnzipOdd:
    case Op::VTrnEven:
    case Op::VTrnOdd:
    case Op::VExtract:
    case Op::VRev16:
    case Op::VRev32:
    case Op::VRev64: break;
    default: return false;
  }
  const u8 a = use(inst.args[0]);
  const u8 b = inst.args[1] == kNoRef ? a : use(inst.args[1]);
  const u8 to = define(index_);
  switch (inst.op) {
    case Op::VZipLo: BY_LANE(punpcklbw, punpcklwd, punpckldq, punpcklqdq, to, a, xmm(b)); break;
    case Op::VZipHi: BY_LANE(punpckhbw, punpckhwd, punpckhdq, punpckhqdq, to, a, xmm(b)); break;
    case Op::VUnzipEven:
    case Op::VUnzipOdd: {
      const bool odd = inst.op == Op::VUnzipOdd;
      if (lane == 64) {
        if (odd) VOP(punpckhqdq, to, a, xmm(b));
        else VOP(punpcklqdq, to, a, xmm(b));
        break;
      }
      const u64 indices = unzip_indices(lane, odd);
      load_vector_constant(kXmmA, indices, indices);
      VOP(pshufb, kXmmB, b, xmm(kXmmA));
      VOP(pshufb, to, a, xmm(kXmmA));
      a_.punpcklqdq(xmm(to), xmm(kXmmB));
      break;
    }
    case Op::VTrnEven:
    case Op::VTrnOdd: vector_transpose(inst, to, a, b); break;
    case Op::VExtract:
      move_xmm(to, b);
      a_.palignr(xmm(to), xmm(a), static_cast<u8>(inst.imm));
      break;
    default: {
      const unsigned within = inst.op == Op::VRev16 ? 16 : inst.op == Op::VRev32 ? 32 : 64;
      load_vector_constant(kXmmA, reverse_indices(lane, within, 0), reverse_indices(lane, within, 1));
      VOP(pshufb, to, a, xmm(kXmmA));
    }
  }
  return true;
}

void Emitter::vector_transpose(const Inst& inst, u8 to, u8 a, u8 b) {
  const bool odd = inst.op == Op::VTrnOdd;
  const unsigned lane = inst.lane;
  if (lane == 64) {
    if (odd) VOP(punpckhqdq, to, a, xmm(b));
    else VOP(punpcklqdq, to, a, xmm(b));
  } else if (lane == 32) {
    move_xmm(to, a);
    a_.shufps(xmm(to), xmm(b), odd ? 0xdd : 0x88);
    a_.pshufd(xmm(to), xmm(to), 0xd8);
  } else {
    const u64 low = lane == 8 ? 0x00ff00ff00ff00ff : 0x0000ffff0000ffff;
    load_vector_constant(kXmmA, odd ? ~low : low, odd ? ~low : low);
    if (odd) {
      // Odd lanes of a go down, those of b stay.
      VOP(pand, kXmmB, a, xmm(kXmmA));
      VOP(pand, to, b, xmm(kXmmA));
      if (lane == 8) a_.psrlw(xmm(kXmmB), 8);
      else a_.psrld(xmm(kXmmB), 16);
    } else {
      VOP(pand, kXmmB, b, xmm(kXmmA));
      VOP(pand, to, a, xmm(kXmmA));
      if (lane == 8) a_.psllw(xmm(kXmmB), 8);
      else a_.pslld(xmm(kXmmB), 16);
    }
    a_.por(xmm(to), xmm(kXmmB));
  }
}

}  // namespace rhea::x64
