// SPDX-License-Identifier: MIT
// Guest RAM that nobody needs, given back to the host.
#pragma once

#include "memory/ram.h"

namespace rhea::memory {

// The whole pages in [offset, offset + size): they read as zero from now on. What is cached of their contents must be
// told of (AddressSpace::wrote).
void discard(RamBlock& ram, u64 offset, u64 size);

}  // namespace rhea::memory
