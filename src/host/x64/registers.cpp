// SPDX-License-Identifier: MIT
// Where values are: temps, pins, homes. Nothing here makes code that changes EFLAGS.
#include <algorithm>

#include "host/x64/emitter.h"

namespace rhea::x64 {

FloatPins::FloatPins(const Settings& settings) {
  if (!settings.pin || !settings.inline_fp || !(settings.features & kAvx512)) return;
  const auto is_pin = [&](u32 at) {
    return std::any_of(settings.layout.pins.begin(), settings.layout.pins.end(),
                       [&](const ir::Pin& pin) { return pin.type == Type::V128 && pin.offset == at; });
  };
  offset = ~0u;
  for (const ir::Pin& pin : settings.layout.pins) {
    if (pin.type == Type::V128) offset = std::min(offset, pin.offset);
  }
  while (count < 16 && is_pin(offset + 8 * count)) count += 2;
}

int Emitter::pin_at(u32 offset) const {
  if (offset < pin_low_ || offset >= pin_high_) return -1;
  for (usize i = 0; i < pin_offsets_.size(); i++) {
    if (pin_offsets_[i] == offset) return static_cast<int>(i);
  }
  return -1;
}

bool Emitter::touches_pins(u32 offset, u32 size) const {
  if (offset >= pin_high_ || offset + size <= pin_low_) return false;
  return std::any_of(pin_offsets_.begin(), pin_offsets_.end(),
                     [&](u32 pin) { return offset < pin + 4 && pin < offset + size; });
}

void Emitter::store_pins(u32 offset, u32 size) {
  for (usize i = 0; i < pin_offsets_.size(); i++) {
    if (offset < pin_offsets_[i] + 4 && pin_offsets_[i] < offset + size) {
      a_.mov(dword_state(pin_offsets_[i]), r32(kPinRegs[i]));
    }
  }
}

void Emitter::load_pins(u32 offset, u32 size) {
  for (usize i = 0; i < pin_offsets_.size(); i++) {
    if (offset < pin_offsets_[i] + 4 && pin_offsets_[i] < offset + size) {
      a_.mov(r32(kPinRegs[i]), dword_state(pin_offsets_[i]));
    }
  }
}

bool Emitter::is_imm32(Ref ref) const {
  if (!is_constant(ref)) return false;
  if (type_of(ref) == Type::I32) return true;
  const s64 value = static_cast<s64>(constant(ref));
  return value == static_cast<s32>(value);
}

u8 Emitter::where(Ref ref) const {
  const Value& value = values_[ref];
  if (value.reg != kNone) return value.reg;
  if (value.home == Home::pin) return kPinRegs[value.data];
  return kNone;
}

u32 Emitter::allocate_spill() {
  for (usize i = 0; i < spills_.size(); i++) {
    if (~spills_[i]) {
      const unsigned bit = static_cast<unsigned>(std::countr_one(spills_[i]));
      spills_[i] |= u64{1} << bit;
      return static_cast<u32>(i * 64 + bit);
    }
  }
  failed_ = true;
  return 0;
}

void Emitter::spill(Ref ref) {
  Value& value = values_[ref];
  const u32 slot = allocate_spill();
  const u8 reg = where(ref);
  if (is_vector(ref)) {
    a_.movaps(spill_at(slot).of(128), xmm(reg));
  } else {
    a_.mov(spill_at(slot).of(64), r64(reg));
  }
  value.home = Home::spill;
  value.data = slot;
}

void Emitter::evict(u8 reg) {
  const Ref ref = owner_[reg];
  if (ref == kNoRef) return;
  owner_[reg] = kNoRef;
  Value& value = values_[ref];
  if (value.home == Home::none && value.last_use >= index_) spill(ref);
  value.reg = kNone;
}

void Emitter::evict_xmm(u8 reg) {
  const Ref ref = owner_xmm_[reg];
  if (ref == kNoRef) return;
  owner_xmm_[reg] = kNoRef;
  Value& value = values_[ref];
  if (value.home == Home::none && value.last_use >= index_) spill(ref);
  value.reg = kNone;
}

u8 Emitter::take() {
  u8 best = kNone;
  unsigned best_score = 0;
  for (const u8 reg : kTemps) {
    if (locked_ >> reg & 1) continue;
    if (owner_[reg] == kNoRef) {
      best = reg;
      break;
    }
    const Value& value = values_[owner_[reg]];
    const unsigned score = value.last_use + (value.home != Home::none ? 0x20000u : 1u);
    if (score > best_score) {
      best_score = score;
      best = reg;
    }
  }
  if (best == kNone) {
    failed_ = true;
    return kRax;
  }
  evict(best);
  lock(best);
  return best;
}

void Emitter::take(u8 reg) {
  const Ref ref = owner_[reg];
  if (ref != kNoRef && values_[ref].last_use >= index_) {
    // Move it to a free temp rather than to memory.
    for (const u8 other : kTemps) {
      if (other == reg || owner_[other] != kNoRef || locked_ >> other & 1) continue;
      a_.mov(r64(other), r64(reg));
      owner_[other] = ref;
      values_[ref].reg = other;
      owner_[reg] = kNoRef;
      if (locked_ >> reg & 1) lock(other);
      break;
    }
  }
  evict(reg);
  lock(reg);
}

u8 Emitter::take_xmm() {
  u8 best = kNone;
  unsigned best_score = 0;
  for (u8 reg = 0; reg < kXmmTemps; reg++) {
    if (locked_xmm_ >> reg & 1) continue;
    if (owner_xmm_[reg] == kNoRef) {
      best = reg;
      break;
    }
    const Value& value = values_[owner_xmm_[reg]];
    const unsigned score = value.last_use + (value.home != Home::none ? 0x20000u : 1u);
    if (score > best_score) {
      best_score = score;
      best = reg;
    }
  }
  if (best == kNone) {
    failed_ = true;
    return 0;
  }
  evict_xmm(best);
  lock_xmm(best);
  return best;
}

void Emitter::load_constant(u8 reg, u64 value, Type type) {
  if (type == Type::I32) value = static_cast<u32>(value);
  if (value == 0 && !keep_eflags_ && host_flags_ == 0 && flags_of_ == kNoRef) {
    a_.xor_(r32(reg), r32(reg));
  } else if (value <= 0xffffffff) {
    a_.mov(r32(reg), static_cast<u32>(value));
  } else {
    a_.mov(r64(reg), value);
  }
}

void Emitter::move(u8 to, u8 from, Type type) {
  if (to != from) a_.mov(rt(to, type), rt(from, type));
}

void Emitter::move_xmm(u8 to, u8 from) {
  if (to == from) return;
  if (settings_.features & kAvx) a_.vmovaps(xmm(to), xmm(from));
  else a_.movaps(xmm(to), xmm(from));
}

void Emitter::load_value(u8 reg, u32 offset, Type type) {
  if ((type == Type::F64 || type == Type::F32) && float_pins_.touch(offset, 1)) {
    if ((offset - float_pins_.offset) & 4) a_.vmovshdup(xmm(reg), float_pins_.copy(offset));
    else a_.vmovaps(xmm(reg), float_pins_.copy(offset));
    return;
  }
  switch (type) {
    case Type::I32: a_.mov(r32(reg), dword_state(offset)); break;
    case Type::I64: a_.mov(r64(reg), qword_state(offset)); break;
    case Type::F32: a_.movss(xmm(reg), dword_state(offset)); break;
    case Type::F64:
    case Type::V64: a_.movq(xmm(reg), qword_state(offset)); break;
    case Type::V128: a_.movups(xmm(reg), xword_state(offset)); break;
    default: break;
  }
}

u8 Emitter::use(Ref ref) {
  Value& value = values_[ref];
  if (value.home == Home::condition || value.home == Home::carry) materialize(ref);
  if (const u8 reg = where(ref); reg != kNone) {
    if (is_vector(ref)) lock_xmm(reg);
    else lock(reg);
    return reg;
  }
  if (is_vector(ref)) {
    const u8 reg = take_xmm();
    if (value.home == Home::spill) a_.movaps(xmm(reg), spill_at(value.data).of(128));
    else load_value(reg, value.data, type_of(ref));
    owner_xmm_[reg] = ref;
    value.reg = reg;
    return reg;
  }
  const u8 reg = take();
  use_in(ref, reg);
  owner_[reg] = ref;
  value.reg = reg;
  return reg;
}

void Emitter::use_in(Ref ref, u8 reg) {
  Value& value = values_[ref];
  if (value.home == Home::condition || value.home == Home::carry) materialize(ref);
  const Type type = type_of(ref);
  if (const u8 from = where(ref); from != kNone) {
    move(reg, from, type);
    return;
  }
  switch (value.home) {
    case Home::constant: load_constant(reg, constant(ref), type); break;
    case Home::slot: load_value(reg, value.data, type); break;
    case Home::spill: a_.mov(rt(reg, type), spill_at(value.data)); break;
    default: failed_ = true; break;
  }
}

u8 Emitter::define(Ref ref) {
  Value& value = values_[ref];
  if (is_vector(ref)) {
    const u8 reg = take_xmm();
    owner_xmm_[reg] = ref;
    value.reg = reg;
    return reg;
  }
  if (value.target != kNone) {
    value.reg = kPinRegs[value.target];
    return value.reg;
  }
  const u8 reg = take();
  owner_[reg] = ref;
  value.reg = reg;
  return reg;
}

u8 Emitter::define_apart(Ref ref, std::initializer_list<u8> from) {
  Value& value = values_[ref];
  if (value.target != kNone && std::find(from.begin(), from.end(), kPinRegs[value.target]) != from.end())
    no_target(ref);
  return define(ref);
}

u8 Emitter::define_in(Ref ref, u8 reg) {
  no_target(ref);
  if (is_vector(ref)) owner_xmm_[reg] = ref;
  else owner_[reg] = ref;
  values_[ref].reg = reg;
  return reg;
}

u8 Emitter::define_from(Ref ref, Ref from) {
  Value& source = values_[from];
  Value& value = values_[ref];
  const Type type = type_of(ref);
  if (is_vector(ref)) {
    if (dies(from) && source.reg != kNone) {
      const u8 reg = source.reg;
      lock_xmm(reg);
      if (source.home == Home::none || source.last_use <= index_) {
        owner_xmm_[reg] = ref;
        source.reg = kNone;
        value.reg = reg;
        return reg;
      }
    }
    const u8 from_reg = use(from);
    const u8 reg = define(ref);
    move_xmm(reg, from_reg);
    return reg;
  }
  if (source.home == Home::condition || source.home == Home::carry) materialize(from);
  const bool in_temp = source.reg != kNone && owner_[source.reg] == from;
  if (value.target == kNone && in_temp && dies(from)) {
    const u8 reg = source.reg;
    lock(reg);
    owner_[reg] = ref;
    source.reg = kNone;
    value.reg = reg;
    return reg;
  }
  const u8 reg = define(ref);
  if (const u8 now = where(from); now != kNone) move(reg, now, type);
  else use_in(from, reg);
  return reg;
}

// A register for a value outside of its instruction.
void Emitter::give_home(Ref ref) {
  Value& value = values_[ref];
  if (value.home == Home::constant || value.home == Home::spill) return;
  const bool alias = value.home == Home::pin || value.home == Home::slot;
  if (alias && !value.overwritten) return;
  use(ref);
  spill(ref);
}

void Emitter::release(Ref ref) {
  Value& value = values_[ref];
  if (value.reg != kNone) {
    if (is_vector(ref)) {
      if (owner_xmm_[value.reg] == ref) owner_xmm_[value.reg] = kNoRef;
    } else if (owner_[value.reg] == ref) {
      owner_[value.reg] = kNoRef;
    }
    value.reg = kNone;
  }
  if (value.home == Home::condition || value.home == Home::carry) {
    lazy_count_--;
    value.home = Home::none;
  }
  if (value.home == Home::spill) {
    spills_[value.data / 64] &= ~(u64{1} << value.data % 64);
    value.home = Home::none;
  }
}

void Emitter::end_instruction(const Inst& inst) {
  Value& result = values_[index_];
  if (result.uses == 0) {
    release(index_);
  } else if (result.crosses) {
    give_home(index_);
  }
  const auto release_dead = [&](Ref arg) {
    if (arg != kNoRef && values_[arg].last_use <= index_) release(arg);
  };
  for (const Ref arg : inst.args) release_dead(arg);
  if (inst.args[0] != kNoRef && (values_[inst.args[0]].folded || values_[inst.args[0]].single))
    release_dead(block_->insts[inst.args[0]].args[0]);
  if (result.pair != kNoRef) release_dead(result.pair);
  if (inst.op == Op::SetFlags) {
    for (const Ref arg : block_->insts[inst.args[0]].args) release_dead(arg);
  }
  locked_ = locked_xmm_ = 0;
  keep_eflags_ = false;
}

// Values that are read from a pin which is now written get a register of their own.
void Emitter::before_pin_write(u8 pin, Ref except) {
  for (usize i = 0; i < aliases_.size();) {
    const Ref ref = aliases_[i];
    Value& value = values_[ref];
    if (value.last_use <= index_ || (value.home != Home::pin && value.home != Home::slot)) {
      if (value.last_use < index_) {
        aliases_[i] = aliases_.back();
        aliases_.pop_back();
        continue;
      }
    } else if (value.home == Home::pin && value.data == pin && ref != except) {
      if (value.reg == kNone) {
        const u8 reg = take();
        locked_ &= ~(1u << reg);
        a_.mov(r32(reg), r32(kPinRegs[pin]));
        owner_[reg] = ref;
        value.reg = reg;
      }
      value.home = Home::none;
    }
    i++;
  }
}

void Emitter::before_slot_write(u32 offset, u32 size) {
  for (const Ref ref : aliases_) {
    Value& value = values_[ref];
    if (value.home != Home::slot || value.last_use <= index_) continue;
    const Type type = type_of(ref);
    const u32 bytes = type == Type::V128 ? 16 : type == Type::I32 || type == Type::F32 ? 4 : 8;
    if (value.data >= offset + size || offset >= value.data + bytes) continue;
    const u32 locked = locked_, locked_xmm = locked_xmm_;
    use(ref);
    locked_ = locked;
    locked_xmm_ = locked_xmm;
    value.home = Home::none;
  }
}

u32 Emitter::live_temps() const {
  u32 mask = 0;
  for (const u8 reg : kTemps) {
    if (owner_[reg] != kNoRef && values_[owner_[reg]].last_use > index_ && owner_[reg] != index_) mask |= 1u << reg;
  }
  return mask;
}

u32 Emitter::live_xmms() const {
  u32 mask = 0;
  for (u8 reg = 0; reg < kXmmTemps; reg++) {
    if (owner_xmm_[reg] != kNoRef && values_[owner_xmm_[reg]].last_use > index_ && owner_xmm_[reg] != index_) {
      mask |= 1u << reg;
    }
  }
  return mask;
}

void Emitter::evict_all() {
  for (const u8 reg : kTemps) {
    if (owner_[reg] != kNoRef && values_[owner_[reg]].last_use <= index_) release(owner_[reg]);
    evict(reg);
  }
  for (u8 reg = 0; reg < kXmmTemps; reg++) {
    if (owner_xmm_[reg] != kNoRef && values_[owner_xmm_[reg]].last_use <= index_) release(owner_xmm_[reg]);
    evict_xmm(reg);
  }
}

}  // namespace rhea::x64
