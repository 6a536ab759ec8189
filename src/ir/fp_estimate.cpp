// SPDX-License-Identifier: MIT
// ARM's estimates and Newton-Raphson steps (DDI 0406C, A2.7.10; the pseudo-functions FPRecipEstimate,
// FPRSqrtEstimate, FPRecipStep, FPRSqrtStep, UnsignedRecipEstimate, UnsignedRSqrtEstimate).
//
// An estimate is a number s of 256..511, that is 1 + (s - 256) / 256, from the top bits q of the operand:
//   reciprocal            operand in [0.5, 1),  q = floor(512 x) of 256..511: s = round(256 / ((q + 0.5) / 512))
//   reciprocal root       operand in [0.5, 1),  q = floor(256 x) of 128..255: s = round(256 / sqrt((q + 0.5) / 256))
//                         operand in [0.25, 0.5), q = floor(512 x) of 128..255: the same with 512
#include <array>

#include "ir/fp.h"
#include "ir/fp_parts.h"

namespace rhea::ir {

using namespace fp;

namespace {

constexpr u32 recip(u32 q) {
  const u32 divisor = 2 * q + 1;  // 256 * 512 / (q + 0.5) = 2^18 / divisor; rounded: + 0.5
  return ((2u << 18) + divisor) / (2 * divisor);
}

// The largest s with s - 0.5 <= 256 * sqrt(scale / (q + 0.5)): (2s - 1)^2 (2q + 1) <= 2^19 * scale.
constexpr u32 rsqrt(u32 q, u32 scale) {
  u32 s = 256;
  while (s < 511 && u64{2 * s + 1} * (2 * s + 1) * (2 * q + 1) <= u64{scale} << 19) s++;
  return s;
}

constexpr std::array<u8, 256> kRecip = [] {
  std::array<u8, 256> table{};
  for (u32 i = 0; i < 256; i++) table[i] = static_cast<u8>(recip(256 + i) & 0xff);
  return table;
}();

// Index: seven bits below the leading one, and 128 for an operand in [0.5, 1).
constexpr std::array<u8, 256> kRsqrt = [] {
  std::array<u8, 256> table{};
  for (u32 i = 0; i < 128; i++) {
    table[i] = static_cast<u8>(rsqrt(128 + i, 512) & 0xff);
    table[128 + i] = static_cast<u8>(rsqrt(128 + i, 256) & 0xff);
  }
  return table;
}();

constexpr u32 kTwo = 0x40000000;
constexpr u32 kThree = 0x40400000;

}  // namespace

u32 unsigned_recip_estimate(u32 a) {
  if (!bit(a, 31)) return ~u32{0};
  return 0x80000000 | u32{kRecip[bits(a, 23, 8)]} << 23;
}

u32 unsigned_rsqrt_estimate(u32 a) {
  if (!bits(a, 30, 2)) return ~u32{0};
  const u32 index = bit(a, 31) ? 128 + bits(a, 24, 7) : bits(a, 23, 7);
  return 0x80000000 | u32{kRsqrt[index]} << 23;
}

u32 fp_recip_estimate(u32 a, FpContext& context) {
  const Parts parts = unpack<Single>(a, context);
  if (parts.nan()) return propagate<Single>(a, parts.kind, context);
  if (parts.infinity()) return pack_zero<Single>(parts.sign);
  if (parts.zero()) {
    context.flags |= kFpDivideByZero;
    return pack_infinity<Single>(parts.sign);
  }
  if (parts.exponent >= 126) {
    context.flags |= kFpUnderflow;
    return pack_zero<Single>(parts.sign);
  }
  // A denormal operand is only seen without flush to zero, which no instruction uses.
  if (parts.exponent < -126) {
    context.flags |= kFpOverflow | kFpInexact;
    return pack_infinity<Single>(parts.sign);
  }
  const u32 exponent = 253 - bits(a, 23, 8);
  return u32{parts.sign} << 31 | exponent << 23 | u32{kRecip[bits(a, 15, 8)]} << 15;
}

u32 fp_rsqrt_estimate(u32 a, FpContext& context) {
  const Parts parts = unpack<Single>(a, context);
  if (parts.nan()) return propagate<Single>(a, parts.kind, context);
  if (parts.zero()) {
    context.flags |= kFpDivideByZero;
    return pack_infinity<Single>(parts.sign);
  }
  if (parts.sign) return invalid<Single>(context);
  if (parts.infinity()) return pack_zero<Single>(false);
  const int biased = parts.exponent + 127;
  const u32 fraction = static_cast<u32>(parts.significand >> 56) & 0x7f;
  const u32 index = biased & 1 ? fraction : 128 + fraction;
  return static_cast<u32>((380 - biased) / 2) << 23 | u32{kRsqrt[index]} << 15;
}

u32 fp_recip_step(u32 a, u32 b, FpContext& context) {
  const Parts pa = unpack<Single>(a, context);
  const Parts pb = unpack<Single>(b, context);
  if (pa.nan() || pb.nan()) return propagate<Single>(a, pa, b, pb, context);
  if ((pa.infinity() && pb.zero()) || (pa.zero() && pb.infinity())) return kTwo;
  return fp_sub(kTwo, fp_mul(a, b, context), context);
}

u32 fp_rsqrt_step(u32 a, u32 b, FpContext& context) {
  const Parts pa = unpack<Single>(a, context);
  const Parts pb = unpack<Single>(b, context);
  if (pa.nan() || pb.nan()) return propagate<Single>(a, pa, b, pb, context);
  const bool zero_by_infinity = (pa.infinity() && pb.zero()) || (pa.zero() && pb.infinity());
  const Parts product = unpack<Single>(zero_by_infinity ? 0 : fp_mul(a, b, context), context);
  if (product.infinity()) return pack_infinity<Single>(!product.sign);
  const Parts three = unpack<Single>(kThree, context);
  if (product.zero()) return 0x3fc00000;  // 1.5
  return add_wide<Single>(false, three.exponent, static_cast<u128>(three.significand) << 62, !product.sign,
                          product.exponent, static_cast<u128>(product.significand) << 62, -1, context);
}

}  // namespace rhea::ir
