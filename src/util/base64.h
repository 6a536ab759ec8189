// SPDX-License-Identifier: MIT
// Base64 (RFC 4648, section 4).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/types.h"

namespace rhea {

std::string to_base64(std::span<const u8> bytes);
// Line breaks may be anywhere; nothing for a text that is none.
std::optional<std::vector<u8>> from_base64(std::string_view text);

}  // namespace rhea
