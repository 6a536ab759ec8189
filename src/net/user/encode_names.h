// SPDX-License-Identifier: MIT
// Domain names in DNS form (RFC 1035, section 3.1).
#pragma once

#include <string>
#include <vector>

#include "util/types.h"

namespace rhea::net::user {

// One behind the other. `compressed`: a suffix is written once (section 4.1.4). Labels are of 1 to 63 bytes.
std::vector<u8> encode_names(const std::vector<std::string>& names, bool compressed);

}  // namespace rhea::net::user
