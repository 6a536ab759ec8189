// SPDX-License-Identifier: MIT
// Bit fields, sign extension, alignment, byte order.
#pragma once

#include <bit>
#include <concepts>
#include <cstring>

#include "util/types.h"

namespace rhea {

// Bits [low, low+count) of value.
template <std::unsigned_integral T>
constexpr T bits(T value, unsigned low, unsigned count) {
  return (value >> low) & (count >= sizeof(T) * 8 ? ~T{0} : static_cast<T>((T{1} << count) - 1));
}
template <std::unsigned_integral T>
constexpr bool bit(T value, unsigned index) {
  return (value >> index) & 1;
}
// Bits [low, low+count) of value replaced by field.
template <std::unsigned_integral T>
constexpr T with_bits(T value, unsigned low, unsigned count, T field) {
  const T mask = (count >= sizeof(T) * 8 ? ~T{0} : static_cast<T>((T{1} << count) - 1)) << low;
  return (value & ~mask) | ((field << low) & mask);
}
// `value` when the condition holds, else 0: for putting flag words together.
constexpr u32 bits_if(bool condition, u32 value) { return condition ? value : 0; }

// The low `width` bits of value as a signed number.
constexpr s64 sign_extend(u64 value, unsigned width) {
  const unsigned shift = 64 - width;
  return static_cast<s64>(value << shift) >> shift;
}
constexpr u64 align_down(u64 value, u64 power_of_two) { return value & ~(power_of_two - 1); }
constexpr u64 align_up(u64 value, u64 power_of_two) { return (value + power_of_two - 1) & ~(power_of_two - 1); }
constexpr bool is_power_of_two(u64 value) { return value && !(value & (value - 1)); }

// Unaligned loads and stores in a stated byte order.
template <typename T>
T load_raw(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
void store_raw(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
constexpr u16 byte_swap(u16 v) { return __builtin_bswap16(v); }
constexpr u32 byte_swap(u32 v) { return __builtin_bswap32(v); }
constexpr u64 byte_swap(u64 v) { return __builtin_bswap64(v); }
template <typename T>
T load_le(const void* from) {
  return load_raw<T>(from);
}
template <typename T>
T load_be(const void* from) {
  if constexpr (sizeof(T) == 1) return load_raw<T>(from);
  else return byte_swap(load_raw<T>(from));
}
template <typename T>
void store_le(void* to, T value) {
  store_raw(to, value);
}
template <typename T>
void store_be(void* to, T value) {
  if constexpr (sizeof(T) == 1) store_raw(to, value);
  else store_raw(to, byte_swap(value));
}

}  // namespace rhea
