// SPDX-License-Identifier: MIT
// Backwards over the block, once: which flags live, which slots of the state are overwritten before anything looks at
// them, and what nobody uses.
//
// Control goes forward only, so each label's live flags are known when a branch to it is met. Where the block may be
// left with a fault all flags live, and all state: the exception saves them. What is dropped here counts as no reader.
#include <utility>

#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

// Words of the state that will be overwritten before anything looks: those of the first 8 KiB, which is more than there
// is.
class Doomed {
 public:
  void observe(u32 begin, u32 end) {
    if (!any_) return;
    for (u32 word = begin / 4; word < (end + 3) / 4 && word < kWords; word++) words_[word / 64] &= ~bit(word);
  }
  bool covers(u32 begin, u32 end) const {
    if (!any_ || end > 4 * kWords) return false;
    for (u32 word = begin / 4; word < (end + 3) / 4; word++) {
      if (!(words_[word / 64] & bit(word))) return false;
    }
    return true;
  }
  void add(u32 begin, u32 end) {
    for (u32 word = (begin + 3) / 4; word < end / 4 && word < kWords; word++) words_[word / 64] |= bit(word);
    any_ = true;
  }
  void clear() {
    if (any_) words_.fill(0);
    any_ = false;
  }

 private:
  static constexpr u32 kWords = 2048;
  static u64 bit(u32 word) { return u64{1} << word % 64; }
  bool any_ = false;
  std::array<u64, kWords / 64> words_{};
};

class Sweep {
 public:
  Sweep(Block& block, std::span<const Helper> helpers, const SweepOptions& options)
      : block_(block), helpers_(helpers), options_(options), at_label_(block.labels) {}

  void run() {
    for (Inst& inst : block_.insts) inst.uses = 0;
    if (options_.drop) names_.resize(block_.insts.size());
    usize kept = 0;
    for (usize i = block_.insts.size(); i-- > 0;) {
      Inst& inst = block_.insts[i];
      const bool keep = step(inst);
      if (options_.drop) names_[i] = keep ? 0 : kNoRef;
      if (!keep && options_.drop) continue;
      kept++;
      for (unsigned a = 0; a < traits(inst.op).args; a++) block_.insts[inst.args[a]].uses++;
    }
    if (kept != block_.insts.size()) close_up();
  }

 private:
  u8 at_exit(const Inst& inst) const {
    return options_.lazy_flags ? block_.exits[inst.imm].live_flags & kFlagNZCV : u8{kFlagNZCV};
  }
  static u8 condition_reads(const Inst& inst) { return flags_read(static_cast<Cond>(inst.aux & 15)); }

  // False: the instruction is not needed.
  bool step(Inst& inst) {
    const u32 begin = static_cast<u32>(inst.imm);
    switch (inst.op) {
      case Op::SetFlags:
      case Op::SetFlagsImage:
      case Op::SetCarry: return write_flags(inst);
      case Op::SetState:
      case Op::SetState8: return write_state(inst);
      case Op::Loc: return std::exchange(location_used_, false);
      case Op::Label:
        doomed_.clear();
        at_label_[inst.imm] = live_;
        return true;
      case Op::Branch: return leave(at_label_[inst.imm]);
      case Op::BranchIf: return leave(live_ | at_label_[inst.imm] | condition_reads(inst));
      case Op::BranchZero:
      case Op::BranchNonZero: return leave(live_ | at_label_[inst.imm]);
      case Op::Exit:
      case Op::ExitIndirect: return leave(at_exit(inst));
      case Op::ExitDispatch: return leave(kFlagNZCV);
      case Op::ExitIfZero:
      case Op::ExitIfNonZero:
      case Op::ExitIfOther:
      case Op::ExitIfPolled:
      case Op::ExitIfMoved: return leave(live_ | at_exit(inst));
      case Op::ExitIf: return leave(live_ | at_exit(inst) | condition_reads(inst));
      default: break;
    }
    if (options_.drop && !inst.uses && !needed(inst)) return false;
    switch (inst.op) {
      case Op::GetFlags: live_ |= inst.aux ? inst.aux : u8{kFlagNZCV}; break;
      case Op::GetCarry: live_ |= kFlagC; break;
      case Op::TestCond: live_ |= condition_reads(inst); break;
      case Op::GetState:
      case Op::GetState8: doomed_.observe(begin, begin + slot_size(inst)); break;
      case Op::Call0:
      case Op::Call1:
      case Op::Call2:
      case Op::Call3:
        location_used_ = true;
        if (helper_flags(inst, helpers_) & (kReadsState | kWritesState | kFaults)) look();
        break;
      default:
        if (!may_fault(inst)) break;
        location_used_ = true;
        look();
        break;
    }
    return true;
  }

  bool needed(const Inst& inst) const {
    if (is_call(inst.op)) return !(helper_flags(inst, helpers_) & kPure);
    return has_effect(inst);
  }
  // Everything is seen here.
  void look() {
    live_ = kFlagNZCV;
    doomed_.clear();
  }
  bool leave(u8 live) {
    live_ = live;
    doomed_.clear();
    return true;
  }

  bool write_flags(Inst& inst) {
    const u8 written = inst.op == Op::SetCarry ? u8{kFlagC} : static_cast<u8>(inst.aux & kFlagNZCV);
    const u8 wanted = written & live_;
    if (!wanted) {
      if (!options_.drop) make_dead(inst);
      return false;
    }
    inst.aux = wanted;
    inst.aux2 = live_ & ~written;
    live_ &= ~written;
    return true;
  }

  bool write_state(Inst& inst) {
    const u32 begin = static_cast<u32>(inst.imm), end = begin + slot_size(inst);
    if (!options_.drop || begin < sizeof(StateHeader)) return true;
    if (doomed_.covers(begin, end)) return false;
    doomed_.add(begin, end);
    return true;
  }

  void close_up() {
    usize next = 0;
    for (usize i = 0; i < block_.insts.size(); i++) {
      if (names_[i] == kNoRef) continue;
      Inst& inst = block_.insts[i];
      for (unsigned a = 0; a < traits(inst.op).args; a++) inst.args[a] = names_[inst.args[a]];
      names_[i] = static_cast<Ref>(next);
      if (next != i) block_.insts[next] = inst;
      next++;
    }
    block_.insts.resize(next);
  }

  Block& block_;
  std::span<const Helper> helpers_;
  const SweepOptions options_;
  u8 live_ = kFlagNZCV;
  bool location_used_ = false;  // something between here and the next Loc refers to its own
  std::vector<u8> at_label_;
  std::vector<Ref> names_;
  Doomed doomed_;
};

}  // namespace

void sweep(Block& block, std::span<const Helper> helpers, const SweepOptions& options) {
  Sweep(block, helpers, options).run();
}

}  // namespace rhea::ir
