// SPDX-License-Identifier: MIT
// Floating point, scalar and vector, by way of fp.h.
#include "ir/eval_groups.h"
#include "ir/eval_lanes.h"

namespace rhea::ir::detail {

namespace {

constexpr u64 kSign32 = 0x80000000, kSign64 = 0x8000000000000000;

// Runs body(context) in the instruction's mode and keeps the cumulative flags.
template <typename Body>
auto in_mode(const Inst& inst, EvalContext& context, Body body) {
  FpContext fp{.mode = inst.aux, .flags = 0};
  auto result = body(fp);
  context.fp_flags |= fp.flags;
  return result;
}
bool is_double(const Inst& inst) { return inst.type == Type::F64 || inst.type == Type::I64; }

#define RHEA_SCALAR2(name, function)                                                          \
  Value name(const Inst& inst, const Value* args, EvalContext& context) {                     \
    return in_mode(inst, context, [&](FpContext& fp) -> Value {                               \
      if (is_double(inst)) return {function<u64>(args[0].lo, args[1].lo, fp)};                \
      return {function<u32>(static_cast<u32>(args[0].lo), static_cast<u32>(args[1].lo), fp)}; \
    });                                                                                       \
  }
RHEA_SCALAR2(add, fp_add)
RHEA_SCALAR2(sub, fp_sub)
RHEA_SCALAR2(mul, fp_mul)
RHEA_SCALAR2(div, fp_div)

Value sqrt(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    if (is_double(inst)) return {fp_sqrt<u64>(args[0].lo, fp)};
    return {fp_sqrt<u32>(static_cast<u32>(args[0].lo), fp)};
  });
}
Value mul_add(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    if (is_double(inst)) return {fp_mul_add<u64>(args[0].lo, args[1].lo, args[2].lo, fp)};
    return {
        fp_mul_add<u32>(static_cast<u32>(args[0].lo), static_cast<u32>(args[1].lo), static_cast<u32>(args[2].lo), fp)};
  });
}
Value neg(const Inst& inst, const Value* args, EvalContext&) {
  return {args[0].lo ^ (is_double(inst) ? kSign64 : kSign32)};
}
Value abs(const Inst& inst, const Value* args, EvalContext&) {
  return {args[0].lo & ~(is_double(inst) ? kSign64 : kSign32)};
}
Value compare(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    if (is_double(inst)) return {fp_compare<u64>(args[0].lo, args[1].lo, inst.imm & 1, fp)};
    return {fp_compare<u32>(static_cast<u32>(args[0].lo), static_cast<u32>(args[1].lo), inst.imm & 1, fp)};
  });
}
Value convert(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    if (is_double(inst)) return {fp_to_double(static_cast<u32>(args[0].lo), fp)};
    return {fp_to_single(args[0].lo, fp)};
  });
}
template <bool is_signed>
Value from_int(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    const u64 value = static_cast<u32>(args[0].lo);
    if (is_double(inst)) return {fp_from_fixed<u64>(value, 32, 0, is_signed, fp)};
    return {fp_from_fixed<u32>(value, 32, 0, is_signed, fp)};
  });
}
template <bool is_signed>
Value to_int(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    const bool toward_zero = inst.imm & 1;
    const u64 value = is_double(inst)
                          ? fp_to_fixed<u64>(args[0].lo, 32, 0, is_signed, toward_zero, fp)
                          : fp_to_fixed<u32>(static_cast<u32>(args[0].lo), 32, 0, is_signed, toward_zero, fp);
    return {static_cast<u32>(value)};
  });
}
Value move(const Inst&, const Value* args, EvalContext&) { return args[0]; }

// ---- vectors -------------------------------------------------------------------------------------------------------
// function(U a, U b, U c, FpContext&) -> U for each lane; lanes that do not count give 0 and no flags.
template <typename Function>
Value lanes_fp(const Inst& inst, const Value* args, EvalContext& context, unsigned count, Function function) {
  return in_mode(inst, context, [&](FpContext& fp) {
    auto body = [&]<typename U>(U) {
      std::array<Lanes<U>, 3> in{};
      for (unsigned a = 0; a < count; a++) in[a] = to_lanes<U>(args[a]);
      Lanes<U> result{};
      const usize lanes = inst.aux2 & 1 ? 8 / sizeof(U) : 16 / sizeof(U);
      for (usize i = 0; i < lanes; i++) result[i] = static_cast<U>(function(in[0][i], in[1][i], in[2][i], fp));
      return from_lanes<U>(result);
    };
    return inst.lane == 64 ? body(u64{}) : body(u32{});
  });
}
#define RHEA_LANES(name, count, expression)                                                          \
  Value name(const Inst& inst, const Value* args, EvalContext& context) {                            \
    return lanes_fp(inst, args, context, count, [&]<typename U>(U a, U b, U c, FpContext& fp) -> U { \
      [[maybe_unused]] constexpr U sign = U{1} << (sizeof(U) * 8 - 1);                               \
      return static_cast<U>(expression);                                                             \
    });                                                                                              \
  }
#define RHEA_TRUTH(condition) ((condition) ? ~U{0} : U{0})

RHEA_LANES(v_add, 2, fp_add<U>(a, b, fp))
RHEA_LANES(v_sub, 2, fp_sub<U>(a, b, fp))
RHEA_LANES(v_mul, 2, fp_mul<U>(a, b, fp))
RHEA_LANES(v_mul_add, 3, fp_mul_add<U>(a, b, c, fp))
RHEA_LANES(v_min, 2, fp_min<U>(a, b, fp))
RHEA_LANES(v_max, 2, fp_max<U>(a, b, fp))
RHEA_LANES(v_neg, 1, a ^ sign)
RHEA_LANES(v_abs, 1, a & ~sign)
RHEA_LANES(v_abs_diff, 2, fp_sub<U>(a, b, fp) & ~sign)
RHEA_LANES(v_cmp_eq, 2, RHEA_TRUTH(fp_equal<U>(a, b, fp)))
RHEA_LANES(v_cmp_ge, 2, RHEA_TRUTH(fp_greater_equal<U>(a, b, fp)))
RHEA_LANES(v_cmp_gt, 2, RHEA_TRUTH(fp_greater<U>(a, b, fp)))
RHEA_LANES(v_cmp_abs_ge, 2, RHEA_TRUTH(fp_greater_equal<U>(a & ~sign, b & ~sign, fp)))
RHEA_LANES(v_cmp_abs_gt, 2, RHEA_TRUTH(fp_greater<U>(a & ~sign, b & ~sign, fp)))
RHEA_LANES(v_from_s, 1, fp_from_fixed<U>(a, sizeof(U) * 8, static_cast<unsigned>(inst.imm), true, fp))
RHEA_LANES(v_from_u, 1, fp_from_fixed<U>(a, sizeof(U) * 8, static_cast<unsigned>(inst.imm), false, fp))
RHEA_LANES(v_to_s, 1, fp_to_fixed<U>(a, sizeof(U) * 8, static_cast<unsigned>(inst.imm), true, true, fp))
RHEA_LANES(v_to_u, 1, fp_to_fixed<U>(a, sizeof(U) * 8, static_cast<unsigned>(inst.imm), false, true, fp))
// Single precision and 32-bit integers only.
RHEA_LANES(v_recip_estimate, 1, fp_recip_estimate(static_cast<u32>(a), fp))
RHEA_LANES(v_rsqrt_estimate, 1, fp_rsqrt_estimate(static_cast<u32>(a), fp))
RHEA_LANES(v_recip_estimate_u, 1, unsigned_recip_estimate(static_cast<u32>(a)))
RHEA_LANES(v_rsqrt_estimate_u, 1, unsigned_rsqrt_estimate(static_cast<u32>(a)))
RHEA_LANES(v_recip_step, 2, fp_recip_step(static_cast<u32>(a), static_cast<u32>(b), fp))
RHEA_LANES(v_rsqrt_step, 2, fp_rsqrt_step(static_cast<u32>(a), static_cast<u32>(b), fp))

template <u32 (*function)(u32, u32, FpContext&)>
Value pairwise(const Inst& inst, const Value* args, EvalContext& context) {
  return in_mode(inst, context, [&](FpContext& fp) -> Value {
    const u32 low = function(static_cast<u32>(args[0].lo), static_cast<u32>(args[0].lo >> 32), fp);
    const u32 high = function(static_cast<u32>(args[1].lo), static_cast<u32>(args[1].lo >> 32), fp);
    return {low | static_cast<u64>(high) << 32, 0};
  });
}

}  // namespace

EvalFunction eval_fp(Op op) {
  switch (op) {
    case Op::FAdd: return add;
    case Op::FSub: return sub;
    case Op::FMul: return mul;
    case Op::FDiv: return div;
    case Op::FSqrt: return sqrt;
    case Op::FMulAdd: return mul_add;
    case Op::FNeg: return neg;
    case Op::FAbs: return abs;
    case Op::FCmp: return compare;
    case Op::FToF: return convert;
    case Op::FFromS: return from_int<true>;
    case Op::FFromU: return from_int<false>;
    case Op::FToS: return to_int<true>;
    case Op::FToU: return to_int<false>;
    case Op::BitsToF:
    case Op::FToBits: return move;
    default: return nullptr;
  }
}

EvalFunction eval_vector_fp(Op op) {
  switch (op) {
    case Op::VFAdd: return v_add;
    case Op::VFSub: return v_sub;
    case Op::VFMul: return v_mul;
    case Op::VFMulAdd: return v_mul_add;
    case Op::VFMin: return v_min;
    case Op::VFMax: return v_max;
    case Op::VFNeg: return v_neg;
    case Op::VFAbs: return v_abs;
    case Op::VFAbsDiff: return v_abs_diff;
    case Op::VFCmpEq: return v_cmp_eq;
    case Op::VFCmpGe: return v_cmp_ge;
    case Op::VFCmpGt: return v_cmp_gt;
    case Op::VFCmpAbsGe: return v_cmp_abs_ge;
    case Op::VFCmpAbsGt: return v_cmp_abs_gt;
    case Op::VFFromS: return v_from_s;
    case Op::VFFromU: return v_from_u;
    case Op::VFToS: return v_to_s;
    case Op::VFToU: return v_to_u;
    case Op::VFRecipEstimate: return v_recip_estimate;
    case Op::VFRsqrtEstimate: return v_rsqrt_estimate;
    case Op::VRecipEstimateU: return v_recip_estimate_u;
    case Op::VRsqrtEstimateU: return v_rsqrt_estimate_u;
    case Op::VFRecipStep: return v_recip_step;
    case Op::VFRsqrtStep: return v_rsqrt_step;
    case Op::VFPairAdd: return pairwise<fp_add<u32>>;
    case Op::VFPairMin: return pairwise<fp_min<u32>>;
    case Op::VFPairMax: return pairwise<fp_max<u32>>;
    default: return nullptr;
  }
}

}  // namespace rhea::ir::detail
