// SPDX-License-Identifier: MIT
// The displays of a machine: graphic ones, which its devices make, and text consoles (chardev "vc"). A picture is
// made when somebody looks: without a window nothing is drawn in vain. All calls are under the machine loop's lock.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "display/surface.h"

namespace rhea::display {

class Screen {
 public:
  virtual ~Screen() = default;
  // The device's id, or the chardev's label ("serial0").
  virtual std::string label() const = 0;
  virtual bool is_text() const = 0;
  // The guest shows something.
  virtual bool is_on() const = 0;
  // What it shows now. Valid until the next call.
  virtual const Surface& frame() = 0;
};

// The picture of a display that is off: a line of text says so.
void draw_blank(Surface& surface);

class Screens {
 public:
  void add(Screen& screen) { list_.push_back(&screen); }
  void remove(Screen& screen) { std::erase(list_, &screen); }
  const std::vector<Screen*>& all() const { return list_; }
  // nullptr if there is none of that label.
  Screen* find(std::string_view label) const;
  // The first graphic display that is on; else the first graphic one; else the first. nullptr: there is none.
  Screen* main() const;

 private:
  std::vector<Screen*> list_;
};

}  // namespace rhea::display
