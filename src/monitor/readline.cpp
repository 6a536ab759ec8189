// SPDX-License-Identifier: MIT
#include "monitor/readline.h"

#include <fmt/format.h>

#include <algorithm>

namespace rhea::monitor {

namespace {

constexpr u8 control(char letter) { return static_cast<u8>(letter & 0x1f); }
constexpr u8 kEscape = 27, kDelete = 127, kTab = 9, kNewline = 10, kReturn = 13, kBackspace = 8;

std::string left(usize columns) {
  std::string text;
  for (usize i = 0; i < columns; ++i) text += "\033[D";
  return text;
}

}  // namespace

void Readline::show_prompt() {
  hooks_.output(prompt_);
  redraw_from(0, 0);
}

void Readline::key(u8 key) {
  const bool second_half = after_return_ && key == kNewline;  // of \r\n
  after_return_ = key == kReturn;
  if (second_half) return;
  if (state_ == State::plain) plain_key(key);
  else escape_key(key);
}

void Readline::forget_line() {
  line_.clear();
  cursor_ = 0;
  history_at_ = history_.size();
  state_ = State::plain;
  after_return_ = false;
}

void Readline::plain_key(u8 key) {
  switch (key) {
    case kReturn:
    case kNewline: finish(); break;
    case kTab: complete(); break;
    case kEscape: state_ = State::escape; break;
    case kBackspace:
    case kDelete:
      if (cursor_) erase(cursor_ - 1, cursor_);
      break;
    case control('A'): move_to(0); break;
    case control('E'): move_to(line_.size()); break;
    case control('B'):
      if (cursor_) move_to(cursor_ - 1);
      break;
    case control('F'):
      if (cursor_ < line_.size()) move_to(cursor_ + 1);
      break;
    case control('D'):
      if (cursor_ < line_.size()) erase(cursor_, cursor_ + 1);
      break;
    case control('K'): erase(cursor_, line_.size()); break;
    case control('U'): erase(0, cursor_); break;
    case control('W'): {
      usize from = cursor_;
      while (from && line_[from - 1] == ' ') --from;
      while (from && line_[from - 1] != ' ') --from;
      erase(from, cursor_);
      break;
    }
    case control('P'): walk_history(-1); break;
    case control('N'): walk_history(1); break;
    default:
      if (key >= 32) insert({reinterpret_cast<const char*>(&key), 1});
      break;
  }
}

void Readline::escape_key(u8 key) {
  if (state_ == State::escape) {
    state_ = key == '[' || key == 'O' ? State::bracket : State::plain;
    sequence_.clear();
    return;
  }
  if ((key >= '0' && key <= '9') || key == ';') {
    constexpr usize kLongest = 16;
    if (sequence_.size() < kLongest) sequence_ += static_cast<char>(key);
    return;
  }
  state_ = State::plain;
  switch (key) {
    case 'A': walk_history(-1); break;
    case 'B': walk_history(1); break;
    case 'C':
      if (cursor_ < line_.size()) move_to(cursor_ + 1);
      break;
    case 'D':
      if (cursor_) move_to(cursor_ - 1);
      break;
    case 'H': move_to(0); break;
    case 'F': move_to(line_.size()); break;
    case '~':
      if (sequence_ == "1" || sequence_ == "7") move_to(0);
      else if (sequence_ == "4" || sequence_ == "8") move_to(line_.size());
      else if (sequence_ == "3" && cursor_ < line_.size()) erase(cursor_, cursor_ + 1);
      break;
    default: break;
  }
}

void Readline::insert(std::string_view text) {
  if (line_.size() + text.size() > kMaxLine) return;
  const usize at = cursor_;
  line_.insert(at, text);
  cursor_ += text.size();
  if (cursor_ == line_.size()) hooks_.output(text);
  else redraw_from(at, at);
}

void Readline::erase(usize from, usize to) {
  if (from >= to) return;
  const usize old_cursor = cursor_;
  line_.erase(from, to - from);
  cursor_ = from;
  redraw_from(from, old_cursor);
}

// The terminal's cursor stands at old_cursor; what follows `position` is written anew.
void Readline::redraw_from(usize position, usize old_cursor) {
  std::string text = old_cursor > position ? left(old_cursor - position) : std::string();
  text += line_.substr(position) + "\033[K" + left(line_.size() - cursor_);
  hooks_.output(text);
}

void Readline::move_to(usize position) {
  if (position < cursor_) hooks_.output(left(cursor_ - position));
  else if (position > cursor_) hooks_.output(std::string_view(line_).substr(cursor_, position - cursor_));
  cursor_ = position;
}

void Readline::replace(std::string line) {
  const usize old_cursor = cursor_;
  line_ = std::move(line);
  cursor_ = line_.size();
  redraw_from(0, old_cursor);
}

void Readline::walk_history(int step) {
  if ((step < 0 && history_at_ == 0) || (step > 0 && history_at_ >= history_.size())) return;
  if (history_at_ == history_.size()) unfinished_ = line_;
  history_at_ += static_cast<usize>(step);
  replace(history_at_ == history_.size() ? unfinished_ : history_[history_at_]);
}

void Readline::finish() {
  hooks_.output("\r\n");
  const std::string line = std::move(line_);
  line_.clear();
  cursor_ = 0;
  if (line.find_first_not_of(" \t") != line.npos) {
    history_.erase(std::remove(history_.begin(), history_.end(), line), history_.end());
    if (history_.size() == kMaxHistory) history_.erase(history_.begin());
    history_.push_back(line);
  }
  history_at_ = history_.size();
  hooks_.accept(line);
}

void Readline::complete() {
  const std::string before = line_.substr(0, cursor_);
  const usize word_at = before.find_last_of(" ,") + 1;  // npos + 1 is 0
  std::vector<std::string> words = hooks_.complete(before);
  if (words.empty()) return;
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  usize common = words[0].size();
  for (const std::string& word : words) {
    usize same = 0;
    while (same < common && same < word.size() && word[same] == words[0][same]) ++same;
    common = same;
  }
  const usize typed = before.size() - word_at;
  const std::string more = words[0].substr(std::min(typed, common), common - std::min(typed, common));
  if (words.size() == 1) insert(more + " ");
  else if (!more.empty()) insert(more);
  else list(words);
}

void Readline::list(const std::vector<std::string>& words) {
  constexpr usize kColumns = 80, kLeast = 10;
  usize width = kLeast;
  for (const std::string& word : words) width = std::max(width, word.size() + 2);
  const usize per_line = std::max<usize>(1, kColumns / width);
  std::string text = "\r\n";
  for (usize i = 0; i < words.size(); ++i) {
    text += fmt::format("{:<{}}", words[i], width);
    if ((i + 1) % per_line == 0 || i + 1 == words.size()) text += "\r\n";
  }
  hooks_.output(text);
  show_prompt();
}

}  // namespace rhea::monitor
