// SPDX-License-Identifier: MIT
// A memory balloon as the monitor sees it. Under the machine loop's lock.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "util/types.h"

namespace rhea {

class Balloon {
 public:
  virtual ~Balloon() = default;
  // Asks the guest to have that many bytes of RAM; it follows as it can.
  virtual void set_target(u64 bytes) = 0;
  virtual u64 actual() const = 0;
  // What the guest said last of its memory: name and value. Empty: nothing.
  virtual std::vector<std::pair<std::string, u64>> statistics() const = 0;
};

}  // namespace rhea
