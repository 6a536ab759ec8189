// SPDX-License-Identifier: MIT
// Names that one process of this user has at a time, and what tells this host and user from others.
#pragma once

#include <string>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

// A folder of this user's own for files that live as long as programs run: in $XDG_RUNTIME_DIR, /run/user/UID, or
// /tmp. Errors: it cannot be made, or is somebody else's.
Result<std::string> runtime_folder();

// The lock of a name, which goes with the descriptor (so also when the process is killed); an invalid descriptor when
// another process has it. `name` is a file name.
Result<Fd> claim(const std::string& name);

// Stable over restarts, different on other hosts: /etc/machine-id, else the host's name.
std::string machine_identity();
unsigned user_id();

}  // namespace rhea::sys
