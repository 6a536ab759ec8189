// SPDX-License-Identifier: MIT
// A line editor for a terminal that echoes nothing itself: cursor keys, history, completion by TAB.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "util/types.h"

namespace rhea::monitor {

class Readline {
 public:
  static constexpr usize kMaxLine = 4095;
  static constexpr usize kMaxHistory = 64;

  // `output` goes to the terminal as it is. `complete` gives all words that could stand in place of the last
  // word of a text. `accept` gets each finished line; the prompt is shown again by the caller.
  struct Hooks {
    std::function<void(std::string_view)> output;
    std::function<std::vector<std::string>(std::string_view)> complete;
    std::function<void(const std::string&)> accept;
  };
  Readline(std::string prompt, Hooks hooks) : prompt_(std::move(prompt)), hooks_(std::move(hooks)) {}

  void show_prompt();
  void key(u8 key);
  // Drops what was typed so far, and a key sequence that was begun.
  void forget_line();
  const std::vector<std::string>& history() const { return history_; }
  const std::string& line() const { return line_; }

 private:
  void plain_key(u8 key);
  void escape_key(u8 key);
  void insert(std::string_view text);
  void erase(usize from, usize to);
  void move_to(usize position);
  void replace(std::string line);
  void walk_history(int step);
  void finish();
  void complete();
  void list(const std::vector<std::string>& words);
  void redraw_from(usize position, usize old_cursor);

  std::string prompt_;
  Hooks hooks_;
  std::string line_;
  usize cursor_ = 0;
  std::vector<std::string> history_;
  usize history_at_ = 0;  // == size: the line being typed
  std::string unfinished_;
  enum class State : u8 { plain, escape, bracket } state_ = State::plain;
  std::string sequence_;
  bool after_return_ = false;
};

}  // namespace rhea::monitor
