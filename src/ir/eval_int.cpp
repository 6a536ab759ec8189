// SPDX-License-Identifier: MIT
// Integers and condition flags.
#include <bit>

#include "ir/eval_groups.h"
#include "util/bits.h"

namespace rhea::ir {

namespace {

bool wide(const Inst& inst) { return inst.type == Type::I64; }

// Runs `function` on values of the instruction's width.
#define RHEA_INTEGER(name, expression)                                    \
  Value name(const Inst& inst, const Value* args, EvalContext& context) { \
    auto compute = [&]<typename U, typename S>(U, S) -> U {               \
      [[maybe_unused]] constexpr unsigned width = sizeof(U) * 8;          \
      [[maybe_unused]] const U a = static_cast<U>(args[0].lo);            \
      return static_cast<U>(expression);                                  \
    };                                                                    \
    if (wide(inst)) return {compute(u64{}, s64{})};                       \
    return {compute(u32{}, s32{})};                                       \
  }
#define RHEA_B static_cast<U>(args[1].lo)
#define RHEA_COUNT static_cast<u32>(args[1].lo)

RHEA_INTEGER(add, a + RHEA_B)
RHEA_INTEGER(sub, a - RHEA_B)
RHEA_INTEGER(adc, a + RHEA_B + static_cast<U>(args[2].lo & 1))
RHEA_INTEGER(sbc, a - RHEA_B - 1 + static_cast<U>(args[2].lo & 1))
RHEA_INTEGER(mul, a* RHEA_B)
RHEA_INTEGER(mul_hi_u, static_cast<u128>(a) * RHEA_B >> width)
RHEA_INTEGER(mul_hi_s, static_cast<s128>(static_cast<S>(a)) * static_cast<S>(RHEA_B) >> width)
RHEA_INTEGER(div_u, RHEA_B ? a / RHEA_B : 0)
RHEA_INTEGER(div_s, RHEA_B == 0       ? 0
                    : RHEA_B == ~U{0} ? U{0} - a
                                      : static_cast<U>(static_cast<S>(a) / static_cast<S>(RHEA_B)))
RHEA_INTEGER(and_, a& RHEA_B)
RHEA_INTEGER(or_, a | RHEA_B)
RHEA_INTEGER(xor_, a ^ RHEA_B)
RHEA_INTEGER(and_not, a & ~RHEA_B)
RHEA_INTEGER(not_, ~a)
RHEA_INTEGER(neg, U{0} - a)
RHEA_INTEGER(shl, RHEA_COUNT < width ? a << RHEA_COUNT : 0)
RHEA_INTEGER(shr, RHEA_COUNT < width ? a >> RHEA_COUNT : 0)
RHEA_INTEGER(sar, static_cast<S>(a) >> (RHEA_COUNT < width ? RHEA_COUNT : width - 1))
RHEA_INTEGER(ror, std::rotr(a, static_cast<int>(RHEA_COUNT % width)))
RHEA_INTEGER(clz, std::countl_zero(a))
RHEA_INTEGER(bswap, byte_swap(a))
RHEA_INTEGER(bswap16, (a & static_cast<U>(0x00ff00ff00ff00ff)) << 8 | (a >> 8 & static_cast<U>(0x00ff00ff00ff00ff)))
RHEA_INTEGER(sext8, static_cast<S>(static_cast<s8>(a)))
RHEA_INTEGER(sext16, static_cast<S>(static_cast<s16>(a)))
RHEA_INTEGER(zext8, static_cast<u8>(a))
RHEA_INTEGER(zext16, static_cast<u16>(a))
RHEA_INTEGER(constant, inst.imm)
// Comparisons: the type field is the operands'.
RHEA_INTEGER(cmp_eq, a == RHEA_B)
RHEA_INTEGER(cmp_ne, a != RHEA_B)
RHEA_INTEGER(cmp_lt_u, a < RHEA_B)
RHEA_INTEGER(cmp_le_u, a <= RHEA_B)
RHEA_INTEGER(cmp_lt_s, static_cast<S>(a) < static_cast<S>(RHEA_B))
RHEA_INTEGER(cmp_le_s, static_cast<S>(a) <= static_cast<S>(RHEA_B))

template <typename U>
U reverse_bits(U value) {
  U result = 0;
  for (unsigned i = 0; i < sizeof(U) * 8; i++) result = static_cast<U>(result << 1 | (value >> i & 1));
  return result;
}
RHEA_INTEGER(rbit, reverse_bits(a))

#undef RHEA_INTEGER
#undef RHEA_B
#undef RHEA_COUNT

Value copy(const Inst&, const Value* args, EvalContext&) { return args[0]; }
Value sext32(const Inst&, const Value* args, EvalContext&) {
  return {static_cast<u64>(static_cast<s64>(static_cast<s32>(args[0].lo)))};
}
Value zext32(const Inst&, const Value* args, EvalContext&) { return {static_cast<u32>(args[0].lo)}; }
Value high_half(const Inst&, const Value* args, EvalContext&) { return {args[0].lo >> 32}; }
Value pair(const Inst&, const Value* args, EvalContext&) { return {static_cast<u32>(args[0].lo) | args[1].lo << 32}; }
Value select(const Inst&, const Value* args, EvalContext&) { return static_cast<u32>(args[0].lo) ? args[1] : args[2]; }

// Saturation of a signed 32-bit value; widths outside 1..32 (signed) and 0..31 (unsigned) do not occur.
s64 clamp(s64 value, s64 least, s64 most) { return value < least ? least : value > most ? most : value; }
s64 saturated_s(const Inst& inst, s64 value) {
  const unsigned width = inst.imm < 1 ? 1 : inst.imm > 32 ? 32 : static_cast<unsigned>(inst.imm);
  return clamp(value, -(s64{1} << (width - 1)), (s64{1} << (width - 1)) - 1);
}
s64 saturated_u(const Inst& inst, s64 value) {
  const unsigned width = inst.imm > 32 ? 32 : static_cast<unsigned>(inst.imm);
  return clamp(value, 0, (s64{1} << width) - 1);
}
Value sat_s(const Inst& inst, const Value* args, EvalContext&) {
  return {static_cast<u32>(saturated_s(inst, static_cast<s32>(args[0].lo)))};
}
Value sat_u(const Inst& inst, const Value* args, EvalContext&) {
  return {static_cast<u32>(saturated_u(inst, static_cast<s32>(args[0].lo)))};
}
Value did_sat_s(const Inst& inst, const Value* args, EvalContext&) {
  const s64 value = static_cast<s32>(args[0].lo);
  return {saturated_s(inst, value) != value};
}
Value did_sat_u(const Inst& inst, const Value* args, EvalContext&) {
  const s64 value = static_cast<s32>(args[0].lo);
  return {saturated_u(inst, value) != value};
}

// ---- parallel arithmetic (DDI 0406C, A8.8 SADD8 ...): results in full precision, then by the prefix -----------------
struct ParallelResult {
  u32 value = 0;
  u32 ge = 0;
};

s32 narrow_lane(s32 exact, unsigned lane, unsigned prefix, bool is_unsigned) {
  if (prefix == 1) {
    return is_unsigned ? static_cast<s32>(clamp(exact, 0, (1 << lane) - 1))
                       : static_cast<s32>(clamp(exact, -(1 << (lane - 1)), (1 << (lane - 1)) - 1));
  }
  return prefix == 2 ? exact >> 1 : exact;
}

ParallelResult parallel_lanes(const Inst& inst, u32 a, u32 b) {
  const unsigned lane = inst.lane == 8 ? 8 : 16, prefix = inst.aux >> 3 & 3;
  const auto kind = static_cast<ParallelKind>(inst.aux & 7);
  const bool is_unsigned = inst.aux >> 5 & 1;
  const bool exchange = kind == ParallelKind::add_sub_exchange || kind == ParallelKind::sub_add_exchange;
  ParallelResult result;
  auto extract = [&](u32 word, unsigned index) -> s32 {
    const u32 field = bits(word, index * lane, lane);
    return is_unsigned ? static_cast<s32>(field) : static_cast<s32>(sign_extend(field, lane));
  };
  const unsigned lanes = 32 / lane;
  for (unsigned i = 0; i < lanes; i++) {
    const s32 x = extract(a, i), y = extract(b, exchange ? i ^ 1 : i);
    bool subtract = kind == ParallelKind::sub;
    if (kind == ParallelKind::add_sub_exchange) subtract = i == 0;  // ASX: low difference, high sum
    if (kind == ParallelKind::sub_add_exchange) subtract = i == 1;
    const s32 exact = subtract ? x - y : x + y;
    const bool ge = is_unsigned && !subtract ? exact >= 1 << lane : exact >= 0;
    const u32 field = bits(static_cast<u32>(narrow_lane(exact, lane, prefix, is_unsigned)), 0, lane);
    result.value |= field << (i * lane);
    if (ge) result.ge |= (lane == 8 ? 1u : 3u) << (i * lane / 8);
  }
  return result;
}
Value parallel_value(const Inst& inst, const Value* args, EvalContext&) {
  return {parallel_lanes(inst, static_cast<u32>(args[0].lo), static_cast<u32>(args[1].lo)).value};
}
Value parallel_ge(const Inst& inst, const Value* args, EvalContext&) {
  return {parallel_lanes(inst, static_cast<u32>(args[0].lo), static_cast<u32>(args[1].lo)).ge};
}
Value select_bytes(const Inst&, const Value* args, EvalContext&) {
  u32 mask = 0;
  for (unsigned i = 0; i < 4; i++)
    if (args[0].lo >> i & 1) mask |= 0xffu << (i * 8);
  return {(static_cast<u32>(args[1].lo) & mask) | (static_cast<u32>(args[2].lo) & ~mask)};
}

// ---- flags ---------------------------------------------------------------------------------------------------------
void write_flags(const Inst& inst, u32 image, EvalContext& context) {
  const u32 mask = image_mask(inst.aux);
  context.flags = (context.flags & ~mask) | (image & mask);
}
Value set_flags_image(const Inst& inst, const Value* args, EvalContext& context) {
  write_flags(inst, static_cast<u32>(args[0].lo), context);
  return {};
}
Value set_carry(const Inst&, const Value* args, EvalContext& context) {
  context.flags = (context.flags & ~kImageC) | (args[0].lo & 1 ? kImageC : 0);
  return {};
}
Value get_flags(const Inst&, const Value*, EvalContext& context) { return {context.flags & kImageMask}; }
Value get_carry(const Inst&, const Value*, EvalContext& context) { return {context.flags & kImageC ? 1u : 0u}; }
Value test_cond(const Inst& inst, const Value*, EvalContext& context) {
  return {holds(static_cast<Cond>(inst.aux & 15), context.flags) ? 1u : 0u};
}

template <typename U>
u32 arithmetic_flags(const Inst& def, const Value* args, U value) {
  const bool subtract = def.op == Op::Sub || def.op == Op::Sbc;
  const bool with_carry = def.op == Op::Adc || def.op == Op::Sbc;
  const U a = static_cast<U>(args[0].lo);
  const U b = subtract ? static_cast<U>(~static_cast<U>(args[1].lo)) : static_cast<U>(args[1].lo);
  const unsigned carry_in = with_carry ? args[2].lo & 1 : subtract;
  const u128 exact = static_cast<u128>(a) + b + carry_in;
  const U overflow = (a ^ value) & (b ^ value);
  return (exact >> (sizeof(U) * 8) ? kImageC : 0) | (overflow >> (sizeof(U) * 8 - 1) ? kImageV : 0);
}

}  // namespace

u32 flags_of(const Inst& def, const Value* args, Value value) {
  const bool is_wide = def.type == Type::I64;
  const u64 bits_of = is_wide ? value.lo : static_cast<u32>(value.lo);
  u32 image = (bits_of >> (is_wide ? 63 : 31) ? kImageN : 0) | (bits_of == 0 ? kImageZ : 0);
  if (def.op == Op::Add || def.op == Op::Adc || def.op == Op::Sub || def.op == Op::Sbc) {
    image |= is_wide ? arithmetic_flags<u64>(def, args, value.lo)
                     : arithmetic_flags<u32>(def, args, static_cast<u32>(value.lo));
  }
  return image;
}

namespace detail {

EvalFunction eval_integer(Op op) {
  switch (op) {
    case Op::Const: return constant;
    case Op::Copy: return copy;
    case Op::Add: return add;
    case Op::Sub: return sub;
    case Op::Adc: return adc;
    case Op::Sbc: return sbc;
    case Op::Mul: return mul;
    case Op::MulHiU: return mul_hi_u;
    case Op::MulHiS: return mul_hi_s;
    case Op::DivU: return div_u;
    case Op::DivS: return div_s;
    case Op::And: return and_;
    case Op::Or: return or_;
    case Op::Xor: return xor_;
    case Op::AndNot: return and_not;
    case Op::Not: return not_;
    case Op::Neg: return neg;
    case Op::Shl: return shl;
    case Op::Shr: return shr;
    case Op::Sar: return sar;
    case Op::Ror: return ror;
    case Op::Clz: return clz;
    case Op::Rbit: return rbit;
    case Op::Bswap: return bswap;
    case Op::Bswap16: return bswap16;
    case Op::SExt8: return sext8;
    case Op::SExt16: return sext16;
    case Op::ZExt8: return zext8;
    case Op::ZExt16: return zext16;
    case Op::SExt32: return sext32;
    case Op::ZExt32:
    case Op::Trunc: return zext32;
    case Op::HighHalf: return high_half;
    case Op::Pair: return pair;
    case Op::Select: return select;
    case Op::CmpEq: return cmp_eq;
    case Op::CmpNe: return cmp_ne;
    case Op::CmpLtU: return cmp_lt_u;
    case Op::CmpLeU: return cmp_le_u;
    case Op::CmpLtS: return cmp_lt_s;
    case Op::CmpLeS: return cmp_le_s;
    case Op::SatS: return sat_s;
    case Op::SatU: return sat_u;
    case Op::DidSatS: return did_sat_s;
    case Op::DidSatU: return did_sat_u;
    case Op::Parallel: return parallel_value;
    case Op::ParallelGe: return parallel_ge;
    case Op::SelectBytes: return select_bytes;
    default: return nullptr;
  }
}

EvalFunction eval_flags(Op op) {
  switch (op) {
    case Op::SetFlagsImage: return set_flags_image;
    case Op::SetCarry: return set_carry;
    case Op::GetFlags: return get_flags;
    case Op::GetCarry: return get_carry;
    case Op::TestCond: return test_cond;
    default: return nullptr;
  }
}

}  // namespace detail

}  // namespace rhea::ir
