// SPDX-License-Identifier: MIT
// The passes on made-up blocks: what a block leaves behind is the same before and after. The input chooses the block
// (seed and length) and the state it starts in.
#include <cstdlib>

#include "ir/test_machine.h"

using namespace rhea;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 6) return 0;
  u32 seed;
  std::memcpy(&seed, data, 4);
  const ir::Block block = ir::RandomBlock(seed).make(1 + data[4] % 100);
  ir::Block changed = block;
  ir::run_passes(changed, {},
                 {.group = bool(data[5] & 1), .lazy_flags = bool(data[5] & 2), .optimize = bool(data[5] & 4)});
  if (!ir::verify(block).empty() || !ir::verify(changed).empty()) std::abort();
  ir::TestMachine before;
  for (usize i = 6; i < size; i++) {
    before.state[ir::TestMachine::kSlots + (i - 6) % (before.state.size() - ir::TestMachine::kSlots)] ^= data[i];
    before.memory[i & 255] ^= data[i];
  }
  ir::TestMachine after = before;
  before.run(block);
  after.run(changed);
  if (before.exit >= block.exits.size()) std::abort();
  const u32 mask = data[5] & 2 ? ir::image_mask(block.exits[before.exit].live_flags) : ir::kImageMask;
  const bool same = before.state == after.state && before.memory == after.memory && before.exit_pc == after.exit_pc &&
                    (before.flags & mask) == (after.flags & mask) && before.saturated == after.saturated;
  if (!same) std::abort();
  return 0;
}
