// SPDX-License-Identifier: MIT
// The two ends of every software floating-point operation: taking an operand apart, and rounding a result.
// Used by the fp*.cpp files only.
#pragma once

#include <bit>

#include "ir/fp.h"
#include "util/bits.h"

namespace rhea::ir::fp {

struct Half {
  using Bits = u16;
  static constexpr int kFraction = 10, kExponent = 5;
};
struct Single {
  using Bits = u32;
  static constexpr int kFraction = 23, kExponent = 8;
};
struct Double {
  using Bits = u64;
  static constexpr int kFraction = 52, kExponent = 11;
};
template <typename Bits>
struct FormatOf;
template <>
struct FormatOf<u32> {
  using Type = Single;
};
template <>
struct FormatOf<u64> {
  using Type = Double;
};
template <typename Bits>
using Format = typename FormatOf<Bits>::Type;

template <typename F>
constexpr u64 kFractionMask = (u64{1} << F::kFraction) - 1;
template <typename F>
constexpr u64 kQuietBit = u64{1} << (F::kFraction - 1);
template <typename F>
constexpr int kExponentMax = (1 << F::kExponent) - 1;  // of infinities and NaNs
template <typename F>
constexpr int kBias = kExponentMax<F> / 2;
template <typename F>
constexpr int kSignShift = F::kFraction + F::kExponent;

enum class Kind : u8 { zero, finite, infinity, quiet, signalling };

// An operand taken apart. A finite value is significand * 2^(exponent - 63), with bit 63 of the significand set.
struct Parts {
  Kind kind = Kind::zero;
  bool sign = false;
  int exponent = 0;
  u64 significand = 0;

  bool nan() const { return kind >= Kind::quiet; }
  bool zero() const { return kind == Kind::zero; }
  bool infinity() const { return kind == Kind::infinity; }
};

enum Rounding : u8 { kNearest = 0, kTowardsPlus = 1, kTowardsMinus = 2, kTowardsZero = 3 };

inline Rounding rounding(const FpContext& context) { return static_cast<Rounding>(context.mode & kFpRoundMask); }

template <typename F>
Parts unpack_exact(typename F::Bits value) {
  Parts parts;
  parts.sign = (value >> kSignShift<F>)&1;
  const int exponent = static_cast<int>(value >> F::kFraction) & kExponentMax<F>;
  const u64 fraction = value & kFractionMask<F>;
  if (exponent == kExponentMax<F>) {
    parts.kind = !fraction ? Kind::infinity : (fraction & kQuietBit<F>) ? Kind::quiet : Kind::signalling;
  } else if (exponent) {
    parts.kind = Kind::finite;
    parts.exponent = exponent - kBias<F>;
    parts.significand = (u64{1} << 63) | (fraction << (63 - F::kFraction));
  } else if (fraction) {
    const int shift = std::countl_zero(fraction);
    parts.kind = Kind::finite;
    parts.significand = fraction << shift;
    parts.exponent = 1 - kBias<F> + (63 - F::kFraction) - shift;
  }
  return parts;
}

// With inputs flushed to zero where the mode says so.
template <typename F>
Parts unpack(typename F::Bits value, FpContext& context) {
  Parts parts = unpack_exact<F>(value);
  if ((context.mode & kFpFlushToZero) && parts.kind == Kind::finite && parts.exponent < 1 - kBias<F>) {
    context.flags |= kFpInputDenormal;
    return {.kind = Kind::zero, .sign = parts.sign};
  }
  return parts;
}

template <typename F>
constexpr typename F::Bits pack_zero(bool sign) {
  return static_cast<typename F::Bits>(u64{sign} << kSignShift<F>);
}
template <typename F>
constexpr typename F::Bits pack_infinity(bool sign) {
  return static_cast<typename F::Bits>(u64{sign} << kSignShift<F> | u64{kExponentMax<F>} << F::kFraction);
}
template <typename F>
constexpr typename F::Bits default_nan() {
  return static_cast<typename F::Bits>(u64{kExponentMax<F>} << F::kFraction | kQuietBit<F>);
}
template <typename F>
typename F::Bits invalid(FpContext& context) {
  context.flags |= kFpInvalid;
  return default_nan<F>();
}

// Whether a magnitude is to be increased: `odd` is its lowest bit, `half` says how what was cut off compares with
// half of it (-1, 0, 1), `inexact` whether anything was cut off.
inline bool round_up(Rounding mode, bool sign, bool odd, int half, bool inexact) {
  switch (mode) {
    case kNearest: return half > 0 || (half == 0 && odd);
    case kTowardsPlus: return inexact && !sign;
    case kTowardsMinus: return inexact && sign;
    case kTowardsZero: return false;
  }
  return false;
}

// ARM's FPRound: of significand * 2^(exponent - 63), bit 63 set; bit 0 may stand for any non-zero bits below it.
// `flush`: FZ applies to the result (not to half precision); `alternative`: half precision without infinities.
template <typename F>
typename F::Bits round(bool sign, int exponent, u64 significand, FpContext& context, bool flush = true,
                       bool alternative = false) {
  constexpr int kCut = 63 - F::kFraction;
  constexpr int kMinimum = 1 - kBias<F>;
  int biased = exponent + kBias<F>;
  if (exponent < kMinimum) {
    if (flush && (context.mode & kFpFlushToZero)) {
      context.flags |= kFpUnderflow;
      return pack_zero<F>(sign);
    }
    const int shift = kMinimum - exponent;
    significand = shift > 63 ? 1 : (significand >> shift) | ((significand << (64 - shift)) != 0);
    biased = 0;
  }
  u64 mantissa = significand >> kCut;
  const u64 rest = significand & ((u64{1} << kCut) - 1);
  const u64 half = u64{1} << (kCut - 1);
  if (rest && !biased) context.flags |= kFpUnderflow;
  const Rounding mode = rounding(context);
  if (round_up(mode, sign, mantissa & 1, rest == half ? 0 : rest > half ? 1 : -1, rest != 0)) {
    mantissa++;
    if (mantissa == u64{1} << F::kFraction) biased = 1;
    if (mantissa == u64{2} << F::kFraction) {
      biased++;
      mantissa >>= 1;
    }
  }
  const u64 sign_bit = u64{sign} << kSignShift<F>;
  if (alternative) {
    if (biased > kExponentMax<F>) {
      context.flags |= kFpInvalid;
      return static_cast<typename F::Bits>(sign_bit | ((u64{1} << kSignShift<F>)-1));
    }
  } else if (biased >= kExponentMax<F>) {
    context.flags |= kFpOverflow | kFpInexact;
    const bool to_infinity = mode == kNearest || (mode == kTowardsPlus && !sign) || (mode == kTowardsMinus && sign);
    return static_cast<typename F::Bits>(pack_infinity<F>(sign) - !to_infinity);
  }
  if (rest) context.flags |= kFpInexact;
  return static_cast<typename F::Bits>(sign_bit | u64(biased) << F::kFraction | (mantissa & kFractionMask<F>));
}

// The result for a NaN operand.
template <typename F>
typename F::Bits propagate(typename F::Bits value, Kind kind, FpContext& context) {
  if (kind == Kind::signalling) context.flags |= kFpInvalid;
  if (context.mode & kFpDefaultNan) return default_nan<F>();
  return static_cast<typename F::Bits>(value | kQuietBit<F>);
}

// The result for two operands, at least one of which is a NaN.
template <typename F>
typename F::Bits propagate(typename F::Bits a, const Parts& pa, typename F::Bits b, const Parts& pb,
                           FpContext& context) {
  if (pa.kind == Kind::signalling) return propagate<F>(a, pa.kind, context);
  if (pb.kind == Kind::signalling) return propagate<F>(b, pb.kind, context);
  return pa.nan() ? propagate<F>(a, pa.kind, context) : propagate<F>(b, pb.kind, context);
}

// Shift to the right that keeps in bit 0 whether anything was lost.
inline u128 shift_sticky(u128 value, int count) {
  if (count == 0) return value;
  if (count > 127) return value != 0;
  return (value >> count) | ((value << (128 - count)) != 0);
}

// a + b of finite values that are wide * 2^(exponent - 125) with bit 125 set; scaled by 2^scale before rounding.
template <typename F>
typename F::Bits add_wide(bool sign_a, int exponent_a, u128 a, bool sign_b, int exponent_b, u128 b, int scale,
                          FpContext& context) {
  int exponent = exponent_a > exponent_b ? exponent_a : exponent_b;
  a = shift_sticky(a, exponent - exponent_a);
  b = shift_sticky(b, exponent - exponent_b);
  bool sign = sign_a;
  u128 sum;
  if (sign_a == sign_b) {
    sum = a + b;
  } else if (a >= b) {
    sum = a - b;
  } else {
    sum = b - a;
    sign = sign_b;
  }
  if (!sum) return pack_zero<F>(rounding(context) == kTowardsMinus);
  const u64 high = static_cast<u64>(sum >> 64);
  const int zeros = high ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(sum));
  sum <<= zeros;
  exponent += 2 - zeros;
  return round<F>(sign, exponent + scale, static_cast<u64>(sum >> 64) | (static_cast<u64>(sum) != 0), context);
}

}  // namespace rhea::ir::fp
