// SPDX-License-Identifier: MIT
// ARM CPUs as the engine takes them.
#pragma once

#include <memory>

#include "accel/virtual_cpu.h"

namespace rhea::accel {

Result<std::unique_ptr<GuestCpu>> make_arm_cpu(const CpuConfig& config, unsigned index, Log& log);

}  // namespace rhea::accel
