// SPDX-License-Identifier: MIT
#pragma once

#include "accel/accel.h"
#include "core/semihosting.h"

namespace rhea::accel {

// Hands the semihosting calls of all CPUs to `handler`, which lives as long as the engine. While the CPUs are paused.
void set_semihosting(Engine& engine, Semihosting& handler, bool from_user);

}  // namespace rhea::accel
