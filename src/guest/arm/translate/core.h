// SPDX-License-Identifier: MIT
// What the handlers of A32, T16 and T32 have in common: an instruction's meaning, once its fields are taken apart.
#pragma once

#include "guest/arm/translator.h"

namespace rhea::arm {

// n bits of an encoding from bit `low` on.
constexpr u32 field(u32 insn, unsigned low, unsigned count) { return bits(insn, low, count); }

// Data processing operations, numbered as A32 does; T32's ORN behind them.
enum class Dp : u8 { AND, EOR, SUB, RSB, ADD, ADC, SBC, RSC, TST, TEQ, CMP, CMN, ORR, MOV, BIC, MVN, ORN };
enum class Shift : u8 { LSL, LSR, ASR, ROR, RRX };

// A shifter operand: the value, and the shifter's carry where it gives one.
struct Operand {
  Ref value = ir::kNoRef;
  Ref carry = ir::kNoRef;
};

// DecodeImmShift and Shift_C of DDI 0406C, A8.4.3. `amount` is the field's: 0 means 32 for LSR and ASR, RRX for ROR.
Operand shift_by_field(Translator& t, Ref value, unsigned type, unsigned amount, bool want_carry);
// By the low byte of a register.
Operand shift_by_register(Translator& t, Ref value, unsigned type, Ref amount, bool want_carry);
// A32ExpandImm, ThumbExpandImm.
Operand arm_immediate(Translator& t, u32 imm12, bool want_carry);
Operand thumb_immediate(Translator& t, u32 imm12, bool want_carry);
u32 thumb_expand_immediate(u32 imm12);

void data_processing(Translator& t, Dp op, bool set_flags, unsigned d, Ref first, Operand second);
// a + b with constants folded.
Ref add_folded(Translator& t, Ref a, u32 constant);

// ---- multiplication, media ----
void multiply(Translator& t, bool set_flags, unsigned d, unsigned n, unsigned m, unsigned a);  // a = 15: no addend
void multiply_subtract(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a);
void multiply_long(Translator& t, bool is_signed, bool accumulate, bool set_flags, unsigned low, unsigned high,
                   unsigned n, unsigned m);
void multiply_accumulate_accumulate(Translator& t, unsigned low, unsigned high, unsigned n, unsigned m);
void multiply_halves(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a, bool n_top, bool m_top);
void multiply_wide(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a, bool m_top);
void multiply_long_halves(Translator& t, unsigned low, unsigned high, unsigned n, unsigned m, bool n_top, bool m_top);
void multiply_dual(Translator& t, bool subtract, bool exchange, unsigned d, unsigned n, unsigned m, unsigned a);
void multiply_long_dual(Translator& t, bool subtract, bool exchange, unsigned low, unsigned high, unsigned n,
                        unsigned m);
void multiply_most_significant(Translator& t, bool subtract, bool round, unsigned d, unsigned n, unsigned m,
                               unsigned a);
void divide(Translator& t, bool is_signed, unsigned d, unsigned n, unsigned m);
void sum_of_differences(Translator& t, unsigned d, unsigned n, unsigned m, unsigned a);
void saturating_add(Translator& t, bool twice, bool subtract, unsigned d, unsigned n, unsigned m);
// prefix: 0 modulo, 1 saturating, 2 halving; op: 0 ADD16, 1 ASX, 2 SAX, 3 SUB16, 4 ADD8, 5 SUB8.
void parallel_arithmetic(Translator& t, bool is_unsigned, unsigned prefix, unsigned op, unsigned d, unsigned n,
                         unsigned m);
void pack(Translator& t, bool top_first, unsigned amount, unsigned d, unsigned n, unsigned m);
void select_bytes(Translator& t, unsigned d, unsigned n, unsigned m);
enum class Extend : u8 { SXTB16, SXTB, SXTH, UXTB16, UXTB, UXTH };
void extend_and_add(Translator& t, Extend kind, unsigned rotation, unsigned d, unsigned n, unsigned m);  // n = 15: none
void saturate(Translator& t, bool is_signed, unsigned width, bool arithmetic_right, unsigned amount, unsigned d,
              unsigned n);
void saturate_halves(Translator& t, bool is_signed, unsigned width, unsigned d, unsigned n);
enum class Reverse : u8 { REV, REV16, RBIT, REVSH };
void reverse(Translator& t, Reverse kind, unsigned d, unsigned m);
void count_leading_zeros(Translator& t, unsigned d, unsigned m);
void extract_field(Translator& t, bool is_signed, unsigned low, unsigned width, unsigned d, unsigned n);
void insert_field(Translator& t, unsigned low, unsigned high, unsigned d, unsigned n);  // n = 15: clears
void move_top(Translator& t, unsigned d, u32 imm16);

// ---- memory ----
// Address of a load or store: base register, what is added, and whether before the access and written back.
struct Addressing {
  unsigned n = 0;
  Ref offset_address = ir::kNoRef;  // base with the offset applied
  bool pre = true;
  bool write_back = false;
};
enum class Width : u8 { byte, half, word, signed_byte, signed_half };
Addressing address_immediate(Translator& t, unsigned n, s32 offset, bool pre, bool write_back);
Addressing address_register(Translator& t, unsigned n, Ref offset, bool add, bool pre, bool write_back);
void load_register(Translator& t, Width width, unsigned rt, const Addressing& address, bool unprivileged);
void store_register(Translator& t, Width width, unsigned rt, const Addressing& address, bool unprivileged);
void load_literal(Translator& t, Width width, unsigned rt, u32 address);
void load_dual(Translator& t, unsigned rt, unsigned rt2, const Addressing& address);
void store_dual(Translator& t, unsigned rt, unsigned rt2, const Addressing& address);
void load_exclusive(Translator& t, unsigned bits, unsigned rt, unsigned rt2, unsigned n, u32 offset);
void store_exclusive(Translator& t, unsigned bits, unsigned d, unsigned rt, unsigned rt2, unsigned n, u32 offset);
void load_multiple(Translator& t, unsigned n, u16 list, bool increment, bool before, bool write_back);
void store_multiple(Translator& t, unsigned n, u16 list, bool increment, bool before, bool write_back);
void store_return_state(Translator& t, unsigned bank_mode, bool increment, bool before, bool write_back);
void return_from_exception(Translator& t, unsigned n, bool increment, bool before, bool write_back);

// ---- system ----
void exception_return(Translator& t, Ref address);  // CPSR from SPSR
void supervisor_call(Translator& t);
void secure_monitor_call(Translator& t);
void breakpoint(Translator& t);
void hint(Translator& t, unsigned number);
void set_endianness(Translator& t, bool big);
void change_processor_state(Translator& t, unsigned imod, bool change_mode, unsigned masks, unsigned mode);
void read_status(Translator& t, bool spsr, unsigned d);
void write_status(Translator& t, bool spsr, unsigned fields, Ref value);
void barrier(Translator& t, unsigned kind);      // 4 DSB, 5 DMB, 6 ISB
void coprocessor_move(Translator& t, u32 insn);  // MCR, MRC; A32 and T32 alike

}  // namespace rhea::arm
