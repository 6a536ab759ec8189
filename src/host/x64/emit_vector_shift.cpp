// SPDX-License-Identifier: MIT
// Vector shifts by the lanes of another vector: left, or right where the count is negative (AVX2).
//
// The host shifts lanes of 32 and 64 bits by counts of their own, and a count that is too large, as one of the wrong
// sign is, gives zero (or the sign). So both directions are computed, and the count's sign chooses. Smaller lanes go
// four at a time through the top bits of words, where what falls out on the left and what saturates is the same.
#include "host/x64/emit_vector.h"

namespace rhea::x64 {

namespace {

bool saturates(Op op) { return op >= Op::VSatShlU && op <= Op::VSatShlRndS; }
bool is_signed(Op op) { return op == Op::VShlS || op == Op::VShlRndS || op == Op::VSatShlS || op == Op::VSatShlRndS; }
bool rounds(Op op) {
  return op == Op::VShlRndU || op == Op::VShlRndS || op == Op::VSatShlRndU || op == Op::VSatShlRndS;
}

// Byte indices for PSHUFB: those of `part` (four lanes of 8 or 16 bits, or two or four of more), each in the top of a
// lane of its own.
std::array<u64, 2> spread_indices(unsigned lane, unsigned part) {
  std::array<u8, 16> bytes;
  bytes.fill(0x80);
  const unsigned size = lane / 8;
  for (unsigned i = 0; i < 4; i++) {
    for (unsigned k = 0; k < size; k++) bytes[4 * i + 4 - size + k] = static_cast<u8>((part * 4 + i) * size + k);
  }
  return std::bit_cast<std::array<u64, 2>>(bytes);
}
// The lowest byte of each lane of `part`, side by side.
u64 count_indices(unsigned lane, unsigned part) {
  const unsigned size = lane / 8, lanes = lane == 64 ? 2 : 4;
  u64 indices = 0x8080808080808080;
  for (unsigned i = 0; i < lanes; i++) {
    indices &= ~(u64{0xff} << 8 * i);
    indices |= u64{(part * lanes + i) * size} << 8 * i;
  }
  return indices;
}

}  // namespace

bool Emitter::vector_shift_variable(const Inst& inst) {
  const bool shifts = inst.op >= Op::VShlU && inst.op <= Op::VShlRndS;
  if (!(shifts || saturates(inst.op)) || !(settings_.features & kAvx2)) return false;
  if (saturates(inst.op)) {
    clobber_flags();
    made_flags(kNoRef, Producer::none);
  }
  const u8 a = use(inst.args[0]), b = use(inst.args[1]);
  const u8 to = define(index_);
  VariableShift s;
  s.wide = inst.lane == 64;
  s.narrow = inst.lane < 32 ? 32u - inst.lane : 0u;
  s.count = take_xmm();
  s.work = take_xmm();
  s.right = take_xmm();
  const unsigned parts = inst.lane < 32 ? 32 / inst.lane : 1;
  std::array<u8, 4> results = {to, to, to, to};
  for (unsigned part = 0; part < parts; part++) {
    if (part) results[part] = take_xmm();
    load_vector_constant(kXmmA, count_indices(inst.lane, part), 0x8080808080808080);
    a_.vpshufb(xmm(s.count), xmm(b), xmm(kXmmA));
    if (s.wide) a_.vpmovsxbq(xmm(s.count), xmm(s.count));
    else a_.vpmovsxbd(xmm(s.count), xmm(s.count));
    s.from = a;
    if (s.narrow) {
      const auto [low, high] = spread_indices(inst.lane, part);
      s.from = s.spread == kNone ? s.spread = take_xmm() : s.spread;
      load_vector_constant(kXmmA, low, high);
      a_.vpshufb(xmm(s.from), xmm(a), xmm(kXmmA));
    }
    shift_part(inst.op, s, results[part]);
    if (saturates(inst.op)) note_saturation(kXmmB);
  }
  // Back to their size: they fit.
  const bool sign = is_signed(inst.op);
  for (unsigned part = 0; part + 1 < parts; part += 2) {
    if (sign) a_.vpackssdw(xmm(results[part]), xmm(results[part]), xmm(results[part + 1]));
    else a_.vpackusdw(xmm(results[part]), xmm(results[part]), xmm(results[part + 1]));
  }
  if (parts == 4) {
    if (sign) a_.vpacksswb(xmm(to), xmm(to), xmm(results[2]));
    else a_.vpackuswb(xmm(to), xmm(to), xmm(results[2]));
  }
  return true;
}

// d = x >> count, arithmetically: with all counts above the width as well.
void Emitter::shift_right_signed(const VariableShift& s, u8 d, u8 x, u8 count) {
  if (!s.wide) {
    a_.vpsravd(xmm(d), xmm(x), xmm(count));
  } else if (settings_.features & kAvx512) {
    a_.vpsravq(xmm(d), xmm(x), xmm(count));
  } else {
    // Of the complement where it is negative.
    a_.vpxor(xmm(kXmmA), xmm(kXmmA), xmm(kXmmA));
    a_.vpcmpgtq(xmm(kXmmA), xmm(kXmmA), xmm(x));
    a_.vpxor(xmm(d), xmm(x), xmm(kXmmA));
    a_.vpsrlvq(xmm(d), xmm(d), xmm(count));
    a_.vpxor(xmm(d), xmm(d), xmm(kXmmA));
  }
}

// One vector of words or doublewords: s.from by s.count. Leaves in kXmmB which lanes saturated.
void Emitter::shift_part(Op op, const VariableShift& s, u8 to) {
  const bool sign = is_signed(op);
  const auto right = [&](u8 d, u8 x, u8 count) {
    if (sign) shift_right_signed(s, d, x, count);
    else if (s.wide) a_.vpsrlvq(xmm(d), xmm(x), xmm(count));
    else a_.vpsrlvd(xmm(d), xmm(x), xmm(count));
  };
  const auto down = [&](u8 reg) {
    if (!s.narrow) return;
    if (sign) a_.vpsrad(xmm(reg), xmm(reg), static_cast<u8>(s.narrow));
    else a_.vpsrld(xmm(reg), xmm(reg), static_cast<u8>(s.narrow));
  };
  a_.vpxor(xmm(s.work), xmm(s.work), xmm(s.work));
  if (s.wide) a_.vpsubq(xmm(s.work), xmm(s.work), xmm(s.count));
  else a_.vpsubd(xmm(s.work), xmm(s.work), xmm(s.count));
  right(s.right, s.from, s.work);
  down(s.right);
  if (rounds(op)) {
    // The last bit that goes out is added: it is at the bottom after one place less, ~count.
    a_.vpxor(xmm(s.work), xmm(s.count), literal(Constant::ones));
    right(kXmmB, s.from, s.work);
    down(kXmmB);
    const unsigned top = s.wide ? 63 : 31;
    if (s.wide) {
      a_.vpsllq(xmm(kXmmB), xmm(kXmmB), static_cast<u8>(top));
      a_.vpsrlq(xmm(kXmmB), xmm(kXmmB), static_cast<u8>(top));
      a_.vpaddq(xmm(s.right), xmm(s.right), xmm(kXmmB));
    } else {
      a_.vpslld(xmm(kXmmB), xmm(kXmmB), static_cast<u8>(top));
      a_.vpsrld(xmm(kXmmB), xmm(kXmmB), static_cast<u8>(top));
      a_.vpaddd(xmm(s.right), xmm(s.right), xmm(kXmmB));
    }
  }
  if (s.wide) a_.vpsllvq(xmm(to), xmm(s.from), xmm(s.count));
  else a_.vpsllvd(xmm(to), xmm(s.from), xmm(s.count));
  if (saturates(op)) {
    // B = lanes that shifting back does not give again, but not those that go right.
    right(s.work, to, s.count);
    if (s.wide) a_.vpcmpeqq(xmm(kXmmB), xmm(s.work), xmm(s.from));
    else a_.vpcmpeqd(xmm(kXmmB), xmm(s.work), xmm(s.from));
    lane_signs(s.wide ? 64 : 32, s.work, s.count);
    a_.vpor(xmm(kXmmB), xmm(kXmmB), xmm(s.work));
    a_.vpxor(xmm(kXmmB), xmm(kXmmB), literal(Constant::ones));
    if (sign) {
      lane_signs(s.wide ? 64 : 32, s.work, s.from);
      a_.vpxor(xmm(s.work), xmm(s.work), literal(s.wide ? Constant::abs64 : Constant::abs32));
      a_.vpxor(xmm(s.work), xmm(s.work), xmm(to));
      a_.vpand(xmm(s.work), xmm(s.work), xmm(kXmmB));
      a_.vpxor(xmm(to), xmm(to), xmm(s.work));
    } else {
      a_.vpor(xmm(to), xmm(to), xmm(kXmmB));
    }
  }
  down(to);
  if (s.wide) a_.vblendvpd(xmm(to), xmm(to), xmm(s.right), xmm(s.count));
  else a_.vblendvps(xmm(to), xmm(to), xmm(s.right), xmm(s.count));
}

}  // namespace rhea::x64
