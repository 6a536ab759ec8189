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
  bool optimize = true;    // false: only what has to be done (groups, flags, uses)
};

// All of them in their order. `helpers`: the guest's table.
void run_passes(Block& block, std::span<const Helper> helpers, const PassOptions& options);

// GroupRead, GroupWrite and their PtrLoads and PtrStores become single accesses.
void expand_groups(Block& block);
// Constants are computed, copies looked through, operations with a neutral operand dropped; a slot that was read or
// written before in straight-line code is not read again.
void forward(Block& block, std::span<const Helper> helpers);

// What would disturb the host's flags between a comparison and the conditions on it is computed before it.
void raise(Block& block);

struct SweepOptions {
  bool lazy_flags = true;  // false: all flags count as read at every exit
  bool drop = true;        // false: only flags that nobody reads go
};
// Narrows the masks of what writes flags to those that are read, and fills aux2 with those that must be kept. Drops
// writers of flags that nobody reads, what has no effect and no use, slots that are overwritten before anything can see
// them, and locations without an instruction that refers to them. Fills `uses`.
void sweep(Block& block, std::span<const Helper> helpers, const SweepOptions& options);

// ---- shared by the passes ----
constexpr bool is_call(Op op) { return op >= Op::Call0 && op <= Op::Call3; }
// What an instruction that calls a helper does (HelperFlag), 0 for others. Unknown helpers do everything.
u8 helper_flags(const Inst& inst, std::span<const Helper> helpers);
// Bytes of a state slot.
u32 slot_size(const Inst& inst);
// Makes a writer of flags or state one that does nothing.
void make_dead(Inst& inst);

}  // namespace rhea::ir
