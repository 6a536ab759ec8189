// SPDX-License-Identifier: MIT
// What the emit_vector*.cpp files share: instructions in their AVX form where there is one, else after a copy.
// Members of Emitter use them: they refer to a_, avx() and inst. The second source of a VOP is not its destination.
#pragma once

#include "host/x64/emitter.h"

// One three-operand instruction: d = x op y, y perhaps in memory.
#define VOP(name, d, x, y)             \
  do {                                 \
    if (avx()) {                       \
      a_.v##name(xmm(d), xmm(x), (y)); \
    } else {                           \
      move_xmm((d), (x));              \
      a_.name(xmm(d), (y));            \
    }                                  \
  } while (0)
// d = op x
#define VOP1(name, d, x) (avx() ? a_.v##name(xmm(d), (x)) : a_.name(xmm(d), (x)))
// d = x shifted by a constant
#define VSHIFT(name, d, x, count)                         \
  do {                                                    \
    if (avx()) {                                          \
      a_.v##name(xmm(d), xmm(x), static_cast<u8>(count)); \
    } else {                                              \
      move_xmm((d), (x));                                 \
      a_.name(xmm(d), static_cast<u8>(count));            \
    }                                                     \
  } while (0)

#define BY_LANE(op8, op16, op32, op64, d, x, y) \
  switch (inst.lane) {                          \
    case 8: VOP(op8, d, x, y); break;           \
    case 16: VOP(op16, d, x, y); break;         \
    case 32: VOP(op32, d, x, y); break;         \
    default: VOP(op64, d, x, y); break;         \
  }

namespace rhea::x64 {

// Byte indices that put the even (or odd) lanes of a vector into its low half.
inline u64 unzip_indices(unsigned lane, bool odd) {
  u64 indices = 0;
  const unsigned bytes = lane / 8;
  for (unsigned i = 0; i < 8; i++) {
    const unsigned from = (i / bytes * 2 + odd) * bytes + i % bytes;
    indices |= u64{from} << 8 * i;
  }
  return indices;
}

}  // namespace rhea::x64
