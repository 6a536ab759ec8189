// SPDX-License-Identifier: MIT
#include "block/request.h"

#include <algorithm>
#include <cstring>

namespace rhea::block {

std::vector<Segment> slice(Segments segments, u64 skip, u64 size) {
  std::vector<Segment> part;
  for (const Segment& segment : segments) {
    if (!size) break;
    if (skip >= segment.size) {
      skip -= segment.size;
      continue;
    }
    const u64 count = std::min<u64>(segment.size - skip, size);
    part.push_back({static_cast<u8*>(segment.data) + skip, count});
    skip = 0;
    size -= count;
  }
  return part;
}

void copy_from(Segments segments, u8* to) {
  for (const Segment& segment : segments) {
    std::memcpy(to, segment.data, segment.size);
    to += segment.size;
  }
}

void copy_to(Segments segments, const u8* from) {
  for (const Segment& segment : segments) {
    std::memcpy(segment.data, from, segment.size);
    from += segment.size;
  }
}

void fill_zero(Segments segments) {
  for (const Segment& segment : segments) std::memset(segment.data, 0, segment.size);
}

IoResult IoResult::from(const Result<void>& result) {
  if (result.ok()) return {};
  return {sys::is_no_space(result.error()) ? IoCode::no_space : IoCode::failed, result.error().message()};
}

}  // namespace rhea::block
