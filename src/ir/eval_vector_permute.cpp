// SPDX-License-Identifier: MIT
// Vector permutations, counts of bits, table lookup.
#include <bit>

#include "ir/eval_groups.h"
#include "ir/eval_lanes.h"

namespace rhea::ir::detail {

namespace {

// pick(a, b, i) gives lane i of the result.
template <typename Pick>
Value permute(const Inst& inst, const Value* args, Pick pick) {
  return with_lane(inst.lane, [&]<typename U>(U) {
    const Lanes<U> a = to_lanes<U>(args[0]), b = to_lanes<U>(args[1]);
    Lanes<U> result;
    for (usize i = 0; i < result.size(); i++) result[i] = pick(a, b, i);
    return from_lanes<U>(result);
  });
}

template <bool high>
Value zip(const Inst& inst, const Value* args, EvalContext&) {
  return permute(inst, args, [](const auto& a, const auto& b, usize i) {
    const usize from = i / 2 + (high ? a.size() / 2 : 0);
    return i & 1 ? b[from] : a[from];
  });
}
template <usize odd>
Value unzip(const Inst& inst, const Value* args, EvalContext&) {
  return permute(inst, args, [](const auto& a, const auto& b, usize i) {
    const usize half = a.size() / 2;
    return i < half ? a[2 * i + odd] : b[2 * (i - half) + odd];
  });
}
template <usize odd>
Value trn(const Inst& inst, const Value* args, EvalContext&) {
  return permute(inst, args, [](const auto& a, const auto& b, usize i) {
    const usize from = (i & ~usize{1}) + odd;
    return i & 1 ? b[from] : a[from];
  });
}
Value extract(const Inst& inst, const Value* args, EvalContext&) {
  std::array<u8, 48> bytes{};
  std::memcpy(bytes.data(), &args[0], 16);
  std::memcpy(bytes.data() + 16, &args[1], 16);
  Value result;
  std::memcpy(&result, bytes.data() + (inst.imm & 31), 16);
  return result;
}
template <unsigned container>
Value reverse(const Inst& inst, const Value* args, EvalContext&) {
  const Value both[2] = {args[0], args[0]};
  return permute(inst, both, [](const auto& a, const auto&, usize i) {
    const usize group = container / 8 / sizeof(a[0]);
    if (group < 2) return a[i];
    return a[i / group * group + (group - 1 - i % group)];
  });
}

Value clz(const Inst& inst, const Value* args, EvalContext&) {
  return map1(inst, args, []<typename U>(U a) -> U { return static_cast<U>(std::countl_zero(a)); });
}
// Bits after the sign that equal it.
Value cls(const Inst& inst, const Value* args, EvalContext&) {
  return map1(inst, args, []<typename U>(U a) -> U {
    const U folded = static_cast<U>(a ^ static_cast<U>(a << 1));
    return static_cast<U>(std::countl_zero(static_cast<U>(folded | 1)));
  });
}
Value pop_count(const Inst& inst, const Value* args, EvalContext&) {
  return map1(inst, args, []<typename U>(U a) -> U { return static_cast<U>(std::popcount(a)); });
}
Value table_lookup(const Inst& inst, const Value* args, EvalContext&) {
  const Lanes<u8> index = to_lanes<u8>(args[0]);
  std::array<u8, 32> table;
  std::memcpy(table.data(), &args[1], 16);
  std::memcpy(table.data() + 16, &args[2], 16);
  const usize size = inst.imm < table.size() ? inst.imm : table.size();
  Lanes<u8> result{};
  for (usize i = 0; i < 8; i++) result[i] = index[i] < size ? table[index[i]] : u8{0};
  return from_lanes<u8>(result);
}

}  // namespace

EvalFunction eval_vector_permute(Op op) {
  switch (op) {
    case Op::VZipLo: return zip<false>;
    case Op::VZipHi: return zip<true>;
    case Op::VUnzipEven: return unzip<0>;
    case Op::VUnzipOdd: return unzip<1>;
    case Op::VTrnEven: return trn<0>;
    case Op::VTrnOdd: return trn<1>;
    case Op::VExtract: return extract;
    case Op::VRev16: return reverse<16>;
    case Op::VRev32: return reverse<32>;
    case Op::VRev64: return reverse<64>;
    case Op::VClz: return clz;
    case Op::VCls: return cls;
    case Op::VPopCount: return pop_count;
    case Op::VTableLookup: return table_lookup;
    default: return nullptr;
  }
}

}  // namespace rhea::ir::detail
