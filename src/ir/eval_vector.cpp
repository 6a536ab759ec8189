// SPDX-License-Identifier: MIT
// Vectors: moves, logic, arithmetic that wraps, comparisons, widening and narrowing, pairs.
#include "ir/eval_groups.h"
#include "ir/eval_lanes.h"
#include "util/bits.h"

namespace rhea::ir::detail {

namespace {

#define RHEA_MAP1(name, expression)                               \
  Value name(const Inst& inst, const Value* args, EvalContext&) { \
    return map1(inst, args, [&]<typename U>(U a) -> U {           \
      using S [[maybe_unused]] = Signed<U>;                       \
      return static_cast<U>(expression);                          \
    });                                                           \
  }
#define RHEA_MAP2(name, expression)                               \
  Value name(const Inst& inst, const Value* args, EvalContext&) { \
    return map2(inst, args, [&]<typename U>(U a, U b) -> U {      \
      using S [[maybe_unused]] = Signed<U>;                       \
      return static_cast<U>(expression);                          \
    });                                                           \
  }
#define RHEA_SIGNED(x) static_cast<S>(x)

RHEA_MAP1(neg, U{0} - a)
RHEA_MAP1(abs, RHEA_SIGNED(a) < 0 ? U{0} - a : a)
RHEA_MAP2(add, a + b)
RHEA_MAP2(sub, a - b)
RHEA_MAP2(mul, static_cast<u64>(a) * b)
RHEA_MAP2(cmp_eq, a == b ? ~U{0} : U{0})
RHEA_MAP2(cmp_gt_s, RHEA_SIGNED(a) > RHEA_SIGNED(b) ? ~U{0} : U{0})
RHEA_MAP2(cmp_gt_u, a > b ? ~U{0} : U{0})
RHEA_MAP2(cmp_ge_s, RHEA_SIGNED(a) >= RHEA_SIGNED(b) ? ~U{0} : U{0})
RHEA_MAP2(cmp_ge_u, a >= b ? ~U{0} : U{0})
RHEA_MAP2(test, (a & b) != 0 ? ~U{0} : U{0})
RHEA_MAP2(min_s, RHEA_SIGNED(a) < RHEA_SIGNED(b) ? a : b)
RHEA_MAP2(min_u, a < b ? a : b)
RHEA_MAP2(max_s, RHEA_SIGNED(a) > RHEA_SIGNED(b) ? a : b)
RHEA_MAP2(max_u, a > b ? a : b)
RHEA_MAP2(abs_diff_s, RHEA_SIGNED(a) > RHEA_SIGNED(b) ? a - b : b - a)
RHEA_MAP2(abs_diff_u, a > b ? a - b : b - a)

// In full precision, one bit more than the lane.
template <typename S>
using Exact = Wide<S>;
RHEA_MAP2(half_add_u, (static_cast<Exact<U>>(a) + b) >> 1)
RHEA_MAP2(half_add_s, (static_cast<Exact<S>>(RHEA_SIGNED(a)) + RHEA_SIGNED(b)) >> 1)
RHEA_MAP2(half_sub_u, (static_cast<Exact<S>>(a) - static_cast<Exact<S>>(b)) >> 1)
RHEA_MAP2(half_sub_s, (static_cast<Exact<S>>(RHEA_SIGNED(a)) - RHEA_SIGNED(b)) >> 1)
RHEA_MAP2(rnd_half_add_u, (static_cast<Exact<U>>(a) + b + 1) >> 1)
RHEA_MAP2(rnd_half_add_s, (static_cast<Exact<S>>(RHEA_SIGNED(a)) + RHEA_SIGNED(b) + 1) >> 1)

Value and_(const Inst&, const Value* a, EvalContext&) { return {a[0].lo & a[1].lo, a[0].hi & a[1].hi}; }
Value or_(const Inst&, const Value* a, EvalContext&) { return {a[0].lo | a[1].lo, a[0].hi | a[1].hi}; }
Value xor_(const Inst&, const Value* a, EvalContext&) { return {a[0].lo ^ a[1].lo, a[0].hi ^ a[1].hi}; }
Value and_not(const Inst&, const Value* a, EvalContext&) { return {a[0].lo & ~a[1].lo, a[0].hi & ~a[1].hi}; }
Value or_not(const Inst&, const Value* a, EvalContext&) { return {a[0].lo | ~a[1].lo, a[0].hi | ~a[1].hi}; }
Value not_(const Inst&, const Value* a, EvalContext&) { return {~a[0].lo, ~a[0].hi}; }
Value bit_select(const Inst&, const Value* a, EvalContext&) {
  return {(a[0].lo & a[1].lo) | (~a[0].lo & a[2].lo), (a[0].hi & a[1].hi) | (~a[0].hi & a[2].hi)};
}

Value constant(const Inst& inst, const Value*, EvalContext&) { return {inst.imm, inst.imm}; }
Value zero(const Inst&, const Value*, EvalContext&) { return {}; }
Value dup(const Inst& inst, const Value* args, EvalContext&) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    Lanes<U> lanes;
    lanes.fill(static_cast<U>(args[0].lo));
    return from_lanes<U>(lanes);
  });
}
Value dup_lane(const Inst& inst, const Value* args, EvalContext&) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    Lanes<U> lanes = to_lanes<U>(args[0]);
    lanes.fill(lanes[inst.imm % lanes.size()]);
    return from_lanes<U>(lanes);
  });
}
Value get_lane(const Inst& inst, const Value* args, EvalContext&) {
  Value value = with_lane(inst.lane, [&]<typename U>(U) {
    const Lanes<U> lanes = to_lanes<U>(args[0]);
    const U lane = lanes[inst.imm % lanes.size()];
    return Value{inst.aux & 1 ? static_cast<u64>(static_cast<s64>(static_cast<Signed<U>>(lane))) : u64{lane}};
  });
  if (inst.type != Type::I64) value.lo = static_cast<u32>(value.lo);
  return value;
}
Value set_lane(const Inst& inst, const Value* args, EvalContext&) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    Lanes<U> lanes = to_lanes<U>(args[0]);
    lanes[inst.imm % lanes.size()] = static_cast<U>(args[1].lo);
    return from_lanes<U>(lanes);
  });
}
Value from_float(const Inst&, const Value* args, EvalContext&) { return {args[0].lo, 0}; }
Value to_float(const Inst& inst, const Value* args, EvalContext&) {
  if (inst.type == Type::F64) return {inst.imm & 1 ? args[0].hi : args[0].lo};
  return {to_lanes<u32>(args[0])[inst.imm & 3]};
}
Value low64(const Inst&, const Value* args, EvalContext&) { return {args[0].lo, 0}; }
Value high64(const Inst&, const Value* args, EvalContext&) { return {args[0].hi, 0}; }
Value join64(const Inst&, const Value* args, EvalContext&) { return {args[0].lo, args[1].lo}; }

// ---- between widths -------------------------------------------------------------------------------------------------
template <bool is_signed>
Value widen(const Inst& inst, const Value* args, EvalContext&) {
  return with_narrow_lane(inst.lane, [&]<typename U>(U) {
    using W = Wide<U>;
    const Lanes<U> a = to_lanes<U>(args[0]);
    Lanes<W> result;
    for (usize i = 0; i < result.size(); i++) {
      result[i] =
          is_signed ? static_cast<W>(static_cast<Signed<W>>(static_cast<Signed<U>>(a[i]))) : static_cast<W>(a[i]);
    }
    return from_lanes<W>(result);
  });
}
template <bool is_signed>
Value mul_long(const Inst& inst, const Value* args, EvalContext&) {
  return with_narrow_lane(inst.lane, [&]<typename U>(U) {
    using W = Wide<U>;
    const Lanes<U> a = to_lanes<U>(args[0]), b = to_lanes<U>(args[1]);
    Lanes<W> result;
    for (usize i = 0; i < result.size(); i++) {
      result[i] = is_signed
                      ? static_cast<W>(static_cast<s64>(static_cast<Signed<U>>(a[i])) * static_cast<Signed<U>>(b[i]))
                      : static_cast<W>(static_cast<u64>(a[i]) * b[i]);
    }
    return from_lanes<W>(result);
  });
}
u16 polynomial_product(u8 a, u8 b) {
  unsigned product = 0;
  for (unsigned i = 0; i < 8; i++)
    if (b >> i & 1) product ^= unsigned{a} << i;
  return static_cast<u16>(product);
}
Value mul_poly(const Inst&, const Value* args, EvalContext&) {
  Lanes<u8> a = to_lanes<u8>(args[0]);
  const Lanes<u8> b = to_lanes<u8>(args[1]);
  for (usize i = 0; i < a.size(); i++) a[i] = static_cast<u8>(polynomial_product(a[i], b[i]));
  return from_lanes<u8>(a);
}
Value mul_long_poly(const Inst&, const Value* args, EvalContext&) {
  const Lanes<u8> a = to_lanes<u8>(args[0]), b = to_lanes<u8>(args[1]);
  Lanes<u16> result;
  for (usize i = 0; i < result.size(); i++) result[i] = polynomial_product(a[i], b[i]);
  return from_lanes<u16>(result);
}
// lane = source width.
Value narrow(const Inst& inst, const Value* args, EvalContext&) {
  return with_narrow_lane(inst.lane / 2, [&]<typename U>(U) {
    const Lanes<Wide<U>> a = to_lanes<Wide<U>>(args[0]);
    Lanes<U> result{};
    for (usize i = 0; i < a.size(); i++) result[i] = static_cast<U>(a[i]);
    return from_lanes<U>(result);
  });
}

// ---- pairs ---------------------------------------------------------------------------------------------------------
template <typename Function>
Value pairwise(const Inst& inst, const Value* args, Function function) {
  return with_lane(inst.lane, [&]<typename U>(U) -> Value {
    const Lanes<U> a = to_lanes<U>(args[0]), b = to_lanes<U>(args[1]);
    constexpr usize half = 8 / sizeof(U);
    Lanes<U> result{};
    if constexpr (half < 2) return Value{};
    else {
      for (usize i = 0; i < half / 2; i++) {
        result[i] = static_cast<U>(function(a[2 * i], a[2 * i + 1]));
        result[half / 2 + i] = static_cast<U>(function(b[2 * i], b[2 * i + 1]));
      }
      return from_lanes<U>(result);
    }
  });
}
#define RHEA_PAIR(name, expression)                               \
  Value name(const Inst& inst, const Value* args, EvalContext&) { \
    return pairwise(inst, args, []<typename U>(U a, U b) -> U {   \
      using S [[maybe_unused]] = Signed<U>;                       \
      return static_cast<U>(expression);                          \
    });                                                           \
  }
RHEA_PAIR(pair_add, a + b)
RHEA_PAIR(pair_min_s, RHEA_SIGNED(a) < RHEA_SIGNED(b) ? a : b)
RHEA_PAIR(pair_min_u, a < b ? a : b)
RHEA_PAIR(pair_max_s, RHEA_SIGNED(a) > RHEA_SIGNED(b) ? a : b)
RHEA_PAIR(pair_max_u, a > b ? a : b)

template <bool is_signed>
Value pair_add_long(const Inst& inst, const Value* args, EvalContext&) {
  return with_narrow_lane(inst.lane, [&]<typename U>(U) {
    using W = Wide<U>;
    const Lanes<U> a = to_lanes<U>(args[0]);
    Lanes<W> result;
    for (usize i = 0; i < result.size(); i++) {
      result[i] = is_signed ? static_cast<W>(static_cast<s64>(static_cast<Signed<U>>(a[2 * i])) +
                                             static_cast<Signed<U>>(a[2 * i + 1]))
                            : static_cast<W>(static_cast<u64>(a[2 * i]) + a[2 * i + 1]);
    }
    return from_lanes<W>(result);
  });
}

}  // namespace

EvalFunction eval_vector_basic(Op op) {
  switch (op) {
    case Op::VConst: return constant;
    case Op::VZero: return zero;
    case Op::VDup: return dup;
    case Op::VDupLane: return dup_lane;
    case Op::VGetLane: return get_lane;
    case Op::VSetLane: return set_lane;
    case Op::VFromF: return from_float;
    case Op::VToF: return to_float;
    case Op::VLow64: return low64;
    case Op::VHigh64: return high64;
    case Op::VJoin64: return join64;
    case Op::VAnd: return and_;
    case Op::VOr: return or_;
    case Op::VXor: return xor_;
    case Op::VAndNot: return and_not;
    case Op::VOrNot: return or_not;
    case Op::VNot: return not_;
    case Op::VBitSelect: return bit_select;
    case Op::VAdd: return add;
    case Op::VSub: return sub;
    case Op::VMul: return mul;
    case Op::VNeg: return neg;
    case Op::VAbs: return abs;
    case Op::VCmpEq: return cmp_eq;
    case Op::VCmpGtS: return cmp_gt_s;
    case Op::VCmpGtU: return cmp_gt_u;
    case Op::VCmpGeS: return cmp_ge_s;
    case Op::VCmpGeU: return cmp_ge_u;
    case Op::VTest: return test;
    case Op::VMinS: return min_s;
    case Op::VMinU: return min_u;
    case Op::VMaxS: return max_s;
    case Op::VMaxU: return max_u;
    case Op::VAbsDiffS: return abs_diff_s;
    case Op::VAbsDiffU: return abs_diff_u;
    case Op::VHalfAddU: return half_add_u;
    case Op::VHalfAddS: return half_add_s;
    case Op::VHalfSubU: return half_sub_u;
    case Op::VHalfSubS: return half_sub_s;
    case Op::VRndHalfAddU: return rnd_half_add_u;
    case Op::VRndHalfAddS: return rnd_half_add_s;
    case Op::VWidenU: return widen<false>;
    case Op::VWidenS: return widen<true>;
    case Op::VMulLongU: return mul_long<false>;
    case Op::VMulLongS: return mul_long<true>;
    case Op::VMulPoly: return mul_poly;
    case Op::VMulLongPoly: return mul_long_poly;
    case Op::VNarrow: return narrow;
    case Op::VPairAdd: return pair_add;
    case Op::VPairMinS: return pair_min_s;
    case Op::VPairMinU: return pair_min_u;
    case Op::VPairMaxS: return pair_max_s;
    case Op::VPairMaxU: return pair_max_u;
    case Op::VPairAddLongU: return pair_add_long<false>;
    case Op::VPairAddLongS: return pair_add_long<true>;
    default: return nullptr;
  }
}

}  // namespace rhea::ir::detail
