// SPDX-License-Identifier: MIT
// Shifts of one lane in full precision.
#pragma once

#include "ir/eval_lanes.h"

namespace rhea::ir::detail {

// value / 2^count towards minus infinity, or (rounding) of value + 2^(count-1); any count.
template <typename T>
T shift_right(T value, unsigned count, bool rounding) {
  if (count == 0) return value;
  if (count > kWidth<T> + 1) count = kWidth<T> + 1;
  s128 exact = static_cast<s128>(value);
  if (rounding) exact += static_cast<s128>(1) << (count - 1);
  return static_cast<T>(exact >> count);
}

}  // namespace rhea::ir::detail
