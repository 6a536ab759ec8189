// SPDX-License-Identifier: MIT
// What the host CPU can do beyond x86-64-v2 (SSE4.2, POPCNT), which is required.
#pragma once

#include <string>
#include <string_view>

#include "util/result.h"
#include "util/types.h"

namespace rhea::x64 {

enum Feature : u32 {
  kAvx = 1u << 0,
  kAvx2 = 1u << 1,
  kBmi1 = 1u << 2,
  kBmi2 = 1u << 3,
  kLzcnt = 1u << 4,
  kMovbe = 1u << 5,
  kFma = 1u << 6,
  kAvx512 = 1u << 7,  // F, BW, DQ, VL, CD
  kAvx512Vbmi = 1u << 8,
  kAvx512Bitalg = 1u << 9,
  kGfni = 1u << 10,
};

// Of this machine, by CPUID and XCR0.
u32 detect_features();
// A mask from text: "all", "none", "avx2" (that and what it needs), or names joined by '+'.
Result<u32> parse_features(std::string_view text);
std::string print_features(u32 features);

}  // namespace rhea::x64
