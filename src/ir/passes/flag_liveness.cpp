// SPDX-License-Identifier: MIT
// Backwards over the block. Control goes forward only, so each label's live flags are known when a branch to it is
// met. Where the block may be left with a fault all flags live: the exception saves them.
#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

class Liveness {
 public:
  Liveness(Block& block, std::span<const Helper> helpers, bool lazy)
      : block_(block), helpers_(helpers), lazy_(lazy), at_label_(block.labels) {}

  void run() {
    for (usize i = block_.insts.size(); i-- > 0;) step(block_.insts[i]);
  }

 private:
  u8 at_exit(const Inst& inst) const { return lazy_ ? block_.exits[inst.imm].live_flags & kFlagNZCV : u8{kFlagNZCV}; }

  void step(Inst& inst) {
    switch (inst.op) {
      case Op::SetFlags:
      case Op::SetFlagsImage:
      case Op::SetCarry: return write(inst);
      case Op::GetFlags: live_ |= inst.aux ? inst.aux : u8{kFlagNZCV}; return;
      case Op::GetCarry: live_ |= kFlagC; return;
      case Op::TestCond: live_ |= flags_read(static_cast<Cond>(inst.aux & 15)); return;
      case Op::Label: at_label_[inst.imm] = live_; return;
      case Op::Branch: live_ = at_label_[inst.imm]; return;
      case Op::BranchIf: live_ |= at_label_[inst.imm] | flags_read(static_cast<Cond>(inst.aux & 15)); return;
      case Op::BranchZero:
      case Op::BranchNonZero: live_ |= at_label_[inst.imm]; return;
      case Op::Exit:
      case Op::ExitIndirect: live_ = at_exit(inst); return;
      case Op::ExitDispatch: live_ = kFlagNZCV; return;
      case Op::ExitIf: live_ |= at_exit(inst) | flags_read(static_cast<Cond>(inst.aux & 15)); return;
      default: break;
    }
    if (faults(inst, helpers_) || (helper_flags(inst, helpers_) & (kReadsState | kWritesState))) live_ = kFlagNZCV;
  }

  void write(Inst& inst) {
    const u8 written = inst.op == Op::SetCarry ? u8{kFlagC} : static_cast<u8>(inst.aux & kFlagNZCV);
    const u8 wanted = written & live_;
    if (!wanted) return make_dead(inst);
    inst.aux = wanted;
    inst.aux2 = live_ & ~written;
    live_ &= ~written;
  }

  Block& block_;
  std::span<const Helper> helpers_;
  const bool lazy_;
  u8 live_ = kFlagNZCV;
  std::vector<u8> at_label_;
};

}  // namespace

void flag_liveness(Block& block, std::span<const Helper> helpers, bool lazy_at_exits) {
  Liveness(block, helpers, lazy_at_exits).run();
}

}  // namespace rhea::ir
