// SPDX-License-Identifier: MIT
// What a guest said to a connection that a client joined to one of its ports (Stack::join): the first byte on the
// client's stream.
#pragma once

#include "util/types.h"

namespace rhea::net::user {

enum class Verdict : u8 { open = 0, refused = 1, silent = 2 };

}  // namespace rhea::net::user
