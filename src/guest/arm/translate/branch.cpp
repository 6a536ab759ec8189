// SPDX-License-Identifier: MIT
// Branches of A32 and T32 (T16's: thumb16.cpp).
#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace a32 {

namespace {
u32 branch_target(Translator& t, u32 insn) {
  return t.pc_value() + static_cast<u32>(sign_extend(field(insn, 0, 24), 24) * 4);
}
}  // namespace

void b(Translator& t, u32 insn) { t.branch_conditional(t.cond, branch_target(t, insn)); }

void bl(Translator& t, u32 insn) {
  t.set_reg(14, t.b.const32(t.next_pc));
  t.exit_to(branch_target(t, insn), t.flow_mode(), ir::ExitKind::call);
}

void blx_imm(Translator& t, u32 insn) {
  t.set_reg(14, t.b.const32(t.next_pc));
  t.exit_to(branch_target(t, insn) + 2 * bit(insn, 24), t.flow_mode() | kModeThumb, ir::ExitKind::call);
}

void bx(Translator& t, u32 insn) {
  const unsigned m = field(insn, 0, 4);
  t.branch_exchange(t.reg(m), m == 14 ? ir::ExitKind::ret : ir::ExitKind::jump);
}

void blx_reg(Translator& t, u32 insn) {
  const Ref target = t.reg(field(insn, 0, 4));
  t.set_reg(14, t.b.const32(t.next_pc));
  t.branch_exchange(target, ir::ExitKind::call);
}

}  // namespace a32

namespace t32 {

namespace {

// Offset of BL, BLX and B (T4): S:I1:I2:imm10:imm11:0, I1 = NOT(J1 EOR S).
u32 long_offset(u32 insn) {
  const u32 s = bits(insn, 26, 1);
  const u32 i1 = bits(insn, 13, 1) ^ s ^ 1, i2 = bits(insn, 11, 1) ^ s ^ 1;
  const u32 offset = s << 24 | i1 << 23 | i2 << 22 | bits(insn, 16, 10) << 12 | bits(insn, 0, 11) << 1;
  return static_cast<u32>(sign_extend(offset, 25));
}

}  // namespace

void b_cond(Translator& t, u32 insn) {
  const u32 condition = field(insn, 22, 4);
  if (condition >= 14 || t.in_it()) return t.undefined();
  const u32 offset = bits(insn, 26, 1) << 20 | bits(insn, 11, 1) << 19 | bits(insn, 13, 1) << 18 |
                     bits(insn, 16, 6) << 12 | bits(insn, 0, 11) << 1;
  t.branch_conditional(static_cast<Cond>(condition), t.pc_value() + static_cast<u32>(sign_extend(offset, 21)));
}

void b(Translator& t, u32 insn) { t.branch_conditional(t.cond, t.pc_value() + long_offset(insn)); }

void bl(Translator& t, u32 insn) {
  t.set_reg(14, t.b.const32(t.next_pc | 1));
  t.exit_to(t.pc_value() + long_offset(insn), t.flow_mode(), ir::ExitKind::call);
}

void blx_imm(Translator& t, u32 insn) {
  t.set_reg(14, t.b.const32(t.next_pc | 1));
  t.exit_to((t.aligned_pc() + long_offset(insn)) & ~3u, t.flow_mode() & ~kModeThumb, ir::ExitKind::call);
}

// Jazelle is not there: BXJ is BX.
void bxj(Translator& t, u32 insn) { t.branch_exchange(t.reg(field(insn, 16, 4)), ir::ExitKind::jump); }

}  // namespace t32

}  // namespace rhea::arm
