// SPDX-License-Identifier: MIT
// What a slot holds is remembered in straight-line code; a label or a helper that writes state forgets everything, a
// write to an overlapping slot of another size forgets that. Slots of the engine's header are left alone.
#include <algorithm>

#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

struct Known {
  u32 offset;
  u32 size;
  Type type;
  Ref value;
};

bool overlaps(u32 a, u32 a_size, u32 b, u32 b_size) { return a < b + b_size && b < a + a_size; }

bool in_header(const Inst& inst) { return inst.imm < sizeof(StateHeader); }

}  // namespace

void forward_state(Block& block, std::span<const Helper> helpers) {
  std::vector<Known> known;
  for (usize i = 0; i < block.insts.size(); i++) {
    Inst& inst = block.insts[i];
    const u32 offset = static_cast<u32>(inst.imm), size = slot_size(inst);
    switch (inst.op) {
      case Op::GetState: {
        if (in_header(inst)) break;
        auto found = std::find_if(known.begin(), known.end(),
                                  [&](const Known& k) { return k.offset == offset && k.type == inst.type; });
        if (found != known.end()) {
          inst = Inst{.op = Op::Copy, .type = inst.type, .args = {found->value, kNoRef, kNoRef}};
        } else {
          known.push_back({offset, size, inst.type, static_cast<Ref>(i)});
        }
        break;
      }
      case Op::SetState:
      case Op::SetState8:
        std::erase_if(known, [&](const Known& k) { return overlaps(k.offset, k.size, offset, size); });
        // A V64 slot takes the low half of a value: only what was a V64 itself comes back as it was written.
        if (inst.op == Op::SetState && !in_header(inst) &&
            (inst.type != Type::V64 || block.insts[inst.args[0]].type == Type::V64)) {
          known.push_back({offset, size, inst.type, inst.args[0]});
        }
        break;
      case Op::Label: known.clear(); break;
      default:
        if (helper_flags(inst, helpers) & kWritesState) known.clear();
        break;
    }
  }
}

// Backwards: the ranges that will be overwritten before anything looks.
void drop_dead_stores(Block& block, std::span<const Helper> helpers) {
  struct Range {
    u32 begin, end;
  };
  std::vector<Range> doomed;
  auto observe = [&](u32 begin, u32 end) {
    std::erase_if(doomed, [&](const Range& r) { return r.begin < end && begin < r.end; });
  };
  for (usize i = block.insts.size(); i-- > 0;) {
    Inst& inst = block.insts[i];
    const u32 begin = static_cast<u32>(inst.imm), end = begin + slot_size(inst);
    switch (inst.op) {
      case Op::GetState:
      case Op::GetState8: observe(begin, end); break;
      case Op::SetState:
      case Op::SetState8:
        if (inst.imm < sizeof(StateHeader)) break;
        if (std::any_of(doomed.begin(), doomed.end(),
                        [&](const Range& r) { return r.begin <= begin && end <= r.end; })) {
          inst.type = Type::I32;
          make_dead(inst);
        } else {
          doomed.push_back({begin, end});
        }
        break;
      case Op::Label:
      case Op::Branch:
      case Op::BranchIf:
      case Op::BranchZero:
      case Op::BranchNonZero:
      case Op::Exit:
      case Op::ExitIf:
      case Op::ExitIndirect:
      case Op::ExitDispatch: doomed.clear(); break;
      default:
        if (faults(inst, helpers) || (helper_flags(inst, helpers) & (kReadsState | kWritesState))) doomed.clear();
        break;
    }
  }
}

}  // namespace rhea::ir
