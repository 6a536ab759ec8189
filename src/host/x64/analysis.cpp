// SPDX-License-Identifier: MIT
// What the emitter knows of a block before it starts: uses, what crosses labels, live flags, and which values can
// be computed right into a pin or give their flags without a second computation.
#include <algorithm>

#include "host/x64/emitter.h"
#include "ir/op_kinds.h"

namespace rhea::x64 {

using ir::Cond;
using ir::kFlagC;
using ir::kFlagNZCV;

void Emitter::analyze() {
  const usize count = block_->insts.size();
  values_.assign(count, Value{});
  live_before_.assign(count + 1, 0);
  label_live_.assign(block_->labels, 0);
  list_kinds();
  find_fused_flags();
  analyze_uses();
  find_shift_flags();
  analyze_flags();
  if (!pin_offsets_.empty()) find_targets();
}

namespace {

bool has_flags_operands(Op op) { return op == Op::Add || op == Op::Sub || op == Op::Adc || op == Op::Sbc; }

bool touches(const Inst& inst, u32 offset, u32 size) {
  u32 bytes;
  switch (inst.op) {
    case Op::SetState8: bytes = 1; break;
    case Op::SetState:
      bytes = inst.type == Type::I32 || inst.type == Type::F32 ? 4 : inst.type == Type::V128 ? 16 : 8;
      break;
    default: return false;
  }
  // V64 writes its high half too where it is a whole V128: be careful.
  return inst.imm < offset + size && offset < inst.imm + bytes;
}

bool is_plain_access(Op op) {
  return op == Op::Load || op == Op::Store || op == Op::LoadF || op == Op::StoreF || op == Op::LoadV ||
         op == Op::StoreV;
}

bool is_call(Op op) { return op >= Op::Call0 && op <= Op::Call3; }

}  // namespace

// So that what looks for a few of them need not go through all.
void Emitter::list_kinds() {
  for (std::vector<Ref>* list : {&set_flags_, &set_states_, &accesses_, &groups_, &labels_at_}) list->clear();
  has_exclusives_ = false;
  for (usize i = 0; i < block_->insts.size(); i++) {
    const Inst& inst = block_->insts[i];
    const Ref ref = static_cast<Ref>(i);
    switch (inst.op) {
      case Op::SetFlags: set_flags_.push_back(ref); break;
      case Op::SetState:
        if (inst.type == Type::I32) set_states_.push_back(ref);
        break;
      case Op::GroupRead:
      case Op::GroupWrite: groups_.push_back(ref); break;
      case Op::Label: labels_at_.push_back(ref); break;
      case Op::StoreExclusive: has_exclusives_ = true; break;
      default:
        if (is_plain_access(inst.op)) accesses_.push_back(ref);
        break;
    }
  }
}

void Emitter::analyze_uses() {
  const std::vector<Inst>& insts = block_->insts;
  for (usize i = 0; i < insts.size(); i++) {
    const Inst& inst = insts[i];
    for (const Ref arg : inst.args) {
      if (arg == kNoRef) continue;
      values_[arg].last_use = static_cast<u16>(i);
      values_[arg].uses++;
    }
    if (inst.op != Op::SetFlags) continue;
    // What gives its flags from EFLAGS is not computed once more for them.
    const Value& flags_of = values_[inst.args[0]];
    if (has_flags_operands(insts[inst.args[0]].op) && !(flags_of.fused && flags_of.fused_at == i)) {
      for (const Ref arg : insts[inst.args[0]].args) {
        if (arg != kNoRef) values_[arg].last_use = static_cast<u16>(i);
      }
    }
  }
  if (windowed_) {
    fold_addresses();
    find_single_groups();
  }
  if (has_exclusives_) find_exclusive_pairs();
  if (!labels_at_.empty()) find_crossing();
}

// Values that live over a label, and whether the slot that they were read from is written meanwhile.
void Emitter::find_crossing() {
  const std::vector<Inst>& insts = block_->insts;
  usize next = 0;  // of the labels, the first one behind i
  for (usize i = 0; i < insts.size(); i++) {
    while (next < labels_at_.size() && labels_at_[next] <= i) next++;
    if (next == labels_at_.size()) return;
    Value& value = values_[i];
    if (!value.uses || value.last_use < labels_at_[next]) continue;
    value.crosses = true;
    if (insts[i].op != Op::GetState) continue;
    for (usize k = i + 1; k <= value.last_use; k++) {
      if (touches(insts[k], static_cast<u32>(insts[i].imm), 16) || is_call(insts[k].op)) value.overwritten = true;
    }
  }
}

// base + constant, for one access through the window: it adds by itself. Where that leaves 32 bits it faults between
// the windows, and the slow path adds as the guest does.
void Emitter::fold_addresses() {
  constexpr s32 kMost = 1 << 16;
  const std::vector<Inst>& insts = block_->insts;
  for (const Ref i : accesses_) {
    const Inst& inst = insts[i];
    if (!through_window(inst)) continue;
    const Ref address = inst.args[0];
    const Inst& add = insts[address];
    if (add.op != Op::Add || values_[address].uses != 1 || insts[add.args[1]].op != Op::Const) continue;
    const s32 displacement = static_cast<s32>(insts[add.args[1]].imm);
    if (displacement < -kMost || displacement > kMost || insts[add.args[0]].op == Op::Const) continue;
    values_[address].folded = true;
    Value& base = values_[add.args[0]];
    base.last_use = std::max(base.last_use, i);
  }
}

// VLDR and VSTR are groups of one access, which a window makes as it makes others: also over a page's end.
void Emitter::find_single_groups() {
  constexpr usize kNear = 16;
  const std::vector<Inst>& insts = block_->insts;
  for (const Ref i : groups_) {
    const Inst& group = insts[i];
    const bool write = group.op == Op::GroupWrite;
    if (!through_window_as_group(group)) continue;
    if (values_[i].uses != (write ? 2 : 1)) continue;  // the access, and a store's GroupCommit
    for (usize k = i + 1u; k < std::min(insts.size(), i + kNear); k++) {
      const Inst& access = insts[k];
      if (access.op != (write ? Op::PtrStore : Op::PtrLoad) || access.args[0] != i) continue;
      if (access.imm != 0 || access.lane != 8 * group.imm) break;
      values_[i].single = true;
      Value& address = values_[group.args[0]];
      address.last_use = std::max(address.last_use, static_cast<u16>(k));
      break;
    }
  }
}

// An LDREX whose STREX follows in straight line: what it loaded is in a register, and that it has armed the monitor for
// the same place need not be asked.
void Emitter::find_exclusive_pairs() {
  const std::vector<Inst>& insts = block_->insts;
  Ref load = kNoRef;
  for (usize i = 0; i < insts.size(); i++) {
    const Inst& inst = insts[i];
    if (inst.op == Op::LoadExclusive) {
      load = static_cast<Ref>(i);
    } else if (inst.op == Op::Label || inst.op == Op::ClearExclusive || is_call(inst.op)) {
      load = kNoRef;
    } else if (inst.op == Op::StoreExclusive) {
      if (load != kNoRef && insts[load].args[0] == inst.args[0] && insts[load].lane == inst.lane) {
        values_[i].pair = load;
        values_[load].uses++;
        values_[load].last_use = std::max(values_[load].last_use, static_cast<u16>(i));
      }
      load = kNoRef;
    }
  }
}

void Emitter::analyze_flags() {
  const std::vector<Inst>& insts = block_->insts;
  u8 live = kFlagNZCV;
  for (usize i = insts.size(); i-- > 0;) {
    const Inst& inst = insts[i];
    switch (inst.op) {
      case Op::SetFlags: live &= static_cast<u8>(~inst.aux); break;
      case Op::SetFlagsImage: live &= static_cast<u8>(~inst.aux); break;
      case Op::SetCarry: live &= static_cast<u8>(~kFlagC); break;
      case Op::GetFlags: live |= inst.aux ? inst.aux : u8{kFlagNZCV}; break;
      case Op::GetCarry: live |= kFlagC; break;
      case Op::TestCond: live |= ir::flags_read(static_cast<Cond>(inst.aux)); break;
      case Op::BranchIf: live |= label_live_[inst.imm] | ir::flags_read(static_cast<Cond>(inst.aux)); break;
      case Op::BranchZero:
      case Op::BranchNonZero: live |= label_live_[inst.imm]; break;
      case Op::Branch: live = label_live_[inst.imm]; break;
      case Op::Label: label_live_[inst.imm] = live; break;
      case Op::ExitIf: live |= block_->exits[inst.imm].live_flags | ir::flags_read(static_cast<Cond>(inst.aux)); break;
      case Op::ExitIfZero:
      case Op::ExitIfNonZero:
      case Op::ExitIfOther:
      case Op::ExitIfPolled:
      case Op::ExitIfMoved: live |= block_->exits[inst.imm].live_flags; break;
      case Op::Exit:
      case Op::ExitIndirect: live = block_->exits[inst.imm].live_flags; break;
      case Op::ExitDispatch: live = kFlagNZCV; break;
      case Op::Call0:
      case Op::Call1:
      case Op::Call2:
      case Op::Call3:
        if (settings_.helpers[inst.imm].flags & (ir::kReadsState | ir::kFaults)) live = kFlagNZCV;
        break;
      default:
        if (ir::may_fault(inst)) live = kFlagNZCV;
        break;
    }
    if (!settings_.lazy_flags) live = kFlagNZCV;
    live_before_[i] = live;
  }
}

namespace {

// Makes no code that changes EFLAGS.
bool is_neutral(Op op) {
  return op == Op::SetState || op == Op::GetState || op == Op::Const || op == Op::Loc || op == Op::Copy;
}

bool gives_flags(Op op) { return has_flags_operands(op) || op == Op::And || op == Op::Or || op == Op::Xor; }

}  // namespace

void Emitter::find_fused_flags() {
  const std::vector<Inst>& insts = block_->insts;
  for (const Ref i : set_flags_) {
    const Ref of = insts[i].args[0];
    if (!gives_flags(insts[of].op) || i - of > 12) continue;
    bool neutral = true;
    for (usize k = of + 1u; k < i && neutral; k++) neutral = is_neutral(insts[k].op);
    values_[of].fused = neutral;
    values_[of].fused_at = i;
  }
}

// lsls r2, r3, #28: the host's shift leaves N, Z and the bit that was shifted out where they are wanted. V stays.
void Emitter::find_shift_flags() {
  const std::vector<Inst>& insts = block_->insts;
  for (const Ref i : set_flags_) {
    if (i + 1u >= insts.size() || insts[i].aux != ir::kFlagNZ || insts[i + 1u].op != Op::SetCarry) continue;
    const Ref of = insts[i].args[0], carry = insts[i + 1u].args[0];
    if (i - of > 12 || !is_shifted_out(carry, of)) continue;
    const Ref bit = insts[carry].op == Op::And ? insts[carry].args[0] : kNoRef;
    const bool own_bit = bit != kNoRef && bit != insts[of].args[0];
    bool neutral = true;
    for (usize k = of + 1u; k < i && neutral; k++) {
      neutral = is_neutral(insts[k].op) || k == carry || (own_bit && k == bit);
    }
    if (!neutral) continue;
    values_[of].fused = true;
    values_[of].fused_at = i;
    values_[carry].folded = true;
    if (own_bit) values_[bit].folded = true;
  }
}

// Whether a value is the last bit that a shift by a constant moves out, and nothing else wants it.
bool Emitter::is_shifted_out(Ref carry, Ref shift) const {
  const auto constant_of = [&](Ref ref, u64& value) {
    value = inst(ref).imm;
    return inst(ref).op == Op::Const;
  };
  const Inst& made = inst(shift);
  u64 count, one, place;
  if (made.op != Op::Shl && made.op != Op::Shr && made.op != Op::Sar) return false;
  if (made.type != Type::I32 || !constant_of(made.args[1], count) || count < 1 || count > 31) return false;
  const u64 wanted = made.op == Op::Shl ? 32 - count : count - 1;
  const Ref from = made.args[0];
  const auto is_bit = [&](Ref ref) {
    const Inst& bit = inst(ref);
    return bit.op == Op::Shr && bit.type == Type::I32 && bit.args[0] == from && values_[ref].uses == 1 &&
           constant_of(bit.args[1], place) && place == wanted;
  };
  if (values_[carry].uses != 1) return false;
  if (wanted == 31 && is_bit(carry)) return true;
  const Inst& masked = inst(carry);
  if (masked.op != Op::And || !constant_of(masked.args[1], one) || one != 1) return false;
  return wanted == 0 ? masked.args[0] == from : is_bit(masked.args[0]);
}

bool Emitter::blocks_target(const Inst& inst, u8 pin, usize index, usize definition) const {
  switch (inst.op) {
    case Op::GetState:
    case Op::SetState:
    case Op::GetState8:
    case Op::SetState8: {
      const u32 offset = static_cast<u32>(inst.imm);
      return offset < pin_offsets_[pin] + 4 && pin_offsets_[pin] < offset + 16;
    }
    default: return ir::shapes_flow(inst.op) || ir::may_fault(inst);
  }
}

void Emitter::find_targets() {
  const std::vector<Inst>& insts = block_->insts;
  for (const Ref i : set_states_) {
    const Inst& inst = insts[i];
    const int pin = pin_at(static_cast<u32>(inst.imm));
    const Ref of = inst.args[0];
    if (pin < 0 || i - of > 24 || values_[of].target != kNone) continue;
    if (type_of(of) != Type::I32) continue;
    bool blocked = false;
    for (usize k = of + 1u; k < i && !blocked; k++) blocked = blocks_target(insts[k], static_cast<u8>(pin), k, of);
    if (!blocked) values_[of].target = static_cast<u8>(pin);
  }
}

}  // namespace rhea::x64
