// SPDX-License-Identifier: MIT
// The short forms of character devices that -serial, -parallel and -monitor take: "stdio", "null",
// "file:PATH", "mon:stdio", "none".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::chardev {

enum class BackendKind : u8 { none, null, stdio, file };

struct Spec {
  BackendKind kind = BackendKind::none;
  std::string path;           // of a file
  bool append = false;        // to it
  bool with_monitor = false;  // "mon:": a multiplexer that the monitor shares
  bool signals = true;        // stdio: Ctrl-C makes a signal (with "mon:" the guest gets it)
};

// Errors: "'foo' is not a valid char driver (did you mean ...?)"; "chardev 'pty' is known to QEMU, but ..."
Result<Spec> parse_spec(std::string_view text);

// A form of QEMU's, and what is to be said of it.
struct KnownForm {
  std::string_view name;
  bool available;
  std::string_view summary;
};
// All of them, for help and completion.
std::vector<KnownForm> known_forms();

}  // namespace rhea::chardev
