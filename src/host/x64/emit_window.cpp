// SPDX-License-Identifier: MIT
// Accesses through a window: one instruction, which faults on the host where the page is not there. Then it goes on in
// its slow path (FaultSite), as if it had not begun.
//
// EFLAGS stay what they are, the guest's flags in them too: only the slow path writes these into the image, and
// makes EFLAGS of it again when it is done.
#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::StateHeader;

Emitter::WindowAccess Emitter::begin_window(const Inst& inst) {
  WindowAccess access;
  access.descriptor = inst.lane / 8u | static_cast<u32>(inst.aux) << 8;
  access.cold = &new_cold_label();
  const Ref address = inst.args[0];
  if (values_[address].folded) {
    const Inst& add = this->inst(address);
    access.displacement = static_cast<u32>(constant(add.args[1]));
    access.address = use(add.args[0]);
  } else if (is_constant(address) && constant(address) < 0x7fffffff - settings_.window) {
    access.displacement = static_cast<u32>(constant(address));
  } else {
    access.address = use(address);
  }
  // Nobody may take the flags of an earlier computation from EFLAGS any more: the slow path brings back the guest's.
  if (!host_flags_) forget_host_flags();
  flags_of_ = kNoRef;
  access.host_flags = host_flags_;
  access.stale = stale_;
  access.carry_inverted = carry_inverted_;
  return access;
}

Xbyak::RegExp Emitter::in_window(const WindowAccess& access) const {
  const s32 displacement = static_cast<s32>(settings_.window + access.displacement);
  if (access.address == kNone) return a_.r14 + displacement;
  return a_.r14 + r64(access.address) + displacement;
}

// The guest's state is whole behind it. `at`: the instruction that faulted.
void Emitter::enter_slow_path(const WindowAccess& access, const Saved& saved, u32 at) {
  a_.bind(*access.cold);
  out_->faults.push_back({at, a_.position()});
  if (access.stale) {
    constexpr u32 kFlagsOffset = offsetof(StateHeader, flags);
    a_.mov(a_.qword[a_.rsp + kArgsOffset], a_.rax);
    if (access.carry_inverted && access.stale & ir::kFlagC) a_.cmc();
    a_.seto(a_.al);
    a_.lahf();
    a_.and_(a_.eax, ir::image_mask(access.stale));
    a_.and_(dword_state(kFlagsOffset), ir::kImageMask & ~ir::image_mask(access.stale));
    a_.or_(dword_state(kFlagsOffset), a_.eax);
    a_.mov(a_.rax, a_.qword[a_.rsp + kArgsOffset]);
  }
  save(saved);
}

// rax = the guest's address; `keep` goes to rdx, whichever way round the two are now.
void Emitter::slow_address(const WindowAccess& access, u8 keep) {
  if (access.address == kNone) {
    if (keep != kNone) move(kRdx, keep, Type::I64);
    a_.mov(a_.eax, access.displacement);
    return;
  }
  slow_arguments(access.address, keep);
  if (access.displacement) a_.add(a_.eax, access.displacement);
}

void Emitter::leave_slow_path(const WindowAccess& access, const Saved& saved, u32 back) {
  restore(saved);
  if (access.host_flags) {
    a_.mov(a_.qword[a_.rsp + kArgsOffset], a_.rax);
    a_.mov(a_.eax, dword_state(offsetof(StateHeader, flags)));
    a_.add(a_.al, 0x7f);
    a_.sahf();
    if (access.carry_inverted) a_.cmc();
    a_.mov(a_.rax, a_.qword[a_.rsp + kArgsOffset]);
  }
  a_.jump(back);
}

void Emitter::window_load(const Inst& inst) {
  const unsigned bits = inst.lane;
  const bool is_signed = inst.aux & ir::kSigned;
  const Type type = inst.type;
  const WindowAccess access = begin_window(inst);
  const u8 to = define(index_);
  const Saved saved = this->saved();
  const u32 at = a_.position();
  load_from(to, in_window(access), bits, is_signed, type);
  const u32 back = a_.position();
  cold_.push_back([=, this] {
    enter_slow_path(access, saved, at);
    slow_address(access);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(stubs_.load);
    take_loaded(to, bits, is_signed, type);
    leave_slow_path(access, saved, back);
  });
}

void Emitter::window_store(const Inst& inst) {
  const unsigned bits = inst.lane;
  const Ref data = inst.args[1];
  if (!is_constant(data) || !is_imm32(data)) use(data);
  const WindowAccess access = begin_window(inst);
  const bool immediate = where(data) == kNone;
  const u8 from = immediate ? kNone : use(data);
  const u32 value = immediate ? static_cast<u32>(imm32(data)) : 0;
  const Type type = inst.type;
  const Saved saved = this->saved();
  const u32 at = a_.position();
  store_to(in_window(access), bits, from, value);
  const u32 back = a_.position();
  cold_.push_back([=, this] {
    enter_slow_path(access, saved, at);
    slow_address(access, from);
    if (immediate) slow_immediate(value, type);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(stubs_.store);
    leave_slow_path(access, saved, back);
  });
}

void Emitter::window_load_vector(const Inst& inst) {
  const unsigned bits = inst.lane;
  const u8 to = take_xmm();
  const WindowAccess access = begin_window(inst);
  const Saved saved = this->saved();
  define_in(index_, to);
  const u32 at = a_.position();
  load_xmm(to, in_window(access), bits);
  const u32 back = a_.position();
  cold_.push_back([=, this] {
    enter_slow_path(access, saved, at);
    slow_address(access);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(bits == 128 ? stubs_.load128 : stubs_.load);
    take_loaded_xmm(to, bits);
    leave_slow_path(access, saved, back);
  });
}

void Emitter::window_store_vector(const Inst& inst) {
  const unsigned bits = inst.lane;
  const u8 from = use(inst.args[1]);
  const WindowAccess access = begin_window(inst);
  const Saved saved = this->saved();
  const u32 at = a_.position();
  store_xmm(in_window(access), from, bits);
  const u32 back = a_.position();
  cold_.push_back([=, this] {
    enter_slow_path(access, saved, at);
    slow_address(access);
    a_.mov(a_.ecx, access.descriptor);
    slow_xmm(from, bits);
    a_.call_to(bits == 128 ? stubs_.store128 : stubs_.store);
    leave_slow_path(access, saved, back);
  });
}

// A store of a group. Where it faults, the first one does, before anything was stored; a later one only when
// another CPU has just made code of the page.
void Emitter::windowed_pointer_store(const Inst& inst) {
  const u8 pointer = use(inst.args[0]);
  const Ref data = inst.args[1];
  const Type type = type_of(data);
  const bool vector = in_xmm(type), immediate = !vector && where(data) == kNone && is_imm32(data);
  const u8 from = immediate ? kNone : use(data);
  const u32 value = immediate ? static_cast<u32>(imm32(data)) : 0;
  const unsigned bits = inst.lane;
  const Xbyak::RegExp where = r64(pointer) + static_cast<s32>(settings_.window + inst.imm);
  const Saved saved = this->saved();
  const u32 at = a_.position();
  if (vector) store_xmm(where, from, bits);
  else store_to(where, bits, from, value);
  const u32 back = a_.position();
  cold_.push_back([=, this, offset = static_cast<u32>(inst.imm)] {
    out_->faults.push_back({at, a_.position()});
    save(saved);
    a_.mov(a_.qword[a_.rsp + kArgsOffset], r64(pointer));
    if (vector) slow_xmm(from, bits);
    else if (immediate) slow_immediate(value, bits == 64 ? Type::I64 : Type::I32);
    else move(kRdx, from, Type::I64);
    a_.mov(a_.eax, a_.dword[a_.rsp + kArgsOffset]);
    a_.sub(a_.eax, a_.r14d);
    if (offset) a_.add(a_.eax, offset);
    a_.mov(a_.ecx, bits / 8);
    a_.call_to(bits == 128 ? stubs_.store128 : stubs_.store);
    restore(saved);
    a_.jump(back);
  });
}

// What is left of a group of one access: the alignment that it asks for.
void Emitter::check_single_group(const Inst& inst) {
  if (!(inst.aux & ir::kAligned)) return;
  Label& cold = new_cold_label();
  clobber_flags();
  const u8 address = use(inst.args[0]);
  const Saved saved = this->saved();
  a_.test(r8(address), 3);
  a_.jump(Cc::ne, cold);
  const u32 descriptor = static_cast<u32>(inst.imm) | static_cast<u32>(inst.aux) << 8;
  cold_.push_back([=, this, &cold, write = inst.op == Op::GroupWrite] {
    a_.bind(cold);
    save(saved);
    move(kRax, address, Type::I32);
    a_.mov(a_.ecx, descriptor);
    a_.call_to(write ? stubs_.group_write : stubs_.group_read);
    a_.ud2();  // it faults always
  });
}

void Emitter::single_access(const Inst& inst) {
  Inst access = inst;
  access.args[0] = this->inst(inst.args[0]).args[0];
  access.aux = 0;
  const bool vector = in_xmm(inst.op == Op::PtrLoad ? inst.type : type_of(inst.args[1]));
  if (inst.op == Op::PtrLoad) vector ? window_load_vector(access) : window_load(access);
  else vector ? window_store_vector(access) : window_store(access);
}

}  // namespace rhea::x64
