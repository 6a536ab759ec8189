// SPDX-License-Identifier: MIT
// Arithmetic and comparison (fp.h). Each operation deals with NaNs, infinities and zeros, computes a significand
// of 64 bits whose lowest bit is sticky, and leaves the rest to fp::round.
#include "ir/fp.h"

#include "ir/fp_parts.h"

namespace rhea::ir {

using namespace fp;

namespace {

// a + b, or a - b with `negate`.
template <typename Bits>
Bits add(Bits a, Bits b, bool negate, FpContext& context) {
  using F = Format<Bits>;
  const Parts pa = unpack<F>(a, context);
  const Parts pb = unpack<F>(b, context);
  if (pa.nan() || pb.nan()) return propagate<F>(a, pa, b, pb, context);
  const bool sign_b = pb.sign != negate;
  if (pa.infinity()) { return pb.infinity() && pa.sign != sign_b ? invalid<F>(context) : pack_infinity<F>(pa.sign); }
  if (pb.infinity()) return pack_infinity<F>(sign_b);
  if (pa.zero() && pb.zero()) { return pack_zero<F>(pa.sign == sign_b ? pa.sign : rounding(context) == kTowardsMinus); }
  if (pa.zero()) return round<F>(sign_b, pb.exponent, pb.significand, context);
  if (pb.zero()) return round<F>(pa.sign, pa.exponent, pa.significand, context);
  return add_wide<F>(pa.sign, pa.exponent, static_cast<u128>(pa.significand) << 62, sign_b, pb.exponent,
                     static_cast<u128>(pb.significand) << 62, 0, context);
}

// The largest root with root * root <= square; square has bit 126 or 127 set.
u64 integer_root(u128 square) {
  // Nothing of the host's floating point: it would leave its flags among the guest's. The chord is at most 6 % too low;
  // four of Newton's steps square that to less than one.
  u64 root = static_cast<u64>(square >> 64) / 3 * 2 + 0x5555555555555555;
  for (int step = 0; step < 4; step++) {
    const u128 better = (static_cast<u128>(root) + square / root) >> 1;
    root = better > ~u64{0} ? ~u64{0} : static_cast<u64>(better);
  }
  while (static_cast<u128>(root) * root > square) root--;
  while (root != ~u64{0} && static_cast<u128>(root + 1) * (root + 1) <= square) root++;
  return root;
}

enum class Order : u8 { less, equal, greater, unordered };

template <typename Bits>
Order order(Bits a, Bits b, bool quiet_invalid, FpContext& context) {
  using F = Format<Bits>;
  const Parts pa = unpack<F>(a, context);
  const Parts pb = unpack<F>(b, context);
  if (pa.nan() || pb.nan()) {
    if (quiet_invalid || pa.kind == Kind::signalling || pb.kind == Kind::signalling) context.flags |= kFpInvalid;
    return Order::unordered;
  }
  // As integers, with flushed operands as zeros, positive floats are in order.
  const Bits mask = static_cast<Bits>((u64{1} << kSignShift<F>)-1);
  const s64 ia = pa.zero() ? 0 : pa.sign ? -static_cast<s64>(a & mask) : static_cast<s64>(a & mask);
  const s64 ib = pb.zero() ? 0 : pb.sign ? -static_cast<s64>(b & mask) : static_cast<s64>(b & mask);
  return ia == ib ? Order::equal : ia < ib ? Order::less : Order::greater;
}

template <typename Bits>
Bits min_max(Bits a, Bits b, bool max, FpContext& context) {
  using F = Format<Bits>;
  const Parts pa = unpack<F>(a, context);
  const Parts pb = unpack<F>(b, context);
  if (pa.nan() || pb.nan()) return propagate<F>(a, pa, b, pb, context);
  FpContext silent{.mode = context.mode};
  const bool take_a = order(a, b, false, silent) == (max ? Order::greater : Order::less);
  const Parts& taken = take_a ? pa : pb;
  if (taken.zero()) return pack_zero<F>(max ? pa.sign && pb.sign : pa.sign || pb.sign);
  return take_a ? a : b;
}

}  // namespace

template <typename Bits>
Bits fp_add(Bits a, Bits b, FpContext& context) {
  return add(a, b, false, context);
}

template <typename Bits>
Bits fp_sub(Bits a, Bits b, FpContext& context) {
  return add(a, b, true, context);
}

template <typename Bits>
Bits fp_mul(Bits a, Bits b, FpContext& context) {
  using F = Format<Bits>;
  const Parts pa = unpack<F>(a, context);
  const Parts pb = unpack<F>(b, context);
  if (pa.nan() || pb.nan()) return propagate<F>(a, pa, b, pb, context);
  const bool sign = pa.sign != pb.sign;
  if (pa.infinity() || pb.infinity()) { return pa.zero() || pb.zero() ? invalid<F>(context) : pack_infinity<F>(sign); }
  if (pa.zero() || pb.zero()) return pack_zero<F>(sign);
  u128 product = static_cast<u128>(pa.significand) * pb.significand;
  int exponent = pa.exponent + pb.exponent + 1;
  if (!(product >> 127)) {
    product <<= 1;
    exponent--;
  }
  return round<F>(sign, exponent, static_cast<u64>(product >> 64) | (static_cast<u64>(product) != 0), context);
}

template <typename Bits>
Bits fp_div(Bits a, Bits b, FpContext& context) {
  using F = Format<Bits>;
  const Parts pa = unpack<F>(a, context);
  const Parts pb = unpack<F>(b, context);
  if (pa.nan() || pb.nan()) return propagate<F>(a, pa, b, pb, context);
  const bool sign = pa.sign != pb.sign;
  if (pa.infinity()) return pb.infinity() ? invalid<F>(context) : pack_infinity<F>(sign);
  if (pb.infinity()) return pack_zero<F>(sign);
  if (pb.zero()) {
    if (pa.zero()) return invalid<F>(context);
    context.flags |= kFpDivideByZero;
    return pack_infinity<F>(sign);
  }
  if (pa.zero()) return pack_zero<F>(sign);
  const bool below_one = pa.significand < pb.significand;
  const u128 dividend = static_cast<u128>(pa.significand) << (below_one ? 64 : 63);
  const u64 quotient = static_cast<u64>(dividend / pb.significand);
  const bool sticky = dividend % pb.significand != 0;
  return round<F>(sign, pa.exponent - pb.exponent - below_one, quotient | sticky, context);
}

template <typename Bits>
Bits fp_sqrt(Bits a, FpContext& context) {
  using F = Format<Bits>;
  const Parts pa = unpack<F>(a, context);
  if (pa.nan()) return propagate<F>(a, pa.kind, context);
  if (pa.zero()) return pack_zero<F>(pa.sign);
  if (pa.sign) return invalid<F>(context);
  if (pa.infinity()) return pack_infinity<F>(false);
  const bool odd = pa.exponent & 1;
  const u128 square = static_cast<u128>(pa.significand) << (odd ? 64 : 63);
  const u64 root = integer_root(square);
  return round<F>(false, (pa.exponent - odd) / 2, root | (static_cast<u128>(root) * root != square), context);
}

template <typename Bits>
Bits fp_mul_add(Bits a, Bits b, Bits addend, FpContext& context) {
  using F = Format<Bits>;
  const Parts pc = unpack<F>(addend, context);
  const Parts pa = unpack<F>(a, context);
  const Parts pb = unpack<F>(b, context);
  const bool bad_product = (pa.infinity() && pb.zero()) || (pa.zero() && pb.infinity());
  if (bad_product && pc.kind != Kind::signalling) return invalid<F>(context);
  if (pc.nan() || pa.nan() || pb.nan()) {
    if (pc.kind == Kind::signalling) return propagate<F>(addend, pc.kind, context);
    if (pa.kind == Kind::signalling || pb.kind == Kind::signalling || !pc.nan()) {
      return propagate<F>(a, pa, b, pb, context);
    }
    return propagate<F>(addend, pc.kind, context);
  }
  const bool sign = pa.sign != pb.sign;
  if (pa.infinity() || pb.infinity()) {
    return pc.infinity() && pc.sign != sign ? invalid<F>(context) : pack_infinity<F>(sign);
  }
  if (pc.infinity()) return pack_infinity<F>(pc.sign);
  if (pa.zero() || pb.zero()) {
    if (!pc.zero()) return round<F>(pc.sign, pc.exponent, pc.significand, context);
    return pack_zero<F>(pc.sign == sign ? sign : rounding(context) == kTowardsMinus);
  }
  u128 product = static_cast<u128>(pa.significand) * pb.significand;
  int exponent = pa.exponent + pb.exponent + 1;
  if (!(product >> 127)) {
    product <<= 1;
    exponent--;
  }
  if (pc.zero()) {
    return round<F>(sign, exponent, static_cast<u64>(product >> 64) | (static_cast<u64>(product) != 0), context);
  }
  // The product has at most 106 significant bits: nothing is lost by two places of headroom.
  return add_wide<F>(sign, exponent, product >> 2, pc.sign, pc.exponent, static_cast<u128>(pc.significand) << 62, 0,
                     context);
}

template <typename Bits>
Bits fp_min(Bits a, Bits b, FpContext& context) {
  return min_max(a, b, false, context);
}

template <typename Bits>
Bits fp_max(Bits a, Bits b, FpContext& context) {
  return min_max(a, b, true, context);
}

template <typename Bits>
u32 fp_compare(Bits a, Bits b, bool quiet_invalid, FpContext& context) {
  switch (order(a, b, quiet_invalid, context)) {
    case Order::less: return kImageN;
    case Order::equal: return kImageZ | kImageC;
    case Order::greater: return kImageC;
    case Order::unordered: break;
  }
  return kImageC | kImageV;
}

template <typename Bits>
bool fp_equal(Bits a, Bits b, FpContext& context) {
  return order(a, b, false, context) == Order::equal;
}

template <typename Bits>
bool fp_greater_equal(Bits a, Bits b, FpContext& context) {
  const Order result = order(a, b, true, context);
  return result == Order::greater || result == Order::equal;
}

template <typename Bits>
bool fp_greater(Bits a, Bits b, FpContext& context) {
  return order(a, b, true, context) == Order::greater;
}

#define RHEA_INSTANTIATE(Bits)                            \
  template Bits fp_add(Bits, Bits, FpContext&);           \
  template Bits fp_sub(Bits, Bits, FpContext&);           \
  template Bits fp_mul(Bits, Bits, FpContext&);           \
  template Bits fp_div(Bits, Bits, FpContext&);           \
  template Bits fp_sqrt(Bits, FpContext&);                \
  template Bits fp_mul_add(Bits, Bits, Bits, FpContext&); \
  template Bits fp_min(Bits, Bits, FpContext&);           \
  template Bits fp_max(Bits, Bits, FpContext&);           \
  template u32 fp_compare(Bits, Bits, bool, FpContext&);  \
  template bool fp_equal(Bits, Bits, FpContext&);         \
  template bool fp_greater_equal(Bits, Bits, FpContext&); \
  template bool fp_greater(Bits, Bits, FpContext&);
RHEA_INSTANTIATE(u32)
RHEA_INSTANTIATE(u64)
#undef RHEA_INSTANTIATE

}  // namespace rhea::ir
