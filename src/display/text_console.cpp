// SPDX-License-Identifier: MIT
// How it works: write() feeds one byte after the other to a state machine (text, escape, CSI with its parameters,
// strings that are skipped), which changes cells and cursor; frame() draws all cells. Everything comes from the
// guest: parameters are bounded where they are read, and every position is within the grid.
#include "display/text_console.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "display/font.h"

namespace rhea::display {

namespace {

constexpr usize kMaxParameters = 16;
constexpr u32 kMaxParameter = 9999;
constexpr u32 kTab = 8;
constexpr std::array<u32, 16> kPalette = {0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa,
                                          0x00aaaa, 0xaaaaaa, 0x555555, 0xff5555, 0x55ff55, 0xffff55,
                                          0x5555ff, 0xff55ff, 0x55ffff, 0xffffff};

// DEC Special Graphics, codes 0x60 to 0x7e (VT100 User Guide, table 3-9).
constexpr std::array<u16, 31> kGraphics = {0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0xb0,   0xb1,
                                           0x2424, 0x240b, 0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x2500,
                                           0x2500, 0x2500, 0x2500, 0x2500, 0x251c, 0x2524, 0x2534, 0x252c,
                                           0x2502, 0x2264, 0x2265, 0x3c0,  0x2260, 0xa3,   0xb7};

void append_utf8(std::string& text, u32 code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | code >> 6);
    text += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | code >> 12);
    text += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    text += static_cast<char>(0xf0 | code >> 18);
    text += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    text += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (code & 0x3f));
  }
}

}  // namespace

TextConsole::TextConsole(std::string label, Size size, std::function<void(std::string_view)> answer)
    : label_(std::move(label)), answer_(std::move(answer)), columns_(std::clamp<u32>(size.columns, 1, kMaxColumns)),
      rows_(std::clamp<u32>(size.rows, 1, kMaxRows)), width_(std::max(size.width, columns_ * kGlyphWidth)),
      height_(std::max(size.height, rows_ * kGlyphHeight)), cells_(usize{columns_} * rows_) {
  reset();
}

void TextConsole::reset() {
  std::fill(cells_.begin(), cells_.end(), Cell{});
  cursor_ = saved_ = {};
  top_ = 0;
  bottom_ = rows_ - 1;
  wraps_ = cursor_shown_ = true;
  state_ = State::text;
  utf8_left_ = 0;
}

void TextConsole::write(std::span<const u8> bytes) {
  for (const u8 byte : bytes) take(byte);
}

void TextConsole::take(u8 byte) {
  if (byte == 0x18 || byte == 0x1a) {  // CAN and SUB end a sequence
    state_ = State::text;
    return;
  }
  if (byte == 0x1b && state_ != State::string) {
    state_ = State::escape;
    utf8_left_ = 0;
    return;
  }
  if (byte < 0x20 && state_ != State::string) {
    take_control(byte);
    return;
  }
  switch (state_) {
    case State::text: take_text(byte); break;
    case State::escape: take_escape(byte); break;
    case State::charset:
      cursor_.graphics = byte == '0';
      state_ = State::text;
      break;
    case State::skip_one: state_ = State::text; break;
    case State::csi: take_csi(byte); break;
    case State::string:  // OSC and its like: until BEL or ESC, whose backslash is then skipped
      if (byte == 7) state_ = State::text;
      if (byte == 0x1b) state_ = State::skip_one;
      break;
  }
}

void TextConsole::take_text(u8 byte) {
  if (utf8_left_ && (byte & 0xc0) == 0x80) {
    utf8_ = utf8_ << 6 | (byte & 0x3f);
    if (--utf8_left_ == 0) put(utf8_ <= 0x10ffff && (utf8_ < 0xd800 || utf8_ > 0xdfff) ? utf8_ : 0xfffd);
    return;
  }
  utf8_left_ = 0;
  if (byte < 0x7f) {
    put(cursor_.graphics && byte >= 0x60 ? kGraphics[byte - 0x60] : byte);
  } else if (byte >= 0xc2 && byte <= 0xf4) {
    utf8_left_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    utf8_ = byte & (0x3f >> utf8_left_);
  } else if (byte != 0x7f) {
    put(0xfffd);
  }
}

void TextConsole::take_control(u8 byte) {
  utf8_left_ = 0;
  switch (byte) {
    case '\b':
      if (cursor_.column) --cursor_.column;
      cursor_.wrap_next = false;
      break;
    case '\t': move_to((cursor_.column / kTab + 1) * kTab, cursor_.row); break;
    case '\n':
    case '\v':
    case '\f': line_feed(); break;
    case '\r': move_to(0, cursor_.row); break;
    case 0x0e: cursor_.graphics = true; break;   // SO
    case 0x0f: cursor_.graphics = false; break;  // SI
    default: break;
  }
}

void TextConsole::take_escape(u8 byte) {
  state_ = State::text;
  switch (byte) {
    case '[':
      state_ = State::csi;
      parameters_.assign(1, 0);
      private_ = false;
      break;
    case ']':
    case 'P':
    case '^':
    case '_':
    case 'X': state_ = State::string; break;
    case '(': state_ = State::charset; break;
    case ')':
    case '*':
    case '+':
    case '#':
    case '%':
    case ' ': state_ = State::skip_one; break;
    case '7': saved_ = cursor_; break;
    case '8': cursor_ = saved_; break;
    case 'D': line_feed(); break;
    case 'E':
      move_to(0, cursor_.row);
      line_feed();
      break;
    case 'M': reverse_line_feed(); break;
    case 'Z': report('c'); break;
    case 'c': reset(); break;
    default: break;
  }
}

void TextConsole::take_csi(u8 byte) {
  if (byte >= '0' && byte <= '9') {
    parameters_.back() = std::min(parameters_.back() * 10 + (byte - '0'), kMaxParameter);
  } else if (byte == ';' || byte == ':') {
    if (parameters_.size() < kMaxParameters) parameters_.push_back(0);
  } else if (byte >= '<' && byte <= '?') {
    private_ = true;
  } else if (byte >= 0x40 && byte <= 0x7e) {
    state_ = State::text;
    run_csi(byte);
  }  // else intermediate bytes, which none of ours has
}

u32 TextConsole::parameter(usize index, u32 least) const {
  return std::max(index < parameters_.size() ? parameters_[index] : 0, least);
}

void TextConsole::run_csi(u8 final) {
  if (private_) {
    if (final == 'h' || final == 'l') set_mode(final == 'h');
    return;
  }
  switch (final) {
    case 'm': select_rendition(); break;
    case 'n':
    case 'c': report(final); break;
    case 'r': {
      const u32 top = parameter(0, 1) - 1;
      const u32 bottom = std::min(parameter(1, 0) ? parameter(1, 0) : rows_, rows_) - 1;
      if (top >= bottom) break;
      top_ = top;
      bottom_ = bottom;
      move_to(0, 0);
      break;
    }
    case 's': saved_ = cursor_; break;
    case 'u': cursor_ = saved_; break;
    case 'J':
    case 'K':
    case 'L':
    case 'M':
    case 'P':
    case '@':
    case 'X':
    case 'S':
    case 'T': erase_csi(final); break;
    default: move_csi(final); break;
  }
}

void TextConsole::move_csi(u8 final) {
  const s64 count = parameter(0, 1), column = cursor_.column, row = cursor_.row;
  // Up and down stop at the scrolling region's edge when they start within it.
  const s64 highest = row >= top_ ? top_ : 0, lowest = row <= bottom_ ? bottom_ : rows_ - 1;
  switch (final) {
    case 'A': move_to(column, std::max(row - count, highest)); break;
    case 'B':
    case 'e': move_to(column, std::min(row + count, lowest)); break;
    case 'C':
    case 'a': move_to(column + count, row); break;
    case 'D': move_to(column - count, row); break;
    case 'E': move_to(0, std::min(row + count, lowest)); break;
    case 'F': move_to(0, std::max(row - count, highest)); break;
    case 'G':
    case '`': move_to(count - 1, row); break;
    case 'd': move_to(column, count - 1); break;
    case 'H':
    case 'f': move_to(s64{parameter(1, 1)} - 1, count - 1); break;
    default: break;
  }
}

void TextConsole::erase_csi(u8 final) {
  const u32 mode = parameter(0, 0), count = parameter(0, 1), row = cursor_.row, column = cursor_.column;
  const bool in_region = row >= top_ && row <= bottom_;
  const u32 cells = std::min(count, columns_ - column);
  switch (final) {
    case 'J':
      if (mode == 0) {
        erase(row, column, columns_);
        erase_rows(row + 1, rows_);
      } else if (mode == 1) {
        erase_rows(0, row);
        erase(row, 0, column + 1);
      } else {
        erase_rows(0, rows_);
      }
      break;
    case 'K': erase(row, mode ? 0 : column, mode == 1 ? column + 1 : columns_); break;
    case 'L':
      if (in_region) scroll(row, bottom_, -s64{count});
      break;
    case 'M':
      if (in_region) scroll(row, bottom_, count);
      break;
    case 'S': scroll(top_, bottom_, count); break;
    case 'T': scroll(top_, bottom_, -s64{count}); break;
    case 'X': erase(row, column, column + cells); break;
    case 'P': {
      Cell* line = &cell(row, 0);
      std::copy(line + column + cells, line + columns_, line + column);
      erase(row, columns_ - cells, columns_);
      break;
    }
    case '@': {
      Cell* line = &cell(row, 0);
      std::copy_backward(line + column, line + columns_ - cells, line + columns_);
      erase(row, column, column + cells);
      break;
    }
    default: break;
  }
}

void TextConsole::set_mode(bool on) {
  for (const u32 mode : parameters_) {
    if (mode == 7) wraps_ = on;
    if (mode == 25) cursor_shown_ = on;
  }
}

// 38;5;N and 38;2;R;G;B, brought to the nearest of the sixteen colours.
u32 TextConsole::extended_colour(usize& at) const {
  const u32 kind = parameter(at + 1, 0);
  u32 rgb = 0;
  if (kind == 5) {
    const u32 index = parameter(at + 2, 0);
    at += 2;
    if (index < 16) return index;
    if (index >= 232) rgb = (8 + (std::min(index, 255u) - 232) * 10) * 0x10101;
    else rgb = (index - 16) / 36 * 51 << 16 | (index - 16) / 6 % 6 * 51 << 8 | (index - 16) % 6 * 51;
  } else if (kind == 2) {
    rgb = std::min(parameter(at + 2, 0), 255u) << 16 | std::min(parameter(at + 3, 0), 255u) << 8 |
          std::min(parameter(at + 4, 0), 255u);
    at += 4;
  } else {
    return 7;
  }
  const auto distance = [rgb](u32 other) {
    s64 sum = 0;
    for (const unsigned shift : {0u, 8u, 16u}) {
      const s64 difference = s64{rgb >> shift & 0xff} - s64{other >> shift & 0xff};
      sum += difference * difference;
    }
    return sum;
  };
  const auto best =
      std::min_element(kPalette.begin(), kPalette.end(), [&](u32 a, u32 b) { return distance(a) < distance(b); });
  return static_cast<u32>(best - kPalette.begin());
}

// SGR (ECMA-48, section 8.3.117).
void TextConsole::select_rendition() {
  Style& style = cursor_.style;
  for (usize i = 0; i < parameters_.size(); ++i) {
    const u32 value = parameters_[i];
    if (value == 0) style = {};
    else if (value == 1) style.bold = true;
    else if (value == 4) style.underline = true;
    else if (value == 7) style.reverse = true;
    else if (value == 22) style.bold = false;
    else if (value == 24) style.underline = false;
    else if (value == 27) style.reverse = false;
    else if (value >= 30 && value <= 37) style.foreground = static_cast<u8>(value - 30);
    else if (value == 38) style.foreground = static_cast<u8>(extended_colour(i));
    else if (value == 39) style.foreground = Style{}.foreground;
    else if (value >= 40 && value <= 47) style.background = static_cast<u8>(value - 40);
    else if (value == 48) style.background = static_cast<u8>(extended_colour(i));
    else if (value == 49) style.background = Style{}.background;
    else if (value >= 90 && value <= 97) style.foreground = static_cast<u8>(value - 90 + 8);
    else if (value >= 100 && value <= 107) style.background = static_cast<u8>(value - 100 + 8);
  }
}

void TextConsole::report(u8 what) {
  if (!answer_) return;
  if (what == 'c') answer_("\x1b[?6c");  // a VT102
  else if (parameter(0, 0) == 5) answer_("\x1b[0n");
  else if (parameter(0, 0) == 6) answer_(fmt::format("\x1b[{};{}R", cursor_.row + 1, cursor_.column + 1));
}

TextConsole::Cell TextConsole::blank() const {
  Cell empty;
  empty.style.background = cursor_.style.background;
  return empty;
}

void TextConsole::put(u32 code) {
  if (cursor_.wrap_next && wraps_) {
    move_to(0, cursor_.row);
    line_feed();
  }
  cell(cursor_.row, cursor_.column) = {code, cursor_.style};
  if (cursor_.column + 1 < columns_) ++cursor_.column;
  else cursor_.wrap_next = true;
}

void TextConsole::line_feed() {
  cursor_.wrap_next = false;
  if (cursor_.row == bottom_) scroll(top_, bottom_, 1);
  else if (cursor_.row + 1 < rows_) ++cursor_.row;
}

void TextConsole::reverse_line_feed() {
  cursor_.wrap_next = false;
  if (cursor_.row == top_) scroll(top_, bottom_, -1);
  else if (cursor_.row) --cursor_.row;
}

// Rows [top, bottom] move up (positive) or down, blanks come after them.
void TextConsole::scroll(u32 top, u32 bottom, s64 lines) {
  const u32 height = bottom - top + 1;
  const u32 distance = static_cast<u32>(std::min<s64>(lines < 0 ? -lines : lines, height));
  Cell* first = &cell(top, 0);
  const usize whole = usize{height} * columns_, moved = usize{distance} * columns_;
  if (lines > 0) {
    std::copy(first + moved, first + whole, first);
    erase_rows(bottom + 1 - distance, bottom + 1);
  } else {
    std::copy_backward(first, first + (whole - moved), first + whole);
    erase_rows(top, top + distance);
  }
}

void TextConsole::move_to(s64 column, s64 row) {
  cursor_.column = static_cast<u32>(std::clamp<s64>(column, 0, columns_ - 1));
  cursor_.row = static_cast<u32>(std::clamp<s64>(row, 0, rows_ - 1));
  cursor_.wrap_next = false;
}

void TextConsole::erase(u32 row, u32 from, u32 to) {
  std::fill(cells_.begin() + static_cast<std::ptrdiff_t>(usize{row} * columns_ + from),
            cells_.begin() + static_cast<std::ptrdiff_t>(usize{row} * columns_ + to), blank());
}

void TextConsole::erase_rows(u32 from, u32 to) {
  for (u32 row = from; row < to; ++row) erase(row, 0, columns_);
}

std::string TextConsole::row_text(u32 row) const {
  std::string text;
  for (u32 column = 0; column < columns_; ++column) append_utf8(text, cell(row, column).code);
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

const Surface& TextConsole::frame() {
  surface_.resize(width_, height_);
  for (u32 row = 0; row < rows_; ++row) {
    for (u32 column = 0; column < columns_; ++column) {
      const Cell& at = cell(row, column);
      u32 ink = kPalette[at.style.foreground + (at.style.bold && at.style.foreground < 8 ? 8 : 0)];
      u32 paper = kPalette[at.style.background];
      const bool under_cursor = cursor_shown_ && row == cursor_.row && column == cursor_.column;
      if (at.style.reverse != under_cursor) std::swap(ink, paper);
      const u32 x = column * kGlyphWidth, y = row * kGlyphHeight;
      draw_glyph(surface_, x, y, at.code, ink, paper);
      if (at.style.underline) std::fill_n(surface_.row(y + kGlyphHeight - 1) + x, kGlyphWidth, ink);
    }
  }
  return surface_;
}

}  // namespace rhea::display
