// SPDX-License-Identifier: MIT
#include "ir/passes/passes.h"

namespace rhea::ir {

u8 helper_flags(const Inst& inst, std::span<const Helper> helpers) {
  if (inst.op < Op::Call0 || inst.op > Op::Call3) return 0;
  if (inst.imm >= helpers.size()) return kReadsState | kWritesState | kFaults;
  const u8 flags = helpers[inst.imm].flags;
  return flags & kFaults ? flags | kReadsState : flags;
}

bool faults(const Inst& inst, std::span<const Helper> helpers) {
  if (inst.op >= Op::Call0 && inst.op <= Op::Call3) return helper_flags(inst, helpers) & kFaults;
  return may_fault(inst);
}

u32 slot_size(const Inst& inst) {
  if (inst.op == Op::GetState8 || inst.op == Op::SetState8) return 1;
  switch (inst.type) {
    case Type::I32:
    case Type::F32: return 4;
    case Type::V128: return 16;
    default: return 8;
  }
}

void make_dead(Inst& inst) {
  const Type type = inst.type == Type::Void ? Type::I32 : inst.type;
  inst = Inst{.op = type == Type::V128 || type == Type::V64 ? Op::VZero : Op::Const, .type = type};
  if (type == Type::F32) inst.type = Type::I32;  // nobody reads it
  if (type == Type::F64) inst.type = Type::I64;
}

void count_uses(Block& block) {
  for (Inst& inst : block.insts) inst.uses = 0;
  for (const Inst& inst : block.insts) {
    for (unsigned a = 0; a < info(inst.op).args; a++) block.insts[inst.args[a]].uses++;
  }
}

void run_passes(Block& block, std::span<const Helper> helpers, const PassOptions& options) {
  if (!options.group) expand_groups(block);
  if (!options.lazy_flags) {
    for (ExitInfo& exit : block.exits) exit.live_flags = kFlagNZCV;
  }
  if (options.optimize) {
    fold(block);
    forward_state(block, helpers);
    fold(block);
    drop_dead_stores(block, helpers);
    dead_code(block, helpers);
    flag_liveness(block, helpers, options.lazy_flags);
    dead_code(block, helpers);
  } else {
    flag_liveness(block, helpers, false);
    count_uses(block);
  }
}

}  // namespace rhea::ir
