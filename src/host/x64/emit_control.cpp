// SPDX-License-Identifier: MIT
// Labels, branches, exits, and the order in which a block is written.
#include "host/x64/emitter.h"

namespace rhea::x64 {

using ir::Cond;
using ir::ExitInfo;
using ir::StateHeader;

Emitter::Emitter(const Settings& settings, Assembler& assembler, const Stubs& stubs)
    : settings_(settings), a_(assembler), stubs_(stubs), float_pins_(settings) {
  if (!settings.pin) return;
  for (const ir::Pin& pin : settings.layout.pins) {
    if (pin.type != Type::I32 || pin_offsets_.size() == kPinRegs.size()) continue;
    pin_offsets_.push_back(pin.offset);
    pin_low_ = pin_offsets_.size() == 1 ? pin.offset : std::min(pin_low_, pin.offset);
    pin_high_ = std::max(pin_high_, pin.offset + 4);
  }
}

Emitter::Outcome Emitter::run(const ir::Block& block, const Request& request, const Room& room, CompiledBlock& out) {
  // The most that an instruction takes, with room to spare.
  constexpr u32 kRoom = 4096;
  out.entry = static_cast<u32>(align_up(room.hot, kEntryAlignment));
  if (out.entry + kRoom > room.hot_end) return Outcome::full_hot;
  if (room.cold + kRoom > room.cold_end) return Outcome::full_cold;
  block_ = &block;
  out_ = &out;
  first_exit_ = request.first_exit;
  windowed_ = request.windowed && settings_.window && settings_.tables;
  failed_ = false;
  out.sites.clear();
  out.faults.clear();
  out.second_check = 0;
  owner_.fill(kNoRef);
  owner_xmm_.fill(kNoRef);
  spills_.fill(0);
  aliases_.clear();
  cold_.clear();
  cold_labels_.clear();
  window_sites_.clear();
  labels_.assign(block.labels, Label{});
  locked_ = locked_xmm_ = 0;
  lazy_count_ = 0;
  location_ = 0;
  ahead_ = block.guest_insns;
  index_ = 0;
  keep_eflags_ = false;
  fp_class_ = FpClass::ieee;
  forget_host_flags();
  analyze();

  a_.set_position(out.entry);
  prologue(request.second_page);
  for (usize i = 0; i < block.insts.size(); i++) {
    if (a_.position() + kRoom > room.hot_end) return Outcome::full_hot;
    index_ = static_cast<Ref>(i);
    emit(block.insts[i]);
    if (failed_) return Outcome::too_complex;
  }
  out.hot_bytes = a_.position() - out.entry;
  out.cold_entry = static_cast<u32>(align_up(room.cold, kColdAlignment));
  a_.set_position(out.cold_entry);
  if (!cold_.run([&] { return a_.position() + kRoom <= room.cold_end; })) return Outcome::full_cold;
  if (!write_window_paths(room.cold_end)) return Outcome::full_cold;
  out.cold_bytes = a_.position() - out.cold_entry;
  return Outcome::done;
}

void Emitter::emit(const Inst& inst) {
  Value& value = values_[index_];
  if (value.folded || (value.uses == 0 && !ir::has_effect(inst))) return;
  // Conditions are evaluated here unless the instruction can take them from the flags.
  for (unsigned i = 0; lazy_count_ && i < 3; i++) {
    const Ref arg = inst.args[i];
    if (arg == kNoRef || (values_[arg].home != Home::condition && values_[arg].home != Home::carry)) continue;
    const bool takes =
        (inst.op == Op::Select && i == 0 && !in_xmm(inst.type) && values_[arg].home == Home::condition) ||
        ((inst.op == Op::BranchZero || inst.op == Op::BranchNonZero || inst.op == Op::ExitIfZero ||
          inst.op == Op::ExitIfNonZero) &&
         values_[arg].home == Home::condition) ||
        ((inst.op == Op::Adc || inst.op == Op::Sbc) && i == 2 && inst.args[0] != arg && inst.args[1] != arg) ||
        (inst.op == Op::SetCarry && values_[arg].home == Home::carry);
    if (!takes) materialize(arg);
    locked_ = 0;
  }
  if (value.fused && lazy_count_) materialize_conditions();
  if (value.target != kNone) before_pin_write(value.target, kNoRef);
  locked_ = 0;
  if (!emit_integer(inst) && !emit_state(inst) && !emit_flags(inst) && !emit_memory(inst) && !emit_control(inst) &&
      !emit_float(inst) && !emit_vector(inst) && !emit_parallel(inst)) {
    emit_eval(inst);
  }
  end_instruction(inst);
}

void Emitter::prologue(u32 second_page) {
  const u64 pc = block_->key.pc, mode = block_->key.mode;
  if (second_page && settings_.tables) {
    Label& cold = new_cold_label();
    // As with a link: the immediate last, and written in one piece.
    a_.align_patch(7);
    a_.cmp(a_.dword[a_.r14 + static_cast<s32>(settings_.exec_table + ((pc >> 12) + 1) % (1u << 20) * 4)],
           Compiler::kNoPage);
    out_->second_check = a_.position() - 4;
    store_raw<u32>(a_.buffer() + out_->second_check, second_page);
    a_.jump(Cc::ne, cold);
    cold_.push([=, this, &cold] {
      a_.bind(cold);
      a_.mov(a_.ecx, static_cast<u32>(pc));
      a_.mov(a_.edx, static_cast<u32>(mode));
      a_.jump(stubs_.leave_dispatch);
    });
  }
  if (settings_.icount) {
    Label& cold = new_cold_label();
    a_.cmp(dword_state(offsetof(StateHeader, budget)), block_->guest_insns);
    a_.jump(Cc::l, cold);
    a_.sub(dword_state(offsetof(StateHeader, budget)), block_->guest_insns);
    cold_.push([=, this, &cold] {
      a_.bind(cold);
      a_.mov(a_.ecx, static_cast<u32>(pc));
      a_.mov(a_.edx, static_cast<u32>(mode));
      a_.jump(stubs_.leave_budget);
    });
  }
}

bool Emitter::emit_control(const Inst& inst) {
  switch (inst.op) {
    case Op::Loc:
      location_ = inst.imm;
      ahead_ = ir::insns_from(*block_, inst);
      return true;
    case Op::Label: bind_label(static_cast<u32>(inst.imm)); return true;
    case Op::Branch:
    case Op::BranchIf:
    case Op::BranchZero:
    case Op::BranchNonZero: branch(inst); return true;
    case Op::Exit: {
      const ExitInfo& exit = block_->exits[inst.imm];
      set_fp_class(FpClass::ieee);
      save_flags(exit.live_flags);
      direct_exit(exit, static_cast<u16>(inst.imm));
      return true;
    }
    case Op::ExitIf: exit_if(inst); return true;
    case Op::ExitIfZero:
    case Op::ExitIfNonZero: exit_if_value(inst); return true;
    case Op::ExitIfOther: exit_if_other(inst); return true;
    case Op::ExitIfMoved:
    case Op::ExitIfPolled: exit_if_stopped(inst); return true;
    case Op::ExitIndirect:
    case Op::ExitDispatch: indirect_exit(inst); return true;
    default: return false;
  }
}

void Emitter::bind_label(u32 number) {
  set_fp_class(FpClass::ieee);
  save_flags(live_before_[index_]);
  forget_host_flags();
  for (const u8 reg : kTemps) {
    const Ref ref = owner_[reg];
    if (ref == kNoRef) continue;
    values_[ref].reg = kNone;
    owner_[reg] = kNoRef;
  }
  for (u8 reg = 0; reg < kXmmTemps; reg++) {
    const Ref ref = owner_xmm_[reg];
    if (ref == kNoRef) continue;
    values_[ref].reg = kNone;
    owner_xmm_[reg] = kNoRef;
  }
  a_.bind(labels_[number]);
}

void Emitter::jump_to_label(Cc cc, u32 number) { a_.jump(cc, labels_[number]); }

void Emitter::branch(const Inst& inst) {
  const u32 label = static_cast<u32>(inst.imm);
  set_fp_class(FpClass::ieee);
  const u8 live = label_live_[label];
  if (inst.op == Op::Branch) {
    save_flags(live);
    a_.jump(labels_[label]);
    return;
  }
  if (inst.op == Op::BranchIf) {
    save_flags(live);
    if (static_cast<Cond>(inst.aux) == Cond::AL) {
      a_.jump(labels_[label]);
      return;
    }
    jump_to_label(test_condition(static_cast<Cond>(inst.aux)), label);
    return;
  }
  const Cc cc = test_value(inst.args[0], live);
  jump_to_label(inst.op == Op::BranchNonZero ? cc : inverse(cc), label);
}

// What holds iff a value is not zero. `live`: flags that are read where it leads to.
Cc Emitter::test_value(Ref ref, u8 live) {
  if (values_[ref].home == Home::condition) {
    save_flags(live);
    return test_condition(static_cast<Cond>(values_[ref].data));
  }
  clobber_flags();
  const u8 reg = use(ref);
  a_.test(r32(reg), r32(reg));
  return Cc::ne;
}

// Everything is saved: goes to a known key.
void Emitter::direct_exit(const ExitInfo& exit, u16 number) {
  const u32 id = first_exit_ + static_cast<u32>(out_->sites.size());
  const u64 page = exit.target.pc >> 12;
  ExitSite site;
  site.exit = number;
  site.same_page = page == block_->key.pc >> 12;
  if (settings_.icount && exit.insns != block_->guest_insns) {
    a_.add(dword_state(offsetof(StateHeader, budget)), block_->guest_insns - exit.insns);
  }
  if (exit.poll) {
    Label& cold = new_cold_label();
    a_.cmp(dword_state(offsetof(StateHeader, poll)), 0);
    a_.jump(Cc::ne, cold);
    cold_.push([=, this, &cold] {
      a_.bind(cold);
      a_.mov(a_.eax, id);
      a_.jump(stubs_.leave_poll);
    });
  }
  Label& stub = new_cold_label();
  if (!site.same_page) {
    // cmp dword [r14 + page], id: 11 bytes, the immediate last. No page has this id before it is linked.
    a_.align_patch(7);
    a_.cmp(a_.dword[a_.r14 + static_cast<s32>(settings_.exec_table + page % (1u << 20) * 4)], Compiler::kNoPage);
    site.compare = a_.position() - 4;
    a_.jump(Cc::ne, stub);
  }
  a_.align_patch(1);
  a_.jump(stub);
  site.jump = a_.position() - 4;
  const usize index = out_->sites.size();
  out_->sites.push_back(site);
  cold_.push([=, this, &stub, target = exit.target] {
    ExitSite& written = out_->sites[index];
    a_.bind(stub);
    written.stub = a_.position();
    if (!written.same_page) {
      a_.mov(a_.ecx, static_cast<u32>(target.pc));
      a_.mov(a_.edx, static_cast<u32>(target.mode));
    }
    a_.mov(a_.eax, id);
    a_.align_patch(1);
    a_.jump(stubs_.leave_link);
    written.stub_jump = a_.position() - 4;
  });
}

void Emitter::exit_if(const Inst& inst) {
  const ExitInfo& exit = block_->exits[inst.imm];
  set_fp_class(FpClass::ieee);
  const Cond cond = static_cast<Cond>(inst.aux);
  // What both ways need is written before; the image keeps EFLAGS.
  save_flags(exit.live_flags);
  if (cond == Cond::AL) {
    direct_exit(exit, static_cast<u16>(inst.imm));
    return;
  }
  exit_on(test_condition(cond), exit, static_cast<u16>(inst.imm));
}

void Emitter::exit_if_value(const Inst& inst) {
  const ExitInfo& exit = block_->exits[inst.imm];
  set_fp_class(FpClass::ieee);
  const Cc cc = test_value(inst.args[0], exit.live_flags);
  exit_on(inst.op == Op::ExitIfNonZero ? cc : inverse(cc), exit, static_cast<u16>(inst.imm));
}

// Everything is saved: goes to a known key where a condition holds, which EFLAGS keep.
void Emitter::exit_on(Cc cc, const ExitInfo& exit, u16 number) {
  const u32 id = first_exit_ + static_cast<u32>(out_->sites.size());
  const bool same_page = exit.target.pc >> 12 == block_->key.pc >> 12;
  const bool plain = same_page && !exit.poll && !(settings_.icount && exit.insns != block_->guest_insns);
  if (!plain) {
    Label skip;
    a_.jump(inverse(cc), skip);
    direct_exit(exit, number);
    a_.bind(skip);
    return;
  }
  Label& stub = new_cold_label();
  a_.align_patch(2);
  a_.jump(cc, stub);
  ExitSite site;
  site.exit = number;
  site.jump = a_.position() - 4;
  const usize index = out_->sites.size();
  out_->sites.push_back(site);
  cold_.push([=, this, &stub] {
    a_.bind(stub);
    out_->sites[index].stub = a_.position();
    a_.mov(a_.eax, id);
    a_.jump(stubs_.leave_link);
  });
}

void Emitter::indirect_exit(const Inst& inst) {
  const ExitInfo& exit = block_->exits[inst.imm];
  set_fp_class(FpClass::ieee);
  const bool dispatch = inst.op == Op::ExitDispatch;
  save_flags(dispatch ? u8{ir::kFlagNZCV} : exit.live_flags);
  forget_host_flags();
  if (settings_.icount && exit.insns != block_->guest_insns) {
    a_.add(dword_state(offsetof(StateHeader, budget)), block_->guest_insns - exit.insns);
  }
  if (dispatch) {
    a_.cmp(dword_state(offsetof(StateHeader, poll)), 0);
    a_.jump(Cc::ne, stubs_.leave_poll_state);
    if (!settings_.ibtc) {
      a_.jump(stubs_.leave_dispatch_state);
      return;
    }
    a_.mov(a_.ecx, dword_state(offsetof(StateHeader, pc)));
    a_.mov(a_.edx, dword_state(offsetof(StateHeader, mode)));
    a_.jump(stubs_.probe);
    return;
  }
  // pc to ecx, mode to edx.
  const u8 pc = use(inst.args[0]);
  if (where(inst.args[1]) == kRcx && pc == kRdx) {
    a_.xchg(a_.ecx, a_.edx);
  } else if (where(inst.args[1]) == kRcx) {
    a_.mov(a_.edx, a_.ecx);
    a_.mov(a_.ecx, r32(pc));
  } else {
    move(kRcx, pc, Type::I32);
    use_in(inst.args[1], kRdx);
  }
  if (exit.poll) {
    a_.cmp(dword_state(offsetof(StateHeader, poll)), 0);
    a_.jump(Cc::ne, stubs_.leave_poll_at);
  }
  a_.jump(settings_.ibtc ? stubs_.probe : stubs_.leave_dispatch);
}

// A return, say, that goes where it went before: two comparisons with constants.
void Emitter::exit_if_other(const Inst& inst) {
  const ExitInfo& exit = block_->exits[inst.imm];
  set_fp_class(FpClass::ieee);
  save_flags(exit.live_flags);
  clobber_flags();
  Label& cold = new_cold_label();
  const Ref mode = inst.args[1];
  const u8 pc = use(inst.args[0]);
  const u32 expected = static_cast<u32>(exit.target.mode);
  const bool any_mode = !(is_constant(mode) && static_cast<u32>(constant(mode)) == expected);
  const u8 mode_reg = any_mode ? use(mode) : kNone;
  a_.cmp(r32(pc), static_cast<u32>(exit.target.pc));
  a_.jump(Cc::ne, cold);
  if (any_mode) {
    a_.cmp(r32(mode_reg), expected);
    a_.jump(Cc::ne, cold);
  }
  cold_.push([=, this, &cold, poll = exit.poll, left = block_->guest_insns - exit.insns] {
    a_.bind(cold);
    if (settings_.icount && left) a_.add(dword_state(offsetof(StateHeader, budget)), left);
    const auto set_mode = [&] { any_mode ? move(kRdx, mode_reg, Type::I32) : a_.mov(a_.edx, expected); };
    if (pc == kRdx && mode_reg == kRcx) {
      a_.xchg(a_.ecx, a_.edx);
    } else if (pc == kRdx) {
      move(kRcx, pc, Type::I32);
      set_mode();
    } else {
      set_mode();
      move(kRcx, pc, Type::I32);
    }
    if (poll) {
      a_.cmp(dword_state(offsetof(StateHeader, poll)), 0);
      a_.jump(Cc::ne, stubs_.leave_poll_at);
    }
    a_.jump(settings_.ibtc ? stubs_.probe : stubs_.leave_dispatch);
  });
}

// Goes on, unless the code of another page that follows is not what it was read from, or someone wants the CPU.
void Emitter::exit_if_stopped(const Inst& inst) {
  const ExitInfo& exit = block_->exits[inst.imm];
  const bool polls = inst.op == Op::ExitIfPolled;
  set_fp_class(FpClass::ieee);
  save_flags(exit.live_flags);
  clobber_flags();
  Label& cold = new_cold_label();
  const s32 page = static_cast<s32>(settings_.exec_table + (exit.target.pc >> 12) % (1u << 20) * 4);
  if (polls) a_.cmp(dword_state(offsetof(StateHeader, poll)), 0);
  else a_.cmp(a_.dword[a_.r14 + page], exit.page);
  a_.jump(Cc::ne, cold);
  cold_.push([=, this, &cold, target = exit.target, left = block_->guest_insns - exit.insns] {
    a_.bind(cold);
    if (settings_.icount && left) a_.add(dword_state(offsetof(StateHeader, budget)), left);
    a_.mov(a_.ecx, static_cast<u32>(target.pc));
    a_.mov(a_.edx, static_cast<u32>(target.mode));
    a_.jump(polls ? stubs_.leave_poll_at : stubs_.leave_dispatch);
  });
}

}  // namespace rhea::x64
