// SPDX-License-Identifier: MIT
// Conversions between formats, and to and from fixed point (fp.h).
#include "ir/fp.h"
#include "ir/fp_parts.h"

namespace rhea::ir {

using namespace fp;

namespace {

// A NaN of another format: the fraction's top bits are kept, quieted.
template <typename To, typename From>
typename To::Bits convert_nan(typename From::Bits value, const Parts& parts, FpContext& context) {
  if (parts.kind == Kind::signalling) context.flags |= kFpInvalid;
  if (context.mode & kFpDefaultNan) return default_nan<To>();
  u64 fraction = value & kFractionMask<From>;
  if constexpr (To::kFraction >= From::kFraction) fraction <<= To::kFraction - From::kFraction;
  else fraction >>= From::kFraction - To::kFraction;
  return static_cast<typename To::Bits>(pack_infinity<To>(parts.sign) | kQuietBit<To> | fraction);
}

template <typename To, typename From>
typename To::Bits convert(typename From::Bits value, const Parts& parts, FpContext& context, bool flush = true) {
  if (parts.nan()) return convert_nan<To, From>(value, parts, context);
  if (parts.infinity()) return pack_infinity<To>(parts.sign);
  if (parts.zero()) return pack_zero<To>(parts.sign);
  return round<To>(parts.sign, parts.exponent, parts.significand, context, flush);
}

}  // namespace

u64 fp_to_double(u32 a, FpContext& context) { return convert<Double, Single>(a, unpack<Single>(a, context), context); }

u32 fp_to_single(u64 a, FpContext& context) { return convert<Single, Double>(a, unpack<Double>(a, context), context); }

u32 fp_half_to_single(u16 a, bool alternative, FpContext& context) {
  Parts parts = unpack_exact<Half>(a);
  if (alternative && ((a >> Half::kFraction) & kExponentMax<Half>) == kExponentMax<Half>) {
    parts.kind = Kind::finite;
    parts.exponent = kExponentMax<Half> - kBias<Half>;
    parts.significand = (u64{1} << 63) | ((a & kFractionMask<Half>) << (63 - Half::kFraction));
  }
  return convert<Single, Half>(a, parts, context);
}

u16 fp_single_to_half(u32 a, bool alternative, FpContext& context) {
  const Parts parts = unpack<Single>(a, context);
  if (!alternative) return convert<Half, Single>(a, parts, context, false);
  if (parts.nan()) {
    context.flags |= kFpInvalid;
    return pack_zero<Half>(parts.sign);
  }
  if (parts.infinity()) {
    context.flags |= kFpInvalid;
    return static_cast<u16>(pack_zero<Half>(parts.sign) | 0x7fff);
  }
  if (parts.zero()) return pack_zero<Half>(parts.sign);
  return round<Half>(parts.sign, parts.exponent, parts.significand, context, false, true);
}

template <typename Bits>
u64 fp_to_fixed(Bits a, unsigned int_bits, unsigned fraction, bool is_signed, bool toward_zero, FpContext& context) {
  const Parts parts = unpack<Format<Bits>>(a, context);
  if (parts.nan()) {
    context.flags |= kFpInvalid;
    return 0;
  }
  if (parts.zero()) return 0;
  u128 magnitude = u128{1} << 64;  // more than any destination holds
  bool inexact = false;
  if (const int top = parts.exponent + static_cast<int>(fraction); !parts.infinity() && top < 64) {
    // What is to the right of the binary point is rest / 2^shift; below 2^-2 its value does not matter.
    const int shift = 63 - (top < -2 ? -2 : top);
    magnitude = static_cast<u128>(parts.significand) >> shift;
    const u128 rest = top < -2 ? u128{1} : parts.significand & ((u128{1} << shift) - 1);
    const u128 half = shift ? u128{1} << (shift - 1) : u128{0};
    inexact = rest != 0;
    const int compared = !inexact || rest < half ? -1 : rest > half;
    const Rounding mode = toward_zero ? kTowardsZero : rounding(context);
    if (round_up(mode, parts.sign, magnitude & 1, compared, inexact)) magnitude++;
  }
  const u128 limit = is_signed    ? (u128{1} << (int_bits - 1)) - !parts.sign
                     : parts.sign ? u128{0}
                                  : (u128{1} << int_bits) - 1;
  if (magnitude > limit) {
    context.flags |= kFpInvalid;
    magnitude = limit;
  } else if (inexact) {
    context.flags |= kFpInexact;
  }
  return parts.sign ? -static_cast<u64>(magnitude) : static_cast<u64>(magnitude);
}

template <typename Bits>
Bits fp_from_fixed(u64 value, unsigned int_bits, unsigned fraction, bool is_signed, FpContext& context) {
  value = is_signed ? static_cast<u64>(sign_extend(value, int_bits)) : bits(value, 0, int_bits);
  if (!value) return 0;
  const bool sign = is_signed && value >> 63;
  if (sign) value = -value;
  const int zeros = std::countl_zero(value);
  return round<Format<Bits>>(sign, 63 - zeros - static_cast<int>(fraction), value << zeros, context);
}

template u64 fp_to_fixed(u32, unsigned, unsigned, bool, bool, FpContext&);
template u64 fp_to_fixed(u64, unsigned, unsigned, bool, bool, FpContext&);
template u32 fp_from_fixed(u64, unsigned, unsigned, bool, FpContext&);
template u64 fp_from_fixed(u64, unsigned, unsigned, bool, FpContext&);

}  // namespace rhea::ir
