// SPDX-License-Identifier: MIT
// Descriptors that clients hand over a Unix socket (getfd) for others to use by name.
#pragma once

#include <string>

#include "monitor/monitor.h"

namespace rhea::monitor {

// The one that came with the command, under a name; an older one of that name is closed.
Result<void> keep_descriptor(Context& context, chardev::Backend& from, const std::string& name);
Result<void> close_descriptor(Context& context, const std::string& name);
// For an option that takes a descriptor: its number, which is the user's from now on. What begins with a digit is a
// number already. Errors: nobody handed over one of that name.
Result<std::string> descriptor_number(Context& context, const std::string& name);
// "fd:NAME" of a migration, by number.
Result<std::string> migration_uri(Context& context, const std::string& uri);

}  // namespace rhea::monitor
