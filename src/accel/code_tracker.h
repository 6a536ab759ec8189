// SPDX-License-Identifier: MIT
// Who knows which translated code was made from which RAM.
//
// A page from which code was translated has memory::kPageHasCode set (SoftMmu::page_becomes_code, which also drops
// the write entries for it in all soft tables: do it before the code bytes are read). Every store to such a page
// takes the slow path and is announced here. When the tracker has no code of a page any more it clears the flag,
// and the next store may enter the page into the tables again.
#pragma once

#include "memory/ram.h"
#include "util/types.h"

namespace rhea::accel {

class CodeTracker {
 public:
  virtual ~CodeTracker() = default;
  // [offset, offset + size) of a block of RAM was written or may have been: translations that overlap are not
  // entered any more. Any thread; a CPU calls it for its own store after the store is done.
  virtual void code_written(memory::RamBlock& ram, u64 offset, u64 size) = 0;
};

}  // namespace rhea::accel
