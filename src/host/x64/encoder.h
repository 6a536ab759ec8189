// SPDX-License-Identifier: MIT
// The few forms of instructions that most code is made of, encoded without detours; all others are xbyak's, which
// takes some hundred host instructions for one. What both have is the same, byte by byte (encoder_test.cpp).
//
// Intel SDM volume 2, section 2.1: [REX] opcode ModRM [SIB] [displacement] [immediate].
#pragma once

#define XBYAK_NO_OP_NAMES
#include <xbyak/xbyak.h>

#include "util/bits.h"
#include "util/types.h"

namespace rhea::x64 {

// An operand of `bits` bits in memory: [base + index + displacement].
struct Mem {
  static constexpr u8 kNoIndex = 4;  // rsp cannot be one
  u8 base = 0;
  u8 index = kNoIndex;
  u8 bits = 32;
  s32 displacement = 0;

  Mem of(unsigned width) const { return {base, index, static_cast<u8>(width), displacement}; }
  Mem operator+(s32 more) const { return {base, index, bits, displacement + more}; }
  operator Xbyak::Address() const {
    Xbyak::RegExp where = Xbyak::Reg64(base);
    if (index != kNoIndex) where = where + Xbyak::Reg64(index);
    return Xbyak::Address(bits, false, where + displacement);
  }
};

// By their number in the opcode.
enum class Alu : u8 { add, or_, adc, sbb, and_, sub, xor_, cmp };

class Encoder : public Xbyak::CodeGenerator {
 public:
  using Reg = Xbyak::Reg32e;
  Encoder(u8* buffer, usize size) : CodeGenerator(size, buffer), buffer_(buffer) {}

  using CodeGenerator::cmp;
  using CodeGenerator::lea;
  using CodeGenerator::mov;
  using CodeGenerator::movsx;
  using CodeGenerator::movzx;
  using CodeGenerator::test;

  void mov(const Reg& to, const Reg& from) { registers(0x89, from, to); }
  void mov(const Reg& to, const Mem& from) { memory(0x8b, number(to), wide(to), from); }
  void mov(const Mem& to, const Reg& from) { memory(0x89, number(from), wide(from), to); }
  void mov(const Mem& to, const Xbyak::Reg8& from) { CodeGenerator::mov(Xbyak::Address(to), from); }
  void mov(const Mem& to, const Xbyak::Reg16& from) { CodeGenerator::mov(Xbyak::Address(to), from); }
  // 64 bits: the shortest form that gives it.
  void mov(const Reg& to, u64 value) {
    if (!wide(to)) value = static_cast<u32>(value);
    if (value <= 0xffffffff) {
      rex(false, 0, 0, number(to));
      put<u8>(static_cast<u8>(0xb8 | (number(to) & 7)));
      put(static_cast<u32>(value));
    } else {
      CodeGenerator::mov(to, value);
    }
  }
  // 64 bits: sign-extended from 32.
  void mov(const Mem& to, u32 value) {
    if (to.bits < 32) {
      CodeGenerator::mov(Xbyak::Address(to), value);
      return;
    }
    memory(0xc7, 0, to.bits == 64, to);
    put(value);
  }

  void alu(Alu op, const Reg& to, const Reg& from) { registers(opcode(op, 1), from, to); }
  void alu(Alu op, const Reg& to, const Mem& from) { memory(opcode(op, 3), number(to), wide(to), from); }
  void alu(Alu op, const Mem& to, const Reg& from) { memory(opcode(op, 1), number(from), wide(from), to); }
  void alu(Alu op, const Reg& to, u32 value) {
    const bool is_short = static_cast<s32>(value) == static_cast<s8>(value);
    rex(wide(to), 0, 0, number(to));
    if (!is_short && number(to) == 0) {
      put<u8>(opcode(op, 5));
    } else {
      put<u8>(is_short ? 0x83 : 0x81);
      put<u8>(static_cast<u8>(0xc0 | static_cast<u8>(op) << 3 | (number(to) & 7)));
    }
    immediate(value, is_short);
  }
  // Of 32 or 64 bits.
  void alu(Alu op, const Mem& to, u32 value) {
    const bool is_short = static_cast<s32>(value) == static_cast<s8>(value);
    memory(is_short ? 0x83 : 0x81, static_cast<u8>(op), to.bits == 64, to);
    immediate(value, is_short);
  }
  void cmp(const Reg& a, const Reg& b) { alu(Alu::cmp, a, b); }
  void cmp(const Reg& a, u32 value) { alu(Alu::cmp, a, value); }
  void cmp(const Mem& a, u32 value) { alu(Alu::cmp, a, value); }
  void cmp(const Reg& a, const Mem& b) { alu(Alu::cmp, a, b); }
  void test(const Reg& a, const Reg& b) { registers(0x85, b, a); }

  void lea(const Reg& to, const Mem& of) { memory(0x8d, number(to), wide(to), of); }
  // From 8 or 16 bits in memory.
  void movzx(const Reg& to, const Mem& from) { extend(from.bits == 8 ? 0xb6 : 0xb7, to, from); }
  void movsx(const Reg& to, const Mem& from) { extend(from.bits == 8 ? 0xbe : 0xbf, to, from); }

  // The bytes of a value.
  template <typename T>
  void put(const T& value) {
    store_raw(buffer_ + size_, value);
    size_ += sizeof(value);
  }

 protected:
  u8* buffer_;

 private:
  static u8 number(const Xbyak::Reg& reg) { return static_cast<u8>(reg.getIdx()); }
  static bool wide(const Xbyak::Reg& reg) { return reg.getBit() == 64; }
  static u8 opcode(Alu op, u8 form) { return static_cast<u8>(static_cast<u8>(op) << 3 | form); }

  void rex(bool wide, u8 reg, u8 index, u8 base) {
    const u8 bits = static_cast<u8>(wide << 3 | reg >> 3 << 2 | index >> 3 << 1 | base >> 3);
    if (bits) put<u8>(0x40 | bits);
  }
  void registers(u8 code, const Xbyak::Reg& reg, const Xbyak::Reg& rm) {
    rex(wide(reg), number(reg), 0, number(rm));
    put<u8>(code);
    put<u8>(static_cast<u8>(0xc0 | (number(reg) & 7) << 3 | (number(rm) & 7)));
  }
  void memory(u8 code, u8 reg, bool wide, const Mem& mem) {
    rex(wide, reg, mem.index, mem.base);
    put<u8>(code);
    address(reg, mem);
  }
  void extend(u8 code, const Reg& to, const Mem& from) {
    rex(wide(to), number(to), from.index, from.base);
    put<u8>(0x0f);
    put<u8>(code);
    address(number(to), from);
  }
  // ModRM and what belongs to it. A base of rbp or r13 has no form without a displacement; one of rsp or r12 has a SIB.
  void address(u8 reg, const Mem& mem) {
    const u8 base = mem.base & 7, index = mem.index & 7;
    const s32 displacement = mem.displacement;
    const bool none = displacement == 0 && base != 5, is_short = displacement == static_cast<s8>(displacement);
    const u8 form = static_cast<u8>((none ? 0x00 : is_short ? 0x40 : 0x80) | (reg & 7) << 3);
    if (mem.index != Mem::kNoIndex || base == 4) {
      put<u8>(form | 4);
      put<u8>(static_cast<u8>(index << 3 | base));
    } else {
      put<u8>(form | base);
    }
    if (!none) immediate(static_cast<u32>(displacement), is_short);
  }
  void immediate(u32 value, bool is_short) {
    if (is_short) put<u8>(static_cast<u8>(value));
    else put(value);
  }
};

}  // namespace rhea::x64
