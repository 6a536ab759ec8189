// SPDX-License-Identifier: MIT
// Guest state, helpers, and operations done out of line.
#include <cstddef>
#include <cstring>

#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::StateHeader;

namespace {

u32 bytes_of(Type type) {
  switch (type) {
    case Type::I32:
    case Type::F32: return 4;
    case Type::I64:
    case Type::F64:
    case Type::V64: return 8;
    default: return 16;
  }
}

}  // namespace

bool Emitter::emit_state(const Inst& inst) {
  switch (inst.op) {
    case Op::GetState: get_state(inst); return true;
    case Op::SetState: set_state(inst); return true;
    case Op::GetState8: {
      const u32 offset = static_cast<u32>(inst.imm);
      if (touches_pins(offset, 1)) store_pins(offset, 1);
      a_.movzx(r32(define(index_)), byte_state(offset));
      return true;
    }
    case Op::SetState8: {
      const u32 offset = static_cast<u32>(inst.imm);
      before_slot_write(offset, 1);
      const bool pinned = touches_pins(offset, 1);
      if (pinned) {
        for (u8 pin = 0; pin < pin_offsets_.size(); pin++) {
          if (offset - pin_offsets_[pin] < 4) before_pin_write(pin, kNoRef);
        }
        store_pins(offset, 1);
      }
      if (is_constant(inst.args[0])) a_.mov(byte_state(offset), static_cast<u32>(constant(inst.args[0]) & 0xff));
      else a_.mov(byte_state(offset), r8(use(inst.args[0])));
      if (pinned) load_pins(offset, 1);
      return true;
    }
    case Op::Call0:
    case Op::Call1:
    case Op::Call2:
    case Op::Call3: call_helper(inst); return true;
    case Op::Copy: {
      const Ref from = inst.args[0];
      if (is_vector(index_)) {
        const u8 source = use(from);
        move_xmm(define(index_), source);
      } else {
        define_from(index_, from);
      }
      return true;
    }
    default: return false;
  }
}

void Emitter::get_state(const Inst& inst) {
  Value& value = values_[index_];
  const u32 offset = static_cast<u32>(inst.imm);
  const int pin = inst.type == Type::I32 ? pin_at(offset) : -1;
  no_target(index_);
  if (pin >= 0) {
    value.home = Home::pin;
    value.data = static_cast<u32>(pin);
    aliases_.push_back(index_);
    return;
  }
  if (touches_pins(offset, bytes_of(inst.type))) {
    store_pins(offset, bytes_of(inst.type));
    if (inst.type == Type::I64) {
      load_value(define(index_), offset, inst.type);
    } else {
      load_value(define(index_), offset, inst.type);
    }
    return;
  }
  value.home = Home::slot;
  value.data = offset;
  aliases_.push_back(index_);
}

void Emitter::store_value(u32 offset, Type type, Ref ref) {
  if (in_xmm(type)) {
    const u8 reg = use(ref);
    switch (type) {
      case Type::F32: a_.movss(dword_state(offset), xmm(reg)); break;
      case Type::F64:
      case Type::V64: a_.movq(qword_state(offset), xmm(reg)); break;
      default: a_.movups(xword_state(offset), xmm(reg)); break;
    }
    return;
  }
  if (is_imm32(ref) && where(ref) == kNone) {
    if (type == Type::I64) a_.mov(qword_state(offset), static_cast<u32>(imm32(ref)));
    else a_.mov(dword_state(offset), static_cast<u32>(imm32(ref)));
    return;
  }
  const u8 reg = use(ref);
  if (type == Type::I64) a_.mov(qword_state(offset), r64(reg));
  else a_.mov(dword_state(offset), r32(reg));
}

// The copies of what was stored. What lies above a double in its register does not matter.
void Emitter::update_float_pins(u32 offset, Type type, Ref ref) {
  const Xbyak::Xmm copy = float_pins_.copy(offset);
  const u8 half = (offset - float_pins_.offset) >> 2 & 1;
  const u8 reg = use(ref);
  switch (type) {
    case Type::F32:
      if (half) a_.vinsertps(copy, copy, xmm(reg), 0x10);
      else a_.vmovss(copy, copy, xmm(reg));
      break;
    case Type::F64:
    case Type::V64: a_.vmovaps(copy, xmm(reg)); break;
    case Type::V128:
      a_.vmovaps(copy, xmm(reg));
      if (float_pins_.touch(offset + 8, 1)) a_.vpunpckhqdq(float_pins_.copy(offset + 8), xmm(reg), xmm(reg));
      break;
    case Type::I32: a_.vpinsrd(copy, copy, r32(reg), half); break;
    default: a_.vmovq(copy, r64(reg)); break;
  }
}

void Emitter::set_state(const Inst& inst) {
  const Ref ref = inst.args[0];
  const u32 offset = static_cast<u32>(inst.imm);
  const u32 size = bytes_of(inst.type);
  Value& value = values_[ref];
  const int pin = inst.type == Type::I32 ? pin_at(offset) : -1;
  if (pin < 0) {
    before_slot_write(offset, size);
    const bool pinned = touches_pins(offset, size);
    if (pinned) {
      for (u8 i = 0; i < pin_offsets_.size(); i++) {
        if (offset < pin_offsets_[i] + 4 && pin_offsets_[i] < offset + size) before_pin_write(i, kNoRef);
      }
      if (values_[ref].home == Home::condition) use(ref);
    }
    store_value(offset, inst.type, ref);
    if (float_pins_.touch(offset, size)) update_float_pins(offset, inst.type, ref);
    if (pinned) load_pins(offset, size);
    else if (value.home == Home::none && !value.crosses && value.reg != kNone && inst.type == type_of(ref) &&
             value.last_use > index_) {
      value.home = Home::slot;
      value.data = offset;
      aliases_.push_back(ref);
    }
    return;
  }
  const u8 to = kPinRegs[pin];
  if (value.home == Home::pin && value.data == static_cast<u32>(pin)) return;
  if (value.reg == to) {
    // Computed right here.
    value.reg = kNone;
    if (value.home == Home::none) {
      value.home = Home::pin;
      value.data = static_cast<u32>(pin);
      aliases_.push_back(ref);
    }
    return;
  }
  before_pin_write(static_cast<u8>(pin), kNoRef);
  const bool was_temp = value.reg != kNone && value.home == Home::none;
  use_in(ref, to);
  if (was_temp && !value.crosses) {
    owner_[value.reg] = kNoRef;
    value.reg = kNone;
    value.home = Home::pin;
    value.data = static_cast<u32>(pin);
    aliases_.push_back(ref);
  }
}

// Arguments in rax, rcx, rdx; the stub does the rest.
void Emitter::call_helper(const Inst& inst) {
  const ir::Helper& helper = settings_.helpers[inst.imm];
  set_fp_class(FpClass::ieee);
  materialize_conditions();
  clobber_flags();
  constexpr u8 kRegs[] = {kRax, kRcx, kRdx};
  for (unsigned i = 0; i < 3; i++) {
    const Ref arg = inst.args[i];
    if (arg == kNoRef) continue;
    if (in_xmm(type_of(arg))) {
      const u8 from = use(arg);
      take(kRegs[i]);
      if (type_of(arg) == Type::F32) a_.movd(r32(kRegs[i]), xmm(from));
      else a_.movq(r64(kRegs[i]), xmm(from));
    } else {
      take(kRegs[i]);
      use_in(arg, kRegs[i]);
    }
  }
  if (helper.flags & ir::kWritesState) {
    // Aliases of the state end here.
    for (const Ref ref : aliases_) {
      Value& value = values_[ref];
      if ((value.home != Home::pin && value.home != Home::slot) || value.last_use <= index_) continue;
      if (value.reg != kNone && owner_[value.reg] != ref && !is_vector(ref)) continue;
      const u32 locked = locked_, locked_xmm = locked_xmm_;
      use(ref);
      spill(ref);
      locked_ = locked;
      locked_xmm_ = locked_xmm;
    }
  }
  if ((helper.flags & ir::kFaults) || settings_.icount) set_location(location_, ahead_);
  evict_all();
  a_.call_to(stubs_.helpers[inst.imm]);
  if (inst.type == Type::Void || !values_[index_].uses) return;
  if (in_xmm(inst.type)) {
    const u8 to = define(index_);
    if (inst.type == Type::F32) a_.movd(xmm(to), a_.eax);
    else a_.movq(xmm(to), a_.rax);
    return;
  }
  if (values_[index_].target != kNone) {
    move(define(index_), kRax, inst.type);
  } else {
    if (inst.type == Type::I32) a_.mov(a_.eax, a_.eax);
    define_in(index_, kRax);
  }
}

// For Stubs::eval, with the arguments where emit_eval() puts them. Bytes between members are zero, so that equal blocks
// have equal code.
void Emitter::write_instruction(const Inst& inst) {
  Inst pure = inst;
  pure.args = {0, 1, 2};
  std::array<u8, sizeof pure> bytes{};
  std::memcpy(bytes.data(), &pure, offsetof(Inst, args) + sizeof pure.args);
  std::memcpy(bytes.data() + offsetof(Inst, imm), &pure.imm, sizeof pure.imm);
  a_.db(bytes.data(), bytes.size());
}

// Any pure operation, by the reference evaluator.
void Emitter::emit_eval(const Inst& inst) {
  clobber_flags();
  for (unsigned i = 0; i < 3; i++) {
    const Ref arg = inst.args[i];
    if (arg == kNoRef) continue;
    const Xbyak::RegExp slot = a_.rsp + (kArgsOffset + 16 * static_cast<s32>(i));
    const Type type = type_of(arg);
    if (in_xmm(type)) {
      const u8 from = use(arg);
      if (type == Type::V128 || type == Type::V64) {
        a_.movaps(a_.xword[slot], xmm(from));
      } else if (type == Type::F64) {
        a_.movq(a_.qword[slot], xmm(from));
      } else {
        a_.movd(a_.dword[slot], xmm(from));
        a_.mov(a_.dword[slot + 4], 0);
      }
    } else if (is_imm32(arg) && type == Type::I32) {
      a_.mov(a_.dword[slot], static_cast<u32>(imm32(arg)));
      a_.mov(a_.dword[slot + 4], 0);
    } else {
      a_.mov(a_.qword[slot], r64(use(arg)));
    }
    locked_ = locked_xmm_ = 0;
  }
  evict_all();
  set_fp_class(FpClass::ieee);
  // lea rax, [rip + the instruction], which is written with the cold code.
  cold_labels_.emplace_back();
  Label& label = cold_labels_.back();
  a_.db(0x48);
  a_.db(0x8d);
  a_.db(0x05);
  a_.refer(label);
  a_.call_to(stubs_.eval);
  cold_.push([this, &label, copy = inst] {
    while (a_.position() & 7) a_.db(0xcc);
    a_.bind(label);
    write_instruction(copy);
  });
  if (!values_[index_].uses) return;
  const Type type = type_of(index_);
  if (!in_xmm(type)) {
    if (values_[index_].target != kNone) move(define(index_), kRax, type);
    else define_in(index_, kRax);
    return;
  }
  const u8 to = define(index_);
  if (type == Type::F32) a_.movd(xmm(to), a_.eax);
  else a_.movq(xmm(to), a_.rax);
  if (type == Type::V128) a_.pinsrq(xmm(to), a_.rdx, 1);
}

}  // namespace rhea::x64
