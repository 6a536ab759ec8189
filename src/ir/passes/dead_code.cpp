// SPDX-License-Identifier: MIT
#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

bool needed(const Inst& inst, std::span<const Helper> helpers) {
  if (inst.op >= Op::Call0 && inst.op <= Op::Call3) return inst.uses || !(helper_flags(inst, helpers) & kPure);
  return inst.uses || has_effect(inst);
}

// Whether something between a Loc and the next one refers to it.
bool location_used(const Block& block, usize at, std::span<const Helper> helpers) {
  for (usize i = at + 1; i < block.insts.size() && block.insts[i].op != Op::Loc; i++) {
    const Inst& inst = block.insts[i];
    if (faults(inst, helpers) || (inst.op >= Op::Call0 && inst.op <= Op::Call3)) return true;
  }
  return false;
}

}  // namespace

void dead_code(Block& block, std::span<const Helper> helpers) {
  count_uses(block);
  const usize count = block.insts.size();
  std::vector<bool> keep(count);
  for (usize i = count; i-- > 0;) {
    const Inst& inst = block.insts[i];
    keep[i] = needed(inst, helpers) && (inst.op != Op::Loc || location_used(block, i, helpers));
    if (keep[i]) continue;
    for (unsigned a = 0; a < info(inst.op).args; a++) block.insts[inst.args[a]].uses--;
  }
  std::vector<Ref> renamed(count, kNoRef);
  usize next = 0;
  for (usize i = 0; i < count; i++) {
    if (!keep[i]) continue;
    Inst inst = block.insts[i];
    for (unsigned a = 0; a < info(inst.op).args; a++) inst.args[a] = renamed[inst.args[a]];
    renamed[i] = static_cast<Ref>(next);
    block.insts[next++] = inst;
  }
  block.insts.resize(next);
}

}  // namespace rhea::ir
