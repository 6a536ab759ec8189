// SPDX-License-Identifier: MIT
// Network interfaces of the host, by name, in the network namespace of this process.
#pragma once

#include <string>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

bool interface_exists(const std::string& name);
bool is_bridge(const std::string& name);
bool is_up(const std::string& name);
std::vector<std::string> bridges();
// The interface of the default route for IPv4; "" if there is none.
std::string default_route_interface();

// Errors: "could not bring tap0 up: Operation not permitted".
Result<void> bring_up(const std::string& name);
// Makes an interface a port of a bridge, with the bridge's MTU. `from_tap`: its MAC address is moved out of the way
// (fe:...), so that a bridge, which takes the lowest of its ports', does not change its own.
Result<void> add_to_bridge(const std::string& bridge, const std::string& name, bool from_tap);

}  // namespace rhea::sys
