// SPDX-License-Identifier: MIT
#include "memory/discard.h"

#include <algorithm>

#include "sys/punch_hole.h"
#include "util/bits.h"

namespace rhea::memory {

void discard(RamBlock& ram, u64 offset, u64 size) {
  const u64 begin = align_up(offset, kPageSize), end = align_down(std::min(offset + size, ram.size()), kPageSize);
  if (begin < end) sys::punch_hole(ram.fd(), begin, end - begin);
}

}  // namespace rhea::memory
