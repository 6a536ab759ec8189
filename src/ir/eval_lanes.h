// SPDX-License-Identifier: MIT
// Vectors as arrays of lanes, for the evaluation of vector opcodes. Hosts are little endian: lane 0 is the lowest.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

#include "ir/eval.h"

namespace rhea::ir::detail {

template <typename U>
using Lanes = std::array<U, 16 / sizeof(U)>;

template <typename U>
Lanes<U> to_lanes(const Value& value) {
  return std::bit_cast<Lanes<U>>(value);
}
template <typename U>
Value from_lanes(const Lanes<U>& lanes) {
  return std::bit_cast<Value>(lanes);
}

template <typename U>
struct Wider;
template <>
struct Wider<u8> {
  using Type = u16;
};
template <>
struct Wider<u16> {
  using Type = u32;
};
template <>
struct Wider<u32> {
  using Type = u64;
};
template <>
struct Wider<u64> {
  using Type = u128;
};
template <>
struct Wider<s8> {
  using Type = s16;
};
template <>
struct Wider<s16> {
  using Type = s32;
};
template <>
struct Wider<s32> {
  using Type = s64;
};
template <>
struct Wider<s64> {
  using Type = s128;
};
template <typename U>
using Wide = typename Wider<U>::Type;

template <typename U>
struct SignedOf {
  using Type = std::make_signed_t<U>;
};
template <>
struct SignedOf<u128> {
  using Type = s128;
};
template <typename U>
using Signed = typename SignedOf<U>::Type;

template <typename U>
constexpr unsigned kWidth = sizeof(U) * 8;

// Calls body(U{}) with the unsigned type of `lane` bits.
template <typename Body>
Value with_lane(unsigned lane, Body body) {
  switch (lane) {
    case 8: return body(u8{});
    case 16: return body(u16{});
    case 64: return body(u64{});
    default: return body(u32{});
  }
}
// The same for lanes that have a wider type within 64 bits.
template <typename Body>
Value with_narrow_lane(unsigned lane, Body body) {
  switch (lane) {
    case 8: return body(u8{});
    case 16: return body(u16{});
    default: return body(u32{});
  }
}

template <typename Function>
Value map1(const Inst& inst, const Value* args, Function function) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    Lanes<U> a = to_lanes<U>(args[0]);
    for (U& x : a) x = static_cast<U>(function(x));
    return from_lanes<U>(a);
  });
}
template <typename Function>
Value map2(const Inst& inst, const Value* args, Function function) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    Lanes<U> a = to_lanes<U>(args[0]);
    const Lanes<U> b = to_lanes<U>(args[1]);
    for (usize i = 0; i < a.size(); i++) a[i] = static_cast<U>(function(a[i], b[i]));
    return from_lanes<U>(a);
  });
}

}  // namespace rhea::ir::detail
