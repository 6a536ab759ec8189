// SPDX-License-Identifier: MIT
// Guest memory: the soft table's lookup inline, all else in a slow path.
#include <bit>

#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::StateHeader;

bool Emitter::emit_memory(const Inst& inst) {
  switch (inst.op) {
    case Op::Load: through_window(inst) ? window_load(inst) : load(inst); return true;
    case Op::Store: through_window(inst) ? window_store(inst) : store(inst); return true;
    case Op::LoadF:
    case Op::LoadV: through_window(inst) ? window_load_vector(inst) : load_vector(inst); return true;
    case Op::StoreF:
    case Op::StoreV: through_window(inst) ? window_store_vector(inst) : store_vector(inst); return true;
    case Op::GroupRead:
    case Op::GroupWrite: values_[index_].single ? check_single_group(inst) : group(inst); return true;
    case Op::GroupCommit:
      if (!values_[inst.args[0]].single) group_commit(inst);
      return true;
    case Op::CheckAligned: check_aligned(inst); return true;
    case Op::PtrLoad: values_[inst.args[0]].single ? single_access(inst) : pointer_load(inst); return true;
    case Op::PtrStore: values_[inst.args[0]].single ? single_access(inst) : pointer_store(inst); return true;
    case Op::LoadExclusive:
    case Op::StoreExclusive:
    case Op::ClearExclusive: exclusive(inst); return true;
    case Op::Fence:
      // With one CPU too: it shares rings with the devices' threads.
      clobber_flags();
      a_.lock();
      a_.or_(a_.dword[a_.rsp], 0);
      return true;
    default: return false;
  }
}

Label& Emitter::new_cold_label() {
  cold_labels_.emplace_back();
  return cold_labels_.back();
}

u32 Emitter::slow_access(unsigned bytes, u8 flags, bool write) const {
  const unsigned log = static_cast<unsigned>(std::countr_zero(bytes));
  if (!(flags & (ir::kAligned | ir::kBigEndian | ir::kUserAccess))) {
    return write ? stubs_.store_misaligned[log] : stubs_.load_misaligned[log];
  }
  if (bytes == 16) return write ? stubs_.store128 : stubs_.load128;
  return write ? stubs_.store : stubs_.load;
}

void Emitter::set_location(u64 location, u32 ahead) {
  if (settings_.icount) a_.mov(dword_state(offsetof(StateHeader, ahead)), ahead);
  constexpr u32 kOffset = offsetof(StateHeader, location);
  if (location == static_cast<u64>(static_cast<s64>(static_cast<s32>(location)))) {
    a_.mov(qword_state(kOffset), static_cast<u32>(location));
  } else {
    a_.mov(dword_state(kOffset), static_cast<u32>(location));
    a_.mov(dword_state(kOffset + 4), static_cast<u32>(location >> 32));
  }
}

static Mem saved_gpr(unsigned index) {
  return {.base = kRsp, .bits = 64, .displacement = kSaveOffset + 8 * static_cast<s32>(index)};
}
static Mem saved_xmm(u8 reg) { return {.base = kRsp, .bits = 128, .displacement = kSaveOffset + 32 + 16 * reg}; }

void Emitter::save_temps(const Saved& saved) {
  for (unsigned i = 0; i < kTemps.size(); i++) {
    if (saved.gprs >> kTemps[i] & 1) a_.mov(saved_gpr(i), r64(kTemps[i]));
  }
  for (u8 reg = 0; reg < kXmmTemps; reg++) {
    if (saved.xmms >> reg & 1) a_.movaps(saved_xmm(reg), xmm(reg));
  }
}

void Emitter::restore_temps(const Saved& saved) {
  for (unsigned i = 0; i < kTemps.size(); i++) {
    if (saved.gprs >> kTemps[i] & 1) a_.mov(r64(kTemps[i]), saved_gpr(i));
  }
  for (u8 reg = 0; reg < kXmmTemps; reg++) {
    if (saved.xmms >> reg & 1) a_.movaps(xmm(reg), saved_xmm(reg));
  }
}

// Before and after a call that may raise a fault.
void Emitter::save(const Saved& saved) {
  if (saved.fp != FpClass::ieee) write_fp_class(saved.fp, FpClass::ieee, 0);
  save_temps(saved);
  set_location(saved.location, saved.ahead);
}

void Emitter::restore(const Saved& saved) {
  restore_temps(saved);
  if (saved.fp != FpClass::ieee) write_fp_class(FpClass::ieee, saved.fp, saved.fp_mode);
}

// The lookup: afterwards [entry + address] is the data.
Emitter::Access Emitter::begin_access(Ref address, unsigned bytes, u8 flags, bool write) {
  Access access;
  access.descriptor = bytes | static_cast<u32>(flags) << 8;
  access.cold = &new_cold_label();
  clobber_flags();
  access.address = use(address);
  access.entry = take();
  if (!settings_.tables) {
    a_.jump(*access.cold);
    return access;
  }
  a_.mov(r32(access.entry), r32(access.address));
  a_.shr(r32(access.entry), 12);
  const s32 table = write ? static_cast<s32>(settings_.write_table) : 0;
  if (flags & ir::kUserAccess) {
    // No register for the table's address: a store that swaps bytes needs all there are.
    a_.shl(r64(access.entry), 3);
    a_.add(r64(access.entry), qword_state(offsetof(StateHeader, user_read_table)));
    a_.mov(r64(access.entry), a_.qword[r64(access.entry) + table]);
  } else {
    a_.mov(r64(access.entry), a_.qword[a_.r14 + r64(access.entry) * 8 + table]);
  }
  a_.test(r64(access.entry), r64(access.entry));
  a_.jump(Cc::e, *access.cold);
  if (bytes > 1) {
    a_.test(r8(access.address), static_cast<u8>(bytes - 1));
    a_.jump(Cc::ne, *access.cold);
  }
  return access;
}

// ---- what every kind of access does with its data ----------------------------------------------------------------
void Emitter::load_from(u8 to, const Mem& where, unsigned bits, bool is_signed, Type type) {
  const Mem from = where.of(bits);
  if (bits < 32) {
    if (is_signed) a_.movsx(rt(to, type), from);
    else a_.movzx(r32(to), from);
  } else if (bits == 32 && is_signed && type == Type::I64) {
    a_.movsxd(r64(to), from);
  } else if (bits == 32) {
    a_.mov(r32(to), from);
  } else {
    a_.mov(r64(to), from);
  }
}

// A register, or where that is kNone a constant (of 64 bits: its sign-extended low half).
void Emitter::store_to(const Mem& where, unsigned bits, u8 from, u32 value) {
  const Mem to = where.of(bits);
  if (from == kNone) {
    a_.mov(to, bits < 32 ? value & ((1u << bits) - 1) : value);
    return;
  }
  switch (bits) {
    case 8: a_.mov(to, r8(from)); break;
    case 16: a_.mov(to, r16(from)); break;
    case 32: a_.mov(to, r32(from)); break;
    default: a_.mov(to, r64(from)); break;
  }
}

void Emitter::load_xmm(u8 to, const Mem& where, unsigned bits) {
  if (bits == 32) a_.movd(xmm(to), where.of(32));
  else if (bits == 64) a_.movq(xmm(to), where.of(64));
  else a_.movups(xmm(to), where.of(128));
}

void Emitter::store_xmm(const Mem& where, u8 from, unsigned bits) {
  if (bits == 32) a_.movd(where.of(32), xmm(from));
  else if (bits == 64) a_.movq(where.of(64), xmm(from));
  else a_.movups(where.of(128), xmm(from));
}

// What a slow load left in rax (and rdx).
void Emitter::take_loaded(u8 to, unsigned bits, bool is_signed, Type type) {
  if (is_signed && bits < (type == Type::I64 ? 64 : 32)) {
    if (bits == 8) a_.movsx(rt(to, type), a_.al);
    else if (bits == 16) a_.movsx(rt(to, type), a_.ax);
    else a_.movsxd(r64(to), a_.eax);
  } else {
    move(to, kRax, type);
  }
}

void Emitter::take_loaded_xmm(u8 to, unsigned bits) {
  if (bits == 32) a_.movd(xmm(to), a_.eax);
  else a_.movq(xmm(to), a_.rax);
  if (bits == 128) a_.pinsrq(xmm(to), a_.rdx, 1);
}

// rax = address; rdx = data, unless that is kNone: whichever way round they are.
void Emitter::slow_arguments(u8 address, u8 data) {
  if (data == kRax && address == kRdx) {
    a_.xchg(a_.rax, a_.rdx);
  } else if (data == kRax) {
    a_.mov(a_.rdx, a_.rax);
    move(kRax, address, Type::I32);
  } else {
    move(kRax, address, Type::I32);
    if (data != kNone) move(kRdx, data, Type::I64);
  }
}

void Emitter::slow_immediate(u32 value, Type type) {
  if (type == Type::I64) a_.mov(a_.rdx, static_cast<s32>(value));
  else a_.mov(a_.edx, value);
}

void Emitter::slow_xmm(u8 from, unsigned bits) {
  if (bits == 32) a_.movd(a_.edx, xmm(from));
  else a_.movq(a_.rdx, xmm(from));
  if (bits == 128) a_.pextrq(a_.r11, xmm(from), 1);
}

void Emitter::load(const Inst& inst) {
  const unsigned bits = inst.lane, bytes = bits / 8;
  const bool is_signed = inst.aux & ir::kSigned, swap = inst.aux & ir::kBigEndian && bytes > 1;
  const Access access = begin_access(inst.args[0], bytes, inst.aux, false);
  Saved saved = this->saved();
  const Mem where = {.base = access.entry, .index = access.address};
  const u8 to = define_at(index_, access.entry);
  const Type type = inst.type;
  if (!swap) {
    load_from(to, where, bits, is_signed, type);
  } else if (bits == 16) {
    a_.movzx(r32(to), where.of(16));
    a_.rol(r16(to), 8);
    if (is_signed) a_.movsx(rt(to, type), r16(to));
  } else if (bits == 32) {
    a_.mov(r32(to), where.of(32));
    a_.bswap(r32(to));
    if (is_signed && type == Type::I64) a_.movsxd(r64(to), r32(to));
  } else {
    a_.mov(r64(to), where.of(64));
    a_.bswap(r64(to));
  }
  const u32 back = a_.position();
  cold_.push([=, this, flags = inst.aux] {
    a_.bind(*access.cold);
    save(saved);
    move(kRax, access.address, Type::I32);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(slow_access(bytes, flags, false));
    take_loaded(to, bits, is_signed, type);
    restore(saved);
    a_.jump(back);
  });
}

void Emitter::store(const Inst& inst) {
  const unsigned bits = inst.lane, bytes = bits / 8;
  const bool swap = inst.aux & ir::kBigEndian && bytes > 1;
  const Ref data = inst.args[1];
  if (!is_constant(data) || swap || !is_imm32(data)) use(data);
  const u8 swapped = swap ? take() : kNone;  // before the way parts: see load_vector
  const Access access = begin_access(inst.args[0], bytes, inst.aux, true);
  const Mem where = {.base = access.entry, .index = access.address};
  const bool immediate = this->where(data) == kNone;
  const u8 from = immediate ? kNone : use(data);
  const u32 value = immediate ? static_cast<u32>(imm32(data)) : 0;
  const Type type = inst.type;
  if (swap) {
    a_.mov(r64(swapped), r64(from));
    if (bits == 16) a_.rol(r16(swapped), 8);
    else if (bits == 32) a_.bswap(r32(swapped));
    else a_.bswap(r64(swapped));
    if (bits == 16) a_.mov(where.of(16), r16(swapped));
    else if (bits == 32) a_.mov(where.of(32), r32(swapped));
    else a_.mov(where.of(64), r64(swapped));
  } else {
    store_to(where, bits, from, value);
  }
  const Saved saved = this->saved();
  const u32 back = a_.position();
  cold_.push([=, this, flags = inst.aux] {
    a_.bind(*access.cold);
    save(saved);
    slow_arguments(access.address, from);
    if (immediate) slow_immediate(value, type);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(slow_access(bytes, flags, true));
    restore(saved);
    a_.jump(back);
  });
}

void Emitter::load_vector(const Inst& inst) {
  const unsigned bits = inst.lane, bytes = bits / 8;
  const bool swap = inst.aux & ir::kBigEndian;
  // Registers are made free before the way parts: what is spilled after that would be lost on the slow one.
  const u8 to = take_xmm();
  const Access access = begin_access(inst.args[0], bytes, inst.aux, false);
  const Saved saved = this->saved();
  const Mem where = {.base = access.entry, .index = access.address};
  define_in(index_, to);
  if (swap) a_.jump(*access.cold);
  else load_xmm(to, where, bits);
  const u32 back = a_.position();
  cold_.push([=, this, flags = inst.aux] {
    a_.bind(*access.cold);
    save(saved);
    move(kRax, access.address, Type::I32);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(slow_access(bytes, flags, false));
    take_loaded_xmm(to, bits);
    restore(saved);
    a_.jump(back);
  });
}

void Emitter::store_vector(const Inst& inst) {
  const unsigned bits = inst.lane, bytes = bits / 8;
  const bool swap = inst.aux & ir::kBigEndian;
  const u8 from = use(inst.args[1]);
  const Access access = begin_access(inst.args[0], bytes, inst.aux, true);
  const Saved saved = this->saved();
  const Mem where = {.base = access.entry, .index = access.address};
  if (swap) a_.jump(*access.cold);
  else store_xmm(where, from, bits);
  const u32 back = a_.position();
  cold_.push([=, this, flags = inst.aux] {
    a_.bind(*access.cold);
    save(saved);
    move(kRax, access.address, Type::I32);
    a_.mov(a_.ecx, access.descriptor);
    slow_xmm(from, bits);
    a_.call_to(slow_access(bytes, flags, true));
    restore(saved);
    a_.jump(back);
  });
}

// One lookup for a run: within a page, of aligned words.
void Emitter::group(const Inst& inst) {
  const bool write = inst.op == Op::GroupWrite;
  const unsigned bytes = static_cast<unsigned>(inst.imm);
  Label& cold = new_cold_label();
  clobber_flags();
  const u8 address = use(inst.args[0]);
  const u8 entry = take();
  const Saved saved = this->saved();
  const bool window = through_window_as_group(inst);
  values_[index_].windowed = window;
  u32 touched = 0;
  if (!settings_.tables || inst.aux & ir::kBigEndian) {
    a_.jump(cold);
  } else {
    u8 table = kR14;
    if (inst.aux & ir::kUserAccess) {
      table = take();
      a_.mov(r64(table), qword_state(offsetof(StateHeader, user_read_table)));
    }
    if (!(inst.aux & ir::kAligned)) {
      // Any address is good that leaves room in its page.
      a_.mov(r32(entry), r32(address));
      a_.alu(Alu::and_, r32(entry), 0xfff);
      a_.cmp(r32(entry), 4096 - bytes);
    } else {
      // Misaligned bits on top, the word's number in the page below: one comparison for both.
      if (settings_.features & kBmi2) {
        a_.rorx(r32(entry), r32(address), 2);
      } else {
        a_.mov(r32(entry), r32(address));
        a_.ror(r32(entry), 2);
      }
      a_.alu(Alu::and_, r32(entry), 0xc00003ff);
      a_.cmp(r32(entry), (4096 - bytes) / 4);
    }
    a_.jump(Cc::a, cold);
    if (window) {
      // A read looks at its first byte: what is in the same page is there then. Stores look themselves.
      touched = a_.position();
      if (!write) a_.cmp(a_.byte[a_.r14 + r64(address) + static_cast<s32>(settings_.window)], a_.al);
      a_.lea(r64(entry), Mem{.base = kR14, .index = address});
    } else {
      a_.mov(r32(entry), r32(address));
      a_.shr(r32(entry), 12);
      a_.mov(r64(entry), a_.qword[r64(table) + r64(entry) * 8 + (write ? settings_.write_table : 0)]);
      a_.test(r64(entry), r64(entry));
      a_.jump(Cc::e, cold);
      a_.alu(Alu::add, r64(entry), r64(address));
    }
  }
  const u8 to = define_in(index_, entry);
  const u32 descriptor = bytes | static_cast<u32>(inst.aux) << 8;
  const u32 back = a_.position();
  cold_.push([=, this, &cold] {
    a_.bind(cold);
    if (window && !write) out_->faults.push_back({touched, a_.position()});
    save(saved);
    move(kRax, address, Type::I32);
    a_.mov(a_.ecx, descriptor);
    a_.call_to(write ? stubs_.group_write : stubs_.group_read);
    if (window) a_.lea(r64(to), a_.ptr[a_.rax - static_cast<s32>(settings_.window)]);
    else move(to, kRax, Type::I64);
    if (write) a_.mov(dword_state(offsetof(StateHeader, insns_left)), 1);
    restore(saved);
    a_.jump(back);
  });
}

void Emitter::check_aligned(const Inst& inst) {
  Label& cold = new_cold_label();
  clobber_flags();
  const u8 address = use(inst.args[0]);
  const Saved saved = this->saved();
  a_.test(r8(address), inst.lane - 1u);
  a_.jump(Cc::ne, cold);
  cold_.push([=, this, &cold] {
    a_.bind(cold);
    save(saved);
    move(kRax, address, Type::I32);
    a_.mov(a_.ecx, inst.aux);
    a_.call_to(stubs_.helpers[inst.imm]);
    a_.ud2();  // it faults always
  });
}

// A pointer that did not come from the tables may be one into the bounce buffer is written out.
void Emitter::group_commit(const Inst& inst) {
  constexpr u32 kPending = offsetof(StateHeader, insns_left);
  Label& cold = new_cold_label();
  clobber_flags();
  const u8 pointer = use(inst.args[0]);
  const s32 bias = group_bias(inst.args[0]);
  const Saved saved = this->saved();
  a_.cmp(dword_state(kPending), 0);
  a_.jump(Cc::ne, cold);
  const u32 back = a_.position();
  cold_.push([=, this, &cold] {
    a_.bind(cold);
    save(saved);
    a_.mov(dword_state(kPending), 0);
    if (bias) a_.lea(a_.rax, a_.ptr[r64(pointer) + bias]);
    else move(kRax, pointer, Type::I64);
    a_.call_to(stubs_.group_commit);
    restore(saved);
    a_.jump(back);
  });
}

void Emitter::pointer_load(const Inst& inst) {
  const u8 pointer = use(inst.args[0]);
  const Mem where = {.base = pointer, .displacement = group_bias(inst.args[0]) + static_cast<s32>(inst.imm)};
  const u8 to = define(index_);
  if (in_xmm(inst.type)) load_xmm(to, where, inst.lane);
  else load_from(to, where, inst.lane, false, inst.type);
}

void Emitter::pointer_store(const Inst& inst) {
  if (values_[inst.args[0]].windowed) {
    windowed_pointer_store(inst);
    return;
  }
  const u8 pointer = use(inst.args[0]);
  const Ref data = inst.args[1];
  const Mem where = {.base = pointer, .displacement = static_cast<s32>(inst.imm)};
  const bool vector = in_xmm(type_of(data));
  if (!vector && this->where(data) == kNone && is_imm32(data)) {
    store_to(where, inst.lane, kNone, static_cast<u32>(imm32(data)));
    return;
  }
  const u8 from = use(data);
  if (vector) store_xmm(where, from, inst.lane);
  else store_to(where, inst.lane, from, 0);
}

void Emitter::exclusive(const Inst& inst) {
  const bool window = windowed_ && !(inst.aux & (ir::kUserAccess | ir::kBigEndian));
  switch (inst.op) {
    case Op::ClearExclusive: a_.mov(qword_state(offsetof(StateHeader, exclusive_address)), ~0u); return;
    case Op::LoadExclusive: window ? window_load_exclusive(inst) : load_exclusive(inst); return;
    default: window ? window_store_exclusive(inst) : store_exclusive(inst); return;
  }
}

// A load that leaves address, value and size for the store to come.
void Emitter::load_exclusive(const Inst& inst) {
  const unsigned bytes = inst.lane / 8u;
  const Access access = begin_access(inst.args[0], bytes, inst.aux, false);
  const Saved saved = this->saved();
  const u8 to = define_at(index_, access.entry);
  if (inst.aux & ir::kBigEndian) a_.jump(*access.cold);
  // Before the data replaces it: the address may have been in the same pin.
  a_.mov(qword_state(offsetof(StateHeader, exclusive_address)), r64(access.address));
  load_from(to, {.base = access.entry, .index = access.address}, inst.lane, false, inst.type);
  arm_exclusive(to, bytes);
  const u32 back = a_.position();
  cold_.push([=, this, type = inst.type] {
    a_.bind(*access.cold);
    save(saved);
    move(kRax, access.address, Type::I32);
    a_.mov(a_.ecx, access.descriptor);
    a_.call_to(stubs_.load_exclusive);
    move(to, kRax, type);
    restore(saved);
    a_.jump(back);
  });
}

// What the store will look at, besides the address.
void Emitter::arm_exclusive(u8 loaded, unsigned bytes) {
  a_.mov(qword_state(offsetof(StateHeader, exclusive_value)), r64(loaded));
  a_.mov(dword_state(offsetof(StateHeader, exclusive_size)), bytes);
}

void Emitter::check_armed(u8 address, unsigned bytes, Label& cold) {
  a_.cmp(r64(address), qword_state(offsetof(StateHeader, exclusive_address)));
  a_.jump(Cc::ne, cold);
  a_.cmp(dword_state(offsetof(StateHeader, exclusive_size)), bytes);
  a_.jump(Cc::ne, cold);
}

// Compared with what the load saw, which rax has, and exchanged, in one host instruction. The result's register.
u8 Emitter::exchange(const Inst& inst, const Mem& where, u8 value) {
  if (!settings_.lone) a_.lock();
  switch (inst.lane) {
    case 8: a_.cmpxchg(where.of(8), r8(value)); break;
    case 16: a_.cmpxchg(where.of(16), r16(value)); break;
    case 32: a_.cmpxchg(where.of(32), r32(value)); break;
    default: a_.cmpxchg(where.of(64), r64(value)); break;
  }
  a_.mov(qword_state(offsetof(StateHeader, exclusive_address)), ~0u);
  a_.setne(a_.al);
  a_.movzx(a_.eax, a_.al);
  return define_at(index_, kRax);
}

// Not armed, or not in the table: out of line.
void Emitter::store_exclusive(const Inst& inst) {
  const unsigned bytes = inst.lane / 8u;
  const Ref pair = values_[index_].pair;
  Label& cold = new_cold_label();
  clobber_flags();
  take(kRax);
  if (pair != kNoRef) use_in(pair, kRax);
  const u8 address = use(inst.args[0]), value = use(inst.args[1]);
  const u8 entry = take();
  const Saved saved = this->saved();
  u8 to;
  if (!settings_.tables || inst.aux & (ir::kBigEndian | ir::kUserAccess)) {
    a_.jump(cold);
    to = define_at(index_, kRax);
  } else {
    if (pair == kNoRef) check_armed(address, bytes, cold);
    a_.mov(r32(entry), r32(address));
    a_.shr(r32(entry), 12);
    a_.mov(r64(entry), a_.qword[a_.r14 + r64(entry) * 8 + static_cast<s32>(settings_.write_table)]);
    a_.test(r64(entry), r64(entry));
    a_.jump(Cc::e, cold);
    if (pair == kNoRef) a_.mov(a_.rax, qword_state(offsetof(StateHeader, exclusive_value)));
    to = exchange(inst, {.base = entry, .index = address}, value);
  }
  const u32 back = a_.position();
  if (to != kRax) move(to, kRax, Type::I32);
  const u32 descriptor = bytes | static_cast<u32>(inst.aux) << 8;
  cold_.push([=, this, &cold] {
    a_.bind(cold);
    save(saved);
    move(kRax, address, Type::I32);
    move(kRdx, value, Type::I64);
    a_.mov(a_.ecx, descriptor);
    a_.call_to(stubs_.store_exclusive);
    restore(saved);
    a_.jump(back);
  });
}

}  // namespace rhea::x64
