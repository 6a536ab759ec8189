// SPDX-License-Identifier: MIT
// Random bytes of the kernel.
#pragma once

#include <span>

#include "util/types.h"

namespace rhea::sys {

// Fills all of it. Never blocks once the host has booted.
void fill_random(std::span<u8> bytes);

}  // namespace rhea::sys
