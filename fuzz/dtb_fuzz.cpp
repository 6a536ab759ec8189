// SPDX-License-Identifier: MIT
// A device tree blob of the user's: parsed, completed for the board, flattened and parsed again.
#include <cstdlib>
#include <vector>

#include "machine/board_tree.h"

using namespace rhea;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  auto tree = machine::DeviceTree::parse(std::vector<u8>(data, data + size));
  if (!tree.ok()) return 0;
  const machine::TreeInputs inputs{.cpus = 2,
                                   .ram_size = 128u << 20,
                                   .command_line = "quiet",
                                   .has_command_line = true,
                                   .initrd_base = 0x64000000,
                                   .initrd_size = 4096};
  if (!machine::complete_tree(*tree, *machine::find_board("vexpress-a9"), inputs).ok()) return 0;
  if (!machine::DeviceTree::parse(tree->flatten()).ok()) std::abort();
  return 0;
}
