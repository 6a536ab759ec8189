// SPDX-License-Identifier: MIT
// Condition flags: in EFLAGS while they can be, in the image in the state when they must.
//
// The image's upper byte is what LAHF gives (N Z C), its lower byte 0 or 1 for V. After a subtraction CF is the
// opposite of ARM's carry: carry_inverted_ says so, and cmc puts it right where it matters.
#include <algorithm>

#include "host/x64/emitter.h"
#include "ir/eval.h"

namespace rhea::x64 {

using ir::Cond;
using ir::kFlagC;
using ir::kFlagNZCV;
using ir::kFlagV;
using ir::StateHeader;

namespace {

constexpr u32 kFlagsOffset = offsetof(StateHeader, flags);
constexpr u8 kFlagsHigh = ir::kFlagN | ir::kFlagZ | ir::kFlagC;  // those in LAHF's byte

}  // namespace

bool Emitter::emit_flags(const Inst& inst) {
  Value& value = values_[index_];
  switch (inst.op) {
    case Op::SetFlags: set_flags(inst); return true;
    case Op::SetCarry: set_carry(inst); return true;
    case Op::SetFlagsImage: set_image(inst); return true;
    case Op::GetFlags: {
      save_flags(kFlagNZCV);
      clobber_flags();
      const u8 to = define(index_);
      a_.mov(r32(to), dword_state(kFlagsOffset));
      a_.and_(r32(to), ir::kImageMask);
      return true;
    }
    case Op::GetCarry:
      value.home = Home::carry;
      value.data = static_cast<u32>(Cond::CS);
      no_target(index_);
      lazy_count_++;
      aliases_.push_back(index_);
      return true;
    case Op::TestCond:
      if (static_cast<Cond>(inst.aux) == Cond::AL) {
        a_.mov(r32(define(index_)), 1);
        return true;
      }
      value.home = Home::condition;
      value.data = inst.aux;
      no_target(index_);
      lazy_count_++;
      aliases_.push_back(index_);
      return true;
    default: return false;
  }
}

u8 Emitter::lazy_flags() const {
  if (!lazy_count_) return 0;
  u8 mask = 0;
  for (const Ref ref : aliases_) {
    const Value& value = values_[ref];
    if ((value.home == Home::condition || value.home == Home::carry) && value.last_use >= index_) {
      mask |= ir::flags_read(static_cast<Cond>(value.data));
    }
  }
  return mask;
}

void Emitter::materialize_conditions() {
  if (!lazy_count_) return;
  for (usize i = 0; i < aliases_.size(); i++) {
    const Ref ref = aliases_[i];
    Value& value = values_[ref];
    if (value.home != Home::condition && value.home != Home::carry) continue;
    if (value.last_use <= index_) continue;
    const u32 locked = locked_;
    materialize(ref);
    locked_ = locked;
  }
}

void Emitter::materialize(Ref ref) {
  Value& value = values_[ref];
  const Cc cc = test_condition(static_cast<Cond>(value.data));
  value.home = Home::none;
  lazy_count_--;
  const u8 reg = take();
  a_.setcc(cc, r8(reg));
  a_.movzx(r32(reg), r8(reg));
  owner_[reg] = ref;
  value.reg = reg;
}

void Emitter::complement_carry() {
  a_.cmc();
  carry_inverted_ = !carry_inverted_;
  flags_producer_ = flags_producer_ == Producer::sub ? Producer::add : Producer::sub;
}

void Emitter::write_image(u8 mask, u8 live) {
  // rax is needed for LAHF; whoever is there steps aside.
  const bool busy = owner_[kRax] != kNoRef || locked_ >> kRax & 1;
  if (busy) a_.mov(a_.qword[a_.rsp + kSaveOffset], a_.rax);
  if (carry_inverted_ && mask & kFlagC) { complement_carry(); }
  const u8 high = mask & kFlagsHigh;
  const u8 kept = static_cast<u8>(live & kFlagsHigh & ~high);  // must stay as the image has them
  if (mask & kFlagV) a_.seto(a_.al);
  if (!kept) {
    if (!(mask & kFlagV)) a_.movzx(a_.eax, byte_state(kFlagsOffset));
    a_.lahf();
    a_.mov(dword_state(kFlagsOffset), a_.eax);
  } else {
    // Merged with the image, which has all of them then, while EFLAGS have none.
    a_.lahf();
    a_.and_(a_.eax, ir::image_mask(mask));
    a_.and_(dword_state(kFlagsOffset), ir::kImageMask & ~ir::image_mask(mask));
    a_.or_(dword_state(kFlagsOffset), a_.eax);
    host_flags_ = 0;
    flags_of_ = kNoRef;
    carry_inverted_ = false;
  }
  if (busy) a_.mov(a_.rax, a_.qword[a_.rsp + kSaveOffset]);
}

void Emitter::save_flags(u8 needed) { save_exactly(needed | lazy_flags()); }

void Emitter::save_exactly(u8 needed) {
  if (!(stale_ & needed)) return;
  // Take along what is there anyway.
  write_image(stale_, needed | lazy_flags() | live_before_[index_]);
  stale_ = 0;
}

void Emitter::clobber_flags() {
  save_flags(live_before_[index_]);
  forget_host_flags();
}

void Emitter::set_flags(const Inst& inst) {
  const Ref of = inst.args[0];
  const Inst& made = this->inst(of);
  const Type type = type_of(of);
  const bool add = made.op == Op::Add || made.op == Op::Adc, sub = made.op == Op::Sub || made.op == Op::Sbc;
  const bool carry_and_overflow = inst.aux & (kFlagC | kFlagV);
  if (lazy_count_) materialize_conditions();
  if (is_constant(of) && !carry_and_overflow) {
    set_constant_flags(inst);
    return;
  }
  if (flags_of_ != of || ((add || sub) && carry_and_overflow && flags_producer_ == Producer::logic)) {
    clobber_flags();
    if (values_[of].fused && values_[of].fused_at == index_) failed_ = true;  // its operands may be gone
    Producer producer = Producer::logic;
    if ((add || sub) && carry_and_overflow) {
      // Once more, for the flags.
      const bool with_carry = made.op == Op::Adc || made.op == Op::Sbc;
      const u8 second = use(made.args[1]);
      if (with_carry) use(made.args[2]);
      const u8 scratch = take();
      use_in(made.args[0], scratch);
      if (with_carry) carry_to_host(made.args[2], sub);
      if (with_carry && add) a_.adc(rt(scratch, type), rt(second, type));
      else if (with_carry) a_.sbb(rt(scratch, type), rt(second, type));
      else if (add) a_.add(rt(scratch, type), rt(second, type));
      else a_.cmp(rt(scratch, type), rt(second, type));
      producer = add ? Producer::add : Producer::sub;
    } else {
      const u8 reg = use(of);
      a_.test(rt(reg, type), rt(reg, type));
    }
    made_flags(of, producer);
  }
  // More of the same value's flags may have been taken before.
  host_flags_ |= inst.aux;
  stale_ |= inst.aux;
  carry_inverted_ = flags_producer_ == Producer::sub;
}

// N and Z of a number that is known (movs r3, #19), into the image.
void Emitter::set_constant_flags(const Inst& inst) {
  clobber_flags();
  const u64 value = constant(inst.args[0]);
  const bool wide = type_of(inst.args[0]) == Type::I64;
  const bool negative = wide ? value >> 63 : value >> 31 & 1, zero = wide ? !value : !static_cast<u32>(value);
  const u32 mask = ir::image_mask(inst.aux);
  const u32 bits = ((negative ? ir::kImageN : 0) | (zero ? ir::kImageZ : 0)) & mask;
  if (!(live_after() & ~inst.aux)) {
    a_.mov(dword_state(kFlagsOffset), bits);
    return;
  }
  a_.and_(dword_state(kFlagsOffset), ir::kImageMask & ~mask);
  if (bits) a_.or_(dword_state(kFlagsOffset), bits);
}

void Emitter::set_image(const Inst& inst) {
  materialize_conditions();
  clobber_flags();
  const u32 mask = ir::image_mask(inst.aux);
  const u8 from = use(inst.args[0]);
  const u8 image = take();
  a_.mov(r32(image), r32(from));
  if (live_after() & ~inst.aux) {
    const u8 old = take();
    a_.mov(r32(old), dword_state(kFlagsOffset));
    a_.and_(r32(old), ir::kImageMask & ~mask);
    a_.and_(r32(image), mask);
    a_.or_(r32(image), r32(old));
  } else {
    a_.and_(r32(image), ir::kImageMask);
  }
  a_.mov(dword_state(kFlagsOffset), r32(image));
}

void Emitter::set_carry(const Inst& inst) {
  const Ref value = inst.args[0];
  if (values_[value].folded) {
    // CF has it: find_shift_flags().
    if (flags_of_ == kNoRef) failed_ = true;
    host_flags_ |= kFlagC;
    stale_ |= kFlagC;
    return;
  }
  if (values_[value].home == Home::carry && lazy_count_) {
    // The carry as it is.
    return;
  }
  if (lazy_count_) materialize_conditions();
  clobber_flags();
  const bool alone = !(live_after() & (kFlagsHigh & ~kFlagC));
  if (is_constant(value)) {
    if (alone) a_.mov(byte_state(kFlagsOffset + 1), static_cast<u32>(constant(value) & 1));
    else if (constant(value) & 1) a_.or_(byte_state(kFlagsOffset + 1), 1);
    else a_.and_(byte_state(kFlagsOffset + 1), 0xfe);
    return;
  }
  const u8 carry = use(value);
  if (alone) {
    a_.mov(byte_state(kFlagsOffset + 1), r8(carry));
    return;
  }
  const u8 high = take();
  a_.movzx(r32(high), byte_state(kFlagsOffset + 1));
  a_.and_(r32(high), 0xfe);
  a_.or_(r32(high), r32(carry));
  a_.mov(byte_state(kFlagsOffset + 1), r8(high));
}

void Emitter::carry_to_host(Ref ref, bool inverted) {
  if (is_constant(ref)) {
    if ((constant(ref) & 1) != inverted) a_.stc();
    else a_.clc();
    return;
  }
  bool now_inverted = false;
  if (values_[ref].home == Home::carry) {
    if (host_flags_ & kFlagC) now_inverted = carry_inverted_;
    else a_.bt(dword_state(kFlagsOffset), 8);
  } else {
    a_.bt(r32(use(ref)), 0);
  }
  if (now_inverted != inverted) a_.cmc();
}

Cc Emitter::host_condition(Cond cond, bool inverted) {
  switch (cond) {
    case Cond::EQ: return Cc::e;
    case Cond::NE: return Cc::ne;
    case Cond::CS: return inverted ? Cc::ae : Cc::b;
    case Cond::CC: return inverted ? Cc::b : Cc::ae;
    case Cond::MI: return Cc::s;
    case Cond::PL: return Cc::ns;
    case Cond::VS: return Cc::o;
    case Cond::VC: return Cc::no;
    case Cond::HI: return Cc::a;  // inverted carry only
    case Cond::LS: return Cc::be;
    case Cond::GE: return Cc::ge;
    case Cond::LT: return Cc::l;
    case Cond::GT: return Cc::g;
    default: return Cc::le;
  }
}

Cc Emitter::test_condition(Cond cond) {
  const u8 need = ir::flags_read(cond);
  if ((host_flags_ & need) == need) {
    if ((cond == Cond::HI || cond == Cond::LS) && !carry_inverted_) { complement_carry(); }
    return host_condition(cond, carry_inverted_);
  }
  save_flags(live_before_[index_] | need);
  if ((host_flags_ & need) == need) return test_condition(cond);
  forget_host_flags();
  const auto test_bit = [&](u32 offset, u32 mask, bool set) {
    a_.test(byte_state(kFlagsOffset + offset), mask);
    return set ? Cc::ne : Cc::e;
  };
  switch (cond) {
    case Cond::EQ:
    case Cond::NE: return test_bit(1, 0x40, cond == Cond::EQ);
    case Cond::CS:
    case Cond::CC: return test_bit(1, 0x01, cond == Cond::CS);
    case Cond::MI:
    case Cond::PL: return test_bit(1, 0x80, cond == Cond::MI);
    case Cond::VS:
    case Cond::VC: return test_bit(0, 0x01, cond == Cond::VS);
    case Cond::HI:
    case Cond::LS: {
      const u8 image = take();
      a_.mov(r32(image), dword_state(kFlagsOffset));
      a_.and_(r32(image), ir::kImageZ | ir::kImageC);
      a_.cmp(r32(image), ir::kImageC);
      return cond == Cond::HI ? Cc::e : Cc::ne;
    }
    default:
      // All flags back: 1 + 127 overflows, and SAHF leaves OF alone.
      take(kRax);
      a_.mov(a_.eax, dword_state(kFlagsOffset));
      a_.add(a_.al, 0x7f);
      a_.sahf();
      host_flags_ = kFlagNZCV;
      carry_inverted_ = false;
      return host_condition(cond, false);
  }
}

}  // namespace rhea::x64
