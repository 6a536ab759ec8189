// SPDX-License-Identifier: MIT
// Accesses through a window: one instruction, which faults on the host where the page is not there. Then it goes on in
// its slow path (FaultSite), as if it had not begun: a call with data behind it (WindowPath), which keeps EFLAGS.
#include <bit>

#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::StateHeader;

Emitter::WindowAccess Emitter::begin_window(const Inst& inst) {
  WindowAccess access;
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
  return access;
}

Mem Emitter::in_window(const WindowAccess& access) const {
  const s32 displacement = static_cast<s32>(settings_.window + access.displacement);
  if (access.address == kNone) return {.base = kR14, .displacement = displacement};
  return {.base = kR14, .index = access.address, .displacement = displacement};
}

// How an access is made that faults, whose instruction is emitted next. end_window() once it is.
Emitter::WindowSite& Emitter::window_site(const WindowAccess& access, u32 bytes, u8 how) {
  WindowSite& site = window_sites_.emplace_back();
  site.at = a_.position();
  WindowPath& path = site.path;
  path.location_low = static_cast<u32>(location_);
  path.location_high = static_cast<u32>(location_ >> 32);
  path.displacement = access.displacement;
  path.address = access.address;
  path.how = how | static_cast<u8>(std::countr_zero(bytes));
  path.flags = stale_ | static_cast<u8>(static_cast<u8>(fp_class_) << WindowPath::kClassShift);
  if (stale_ & ir::kFlagC && carry_inverted_) path.flags |= WindowPath::kCarryInverted;
  path.ahead = static_cast<u16>(settings_.icount ? ahead_ : 0);
  return site;
}

// A register or, where that is kNone, a constant.
void Emitter::window_data(WindowSite& site, u8 from, u32 value, bool wide) {
  site.path.data = from;
  if (from != kNone) return;
  site.path.how |= WindowPath::kConstant | (wide ? WindowPath::kWide : u8{0});
  site.constant = value;
}

// Behind the cold code: one call for each access, and what its function needs to know.
bool Emitter::write_window_paths(u32 end) {
  for (WindowSite& site : window_sites_) {
    if (a_.position() + 64 > end) return false;
    if (site.entry) a_.bind(*site.entry);
    out_->faults.push_back({site.at, a_.position()});
    a_.call_to(stubs_.window_path);
    site.path.back = static_cast<s32>(site.back - (a_.position() + sizeof(site.path.back)));
    a_.put(site.path);
    if (site.path.how & WindowPath::kConstant) a_.put(site.constant);
  }
  return true;
}

void Emitter::window_load(const Inst& inst) {
  const unsigned bits = inst.lane;
  const WindowAccess access = begin_window(inst);
  const u8 to = define(index_);
  WindowSite& site = window_site(access, bits / 8, inst.type == Type::I64 ? WindowPath::kWide : 0);
  site.path.data = to;
  site.path.access = inst.aux;
  load_from(to, in_window(access), bits, inst.aux & ir::kSigned, inst.type);
  site.back = a_.position();
}

void Emitter::window_store(const Inst& inst) {
  const unsigned bits = inst.lane;
  const Ref data = inst.args[1];
  if (!is_constant(data) || !is_imm32(data)) use(data);
  const WindowAccess access = begin_window(inst);
  const bool immediate = where(data) == kNone;
  const u8 from = immediate ? kNone : use(data);
  const u32 value = immediate ? static_cast<u32>(imm32(data)) : 0;
  WindowSite& site = window_site(access, bits / 8, WindowPath::kStore);
  window_data(site, from, value, bits == 64);
  site.path.access = inst.aux;
  store_to(in_window(access), bits, from, value);
  site.back = a_.position();
}

void Emitter::window_load_vector(const Inst& inst) {
  const unsigned bits = inst.lane;
  const u8 to = take_xmm();
  const WindowAccess access = begin_window(inst);
  define_in(index_, to);
  WindowSite& site = window_site(access, bits / 8, WindowPath::kVector);
  site.path.data = to;
  site.path.access = inst.aux;
  load_xmm(to, in_window(access), bits);
  site.back = a_.position();
}

void Emitter::window_store_vector(const Inst& inst) {
  const unsigned bits = inst.lane;
  const u8 from = use(inst.args[1]);
  const WindowAccess access = begin_window(inst);
  WindowSite& site = window_site(access, bits / 8, WindowPath::kStore | WindowPath::kVector);
  site.path.data = from;
  site.path.access = inst.aux;
  store_xmm(in_window(access), from, bits);
  site.back = a_.position();
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
  const Mem where = {.base = pointer, .displacement = static_cast<s32>(settings_.window + inst.imm)};
  const WindowAccess access = {pointer, static_cast<u32>(inst.imm)};
  WindowSite& site = window_site(access, bits / 8, WindowPath::kStore | WindowPath::kPointer);
  if (vector) site.path.how |= WindowPath::kVector;
  window_data(site, from, value, bits == 64);
  if (vector) store_xmm(where, from, bits);
  else store_to(where, bits, from, value);
  site.back = a_.position();
}

// Exclusives always check their alignment. Misaligned, or not armed: the slow path, as where they fault.
void Emitter::window_load_exclusive(const Inst& inst) {
  const unsigned bytes = inst.lane / 8u;
  clobber_flags();
  const WindowAccess access = {.address = use(inst.args[0])};
  const u8 to = define_apart(index_, {access.address});
  Label& cold = new_cold_label();
  if (bytes > 1) {
    a_.test(r8(access.address), bytes - 1);
    a_.jump(Cc::ne, cold);
  }
  WindowSite& site = window_site(access, bytes, inst.type == Type::I64 ? WindowPath::kWide : 0);
  site.path.flags |= WindowPath::kExclusive;
  site.path.data = to;
  site.path.access = inst.aux;
  site.entry = &cold;
  load_from(to, in_window(access), inst.lane, false, inst.type);
  a_.mov(qword_state(offsetof(StateHeader, exclusive_address)), r64(access.address));
  arm_exclusive(to, bytes);
  site.back = a_.position();
}

void Emitter::window_store_exclusive(const Inst& inst) {
  const unsigned bytes = inst.lane / 8u;
  const Ref pair = values_[index_].pair;
  clobber_flags();
  take(kRax);
  if (pair != kNoRef) use_in(pair, kRax);
  const u8 value = use(inst.args[1]);
  const WindowAccess access = {.address = use(inst.args[0])};
  Label& cold = new_cold_label();
  if (pair == kNoRef) {
    check_armed(access.address, bytes, cold);
    a_.mov(a_.rax, qword_state(offsetof(StateHeader, exclusive_value)));
  }
  WindowSite& site = window_site(access, bytes, WindowPath::kStore);
  site.path.flags |= WindowPath::kExclusive;
  site.path.data = value;
  site.path.access = inst.aux;
  site.entry = &cold;
  const u8 to = exchange(inst, in_window(access), value);
  site.path.result = kRax;
  site.back = a_.position();
  if (to != kRax) move(to, kRax, Type::I32);
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
  cold_.push([=, this, &cold, write = inst.op == Op::GroupWrite] {
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
