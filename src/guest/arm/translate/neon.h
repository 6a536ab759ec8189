// SPDX-License-Identifier: MIT
// What the translations of Advanced SIMD instructions share. A doubleword operand is a vector whose high half is
// zero; results are stored by the form of the destination, so that what an operation leaves in the high half of a
// doubleword result does not matter.
#pragma once

#include "guest/arm/translate/vfp.h"

namespace rhea::arm::neon {

constexpr Ref kNone = ir::kNoRef;

// FPSCR as Advanced SIMD sees it (StandardFPSCRValue).
constexpr u8 kStandard = ir::kFpModeNeon;

// The operands of one instruction and its registers' form.
struct Simd {
  Simd(Translator& translator, u32 insn, bool is_quad)
      : t(translator), quad(is_quad), d(field_d(insn)), n(field_n(insn)), m(field_m(insn)), size(bits(insn, 20, 2)) {}

  Translator& t;
  bool quad;
  unsigned d, n, m;
  unsigned size;  // of elements: 8 << size bits

  u8 lane() const { return static_cast<u8>(8 << size); }

  Ref double_(unsigned reg) const { return t.b.get(Type::V64, offset_d(reg)); }
  Ref quad_(unsigned reg) const { return t.b.get(Type::V128, offset_d(reg)); }
  Ref get(unsigned reg) const { return quad ? quad_(reg) : double_(reg); }
  void set(unsigned reg, Ref value) const { t.b.set(quad ? Type::V128 : Type::V64, offset_d(reg), value); }
  void set_double(unsigned reg, Ref value) const { t.b.set(Type::V64, offset_d(reg), value); }
  void set_quad(unsigned reg, Ref value) const { t.b.set(Type::V128, offset_d(reg), value); }

  // A vector operation on lanes of `bits` bits.
  Ref op(Op op, unsigned bits, Ref a, Ref b = kNone, Ref c = kNone, u64 imm = 0, u8 aux = 0) const {
    return t.b.emit(op, Type::V128, a, b, c, imm, static_cast<u8>(bits), aux);
  }
  // The same with saturation: aux says which half counts.
  Ref saturating(Op op, unsigned bits, Ref a, Ref b = kNone, u64 imm = 0) const {
    return t.b.emit(op, Type::V128, a, b, kNone, imm, static_cast<u8>(bits), !quad);
  }
  // Of single-precision lanes.
  Ref fp(Op op, Ref a, Ref b = kNone, Ref c = kNone, u64 imm = 0) const {
    return t.b.emit(op, Type::V128, a, b, c, imm, 32, kStandard, !quad);
  }
  Ref shift(Op op, unsigned bits, Ref a, unsigned count) const { return op_imm(op, bits, a, count); }
  Ref op_imm(Op op, unsigned bits, Ref a, u64 imm) const { return this->op(op, bits, a, kNone, kNone, imm); }
  Ref constant(u64 both_halves) const { return t.b.emit(Op::VConst, Type::V128, kNone, kNone, kNone, both_halves); }
  Ref zero() const { return t.b.emit(Op::VZero, Type::V128); }
};

// A value of `bits` bits in every lane of 64 bits.
constexpr u64 replicate(u64 value, unsigned bits) {
  for (unsigned have = bits; have < 64; have *= 2) value |= value << have;
  return value;
}

// Quadword registers have even numbers.
inline bool odd(const Simd& s, bool uses_n) { return s.quad && ((s.d | s.m | (uses_n ? s.n : 0)) & 1); }

}  // namespace rhea::arm::neon
