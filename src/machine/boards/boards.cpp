// SPDX-License-Identifier: MIT
#include "machine/board.h"

namespace rhea::machine {

#define BOARD(record) extern const Board record;
#include "machine/boards/boards.inc"
#undef BOARD

std::span<const Board* const> all_boards() {
  static constexpr const Board* boards[] = {
#define BOARD(record) &record,
#include "machine/boards/boards.inc"
#undef BOARD
  };
  return boards;
}

const Board* find_board(std::string_view name) {
  for (const Board* board : all_boards())
    if (board->name == name || (!board->alias.empty() && board->alias == name)) return board;
  return nullptr;
}

}  // namespace rhea::machine
