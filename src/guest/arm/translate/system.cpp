// SPDX-License-Identifier: MIT
// Status registers, exceptions, hints, barriers, coprocessor registers (DDI 0406C, B9).
//
// What changes the mode word ends the block: a helper sets pc and mode, and the block leaves by ExitDispatch. What
// the kernel does all the time stays inline: masking interrupts, MSR CPSR_c that keeps the mode, plain registers.
#include "guest/arm/cpu.h"
#include "guest/arm/sysreg_table.h"
#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace {

constexpr u32 kMasksOffset = offsetof(State, cpsr_masks);

// Interrupts that wait behind a mask are looked for when the mask goes; ends the block.
void leave_unmasked(Translator& t) {
  const u16 none = t.b.new_label();
  t.b.branch_zero(t.b.get(Type::I32, offsetof(State, pins)), none);
  t.call(HelperId::interrupts_unmasked);
  t.b.label(none);
  t.exit_next(true);
}

// N Z C V in bits 31..28 to the flags image.
Ref image_of(Translator& t, Ref psr) {
  ir::Builder& b = t.b;
  const Ref nz = b.and_(b.shr(psr, 16), ir::kImageN | ir::kImageZ);
  const Ref c = b.and_(b.shr(psr, 21), ir::kImageC), v = b.and_(b.shr(psr, 28), ir::kImageV);
  return b.or_(nz, b.or_(c, v));
}

void write_application_flags(Translator& t, unsigned fields, Ref value) {
  ir::Builder& b = t.b;
  if (fields & 8) {
    b.emit(Op::SetFlagsImage, Type::Void, image_of(t, value), ir::kNoRef, ir::kNoRef, 0, 0, ir::kFlagNZCV);
    b.set(Type::I32, offsetof(State, cpsr_q), b.and_(b.shr(value, 27), 1));
    t.flags_written();
  }
  if (fields & 4) b.set(Type::I32, offsetof(State, cpsr_ge), b.and_(b.shr(value, 16), 15));
}

}  // namespace

void exception_return(Translator& t, Ref address) {
  t.call(HelperId::exception_return, address, t.b.get(Type::I32, offsetof(State, spsr)));
  t.exit_dispatch();
}

void supervisor_call(Translator& t) {
  t.call(HelperId::svc, t.next_key(), t.this_key());
  t.exit_dispatch();
}

void secure_monitor_call(Translator& t) {
  if (!t.privileged()) return t.undefined();
  t.call(HelperId::smc, t.next_key());
  t.exit_dispatch();
}

void breakpoint(Translator& t) {
  t.call(HelperId::bkpt, t.this_key());
  t.exit_dispatch();
}

void hint(Translator& t, unsigned number) {
  switch (number) {
    case 1: t.call(HelperId::yield, t.next_key()); return t.exit_dispatch();
    case 2: t.call(HelperId::wfe, t.next_key()); return t.exit_dispatch();
    case 3: t.call(HelperId::wfi, t.next_key()); return t.exit_dispatch();
    case 4: t.call(HelperId::sev); return;
    default: return;  // NOP, and hints that are not allocated
  }
}

void set_endianness(Translator& t, bool big) {
  t.call(HelperId::write_cpsr, t.b.const32(big ? 1u << 9 : 0), t.b.const32(1u << 9), t.next_key());
  t.exit_dispatch();
}

// imod: 2 clears the masks (enables), 3 sets them. masks: A, I, F as bits 2..0.
void change_processor_state(Translator& t, unsigned imod, bool change_mode, unsigned masks, unsigned mode) {
  if (!t.privileged()) return;
  ir::Builder& b = t.b;
  const u32 mask_bits = imod & 2 ? masks << 6 : 0;
  const bool restricted = (masks & 5) && !(t.mode & kModeSecure);
  if (change_mode || restricted) {
    const u32 value = (imod & 1 ? mask_bits : 0) | mode;
    t.call(HelperId::write_cpsr, b.const32(value), b.const32(mask_bits | (change_mode ? 0x1f : 0)), t.next_key());
    return t.exit_dispatch();
  }
  if (!mask_bits) return;
  const Ref old = b.get(Type::I32, kMasksOffset);
  if (imod & 1) return b.set(Type::I32, kMasksOffset, b.or_(old, b.const32(mask_bits)));
  b.set(Type::I32, kMasksOffset, b.and_(old, ~mask_bits));
  leave_unmasked(t);
}

void read_status(Translator& t, bool spsr, unsigned d) {
  if (d == 15) return t.undefined();
  ir::Builder& b = t.b;
  if (spsr) {
    if (!t.privileged() || t.cpu_mode() == Mode::sys) return t.undefined();
    return t.set_reg(d, b.get(Type::I32, offsetof(State, spsr)));
  }
  const Ref image = b.emit(Op::GetFlags, Type::I32, ir::kNoRef, ir::kNoRef, ir::kNoRef, 0, 0, ir::kFlagNZCV);
  Ref value = b.or_(b.shl(b.and_(image, ir::kImageN | ir::kImageZ), 16),
                    b.or_(b.shl(b.and_(image, ir::kImageC), 21), b.shl(b.and_(image, ir::kImageV), 28)));
  value = b.or_(value, b.shl(b.get(Type::I32, offsetof(State, cpsr_q)), 27));
  value = b.or_(value, b.shl(b.get(Type::I32, offsetof(State, cpsr_ge)), 16));
  value = b.or_(value, b.get(Type::I32, kMasksOffset));
  const u32 fixed = static_cast<u32>(t.cpu_mode()) | (t.mode & kModeBigEndian ? 1u << 9 : 0);
  t.set_reg(d, b.or_(value, b.const32(fixed)));
}

// fields: c, x, s, f as bits 0..3.
void write_status(Translator& t, bool spsr, unsigned fields, Ref value) {
  ir::Builder& b = t.b;
  if (spsr) {
    if (!t.privileged() || t.cpu_mode() == Mode::sys) return t.undefined();
    const u32 mask = (fields & 1 ? 0xffu : 0) | (fields & 2 ? 0xff00u : 0) | (fields & 4 ? 0xff0000u : 0) |
                     (fields & 8 ? 0xff000000u : 0);
    const Ref kept = b.and_(b.get(Type::I32, offsetof(State, spsr)), ~mask);
    return b.set(Type::I32, offsetof(State, spsr), b.or_(kept, b.and_(value, mask)));
  }
  write_application_flags(t, fields, value);
  if (!t.privileged() || !(fields & 3)) return;
  // A (and F) cannot be changed in Non-secure state when SCR says so: the helper looks.
  if ((fields & 2) || !(t.mode & kModeSecure)) {
    const u32 mask = (fields & 1 ? 0xdfu : 0) | (fields & 2 ? 0x300u : 0);
    t.call(HelperId::write_cpsr, value, b.const32(mask), t.next_key());
    return t.exit_dispatch();
  }
  const u16 changes_mode = b.new_label();
  b.branch_nonzero(b.xor_(b.and_(value, 0x1f), b.const32(static_cast<u32>(t.cpu_mode()))), changes_mode);
  b.set(Type::I32, kMasksOffset, b.or_(b.and_(b.get(Type::I32, kMasksOffset), 0x100), b.and_(value, 0xc0)));
  leave_unmasked(t);
  b.label(changes_mode);
  t.call(HelperId::write_cpsr, value, b.const32(0xdf), t.next_key());
  t.exit_dispatch();
}

void barrier(Translator& t, unsigned kind) {
  t.b.emit(Op::Fence, Type::Void);
  if (kind == 6) return t.exit_next();
  if (kind != 4) return;
  const u16 nothing = t.b.new_label();
  t.b.branch_zero(t.b.get(Type::I32, offsetof(State, tlb_pending)), nothing);
  t.call(HelperId::dsb, t.next_key());
  t.leave_early();  // the other CPUs are waited for between blocks
  t.b.label(nothing);
}

namespace {

bool accessible(Translator& t, const SysReg& reg, bool read) {
  if ((reg.access & kSecureOnly) && !(t.mode & kModeSecure)) return false;
  if (!t.privileged()) return reg.access & (read ? kReadAny : kWriteAny);
  if (!read && (reg.access & kSecureWrite) && !(t.mode & kModeSecure)) return false;
  return reg.access & (read ? kReadPrivileged : kWritePrivileged);
}

void read_register(Translator& t, const SysReg& reg, unsigned rt) {
  ir::Builder& b = t.b;
  Ref value;
  if (reg.read) value = t.call(HelperId::cp_read, b.const32(sysreg_index(reg)));
  else if (!reg.stored()) value = b.const32(reg.reset);
  else value = b.get(Type::I32, reg.offset[t.mode & kModeSecure ? 0 : 1]);
  if (rt != 15) return t.set_reg(rt, value);
  b.emit(Op::SetFlagsImage, Type::Void, image_of(t, value), ir::kNoRef, ir::kNoRef, 0, 0, ir::kFlagNZCV);
  t.flags_written();
}

void write_register(Translator& t, const SysReg& reg, Ref value) {
  ir::Builder& b = t.b;
  if (reg.flags & kBarrierIsb) return barrier(t, 6);
  if (reg.flags & kBarrierDsb) return barrier(t, 4);
  if (reg.flags & kBarrierDmb) return barrier(t, 5);
  if (reg.write) {
    t.call(HelperId::cp_write, b.const32(sysreg_index(reg)), value, t.next_key());
  } else if (reg.stored()) {
    const u32 offset = reg.offset[t.mode & kModeSecure ? 0 : 1];
    if (reg.mask != ~0u) value = b.or_(b.and_(b.get(Type::I32, offset), ~reg.mask), b.and_(value, reg.mask));
    b.set(Type::I32, offset, value);
  }
  if (reg.flags & kChangesMode) t.exit_dispatch();
  else if (reg.flags & kEndsBlock) t.exit_next(true);
}

}  // namespace

void coprocessor_move(Translator& t, u32 insn) {
  const unsigned rt = field(insn, 12, 4);
  const bool read = bit(insn, 20);
  const SysRegKey key{.cp = static_cast<u8>(field(insn, 8, 4)),
                      .crn = static_cast<u8>(field(insn, 16, 4)),
                      .op1 = static_cast<u8>(field(insn, 21, 3)),
                      .crm = static_cast<u8>(field(insn, 0, 4)),
                      .op2 = static_cast<u8>(field(insn, 5, 3))};
  const SysReg* reg = find_sysreg(key);
  if (!reg) {
    t.call(HelperId::no_register, t.this_key(), t.b.const32(insn));
    return t.exit_dispatch();
  }
  if (!accessible(t, *reg, read) || (!read && rt == 15)) return t.undefined();
  if ((reg->flags & kUserEnabled) && !t.privileged()) {  // PMUSERENR.EN opens these to User mode
    ir::Builder& b = t.b;
    const u16 enabled = b.new_label();
    b.branch_nonzero(b.and_(b.get(Type::I32, offsetof(State, cp15.pmuserenr)), 1), enabled);
    t.call(HelperId::undefined, t.this_key());
    t.leave_early();
    b.label(enabled);
  }
  if (read) read_register(t, *reg, rt);
  else write_register(t, *reg, t.reg(rt));
}

// ---- A32 ----

namespace a32 {

void mrs(Translator& t, u32 insn) { read_status(t, bit(insn, 22), field(insn, 12, 4)); }
void msr_reg(Translator& t, u32 insn) {
  if (field(insn, 0, 4) == 15) return t.undefined();
  write_status(t, bit(insn, 22), field(insn, 16, 4), t.reg(field(insn, 0, 4)));
}
void msr_imm(Translator& t, u32 insn) {
  write_status(t, bit(insn, 22), field(insn, 16, 4), arm_immediate(t, field(insn, 0, 12), false).value);
}
void hint(Translator& t, u32 insn) { arm::hint(t, field(insn, 0, 8)); }
void mcr(Translator& t, u32 insn) { coprocessor_move(t, insn); }
void mrc(Translator& t, u32 insn) { coprocessor_move(t, insn); }
void svc(Translator& t, u32 insn) { supervisor_call(t); }
void smc(Translator& t, u32 insn) { secure_monitor_call(t); }
void bkpt(Translator& t, u32 insn) { breakpoint(t); }
void udf(Translator& t, u32 insn) { t.undefined(); }
void cps(Translator& t, u32 insn) {
  change_processor_state(t, field(insn, 18, 2), bit(insn, 17), field(insn, 6, 3), field(insn, 0, 5));
}
void setend(Translator& t, u32 insn) { set_endianness(t, bit(insn, 9)); }
void dsb(Translator& t, u32 insn) { barrier(t, 4); }
void dmb(Translator& t, u32 insn) { barrier(t, 5); }
void isb(Translator& t, u32 insn) { barrier(t, 6); }

}  // namespace a32

// ---- T32 ----

namespace t32 {

void mrs(Translator& t, u32 insn) { read_status(t, bit(insn, 20), field(insn, 8, 4)); }
void msr_reg(Translator& t, u32 insn) {
  if (field(insn, 16, 4) == 15) return t.undefined();
  write_status(t, bit(insn, 20), field(insn, 8, 4), t.reg(field(insn, 16, 4)));
}
void hint(Translator& t, u32 insn) { arm::hint(t, field(insn, 0, 8)); }
void cps(Translator& t, u32 insn) {
  change_processor_state(t, field(insn, 9, 2), bit(insn, 8), field(insn, 5, 3), field(insn, 0, 5));
}
void mcr(Translator& t, u32 insn) { coprocessor_move(t, insn); }
void mrc(Translator& t, u32 insn) { coprocessor_move(t, insn); }
void smc(Translator& t, u32 insn) { secure_monitor_call(t); }
void udf(Translator& t, u32 insn) { t.undefined(); }
void dsb(Translator& t, u32 insn) { barrier(t, 4); }
void dmb(Translator& t, u32 insn) { barrier(t, 5); }
void isb(Translator& t, u32 insn) { barrier(t, 6); }
// SUBS PC, LR, #imm; with 0 it is ERET.
void subs_pc_lr(Translator& t, u32 insn) {
  if (!t.privileged() || t.cpu_mode() == Mode::sys) return t.undefined();
  exception_return(t, t.b.sub(t.reg(14), t.b.const32(field(insn, 0, 8))));
}

}  // namespace t32

}  // namespace rhea::arm
