// SPDX-License-Identifier: MIT
// A text terminal that is a display: bytes in, a grid of character cells, a picture on demand. It understands the
// part of ECMA-48 and of DEC's VT100 that Linux' "linux" and "vt100" terminals use, and UTF-8.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "display/screens.h"

namespace rhea::display {

class TextConsole final : public Screen {
 public:
  struct Size {
    u32 columns = 80, rows = 24;
    u32 width = 0, height = 0;  // of the picture; 0: what the cells need
  };
  static constexpr u32 kMaxColumns = 512, kMaxRows = 256;

  // `answer` gets what the terminal replies (its position, its kind).
  TextConsole(std::string label, Size size, std::function<void(std::string_view)> answer);

  void write(std::span<const u8> bytes);
  void reset();
  u32 columns() const { return columns_; }
  u32 rows() const { return rows_; }
  // A row's characters in UTF-8, blanks at its end left out.
  std::string row_text(u32 row) const;

  std::string label() const override { return label_; }
  bool is_text() const override { return true; }
  bool is_on() const override { return true; }
  const Surface& frame() override;

 private:
  struct Style {
    u8 foreground = 7, background = 0;
    bool bold = false, underline = false, reverse = false;
  };
  struct Cell {
    u32 code = ' ';
    Style style;
  };
  struct Cursor {
    u32 column = 0, row = 0;
    Style style;
    bool graphics = false;   // DEC's line drawing instead of ASCII
    bool wrap_next = false;  // the last column was written: the next character goes to the next line
  };
  enum class State : u8 { text, escape, charset, skip_one, csi, string };

  void take(u8 byte);
  void take_text(u8 byte);
  void take_control(u8 byte);
  void take_escape(u8 byte);
  void take_csi(u8 byte);
  void run_csi(u8 final);
  void move_csi(u8 final);
  void erase_csi(u8 final);
  void set_mode(bool on);
  void select_rendition();
  u32 extended_colour(usize& at) const;
  void report(u8 what);
  void put(u32 code);
  void line_feed();
  void reverse_line_feed();
  void scroll(u32 top, u32 bottom, s64 lines);
  void move_to(s64 column, s64 row);
  void erase(u32 row, u32 from, u32 to);
  void erase_rows(u32 from, u32 to);
  Cell blank() const;
  Cell& cell(u32 row, u32 column) { return cells_[usize{row} * columns_ + column]; }
  const Cell& cell(u32 row, u32 column) const { return cells_[usize{row} * columns_ + column]; }
  // A parameter, at least `least`.
  u32 parameter(usize index, u32 least) const;

  std::string label_;
  std::function<void(std::string_view)> answer_;
  u32 columns_, rows_, width_, height_;
  std::vector<Cell> cells_;
  Cursor cursor_, saved_;
  u32 top_ = 0, bottom_ = 0;  // of the scrolling region, the last row included
  bool wraps_ = true, cursor_shown_ = true;
  State state_ = State::text;
  std::vector<u32> parameters_;
  bool private_ = false;
  u32 utf8_ = 0, utf8_left_ = 0;
  Surface surface_;
};

}  // namespace rhea::display
