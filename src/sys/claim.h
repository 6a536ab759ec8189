// SPDX-License-Identifier: MIT
// Names that one process of this user has at a time, and what tells this host and user from others.
#pragma once

#include <optional>
#include <string>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

// A folder of this user's own for files that live as long as programs run: in $XDG_RUNTIME_DIR, /run/user/UID, or
// /tmp. Errors: it cannot be made, or is somebody else's.
Result<std::string> runtime_folder();
// A folder below it ("lan/lab": its own parent has to be there), made if needed; nobody else may look into it.
Result<std::string> runtime_folder(const std::string& below);

// A folder for what this host is to remember until it is started again: below /run/rhea for root, else (or where that
// cannot be made) the runtime folder.
Result<std::string> state_folder(const std::string& below);

// A folder of this user's own for what can be made anew, and is kept so that it need not: $XDG_CACHE_HOME/rhea, or
// ~/.cache/rhea. Errors: neither variable is set, it cannot be made, or others may write to it.
Result<std::string> cache_folder();

// The lock of a name, which goes with the descriptor (so also when the process is killed); an invalid descriptor when
// another process has it. `name` is a file name, or a path below the folder.
Result<Fd> claim(const std::string& name);
// The same of a file anywhere.
Result<Fd> claim_file(const std::string& path);
// A line of text in the file of a name; it stays when the lock goes. Nothing: the name was never claimed.
std::optional<std::string> claim_text(const std::string& name);
void set_claim_text(const Fd& claim, const std::string& text);
// Behind what is there, in one piece.
Result<void> append_claim_text(const Fd& claim, const std::string& text);

// Stable over restarts, different on other hosts: /etc/machine-id, else the host's name.
std::string machine_identity();
unsigned user_id();
// Of a user's name, or a number itself; nothing: there is no such user.
std::optional<unsigned> user_number(const std::string& name);
// Removes a file, if it is there.
void remove_file(const std::string& path);
int process_id();

}  // namespace rhea::sys
