// SPDX-License-Identifier: MIT
// Integer arithmetic and logic.
#include "host/x64/emitter.h"

namespace rhea::x64 {

using G = Xbyak::CodeGenerator;

bool Emitter::emit_integer(const Inst& inst) {
  switch (inst.op) {
    case Op::Const: values_[index_].home = Home::constant; return true;
    case Op::Add: add(inst); return true;
    case Op::Sub: subtract(inst); return true;
    case Op::Adc:
    case Op::Sbc: with_carry(inst); return true;
    case Op::And: binary(inst, Alu::and_, true); return true;
    case Op::Or: binary(inst, Alu::or_, true); return true;
    case Op::Xor: binary(inst, Alu::xor_, true); return true;
    case Op::AndNot: and_not(inst); return true;
    case Op::Not:
    case Op::Neg:
    case Op::Bswap:
    case Op::Bswap16: unary(inst); return true;
    case Op::Mul: multiply(inst); return true;
    case Op::MulHiU:
    case Op::MulHiS: multiply_high(inst); return true;
    case Op::DivU:
    case Op::DivS: divide(inst); return true;
    case Op::Shl:
    case Op::Shr:
    case Op::Sar:
    case Op::Ror: shift(inst); return true;
    case Op::Clz: count_zeros(inst); return true;
    case Op::Rbit: reverse_bits(inst); return true;
    case Op::SExt8:
    case Op::SExt16:
    case Op::ZExt8:
    case Op::ZExt16:
    case Op::SExt32:
    case Op::ZExt32:
    case Op::Trunc:
    case Op::HighHalf:
    case Op::Pair: extend(inst); return true;
    case Op::Select:
      if (in_xmm(inst.type)) return false;
      select(inst);
      return true;
    case Op::CmpEq:
    case Op::CmpNe:
    case Op::CmpLtU:
    case Op::CmpLeU:
    case Op::CmpLtS:
    case Op::CmpLeS: compare(inst); return true;
    case Op::SatS:
    case Op::SatU:
    case Op::DidSatS:
    case Op::DidSatU: saturate(inst); return true;
    default: return false;
  }
}

// Two-address operations; what the second operand is decides the form.
void Emitter::binary(const Inst& inst, Alu op, bool commutative) {
  Ref a = inst.args[0], b = inst.args[1];
  clobber_flags();
  if (values_[index_].fused && values_[index_].uses == 1 && inst.op == Op::And && values_[index_].target == kNone) {
    compare_only(inst);
    return;
  }
  if (commutative && (is_constant(a) || (dies(b) && !dies(a) && !is_constant(b)))) std::swap(a, b);
  Value& value = values_[index_];
  if (value.target != kNone && a != b && where(b) == kPinRegs[value.target]) {
    if (commutative) std::swap(a, b);
    else no_target(index_);
  }
  if (a == b) {
    const u8 to = define_from(index_, a);
    a_.alu(op, rt(to, inst.type), rt(to, inst.type));
  } else if (is_imm32(b)) {
    const u8 to = define_from(index_, a);
    a_.alu(op, rt(to, inst.type), static_cast<u32>(imm32(b)));
  } else {
    if (const u8 reg = where(b); reg != kNone) lock(reg);
    const u8 to = define_from(index_, a);
    with_operand(b, [&](const auto& source) { a_.alu(op, rt(to, inst.type), source); });
  }
  made_flags(index_, inst.op == Op::Sub ? Producer::sub : inst.op == Op::Add ? Producer::add : Producer::logic);
}

// cmp and test: the value itself is not wanted.
void Emitter::compare_only(const Inst& inst) {
  Ref a = inst.args[0], b = inst.args[1];
  if (inst.op == Op::And && is_constant(a)) std::swap(a, b);
  const u8 left = use(a);
  const bool zero = inst.op == Op::Sub && is_constant(b) && constant(b) == 0;
  if (zero) {
    // test gives the same flags: no borrow, no overflow.
    a_.test(rt(left, inst.type), rt(left, inst.type));
  } else if (is_imm32(b)) {
    if (inst.op == Op::Sub) a_.cmp(rt(left, inst.type), static_cast<u32>(imm32(b)));
    else a_.test(rt(left, inst.type), static_cast<u32>(imm32(b)));
  } else if (inst.op == Op::Sub) {
    with_operand(b, [&](const auto& source) { a_.cmp(rt(left, inst.type), source); });
  } else {
    a_.test(rt(left, inst.type), rt(use(b), inst.type));
  }
  made_flags(index_, inst.op == Op::Sub ? Producer::sub : Producer::logic);
}

void Emitter::add(const Inst& inst) {
  Ref a = inst.args[0], b = inst.args[1];
  if (is_constant(a)) std::swap(a, b);
  if (values_[index_].fused) {
    binary(inst, Alu::add, true);
    return;
  }
  // Without flags: lea where it saves a move or keeps EFLAGS.
  const bool in_place =
      !flags_busy() && (values_[index_].target == kNone ? dies(a) && values_[a].reg != kNone
                                                        : where(a) == kPinRegs[values_[index_].target]);
  if (in_place || is_constant(a)) {
    binary(inst, Alu::add, true);
    return;
  }
  if (is_imm32(b)) {
    const u8 base = use(a);
    const u8 to = define(index_);
    a_.lea(rt(to, inst.type), Mem{.base = base, .displacement = imm32(b)});
    return;
  }
  const u8 base = use(a), index = use(b);
  const u8 to = define(index_);
  a_.lea(rt(to, inst.type), Mem{.base = base, .index = index});
}

void Emitter::subtract(const Inst& inst) {
  const Ref a = inst.args[0], b = inst.args[1];
  Value& value = values_[index_];
  if (value.fused && value.uses == 1 && value.target == kNone) {
    clobber_flags();
    compare_only(inst);
    return;
  }
  if (!value.fused && is_imm32(b) && imm32(b) != INT32_MIN && !is_constant(a)) {
    const bool in_place = !flags_busy() && (value.target == kNone ? dies(a) && values_[a].reg != kNone
                                                                  : where(a) == kPinRegs[value.target]);
    if (!in_place) {
      const u8 base = use(a);
      const u8 to = define(index_);
      a_.lea(rt(to, inst.type), Mem{.base = base, .displacement = -imm32(b)});
      return;
    }
  }
  if (!value.fused && is_constant(a) && constant(a) == 0) {
    clobber_flags();
    const u8 to = define_from(index_, b);
    a_.neg(rt(to, inst.type));
    made_flags(kNoRef, Producer::none);
    return;
  }
  binary(inst, Alu::sub, false);
}

void Emitter::with_carry(const Inst& inst) {
  const Ref a = inst.args[0], b = inst.args[1], carry = inst.args[2];
  const bool subtracts = inst.op == Op::Sbc;
  save_exactly(live_after());  // its own carry it takes from where it is
  if (lazy_count_) materialize_conditions();
  // The operands are in place before the carry goes to CF: nothing between there and here changes EFLAGS.
  keep_eflags_ = true;
  if (values_[carry].home != Home::carry && !is_constant(carry)) use(carry);
  const bool immediate = is_imm32(b) && a != b;
  const u8 second = immediate ? kNone : use(b);
  Value& value = values_[index_];
  if (value.target != kNone && (kPinRegs[value.target] == second || where(carry) == kPinRegs[value.target])) {
    no_target(index_);
  }
  u8 to;
  if (a == b || a == carry) {
    const u8 from = use(a);
    no_target(index_);
    to = define(index_);
    move(to, from, inst.type);
  } else {
    to = define_from(index_, a);
  }
  carry_to_host(carry, subtracts);
  if (immediate) {
    if (subtracts) a_.sbb(rt(to, inst.type), static_cast<u32>(imm32(b)));
    else a_.adc(rt(to, inst.type), static_cast<u32>(imm32(b)));
  } else if (subtracts) {
    a_.sbb(rt(to, inst.type), rt(second, inst.type));
  } else {
    a_.adc(rt(to, inst.type), rt(second, inst.type));
  }
  forget_host_flags();
  made_flags(index_, subtracts ? Producer::sub : Producer::add);
}

void Emitter::and_not(const Inst& inst) {
  const Ref a = inst.args[0], b = inst.args[1];
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  if (is_constant(b)) {
    const u64 mask = ~constant(b);
    const s64 wide = inst.type == Type::I32 ? static_cast<s32>(mask) : static_cast<s64>(mask);
    if (wide == static_cast<s32>(wide)) {
      const u8 to = define_from(index_, a);
      a_.and_(rt(to, inst.type), static_cast<u32>(mask));
      return;
    }
  }
  if (settings_.features & kBmi1) {
    const u8 left = use(a), right = use(b);
    const u8 to = define(index_);
    a_.andn(rt(to, inst.type), rt(right, inst.type), rt(left, inst.type));
    return;
  }
  const u8 left = use(a);
  const u8 right = use(b);
  const u8 mask = take();
  move(mask, right, inst.type);
  a_.not_(rt(mask, inst.type));
  a_.and_(rt(mask, inst.type), rt(left, inst.type));
  const u8 to = define(index_);
  move(to, mask, inst.type);
}

void Emitter::unary(const Inst& inst) {
  if (inst.op != Op::Not && inst.op != Op::Bswap) {
    clobber_flags();
    made_flags(kNoRef, Producer::none);
  }
  const u8 to = define_from(index_, inst.args[0]);
  switch (inst.op) {
    case Op::Not: a_.not_(rt(to, inst.type)); break;
    case Op::Neg: a_.neg(rt(to, inst.type)); break;
    case Op::Bswap: a_.bswap(rt(to, inst.type)); break;
    default:
      // Bytes of each half-word: the whole reversed, then the half-words put back in order.
      a_.bswap(rt(to, inst.type));
      if (inst.type == Type::I32) {
        a_.rol(r32(to), 16);
      } else {
        const u8 other = take();
        a_.rol(r64(to), 32);
        a_.mov(r64(other), r64(to));
        a_.shr(r64(other), 16);
        a_.shl(r64(to), 16);
        const u8 mask = take();
        a_.mov(r64(mask), u64{0x0000ffff0000ffff});
        a_.and_(r64(other), r64(mask));
        a_.not_(r64(mask));
        a_.and_(r64(to), r64(mask));
        a_.or_(r64(to), r64(other));
      }
  }
}

void Emitter::multiply(const Inst& inst) {
  Ref a = inst.args[0], b = inst.args[1];
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  if (is_constant(a)) std::swap(a, b);
  if (is_imm32(b)) {
    const u8 left = use(a);
    const u8 to = define(index_);
    a_.imul(rt(to, inst.type), rt(left, inst.type), imm32(b));
    return;
  }
  Value& value = values_[index_];
  if (value.target != kNone && a != b && where(b) == kPinRegs[value.target]) std::swap(a, b);
  if (const u8 reg = where(b); reg != kNone) lock(reg);
  const u8 right = a == b ? kNone : use(b);
  const u8 to = define_from(index_, a);
  a_.imul(rt(to, inst.type), rt(right == kNone ? to : right, inst.type));
}

void Emitter::multiply_high(const Inst& inst) {
  const Ref a = inst.args[0], b = inst.args[1];
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  take(kRax);
  take(kRdx);
  const u8 right = use(b);
  use_in(a, kRax);
  if (inst.op == Op::MulHiU) a_.mul(rt(right, inst.type));
  else a_.imul(rt(right, inst.type));
  define_in(index_, kRdx);
}

void Emitter::divide(const Inst& inst) {
  const bool is_signed = inst.op == Op::DivS;
  const Type type = inst.type;
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  take(kRax);
  take(kRdx);
  const u8 divisor = use(inst.args[1]);
  use_in(inst.args[0], kRax);
  // By zero: 0. By -1: the negative (the least number overflows to itself).
  a_.test(rt(divisor, type), rt(divisor, type));
  const u32 not_zero = a_.short_jump(Cc::ne);
  a_.xor_(r32(kRax), r32(kRax));
  const u32 done = a_.short_jump();
  a_.bind_short(not_zero);
  u32 done_negative = 0;
  if (is_signed) {
    a_.cmp(rt(divisor, type), -1);
    const u32 general = a_.short_jump(Cc::ne);
    a_.neg(rt(kRax, type));
    done_negative = a_.short_jump();
    a_.bind_short(general);
    if (type == Type::I64) a_.cqo();
    else a_.cdq();
    a_.idiv(rt(divisor, type));
  } else {
    a_.xor_(r32(kRdx), r32(kRdx));
    a_.div(rt(divisor, type));
  }
  a_.bind_short(done);
  if (is_signed) a_.bind_short(done_negative);
  define_in(index_, kRax);
}

void Emitter::shift_constant(const Inst& inst, unsigned count) {
  const unsigned width = inst.type == Type::I64 ? 64 : 32;
  const Ref a = inst.args[0];
  if (values_[index_].fused) {
    clobber_flags();
    const u8 to = define_from(index_, a);
    if (inst.op == Op::Shl) a_.shl(r32(to), count);
    else if (inst.op == Op::Shr) a_.shr(r32(to), count);
    else a_.sar(r32(to), count);
    made_flags(index_, Producer::add);  // CF is the carry
    return;
  }
  if (inst.op == Op::Ror) count %= width;
  if (inst.op == Op::Sar && count >= width) count = width - 1;
  if (count >= width) {
    const u8 to = define(index_);
    load_constant(to, 0, inst.type);
    return;
  }
  if (count && flags_busy() && settings_.features & kBmi2 && inst.op == Op::Ror) {
    const u8 from = use(a);
    const u8 to = define(index_);
    a_.rorx(rt(to, inst.type), rt(from, inst.type), static_cast<u8>(count));
    return;
  }
  if (inst.op == Op::Shl && count >= 1 && count <= 3 && flags_busy()) {
    const u8 from = use(a);
    const u8 to = define(index_);
    if (count == 1) a_.lea(rt(to, inst.type), a_.ptr[r64(from) + r64(from)]);
    else a_.lea(rt(to, inst.type), a_.ptr[r64(from) * (1 << count)]);
    return;
  }
  if (count == 0) {
    define_from(index_, a);
    return;
  }
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  if (inst.op == Op::Ror && settings_.features & kBmi2) {
    const u8 from = use(a);
    const u8 to = define(index_);
    a_.rorx(rt(to, inst.type), rt(from, inst.type), static_cast<u8>(count));
    return;
  }
  const u8 to = define_from(index_, a);
  switch (inst.op) {
    case Op::Shl: a_.shl(rt(to, inst.type), count); break;
    case Op::Shr: a_.shr(rt(to, inst.type), count); break;
    case Op::Sar: a_.sar(rt(to, inst.type), count); break;
    default: a_.ror(rt(to, inst.type), count); break;
  }
}

void Emitter::shift(const Inst& inst) {
  const Ref a = inst.args[0], by = inst.args[1];
  const Type type = inst.type;
  const unsigned width = type == Type::I64 ? 64 : 32;
  if (is_constant(by)) {
    const u64 count = static_cast<u32>(constant(by));
    shift_constant(inst, count > 255 && inst.op != Op::Ror ? 255 : static_cast<unsigned>(count));
    return;
  }
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  // The count is taken whole: at the width or above the result is zero or the sign.
  if (settings_.features & kBmi2 && (inst.op == Op::Shl || inst.op == Op::Shr)) {
    const u8 count = use(by), from = use(a);
    const u8 below = take();
    const u8 to = define_apart(index_, {count});
    if (inst.op == Op::Shl) a_.shlx(rt(to, type), rt(from, type), rt(count, type));
    else a_.shrx(rt(to, type), rt(from, type), rt(count, type));
    // All ones if the count is below the width.
    a_.cmp(r32(count), width);
    a_.sbb(rt(below, type), rt(below, type));
    a_.and_(rt(to, type), rt(below, type));
    return;
  }
  no_target(index_);
  take(kRcx);
  use_in(by, kRcx);
  const u8 from = use(a);
  const u8 to = define(index_);
  if (inst.op == Op::Ror) {
    move(to, from, type);
    a_.ror(rt(to, type), a_.cl);
    return;
  }
  if (inst.op == Op::Sar) {
    const u8 limit = take();
    a_.mov(r32(limit), width - 1);
    a_.cmp(a_.ecx, r32(limit));
    a_.cmova(a_.ecx, r32(limit));
    move(to, from, type);
    a_.sar(rt(to, type), a_.cl);
    return;
  }
  move(to, from, type);
  if (inst.op == Op::Shl) a_.shl(rt(to, type), a_.cl);
  else a_.shr(rt(to, type), a_.cl);
  a_.cmp(a_.ecx, width);
  a_.sbb(rt(kRcx, type), rt(kRcx, type));
  a_.and_(rt(to, type), rt(kRcx, type));
}

void Emitter::count_zeros(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 from = use(inst.args[0]);
  if (settings_.features & kLzcnt) {
    const u8 to = define(index_);
    a_.lzcnt(rt(to, inst.type), rt(from, inst.type));
    return;
  }
  const unsigned width = inst.type == Type::I64 ? 64 : 32;
  const u8 none = take();
  const u8 to = define_apart(index_, {from});
  a_.mov(r32(none), 2 * width - 1);
  a_.bsr(rt(to, inst.type), rt(from, inst.type));
  a_.cmove(rt(to, inst.type), rt(none, inst.type));
  a_.xor_(rt(to, inst.type), width - 1);
}

void Emitter::reverse_bits(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  no_target(index_);
  const u8 to = define_from(index_, inst.args[0]);
  const u8 other = take();
  const u8 mask = take();
  const Type type = inst.type;
  a_.bswap(rt(to, type));
  constexpr u64 kMasks[] = {0x0f0f0f0f0f0f0f0f, 0x3333333333333333, 0x5555555555555555};
  for (unsigned i = 0; i < 3; i++) {
    const unsigned count = 4 >> i;
    a_.mov(rt(other, type), rt(to, type));
    a_.shr(rt(other, type), count);
    if (type == Type::I64) a_.mov(r64(mask), kMasks[i]);
    else a_.mov(r32(mask), static_cast<u32>(kMasks[i]));
    a_.and_(rt(other, type), rt(mask, type));
    a_.and_(rt(to, type), rt(mask, type));
    a_.shl(rt(to, type), count);
    a_.or_(rt(to, type), rt(other, type));
  }
}

void Emitter::extend(const Inst& inst) {
  const Ref a = inst.args[0];
  if (inst.op == Op::Pair) {
    clobber_flags();
    made_flags(kNoRef, Producer::none);
    const u8 low = use(a), high = use(inst.args[1]);
    const u8 to = take();
    a_.mov(r32(to), r32(high));
    a_.shl(r64(to), 32);
    a_.or_(r64(to), r64(low));
    define_in(index_, to);
    return;
  }
  const u8 from = use(a);
  if (inst.op == Op::HighHalf) {
    clobber_flags();
    made_flags(kNoRef, Producer::none);
    const u8 to = define(index_);
    a_.mov(r64(to), r64(from));
    a_.shr(r64(to), 32);
    return;
  }
  const u8 to = define(index_);
  switch (inst.op) {
    case Op::SExt8: a_.movsx(rt(to, inst.type), r8(from)); break;
    case Op::SExt16: a_.movsx(rt(to, inst.type), r16(from)); break;
    case Op::ZExt8: a_.movzx(r32(to), r8(from)); break;
    case Op::ZExt16: a_.movzx(r32(to), r16(from)); break;
    case Op::SExt32: a_.movsxd(r64(to), r32(from)); break;
    default: a_.mov(r32(to), r32(from)); break;  // ZExt32, Trunc
  }
}

Cc Emitter::emit_compare(const Inst& inst) {
  Ref a = inst.args[0], b = inst.args[1];
  const Type type = type_of(a);
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  const u8 left = use(a);
  if (is_imm32(b)) {
    if (constant(b) == 0 && (inst.op == Op::CmpEq || inst.op == Op::CmpNe)) a_.test(rt(left, type), rt(left, type));
    else a_.cmp(rt(left, type), static_cast<u32>(imm32(b)));
  } else {
    with_operand(b, [&](const auto& source) { a_.cmp(rt(left, type), source); });
  }
  switch (inst.op) {
    case Op::CmpEq: return Cc::e;
    case Op::CmpNe: return Cc::ne;
    case Op::CmpLtU: return Cc::b;
    case Op::CmpLeU: return Cc::be;
    case Op::CmpLtS: return Cc::l;
    default: return Cc::le;
  }
}

void Emitter::compare(const Inst& inst) {
  const Cc cc = emit_compare(inst);
  const u8 to = define(index_);
  a_.setcc(cc, r8(to));
  a_.movzx(r32(to), r8(to));
}

void Emitter::select(const Inst& inst) {
  const Ref condition = inst.args[0];
  Ref yes = inst.args[1], no = inst.args[2];
  if (yes == no) {
    define_from(index_, yes);
    return;
  }
  Cc cc;
  if (values_[condition].home == Home::condition) {
    cc = test_condition(static_cast<ir::Cond>(values_[condition].data));
  } else {
    clobber_flags();
    made_flags(kNoRef, Producer::none);
    const u8 flag = use(condition);
    a_.test(r32(flag), r32(flag));
    cc = Cc::ne;
  }
  keep_eflags_ = true;
  Value& value = values_[index_];
  if (value.target != kNone && where(yes) == kPinRegs[value.target]) {
    std::swap(yes, no);
    cc = inverse(cc);
  }
  const u8 chosen = use(yes);
  const u8 to = define_from(index_, no);
  a_.cmovcc(cc, rt(to, inst.type), rt(chosen, inst.type));
}

void Emitter::saturate(const Inst& inst) {
  clobber_flags();
  made_flags(kNoRef, Producer::none);
  no_target(index_);
  const bool is_signed = inst.op == Op::SatS || inst.op == Op::DidSatS;
  const unsigned width = static_cast<unsigned>(inst.imm);
  const s64 most = (s64{1} << (is_signed ? width - 1 : width)) - 1;
  const s64 least = is_signed ? -(s64{1} << (width - 1)) : 0;
  const u8 from = use(inst.args[0]);
  const u8 limit = take();
  const u8 to = define(index_);
  a_.mov(r32(to), r32(from));
  if (most < INT32_MAX) {
    a_.mov(r32(limit), static_cast<u32>(most));
    a_.cmp(r32(to), r32(limit));
    a_.cmovg(r32(to), r32(limit));
  }
  if (least > INT32_MIN) {
    a_.mov(r32(limit), static_cast<u32>(least));
    a_.cmp(r32(to), r32(limit));
    a_.cmovl(r32(to), r32(limit));
  }
  if (inst.op == Op::DidSatS || inst.op == Op::DidSatU) {
    a_.cmp(r32(to), r32(from));
    a_.setne(r8(to));
    a_.movzx(r32(to), r8(to));
  }
}

}  // namespace rhea::x64
