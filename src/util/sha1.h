// SPDX-License-Identifier: MIT
// SHA-1 (FIPS 180-4, 6.1), for the handshake of websockets alone: it protects nothing.
#pragma once

#include <array>
#include <string_view>

#include "util/types.h"

namespace rhea {

std::array<u8, 20> sha1(std::string_view text);

}  // namespace rhea
