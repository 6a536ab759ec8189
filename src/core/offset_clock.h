// SPDX-License-Identifier: MIT
// A clock that shows another clock's time plus a fixed distance.
#pragma once

#include "core/clock.h"

namespace rhea::core {

std::unique_ptr<Clock> make_offset_clock(Clock& clock, s64 offset);

}  // namespace rhea::core
