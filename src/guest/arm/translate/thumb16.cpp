// SPDX-License-Identifier: MIT
// The 16-bit encodings of T32. Most set flags outside of IT blocks, and do not inside.
#include "guest/arm/translate/core.h"

namespace rhea::arm::t16 {

namespace {
bool sets_flags(const Translator& t) { return !t.in_it(); }
}  // namespace

void shift_imm(Translator& t, u32 insn) {
  const bool s = sets_flags(t);
  const Operand shifted = shift_by_field(t, t.reg(field(insn, 3, 3)), field(insn, 11, 2), field(insn, 6, 5), s);
  data_processing(t, Dp::MOV, s, field(insn, 0, 3), ir::kNoRef, shifted);
}

void add_reg(Translator& t, u32 insn) {
  data_processing(t, bit(insn, 9) ? Dp::SUB : Dp::ADD, sets_flags(t), field(insn, 0, 3), t.reg(field(insn, 3, 3)),
                  {t.reg(field(insn, 6, 3)), ir::kNoRef});
}

void add_imm3(Translator& t, u32 insn) {
  data_processing(t, bit(insn, 9) ? Dp::SUB : Dp::ADD, sets_flags(t), field(insn, 0, 3), t.reg(field(insn, 3, 3)),
                  {t.b.const32(field(insn, 6, 3)), ir::kNoRef});
}

void mov_imm(Translator& t, u32 insn) {
  data_processing(t, Dp::MOV, sets_flags(t), field(insn, 8, 3), ir::kNoRef,
                  {t.b.const32(field(insn, 0, 8)), ir::kNoRef});
}

void cmp_imm(Translator& t, u32 insn) {
  data_processing(t, Dp::CMP, true, 0, t.reg(field(insn, 8, 3)), {t.b.const32(field(insn, 0, 8)), ir::kNoRef});
}

void add_imm8(Translator& t, u32 insn) {
  const unsigned d = field(insn, 8, 3);
  data_processing(t, bit(insn, 11) ? Dp::SUB : Dp::ADD, sets_flags(t), d, t.reg(d),
                  {t.b.const32(field(insn, 0, 8)), ir::kNoRef});
}

void dp(Translator& t, u32 insn) {
  const unsigned d = field(insn, 0, 3), m = field(insn, 3, 3);
  const bool s = sets_flags(t);
  const Operand second{t.reg(m), ir::kNoRef};
  switch (field(insn, 6, 4)) {
    case 0: return data_processing(t, Dp::AND, s, d, t.reg(d), second);
    case 1: return data_processing(t, Dp::EOR, s, d, t.reg(d), second);
    case 5: return data_processing(t, Dp::ADC, s, d, t.reg(d), second);
    case 6: return data_processing(t, Dp::SBC, s, d, t.reg(d), second);
    case 8: return data_processing(t, Dp::TST, true, d, t.reg(d), second);
    case 9: return data_processing(t, Dp::RSB, s, d, t.reg(m), {t.b.const32(0), ir::kNoRef});
    case 10: return data_processing(t, Dp::CMP, true, d, t.reg(d), second);
    case 11: return data_processing(t, Dp::CMN, true, d, t.reg(d), second);
    case 12: return data_processing(t, Dp::ORR, s, d, t.reg(d), second);
    case 13: return multiply(t, s, d, m, d, 15);
    case 14: return data_processing(t, Dp::BIC, s, d, t.reg(d), second);
    default: return data_processing(t, Dp::MVN, s, d, ir::kNoRef, second);
  }
}

// LSL, LSR, ASR, ROR by a register.
void dp_shift(Translator& t, u32 insn) {
  constexpr u8 kTypes[] = {0, 0, 0, 1, 2, 0, 0, 3};  // by bits 8..6
  const unsigned d = field(insn, 0, 3);
  const bool s = sets_flags(t);
  const Operand shifted = shift_by_register(t, t.reg(d), kTypes[field(insn, 6, 3)], t.reg(field(insn, 3, 3)), s);
  data_processing(t, Dp::MOV, s, d, ir::kNoRef, shifted);
}

namespace {
unsigned high_d(u32 insn) { return field(insn, 7, 1) << 3 | field(insn, 0, 3); }
}  // namespace

void add_high(Translator& t, u32 insn) {
  const unsigned d = high_d(insn);
  data_processing(t, Dp::ADD, false, d, t.reg(d), {t.reg(field(insn, 3, 4)), ir::kNoRef});
}
void cmp_high(Translator& t, u32 insn) {
  data_processing(t, Dp::CMP, true, 0, t.reg(high_d(insn)), {t.reg(field(insn, 3, 4)), ir::kNoRef});
}
void mov_high(Translator& t, u32 insn) {
  data_processing(t, Dp::MOV, false, high_d(insn), ir::kNoRef, {t.reg(field(insn, 3, 4)), ir::kNoRef});
}

void bx(Translator& t, u32 insn) {
  const unsigned m = field(insn, 3, 4);
  t.branch_exchange(t.reg(m), m == 14 ? ir::ExitKind::ret : ir::ExitKind::jump);
}
void blx_reg(Translator& t, u32 insn) {
  const Ref target = t.reg(field(insn, 3, 4));
  t.set_reg(14, t.b.const32(t.next_pc | 1));
  t.branch_exchange(target, ir::ExitKind::call);
}

// ---- loads and stores ----

void ldr_literal(Translator& t, u32 insn) {
  load_literal(t, Width::word, field(insn, 8, 3), t.aligned_pc() + (field(insn, 0, 8) << 2));
}

void ldst_reg(Translator& t, u32 insn) {
  const unsigned rt = field(insn, 0, 3);
  const Addressing address = address_register(t, field(insn, 3, 3), t.reg(field(insn, 6, 3)), true, true, false);
  switch (field(insn, 9, 3)) {
    case 0: return store_register(t, Width::word, rt, address, false);
    case 1: return store_register(t, Width::half, rt, address, false);
    case 2: return store_register(t, Width::byte, rt, address, false);
    case 3: return load_register(t, Width::signed_byte, rt, address, false);
    case 4: return load_register(t, Width::word, rt, address, false);
    case 5: return load_register(t, Width::half, rt, address, false);
    case 6: return load_register(t, Width::byte, rt, address, false);
    default: return load_register(t, Width::signed_half, rt, address, false);
  }
}

void ldst_imm(Translator& t, u32 insn) {
  const unsigned kind = field(insn, 12, 4);  // 6 word, 7 byte, 8 half-word
  const Width width = kind == 6 ? Width::word : kind == 7 ? Width::byte : Width::half;
  const unsigned scale = kind == 6 ? 2 : kind == 7 ? 0 : 1;
  const Addressing address =
      address_immediate(t, field(insn, 3, 3), static_cast<s32>(field(insn, 6, 5) << scale), true, false);
  if (bit(insn, 11)) load_register(t, width, field(insn, 0, 3), address, false);
  else store_register(t, width, field(insn, 0, 3), address, false);
}

void ldst_sp(Translator& t, u32 insn) {
  const Addressing address = address_immediate(t, 13, static_cast<s32>(field(insn, 0, 8) << 2), true, false);
  if (bit(insn, 11)) load_register(t, Width::word, field(insn, 8, 3), address, false);
  else store_register(t, Width::word, field(insn, 8, 3), address, false);
}

void stm(Translator& t, u32 insn) {
  store_multiple(t, field(insn, 8, 3), static_cast<u16>(field(insn, 0, 8)), true, false, true);
}
void ldm(Translator& t, u32 insn) {
  const unsigned n = field(insn, 8, 3);
  load_multiple(t, n, static_cast<u16>(field(insn, 0, 8)), true, false, !(insn >> n & 1));
}
void push(Translator& t, u32 insn) {
  store_multiple(t, 13, static_cast<u16>(field(insn, 0, 8) | field(insn, 8, 1) << 14), false, true, true);
}
void pop(Translator& t, u32 insn) {
  load_multiple(t, 13, static_cast<u16>(field(insn, 0, 8) | field(insn, 8, 1) << 15), true, false, true);
}

// ---- addresses, extension ----

void adr(Translator& t, u32 insn) {
  t.set_reg(field(insn, 8, 3), t.b.const32(t.aligned_pc() + (field(insn, 0, 8) << 2)));
}
void add_sp_imm8(Translator& t, u32 insn) { t.set_reg(field(insn, 8, 3), t.b.add(t.reg(13), field(insn, 0, 8) << 2)); }
void add_sp_imm7(Translator& t, u32 insn) {
  const u32 imm = field(insn, 0, 7) << 2;
  t.set_reg(13, t.b.add(t.reg(13), bit(insn, 7) ? 0 - imm : imm));
}

void extend(Translator& t, u32 insn) {
  constexpr Extend kKinds[] = {Extend::SXTH, Extend::SXTB, Extend::UXTH, Extend::UXTB};
  extend_and_add(t, kKinds[field(insn, 6, 2)], 0, field(insn, 0, 3), 15, field(insn, 3, 3));
}
void reverse(Translator& t, u32 insn) {
  constexpr Reverse kKinds[] = {Reverse::REV, Reverse::REV16, Reverse::REV, Reverse::REVSH};
  arm::reverse(t, kKinds[field(insn, 6, 2)], field(insn, 0, 3), field(insn, 3, 3));
}

// ---- branches, exceptions, system ----

void b_cond(Translator& t, u32 insn) {
  if (t.in_it()) return t.undefined();
  const u32 target = t.pc_value() + static_cast<u32>(sign_extend(field(insn, 0, 8), 8) * 2);
  t.branch_conditional(static_cast<Cond>(field(insn, 8, 4)), target);
}

void b(Translator& t, u32 insn) {
  t.branch_conditional(t.cond, t.pc_value() + static_cast<u32>(sign_extend(field(insn, 0, 11), 11) * 2));
}

void cbz(Translator& t, u32 insn) {
  const Ref value = t.reg(field(insn, 0, 3));
  const u32 target = t.pc_value() + (field(insn, 9, 1) << 6 | field(insn, 3, 5) << 1);
  t.branch_if_zero(value, !bit(insn, 11), target);
}

// IT: the state of the instructions behind it. With a mask of 0 it is a hint (another row).
void it(Translator& t, u32 insn) {
  if (t.in_it()) return t.undefined();
  t.set_it(static_cast<u8>(insn));
}

void udf(Translator& t, u32 insn) { t.undefined(); }
void svc(Translator& t, u32 insn) { supervisor_call(t); }
void bkpt(Translator& t, u32 insn) { breakpoint(t); }
void hint(Translator& t, u32 insn) { arm::hint(t, field(insn, 4, 4)); }
void setend(Translator& t, u32 insn) { set_endianness(t, bit(insn, 3)); }
void cps(Translator& t, u32 insn) { change_processor_state(t, bit(insn, 4) ? 3 : 2, false, field(insn, 0, 3), 0); }

}  // namespace rhea::arm::t16
