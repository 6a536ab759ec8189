// SPDX-License-Identifier: MIT
// Asks every member of a LAN, each by its socket, what it knows. A member that does not answer (its process is stopped)
// is passed over after a while; what it says is JSON of any content, and is checked as such.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/json.h"

namespace rhea::tool {

// What the members that answer say of themselves, in the order of their guests' addresses.
std::vector<config::Json> ask_lan(const std::string& lan);

// The socket of the member whose guest has this name or IPv4 address; nothing: there is none.
std::optional<std::string> find_member(const std::string& lan, const std::string& guest);

}  // namespace rhea::tool
