// SPDX-License-Identifier: MIT
// rhea: what concerns several machines, or the host. `rhea SUBJECT VERB ...`; a subject is a row of kSubjects
// (tool.cpp).
#pragma once

#include <string>
#include <vector>

#include "util/result.h"

namespace rhea::tool {

using Words = std::vector<std::string>;

// The text for standard output; `status` is the exit status when it is not to be 0. Errors are printed by run().
Result<std::string> lan_command(const Words& words, int& status);
Result<std::string> net_command(const Words& words, int& status);
Result<std::string> vhost_user_command(const Words& words, int& status);

// A verb that is not there: with what there is. `usage`: lines "VERB ARGUMENTS   what it does".
Error unknown_verb(const std::string& subject, const Words& words, const std::vector<std::string>& verbs);

// Runs a command line (without the program's name); returns the exit status: 0, 1 for what went wrong, 2 for a command
// line that makes no sense.
int run(const Words& words);

}  // namespace rhea::tool
