// SPDX-License-Identifier: MIT
#include "host/x64/features.h"

#include <cpuid.h>

namespace rhea::x64 {
namespace {

struct Row {
  std::string_view name;
  u32 bits;  // itself and what it needs
};
constexpr Row kRows[] = {
    {"avx", kAvx},
    {"avx2", kAvx | kAvx2},
    {"bmi1", kBmi1},
    {"bmi2", kBmi2},
    {"lzcnt", kLzcnt},
    {"movbe", kMovbe},
    {"fma", kAvx | kFma},
    {"avx512", kAvx | kAvx2 | kFma | kAvx512},
    {"avx512vbmi", kAvx | kAvx2 | kFma | kAvx512 | kAvx512Vbmi},
    {"avx512bitalg", kAvx | kAvx2 | kFma | kAvx512 | kAvx512Bitalg},
    {"gfni", kGfni},
};

u64 read_xcr0() {
  u32 low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return u64{high} << 32 | low;
}

}  // namespace

u32 detect_features() {
  u32 features = 0;
  u32 a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool xsave = c & (1u << 27);
  const u64 xcr0 = xsave ? read_xcr0() : 0;
  const bool ymm = (xcr0 & 6) == 6;
  const bool zmm = (xcr0 & 0xe6) == 0xe6;
  if (c & (1u << 22)) features |= kMovbe;
  if (ymm && c & (1u << 28)) features |= kAvx;
  if (features & kAvx && c & (1u << 12)) features |= kFma;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    if (b & (1u << 3)) features |= kBmi1;
    if (b & (1u << 8)) features |= kBmi2;
    if (features & kAvx && b & (1u << 5)) features |= kAvx2;
    constexpr u32 kNeeded = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;  // F DQ CD BW VL
    if (zmm && features & kAvx2 && features & kFma && (b & kNeeded) == kNeeded) features |= kAvx512;
    if (features & kAvx512 && c & (1u << 1)) features |= kAvx512Vbmi;
    if (features & kAvx512 && c & (1u << 12)) features |= kAvx512Bitalg;
    if (c & (1u << 8)) features |= kGfni;
  }
  if (__get_cpuid(0x80000001, &a, &b, &c, &d) && c & (1u << 5)) features |= kLzcnt;
  return features;
}

Result<u32> parse_features(std::string_view text) {
  if (text == "all" || text.empty()) return ~0u;
  if (text == "none") return 0u;
  u32 result = 0;
  while (!text.empty()) {
    const usize end = text.find('+');
    const std::string_view name = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    bool found = false;
    for (const Row& row : kRows) {
      if (row.name != name) continue;
      result |= row.bits;
      found = true;
    }
    if (!found) {
      std::string names = "all, none";
      for (const Row& row : kRows) names += ", " + std::string(row.name);
      return Error("host-features: '{}' is not known; there are: {} (joined by '+')", name, names);
    }
  }
  return result;
}

std::string print_features(u32 features) {
  std::string text;
  for (const Row& row : kRows) {
    if ((features & row.bits) != row.bits) continue;
    if (!text.empty()) text += '+';
    text += row.name;
  }
  return text.empty() ? "none" : text;
}

}  // namespace rhea::x64
