// SPDX-License-Identifier: MIT
// Packed lanes in 32 bits (ARM's UADD8 and SEL, with which C libraries look for the end of a string): in the low lanes
// of two vector registers.
#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::ParallelKind;

// False: not one of those that the host has.
bool Emitter::emit_parallel(const Inst& inst) {
  if (inst.op == Op::SelectBytes) {
    select_bytes(inst);
    return true;
  }
  if (inst.op != Op::Parallel && inst.op != Op::ParallelGe) return false;
  const auto kind = static_cast<ParallelKind>(inst.aux & 7);
  const unsigned prefix = inst.aux >> 3 & 3;
  if (kind != ParallelKind::add && kind != ParallelKind::sub) return false;
  if (inst.op == Op::Parallel && prefix > 1) return false;
  a_.movd(xmm(kXmmA), r32(use(inst.args[0])));
  a_.movd(xmm(kXmmB), r32(use(inst.args[1])));
  if (inst.op == Op::Parallel) {
    parallel_sum(inst, prefix == 1);
    a_.movd(r32(define(index_)), xmm(kXmmA));
  } else {
    parallel_ge(inst);
  }
  return true;
}

// xmmA = xmmA + or - xmmB.
void Emitter::parallel_sum(const Inst& inst, bool saturates) {
  const bool sub = static_cast<ParallelKind>(inst.aux & 7) == ParallelKind::sub, is_unsigned = inst.aux >> 5 & 1;
  const auto to = xmm(kXmmA), with = xmm(kXmmB);
  if (inst.lane == 8) {
    if (!saturates) sub ? a_.psubb(to, with) : a_.paddb(to, with);
    else if (is_unsigned) sub ? a_.psubusb(to, with) : a_.paddusb(to, with);
    else sub ? a_.psubsb(to, with) : a_.paddsb(to, with);
  } else {
    if (!saturates) sub ? a_.psubw(to, with) : a_.paddw(to, with);
    else if (is_unsigned) sub ? a_.psubusw(to, with) : a_.paddusw(to, with);
    else sub ? a_.psubsw(to, with) : a_.paddsw(to, with);
  }
}

// A bit for each byte: the exact result is not negative; of an unsigned sum, that it has a carry.
void Emitter::parallel_ge(const Inst& inst) {
  const bool sub = static_cast<ParallelKind>(inst.aux & 7) == ParallelKind::sub, is_unsigned = inst.aux >> 5 & 1;
  const bool bytes = inst.lane == 8;
  bool inverted = true;
  if (!is_unsigned) {
    // Saturation keeps the sign.
    parallel_sum(inst, true);
    if (!bytes) a_.psraw(xmm(kXmmA), 15);
  } else if (sub) {
    // a >= b where the greater one is a.
    bytes ? a_.pmaxub(xmm(kXmmB), xmm(kXmmA)) : a_.pmaxuw(xmm(kXmmB), xmm(kXmmA));
    bytes ? a_.pcmpeqb(xmm(kXmmA), xmm(kXmmB)) : a_.pcmpeqw(xmm(kXmmA), xmm(kXmmB));
    inverted = false;
  } else {
    // No carry where the sum is not less than b.
    parallel_sum(inst, false);
    bytes ? a_.pmaxub(xmm(kXmmB), xmm(kXmmA)) : a_.pmaxuw(xmm(kXmmB), xmm(kXmmA));
    bytes ? a_.pcmpeqb(xmm(kXmmA), xmm(kXmmB)) : a_.pcmpeqw(xmm(kXmmA), xmm(kXmmB));
  }
  clobber_flags();
  const u8 to = define(index_);
  a_.pmovmskb(r32(to), xmm(kXmmA));
  if (inverted) a_.not_(r32(to));
  a_.and_(r32(to), 15);
}

void Emitter::select_bytes(const Inst& inst) {
  clobber_flags();
  const u8 b = use(inst.args[1]), c = use(inst.args[2]);
  const u8 mask = take();
  // Bit i to bit 8 * i, and each of them eight times.
  use_in(inst.args[0], mask);
  a_.and_(r32(mask), 15);
  a_.imul(r32(mask), r32(mask), 0x204081);
  a_.and_(r32(mask), 0x01010101);
  a_.imul(r32(mask), r32(mask), 0xff);
  const u8 to = define_apart(index_, {c, mask});
  move(to, b, Type::I32);
  a_.xor_(r32(to), r32(c));
  a_.and_(r32(to), r32(mask));
  a_.xor_(r32(to), r32(c));
}

}  // namespace rhea::x64
