// SPDX-License-Identifier: MIT
// The passes over a block: free functions, each of which leaves a block that verifies and means the same.
#pragma once

#include <span>

#include "ir/guest.h"
#include "ir/ir.h"

namespace rhea::ir {

struct PassOptions {
  bool group = true;       // false: expand_groups
  bool lazy_flags = true;  // false: all flags count as read at every exit
  bool optimize = true;    // false: only what has to be done (groups, uses)
};

// All of them in their order. `helpers`: the guest's table.
void run_passes(Block& block, std::span<const Helper> helpers, const PassOptions& options);

// GroupRead, GroupWrite and their PtrLoads and PtrStores become single accesses.
void expand_groups(Block& block);
// Constants are computed, copies looked through, operations with a neutral operand dropped.
void fold(Block& block);
// A slot that was read or written before in straight-line code is not read again.
void forward_state(Block& block, std::span<const Helper> helpers);
// A slot that is overwritten before anything can see it is not written.
void drop_dead_stores(Block& block, std::span<const Helper> helpers);
// Narrows the masks of what writes flags to those that are read, fills aux2 with those that must be kept, drops
// writers of which nothing is read.
void flag_liveness(Block& block, std::span<const Helper> helpers, bool lazy_at_exits);
// Drops what has no effect and no use, and locations without an instruction that may fault. Fills `uses`.
void dead_code(Block& block, std::span<const Helper> helpers);
void count_uses(Block& block);

// ---- shared by the passes ----
// What an instruction that calls a helper does (HelperFlag), 0 for others. Unknown helpers do everything.
u8 helper_flags(const Inst& inst, std::span<const Helper> helpers);
// Whether it may leave the block with a fault, helpers considered.
bool faults(const Inst& inst, std::span<const Helper> helpers);
// Bytes of a state slot.
u32 slot_size(const Inst& inst);
// Marks an instruction as one that dead_code drops.
void make_dead(Inst& inst);

}  // namespace rhea::ir
