// SPDX-License-Identifier: MIT
// Helpers: functions of the guest that generated code calls. A helper is one row of helpers.inc or vfp_helpers.inc,
//   HELPER(name, flags)       flags: ir::HelperFlag bits
// and one function helper_name(Cpu&, u64 a, u64 b, u64 c) somewhere in this folder.
#pragma once

#include <span>

#include "ir/guest.h"

namespace rhea::arm {

class Cpu;

enum class HelperId : u16 {
#define HELPER(name, flags) name,
#include "guest/arm/helpers.inc"
#include "guest/arm/vfp_helpers.inc"
#undef HELPER
  kCount
};

#define HELPER(name, flags) u64 helper_##name(Cpu& cpu, u64 a, u64 b, u64 c);
#include "guest/arm/helpers.inc"
#include "guest/arm/vfp_helpers.inc"
#undef HELPER

std::span<const ir::Helper> helper_table();

}  // namespace rhea::arm
