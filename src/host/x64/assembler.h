// SPDX-License-Identifier: MIT
// A thin wrapper around the xbyak assembler: it writes into a buffer of ours at a position of ours, with jumps and
// labels that cost nothing to make.
//
// Code is written through one mapping and runs in another. Everything relative (jumps, calls, rip-relative data)
// stays within the buffer, so distances are the same in both; absolute addresses of code are made with at().
#pragma once

#include <utility>

#include "host/x64/encoder.h"

namespace rhea::x64 {

// Condition codes as x86 encodes them.
enum class Cc : u8 { o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g };
constexpr Cc inverse(Cc cc) { return static_cast<Cc>(static_cast<u8>(cc) ^ 1); }

// A place that forward jumps are made to before it is known.
struct Label {
  static constexpr u32 kUnbound = ~0u;
  u32 position = kUnbound;
  u32 last_use = 0;  // position of a rel32 field, which holds that of the one before it; 0: none
};

class Assembler : public Encoder {
 public:
  using Encoder::Encoder;

  u8* buffer() const { return buffer_; }
  u32 position() const { return static_cast<u32>(size_); }
  void set_position(u32 position) { size_ = position; }

  void jump(u32 target) {
    put<u8>(0xe9);
    relative(target);
  }
  void jump(Cc cc, u32 target) {
    put<u8>(0x0f);
    put<u8>(0x80 | static_cast<u8>(cc));
    relative(target);
  }
  void call_to(u32 target) {
    put<u8>(0xe8);
    relative(target);
  }
  // Forward jumps; short: within 127 bytes, which bind() checks.
  void jump(Label& label) {
    put<u8>(0xe9);
    refer(label);
  }
  void jump(Cc cc, Label& label) {
    put<u8>(0x0f);
    put<u8>(0x80 | static_cast<u8>(cc));
    refer(label);
  }
  u32 short_jump(Cc cc) {
    put<u8>(0x70 | static_cast<u8>(cc));
    put<u8>(0);
    return position();
  }
  u32 short_jump() {
    put<u8>(0xeb);
    put<u8>(0);
    return position();
  }
  void bind_short(u32 from) { buffer_[from - 1] = static_cast<u8>(position() - from); }
  void bind(Label& label) {
    label.position = position();
    while (const u32 use = label.last_use) {
      label.last_use = load_raw<u32>(buffer_ + use);
      set_relative(use, label.position);
    }
  }
  // Makes the rel32 field at `field` reach `target`.
  void set_relative(u32 field, u32 target) { store_raw<u32>(buffer_ + field, target - (field + 4)); }
  void relative(u32 target) { put(target - (position() + 4)); }
  // A rip-relative operand for what is at `target` of the buffer.
  Xbyak::RegRip rip_to(u32 target) { return rip + static_cast<const void*>(buffer_ + target); }

  // Pads with nops so that the 4 bytes at position() + offset lie within 8 aligned bytes: such a field may be
  // patched while it is executed.
  void align_patch(unsigned offset) {
    const unsigned at = (position() + offset) & 7;
    if (at > 4) nop(8 - at);
  }
  void setcc(Cc cc, const Xbyak::Reg8& reg) {
    switch (cc) {
      case Cc::o: seto(reg); break;
      case Cc::no: setno(reg); break;
      case Cc::b: setb(reg); break;
      case Cc::ae: setae(reg); break;
      case Cc::e: sete(reg); break;
      case Cc::ne: setne(reg); break;
      case Cc::be: setbe(reg); break;
      case Cc::a: seta(reg); break;
      case Cc::s: sets(reg); break;
      case Cc::ns: setns(reg); break;
      case Cc::p: setp(reg); break;
      case Cc::np: setnp(reg); break;
      case Cc::l: setl(reg); break;
      case Cc::ge: setge(reg); break;
      case Cc::le: setle(reg); break;
      case Cc::g: setg(reg); break;
    }
  }
  void cmovcc(Cc cc, const Xbyak::Reg& to, const Xbyak::Operand& from) {
    switch (cc) {
      case Cc::o: cmovo(to, from); break;
      case Cc::no: cmovno(to, from); break;
      case Cc::b: cmovb(to, from); break;
      case Cc::ae: cmovae(to, from); break;
      case Cc::e: cmove(to, from); break;
      case Cc::ne: cmovne(to, from); break;
      case Cc::be: cmovbe(to, from); break;
      case Cc::a: cmova(to, from); break;
      case Cc::s: cmovs(to, from); break;
      case Cc::ns: cmovns(to, from); break;
      case Cc::p: cmovp(to, from); break;
      case Cc::np: cmovnp(to, from); break;
      case Cc::l: cmovl(to, from); break;
      case Cc::ge: cmovge(to, from); break;
      case Cc::le: cmovle(to, from); break;
      case Cc::g: cmovg(to, from); break;
    }
  }

  // A rel32 field that reaches a label.
  void refer(Label& label) {
    if (label.position != Label::kUnbound) relative(label.position);
    else put(std::exchange(label.last_use, position()));
  }
};

}  // namespace rhea::x64
