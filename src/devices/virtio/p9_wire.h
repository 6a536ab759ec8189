// SPDX-License-Identifier: MIT
// Values of 9P messages: little-endian numbers, and strings that a 16-bit length begins.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/bits.h"
#include "util/types.h"

namespace rhea::devices::p9 {

// Reads a message; beyond its end everything is zero and ok() false.
class Reader {
 public:
  explicit Reader(std::span<const u8> bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  template <typename T>
  T number() {
    const std::span<const u8> part = take(sizeof(T));
    return part.empty() ? T{} : load_le<T>(part.data());
  }
  u8 u8_() { return number<u8>(); }
  u16 u16_() { return number<u16>(); }
  u32 u32_() { return number<u32>(); }
  u64 u64_() { return number<u64>(); }
  std::string text() {
    const std::span<const u8> part = take(u16_());
    return {part.begin(), part.end()};
  }
  std::span<const u8> rest() { return take(bytes_.size()); }
  std::span<const u8> take(usize size) {
    if (size > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const std::span<const u8> part = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return part;
  }

 private:
  std::span<const u8> bytes_;
  bool ok_ = true;
};

class Writer {
 public:
  template <typename T>
  void number(T value) {
    u8 raw[sizeof(T)];
    store_le(raw, value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof(T));
  }
  void text(std::string_view text) {
    number(static_cast<u16>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  std::vector<u8>& bytes() { return bytes_; }
  usize size() const { return bytes_.size(); }

 private:
  std::vector<u8> bytes_;
};

}  // namespace rhea::devices::p9
