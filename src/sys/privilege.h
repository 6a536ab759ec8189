// SPDX-License-Identifier: MIT
// For a program that is setuid root: a clean start, giving rights up, and files that only root can have written.
#pragma once

#include <string>

#include "util/result.h"

namespace rhea::sys {

// Empties the environment, and makes sure that the standard streams are open. False: it cannot.
bool enter_setuid_program();
// The identity of the caller, and of root's rights only those over network interfaces (capabilities(7),
// CAP_NET_ADMIN). Without root's rights: nothing changes.
Result<void> keep_only_network_rights();

// Becomes the user "nobody" without any of root's rights. In a user namespace without such a user the rights go alone.
Result<void> give_up_all_rights();

bool is_there(const std::string& path);  // or it cannot be known
// The text of a file that is root's, and that nobody else may write. Errors: it is not, or cannot be read.
Result<std::string> read_trusted(const std::string& path);

}  // namespace rhea::sys
