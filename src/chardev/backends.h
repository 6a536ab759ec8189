// SPDX-License-Identifier: MIT
// The backends that stand alone: the terminal, a file, nothing. They are made, called and destroyed under the
// machine loop's lock.
#pragma once

#include <functional>
#include <memory>

#include "chardev/backend.h"
#include "chardev/spec.h"
#include "core/event_loop.h"
#include "util/result.h"

namespace rhea::chardev {

// Standard input and output. `lost` is called (once, by the loop) when they were a terminal and it went away.
// With input from elsewhere its end is the frontend's Event::closed, and output goes on.
class Terminal : public Backend {
 public:
  // Before and after this process is stopped from the keyboard or by a signal.
  virtual void suspend() = 0;
  virtual void resume() = 0;
};
std::unique_ptr<Terminal> make_stdio(EventLoop& loop, bool signals, std::function<void()> lost);

std::unique_ptr<Backend> make_null();
Result<std::unique_ptr<Backend>> make_file(const std::string& path, bool append);

}  // namespace rhea::chardev
