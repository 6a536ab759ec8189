// SPDX-License-Identifier: MIT
#pragma once

#include "util/types.h"

namespace rhea::sys {

// Gives the pages of a memory file back: all of its mappings read zeros there.
void punch_hole(int fd, u64 offset, u64 size);

}  // namespace rhea::sys
