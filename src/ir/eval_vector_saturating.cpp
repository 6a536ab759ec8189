// SPDX-License-Identifier: MIT
// Vector operations that saturate and note it (EvalContext::saturated).
#include <limits>

#include "ir/eval_groups.h"
#include "ir/eval_shift.h"

namespace rhea::ir::detail {

namespace {

// The nearest value of T; notes when it is another one.
template <typename T>
T saturate(s128 exact, bool& saturated) {
  constexpr s128 least = std::numeric_limits<T>::min(), most = std::numeric_limits<T>::max();
  if (exact < least) {
    saturated = true;
    return std::numeric_limits<T>::min();
  }
  if (exact > most) {
    saturated = true;
    return std::numeric_limits<T>::max();
  }
  return static_cast<T>(exact);
}

// Lanes that count for the saturation flag.
template <typename U>
bool counts(const Inst& inst, usize index) {
  return !(inst.aux & 1) || index < 8 / sizeof(U);
}

// function(T a, T b, bool& saturated) -> U for each lane.
template <bool is_signed, typename Function>
Value saturating2(const Inst& inst, const Value* args, EvalContext& context, Function function) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    using T = std::conditional_t<is_signed, Signed<U>, U>;
    Lanes<U> a = to_lanes<U>(args[0]);
    const Lanes<U> b = to_lanes<U>(args[1]);
    for (usize i = 0; i < a.size(); i++) {
      bool saturated = false;
      a[i] = static_cast<U>(function(static_cast<T>(a[i]), static_cast<T>(b[i]), saturated));
      if (saturated && counts<U>(inst, i)) context.saturated = 1;
    }
    return from_lanes<U>(a);
  });
}
template <bool is_signed, typename Function>
Value saturating1(const Inst& inst, const Value* args, EvalContext& context, Function function) {
  const Value both[2] = {args[0], args[0]};
  return saturating2<is_signed>(inst, both, context,
                                [&]<typename T>(T a, T, bool& saturated) { return function(a, saturated); });
}

template <bool is_signed>
Value add(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating2<is_signed>(inst, args, context, []<typename T>(T a, T b, bool& saturated) {
    return saturate<T>(static_cast<s128>(a) + b, saturated);
  });
}
template <bool is_signed>
Value sub(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating2<is_signed>(inst, args, context, []<typename T>(T a, T b, bool& saturated) {
    return saturate<T>(static_cast<s128>(a) - b, saturated);
  });
}

// Left by `count` >= 0; beyond the width everything but 0 saturates.
template <typename Result, typename T>
Result shift_left(T value, unsigned count, bool& saturated) {
  if (count > kWidth<T>) count = kWidth<T>;
  if (value == 0) return 0;
  if (count >= 64 || (kWidth<T> == 64 && count > 62)) {
    // Would not fit 128 bits exactly: only its sign matters, and whether anything is left of it.
    if (count >= kWidth<T>)
      return saturate<Result>(value > 0 ? static_cast<s128>(1) << 100 : -(static_cast<s128>(1) << 100), saturated);
  }
  return saturate<Result>(static_cast<s128>(value) * (static_cast<s128>(1) << count), saturated);
}
template <bool is_signed, bool rounding>
Value shl(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating2<is_signed>(inst, args, context, []<typename T>(T a, T b, bool& saturated) -> T {
    const int count = static_cast<s8>(b);
    if (count < 0) return shift_right<T>(a, static_cast<unsigned>(-count), rounding);
    return shift_left<T>(a, static_cast<unsigned>(count), saturated);
  });
}
template <bool is_signed>
Value shl_imm(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating1<is_signed>(inst, args, context, [&]<typename T>(T a, bool& saturated) {
    return shift_left<T>(a, static_cast<unsigned>(inst.imm), saturated);
  });
}
Value shl_imm_unsigned_result(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating1<true>(inst, args, context, [&]<typename T>(T a, bool& saturated) {
    return shift_left<std::make_unsigned_t<T>>(a, static_cast<unsigned>(inst.imm), saturated);
  });
}
Value abs(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating1<true>(inst, args, context, []<typename T>(T a, bool& saturated) {
    return saturate<T>(a < 0 ? -static_cast<s128>(a) : static_cast<s128>(a), saturated);
  });
}
Value neg(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating1<true>(inst, args, context, []<typename T>(T a, bool& saturated) {
    return saturate<T>(-static_cast<s128>(a), saturated);
  });
}
template <bool rounding>
Value double_mul_hi(const Inst& inst, const Value* args, EvalContext& context) {
  return saturating2<true>(inst, args, context, []<typename T>(T a, T b, bool& saturated) -> T {
    if constexpr (sizeof(T) == 8) return 0;  // no such operation
    else {
      s128 product = 2 * static_cast<s128>(a) * b;
      if (rounding) product += static_cast<s128>(1) << (kWidth<T> - 1);
      return saturate<T>(product >> kWidth<T>, saturated);
    }
  });
}
Value double_mul_long(const Inst& inst, const Value* args, EvalContext& context) {
  return with_narrow_lane(inst.lane, [&]<typename U>(U) {
    using W = Wide<U>;
    const Lanes<U> a = to_lanes<U>(args[0]), b = to_lanes<U>(args[1]);
    Lanes<W> result;
    for (usize i = 0; i < result.size(); i++) {
      bool saturated = false;
      result[i] = static_cast<W>(saturate<Signed<W>>(
          2 * static_cast<s128>(static_cast<Signed<U>>(a[i])) * static_cast<Signed<U>>(b[i]), saturated));
      if (saturated) context.saturated = 1;
    }
    return from_lanes<W>(result);
  });
}
template <bool from_signed, bool to_signed>
Value narrow(const Inst& inst, const Value* args, EvalContext& context) {
  return with_narrow_lane(inst.lane / 2, [&]<typename U>(U) {
    using W = Wide<U>;
    using From = std::conditional_t<from_signed, Signed<W>, W>;
    using To = std::conditional_t<to_signed, Signed<U>, U>;
    const Lanes<W> a = to_lanes<W>(args[0]);
    Lanes<U> result{};
    for (usize i = 0; i < a.size(); i++) {
      bool saturated = false;
      result[i] = static_cast<U>(saturate<To>(static_cast<s128>(static_cast<From>(a[i])), saturated));
      if (saturated) context.saturated = 1;
    }
    return from_lanes<U>(result);
  });
}

}  // namespace

EvalFunction eval_vector_saturating(Op op) {
  switch (op) {
    case Op::VSatAddU: return add<false>;
    case Op::VSatAddS: return add<true>;
    case Op::VSatSubU: return sub<false>;
    case Op::VSatSubS: return sub<true>;
    case Op::VSatShlU: return shl<false, false>;
    case Op::VSatShlS: return shl<true, false>;
    case Op::VSatShlRndU: return shl<false, true>;
    case Op::VSatShlRndS: return shl<true, true>;
    case Op::VSatShlUImm: return shl_imm<false>;
    case Op::VSatShlSImm: return shl_imm<true>;
    case Op::VSatShlSUImm: return shl_imm_unsigned_result;
    case Op::VSatAbs: return abs;
    case Op::VSatNeg: return neg;
    case Op::VSatDoubleMulHi: return double_mul_hi<false>;
    case Op::VSatRndDoubleMulHi: return double_mul_hi<true>;
    case Op::VSatDoubleMulLong: return double_mul_long;
    case Op::VSatNarrowU: return narrow<false, false>;
    case Op::VSatNarrowS: return narrow<true, true>;
    case Op::VSatNarrowSU: return narrow<true, false>;
    default: return nullptr;
  }
}

}  // namespace rhea::ir::detail
