// SPDX-License-Identifier: MIT
// Vector shifts, by immediates and by lanes, without saturation.
#include <bit>

#include "ir/eval_groups.h"
#include "ir/eval_shift.h"

namespace rhea::ir::detail {

namespace {

Value shl_imm(const Inst& inst, const Value* args, EvalContext&) {
  return map1(inst, args,
              [&]<typename U>(U a) -> U { return static_cast<U>(inst.imm < kWidth<U> ? a << inst.imm : 0); });
}
Value rotl_imm(const Inst& inst, const Value* args, EvalContext&) {
  return map1(inst, args, [&]<typename U>(U a) -> U { return std::rotl(a, static_cast<int>(inst.imm % kWidth<U>)); });
}
template <bool is_signed, bool rounding>
Value shr_imm(const Inst& inst, const Value* args, EvalContext&) {
  return map1(inst, args, [&]<typename U>(U a) -> U {
    using T = std::conditional_t<is_signed, Signed<U>, U>;
    return static_cast<U>(shift_right<T>(static_cast<T>(a), static_cast<unsigned>(inst.imm), rounding));
  });
}
template <bool is_signed, bool rounding>
Value shl_lanes(const Inst& inst, const Value* args, EvalContext&) {
  return map2(inst, args, [&]<typename U>(U a, U b) -> U {
    using T = std::conditional_t<is_signed, Signed<U>, U>;
    const int count = static_cast<s8>(b);
    if (count < 0) return static_cast<U>(shift_right<T>(static_cast<T>(a), static_cast<unsigned>(-count), rounding));
    return static_cast<U>(static_cast<unsigned>(count) < kWidth<U> ? a << count : 0);
  });
}

}  // namespace

EvalFunction eval_vector_shift(Op op) {
  switch (op) {
    case Op::VShlImm: return shl_imm;
    case Op::VRotlImm: return rotl_imm;
    case Op::VShrUImm: return shr_imm<false, false>;
    case Op::VShrSImm: return shr_imm<true, false>;
    case Op::VShrRndUImm: return shr_imm<false, true>;
    case Op::VShrRndSImm: return shr_imm<true, true>;
    case Op::VShlU: return shl_lanes<false, false>;
    case Op::VShlS: return shl_lanes<true, false>;
    case Op::VShlRndU: return shl_lanes<false, true>;
    case Op::VShlRndS: return shl_lanes<true, true>;
    default: return nullptr;
  }
}

}  // namespace rhea::ir::detail
