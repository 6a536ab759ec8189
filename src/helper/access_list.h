// SPDX-License-Identifier: MIT
// Which bridges ordinary users may put taps on: lines "allow BRIDGE", "allow all", "deny BRIDGE", "deny all",
// "include FILE" and comments (#), as in QEMU's /etc/qemu/bridge.conf. What no line allows is refused, and a deny
// holds whatever else is said.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::helper {

struct AccessRule {
  bool allow = false;
  std::string bridge;  // "all" means each
};

// The text of a file that is included; an error when it cannot be read.
using ReadFile = std::function<Result<std::string>(const std::string& path)>;

class AccessList {
 public:
  // An included file that cannot be read allows nothing and is no error: so a file that only some users may read
  // holds the rules for them. Errors: "FILE:LINE: ...", files that include one another without end.
  static Result<AccessList> parse(const std::string& path, const std::string& text, const ReadFile& read);

  bool allows(std::string_view bridge) const;

 private:
  Result<void> add(const std::string& path, const std::string& text, const ReadFile& read, unsigned depth);
  std::vector<AccessRule> rules_;
};

}  // namespace rhea::helper
