// SPDX-License-Identifier: MIT
// A board's device tree: made from its table, and a user's own completed with what the command line says.
#pragma once

#include <string>
#include <vector>

#include "machine/board.h"
#include "machine/fdt.h"
#include "util/result.h"

namespace rhea::machine {

struct TreeInputs {
  unsigned cpus = 1;
  u64 ram_size = 0;
  bool has_nic = false;  // the on-board NIC is there
  std::string command_line;
  bool has_command_line = false;
  u64 initrd_base = 0, initrd_size = 0;
};

// Everything, from the table.
DeviceTree make_board_tree(const Board& board, const TreeInputs& inputs);
// Memory, command line, initrd, virtio transports and the number of CPUs put into a tree. An error says when the
// tree is another board's.
Result<void> complete_tree(DeviceTree& tree, const Board& board, const TreeInputs& inputs);

}  // namespace rhea::machine
