// SPDX-License-Identifier: MIT
// Joins blocks that are run one behind the other to one: a region. It has one way through all of them, and leaves it
// where the guest goes another way; if the last one leads back to the first, the region is a loop.
//
// Of each block, as a front end made it and before any pass, that exit is looked for which leads to the next one. An
// exit at its end is left out, one in its middle is turned around, and an indirect one becomes a comparison with where
// it went (ExitIfOther). Passes see one block then: what a slot of the state holds is known over the former
// ends, flags that nobody reads are not made, and a return to a call that is part of the region is no jump.
#pragma once

#include "ir/ir.h"

namespace rhea::ir {

class Joiner {
 public:
  // What is in the region is replaced. `polls`: the poll word is looked at wherever the blocks do; else only where the
  // region is left, or begins again.
  Joiner(Block& region, bool polls) : region_(region), polls_(polls) { region.clear(); }

  // A block that goes on to `next`, which has to be what is appended then. `page`: id of the page that the block's code
  // was read from, if that has to be asked of the execution table; else 0. False: no exit is known to lead there, or
  // the region would be too long; it is as it was.
  bool append(const Block& block, const Key& next, u32 page);
  // The last block, with all its exits. False: it would be too long.
  bool finish(const Block& block, u32 page);
  // Of the jumps that it goes through, those that are indirect.
  unsigned indirect() const { return indirect_; }

 private:
  static constexpr usize kMost = kMaxInstructions / 2;
  static constexpr unsigned kMostInsns = 2000;

  bool has_room(const Block& block) const;
  void take(const Block& block, usize count, u32 page);
  u64 add_exit(ExitInfo exit);

  Block& region_;
  const bool polls_;
  unsigned blocks_ = 0, indirect_ = 0;
  unsigned insns_ = 0;         // of the guest, before the block that is taken
  u8 live_flags_ = kFlagNZCV;  // that the next block may read
};

}  // namespace rhea::ir
