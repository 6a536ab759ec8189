// SPDX-License-Identifier: MIT
// IEEE 754 arithmetic in software, exact: what the interpreter computes with, and what the host back end's cold
// paths and the guest's helpers call. Values are bit patterns; `mode` is FpMode (ir.h); cumulative flags are
// or-ed into the context.
//
// Rules that IEEE leaves open are ARM's (DDI 0406C, A2.7): tininess is detected before rounding; a signalling NaN
// operand is quieted and preferred to a quiet one, else the first operand's NaN is the result (for fused
// multiply-add the addend is looked at first, and infinity times zero with a quiet NaN addend gives the default
// NaN); with flush to zero an input denormal raises input-denormal alone, an output denormal underflow alone.
#pragma once

#include "ir/ir.h"

namespace rhea::ir {

// Cumulative exceptions, at the places that ARM's FPSCR has them.
enum FpFlag : u32 {
  kFpInvalid = 1u << 0,
  kFpDivideByZero = 1u << 1,
  kFpOverflow = 1u << 2,
  kFpUnderflow = 1u << 3,
  kFpInexact = 1u << 4,
  kFpInputDenormal = 1u << 7,
};

struct FpContext {
  u8 mode = 0;
  u32 flags = 0;
};

// Bits: u32 for single, u64 for double precision.
template <typename Bits>
Bits fp_add(Bits a, Bits b, FpContext& context);
template <typename Bits>
Bits fp_sub(Bits a, Bits b, FpContext& context);
template <typename Bits>
Bits fp_mul(Bits a, Bits b, FpContext& context);
template <typename Bits>
Bits fp_div(Bits a, Bits b, FpContext& context);
template <typename Bits>
Bits fp_sqrt(Bits a, FpContext& context);
template <typename Bits>
Bits fp_mul_add(Bits a, Bits b, Bits addend, FpContext& context);
template <typename Bits>
Bits fp_min(Bits a, Bits b, FpContext& context);  // ARM's FPMin: NaN in, NaN out; -0 < +0
template <typename Bits>
Bits fp_max(Bits a, Bits b, FpContext& context);
// Flags image (ir.h). quiet_invalid: a quiet NaN raises invalid too (VCMPE).
template <typename Bits>
u32 fp_compare(Bits a, Bits b, bool quiet_invalid, FpContext& context);
// Comparisons to true or false, as VCEQ, VCGE, VCGT: a signalling NaN raises invalid; Ge and Gt on quiet ones too.
template <typename Bits>
bool fp_equal(Bits a, Bits b, FpContext& context);
template <typename Bits>
bool fp_greater_equal(Bits a, Bits b, FpContext& context);
template <typename Bits>
bool fp_greater(Bits a, Bits b, FpContext& context);
u64 fp_to_double(u32 a, FpContext& context);
u32 fp_to_single(u64 a, FpContext& context);
// Half precision; `alternative`: ARM's format without infinities and NaNs (FPSCR.AHP).
u32 fp_half_to_single(u16 a, bool alternative, FpContext& context);
u16 fp_single_to_half(u32 a, bool alternative, FpContext& context);
// Fixed point of `int_bits` (16, 32, 64) with `fraction` bits, signed or not. To fixed: saturating; NaN gives 0 and
// invalid; `toward_zero` overrides the mode's rounding. From fixed: rounded by the mode.
template <typename Bits>
u64 fp_to_fixed(Bits a, unsigned int_bits, unsigned fraction, bool is_signed, bool toward_zero, FpContext& context);
template <typename Bits>
Bits fp_from_fixed(u64 value, unsigned int_bits, unsigned fraction, bool is_signed, FpContext& context);
// ARM's estimates and steps (DDI 0406C, A2.7.10, VRECPE and its like).
u32 fp_recip_estimate(u32 a, FpContext& context);
u32 fp_rsqrt_estimate(u32 a, FpContext& context);
u32 fp_recip_step(u32 a, u32 b, FpContext& context);  // 2 - a*b, with 0*inf = 2
u32 fp_rsqrt_step(u32 a, u32 b, FpContext& context);  // (3 - a*b) / 2
u32 unsigned_recip_estimate(u32 a);
u32 unsigned_rsqrt_estimate(u32 a);

}  // namespace rhea::ir
