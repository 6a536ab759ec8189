// SPDX-License-Identifier: MIT
#include "ir/passes/passes.h"

namespace rhea::ir {

u8 helper_flags(const Inst& inst, std::span<const Helper> helpers) {
  if (!is_call(inst.op)) return 0;
  if (inst.imm >= helpers.size()) return kReadsState | kWritesState | kFaults;
  const u8 flags = helpers[inst.imm].flags;
  return flags & kFaults ? flags | kReadsState : flags;
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

void make_dead(Inst& inst) { inst = Inst{.op = Op::Const, .type = Type::I32, .uses = inst.uses}; }

void run_passes(Block& block, std::span<const Helper> helpers, const PassOptions& options) {
  if (!options.group) expand_groups(block);
  if (!options.lazy_flags) {
    for (ExitInfo& exit : block.exits) exit.live_flags = kFlagNZCV;
  }
  if (options.optimize) {
    forward(block, helpers);
    raise(block);
  }
  sweep(block, helpers, {.lazy_flags = options.lazy_flags && options.optimize, .drop = options.optimize});
}

}  // namespace rhea::ir
