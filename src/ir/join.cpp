// SPDX-License-Identifier: MIT
#include "ir/join.h"

#include <algorithm>

namespace rhea::ir {

namespace {

constexpr usize kNone = ~usize{0};

bool is_conditional(Op op) { return op == Op::ExitIf || op == Op::ExitIfZero || op == Op::ExitIfNonZero; }
bool is_exit(Op op) { return op >= Op::Exit && op <= Op::ExitDispatch; }
bool is_branch(Op op) { return op >= Op::Branch && op <= Op::BranchNonZero; }

// The exit that leads to `next`: at the block's end, or else the first one of a condition that can be turned around.
usize find_exit(const Block& block, const Key& next) {
  const usize end = block.insts.size() - 1;
  const Op last = block.insts[end].op;
  if (last == Op::Exit && block.exits[block.insts[end].imm].target == next) return end;
  for (usize i = 0; i < end; i++) {
    const Inst& inst = block.insts[i];
    if (!is_conditional(inst.op) || !(block.exits[inst.imm].target == next)) continue;
    const bool always = inst.op == Op::ExitIf && static_cast<Cond>(inst.aux) == Cond::AL;
    if (!always && block.exits[inst.imm].has_next) return i;
  }
  return last == Op::ExitIndirect ? end : kNone;
}

// Whether something before an instruction branches behind it.
bool is_branched_over(const Block& block, usize at) {
  std::vector<bool> open(block.labels);
  for (usize i = 0; i < at; i++) {
    const Inst& inst = block.insts[i];
    if (is_branch(inst.op)) open[inst.imm] = true;
    else if (inst.op == Op::Label) open[inst.imm] = false;
  }
  return std::find(open.begin(), open.end(), true) != open.end();
}

Inst turned_around(Inst inst) {
  if (inst.op == Op::ExitIf) inst.aux = static_cast<u8>(inverse(static_cast<Cond>(inst.aux)));
  else inst.op = inst.op == Op::ExitIfZero ? Op::ExitIfNonZero : Op::ExitIfZero;
  return inst;
}

}  // namespace

bool Joiner::append(const Block& block, const Key& next, u32 page) {
  if (!has_room(block) || next.mode != block.key.mode) return false;
  const usize at = find_exit(block, next);
  if (at == kNone || is_branched_over(block, at)) return false;
  const Inst& inst = block.insts[at];
  const ExitInfo& leads_on = block.exits[inst.imm];
  take(block, at, page);
  if (inst.op != Op::Exit) {
    const Ref first = static_cast<Ref>(region_.insts.size() - at);
    Inst out = inst.op == Op::ExitIndirect ? inst : turned_around(inst);
    for (unsigned a = 0; a < traits(inst.op).args; a++) out.args[a] = static_cast<Ref>(inst.args[a] + first);
    ExitInfo exit = leads_on;
    if (inst.op == Op::ExitIndirect) {
      out.op = Op::ExitIfOther;
      indirect_++;
      exit.target = next;
    } else {
      const Inst& behind = block.insts[at + 1];
      exit =
          behind.op == Op::Exit ? block.exits[behind.imm] : ExitInfo{.target = leads_on.next, .insns = leads_on.insns};
    }
    out.imm = add_exit(exit);
    region_.insts.push_back(out);
  }
  if (polls_ && leads_on.poll) {
    const u64 exit = add_exit({.target = next, .live_flags = leads_on.live_flags, .insns = leads_on.insns});
    region_.insts.push_back({.op = Op::ExitIfPolled, .imm = exit});
  }
  live_flags_ = leads_on.live_flags;
  insns_ += leads_on.insns;
  return true;
}

bool Joiner::finish(const Block& block, u32 page) {
  if (!has_room(block)) return false;
  take(block, block.insts.size(), page);
  insns_ += block.guest_insns;
  region_.guest_insns = static_cast<u16>(insns_);
  return true;
}

bool Joiner::has_room(const Block& block) const {
  return region_.insts.size() + block.insts.size() <= kMost && insns_ + block.guest_insns <= kMostInsns;
}

u64 Joiner::add_exit(ExitInfo exit) {
  exit.insns = static_cast<u16>(exit.insns + insns_);
  region_.exits.push_back(exit);
  return region_.exits.size() - 1;
}

// The first `count` instructions of a block.
void Joiner::take(const Block& block, usize count, u32 page) {
  if (!blocks_++) {
    region_.key = block.key;
    region_.guest_bytes = block.guest_bytes;
  }
  if (page) {
    const u64 exit = add_exit({.target = block.key, .live_flags = live_flags_, .page = page});
    region_.insts.push_back({.op = Op::ExitIfMoved, .imm = exit});
  }
  const Ref first = static_cast<Ref>(region_.insts.size());
  for (usize i = 0; i < count; i++) {
    Inst inst = block.insts[i];
    for (unsigned a = 0; a < traits(inst.op).args; a++) inst.args[a] = static_cast<Ref>(inst.args[a] + first);
    if (inst.op == Op::Label || is_branch(inst.op)) {
      inst.imm += region_.labels;
    } else if (is_exit(inst.op)) {
      inst.imm = add_exit(block.exits[inst.imm]);
    } else if (inst.op == Op::Loc) {
      const unsigned number = (inst.lane | unsigned{inst.aux} << 8) + insns_;
      inst.lane = static_cast<u8>(number);
      inst.aux = static_cast<u8>(number >> 8);
    }
    region_.insts.push_back(inst);
  }
  region_.labels = static_cast<u16>(region_.labels + block.labels);
}

}  // namespace rhea::ir
