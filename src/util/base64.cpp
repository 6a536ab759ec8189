// SPDX-License-Identifier: MIT
#include "util/base64.h"

#include <algorithm>

namespace rhea {

namespace {
constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}

std::string to_base64(std::span<const u8> bytes) {
  std::string text;
  for (usize i = 0; i < bytes.size(); i += 3) {
    const usize count = std::min<usize>(3, bytes.size() - i);
    u32 word = 0;
    for (usize k = 0; k < 3; ++k) word = word << 8 | (k < count ? bytes[i + k] : 0);
    for (usize k = 0; k < 4; ++k) text += k <= count ? kDigits[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

std::optional<std::vector<u8>> from_base64(std::string_view text) {
  std::vector<u8> bytes;
  u32 word = 0;
  unsigned digits = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    if (c == '=') {
      if (digits + ++padding > 4 || digits < 2) return std::nullopt;
      continue;
    }
    const usize digit = kDigits.find(c);
    if (digit == kDigits.npos || padding) return std::nullopt;
    word = word << 6 | static_cast<u32>(digit);
    if (++digits < 4) continue;
    for (unsigned i = 0; i < 3; ++i) bytes.push_back(static_cast<u8>(word >> (16 - 8 * i)));
    word = digits = 0;
  }
  if (digits == 1 || (padding && digits + padding != 4) || (digits && !padding)) return std::nullopt;
  if (digits) word <<= 6 * (4 - digits);
  for (unsigned i = 0; digits && i + 1 < digits; ++i) bytes.push_back(static_cast<u8>(word >> (16 - 8 * i)));
  return bytes;
}

}  // namespace rhea
