// SPDX-License-Identifier: MIT
// Modes, banked registers, exceptions and interrupts (DDI 0406C, B1.3 and B1.8).
#include "guest/arm/cpu.h"
#include "guest/arm/helpers.h"

namespace rhea::arm {

namespace {

constexpr u32 kCpsrA = 1u << 8, kCpsrI = 1u << 7, kCpsrF = 1u << 6;
constexpr u32 kScrNs = 1, kScrIrq = 2, kScrFiq = 4, kScrEa = 8, kScrFw = 16, kScrAw = 32;
constexpr u32 kSctlrV = 1u << 13, kSctlrEe = 1u << 25, kSctlrTe = 1u << 30;

// Fault status codes (B3.13.3): FS[3:0] in bits 3..0, FS[4] in bit 10.
constexpr u32 kFsAlignment = 0x01, kFsDebug = 0x02, kFsExternal = 0x08;
constexpr u32 kDfsrWrite = 1u << 11;

bool is_mode(u32 mode) {
  switch (static_cast<Mode>(mode)) {
    case Mode::usr:
    case Mode::fiq:
    case Mode::irq:
    case Mode::svc:
    case Mode::mon:
    case Mode::abt:
    case Mode::und:
    case Mode::sys: return true;
  }
  return false;
}

struct Vector {
  Mode mode;
  u32 offset;
  bool mask_abort, mask_fiq;
  std::string_view name;
};

// Table B1-3, B1-4; in the order of ExceptionKind.
constexpr Vector kVectors[] = {
    {Mode::svc, 0x00, true, true, "reset"},
    {Mode::und, 0x04, false, false, "undefined instruction"},
    {Mode::svc, 0x08, false, false, "supervisor call"},
    {Mode::mon, 0x08, true, true, "secure monitor call"},
    {Mode::abt, 0x0c, true, false, "prefetch abort"},
    {Mode::abt, 0x10, true, false, "data abort"},
    {Mode::irq, 0x18, true, false, "IRQ"},
    {Mode::fiq, 0x1c, true, true, "FIQ"},
};

}  // namespace

u32 Cpu::cpsr() const {
  const u32 it = static_cast<u32>(state_.header.mode) >> kModeItShift & 0xff;
  return image_to_nzcv(state_.header.flags) | state_.cpsr_q << 27 | (it & 3) << 25 | state_.cpsr_j << 24 |
         state_.cpsr_ge << 16 | (it >> 2) << 10 | state_.cpsr_e << 9 | state_.cpsr_masks |
         (state_.header.mode & kModeThumb ? 1u << 5 : 0) | state_.cpsr_mode;
}

void Cpu::switch_mode(u32 new_mode) {
  State& s = state_;
  const u32 old_mode = s.cpsr_mode;
  const Bank from = bank_of(static_cast<Mode>(old_mode)), to = bank_of(static_cast<Mode>(new_mode));
  s.cpsr_mode = new_mode;
  const bool was_user = old_mode == static_cast<u32>(Mode::usr), is_user = new_mode == static_cast<u32>(Mode::usr);
  if (was_user != is_user && hooks_) hooks_->privilege_changed(!is_user);
  if (from == to) return;
  s.bank_r13[from] = s.r[13];
  s.bank_r14[from] = s.r[14];
  s.bank_spsr[from] = s.spsr;
  if ((from == kBankFiq) != (to == kBankFiq)) {
    for (unsigned i = 0; i < 5; i++) std::swap(s.r[8 + i], s.bank_fiq[i]);
  }
  s.r[13] = s.bank_r13[to];
  s.r[14] = s.bank_r14[to];
  s.spsr = s.bank_spsr[to];
}

void Cpu::set_cpsr(u32 value, u32 mask) {
  State& s = state_;
  if (mask & 0xf0000000) {
    const u32 nzcv = (image_to_nzcv(s.header.flags) & ~mask) | (value & mask & 0xf0000000);
    s.header.flags = nzcv_to_image(nzcv);
  }
  if (mask & 1u << 27) s.cpsr_q = value >> 27 & 1;
  if (mask & 1u << 24) s.cpsr_j = 0;  // Jazelle is trivial
  if (mask & 0xf0000) s.cpsr_ge = value >> 16 & 15;
  if (mask & 1u << 9) s.cpsr_e = value >> 9 & 1;
  if (mask & 1u << 5) {
    s.header.mode = (s.header.mode & ~u64{kModeThumb}) | (value >> 5 & 1);
    const u32 it = (value >> 25 & 3) | (value >> 10 & 0x3f) << 2;
    s.header.mode = (s.header.mode & ~u64{kModeItMask}) | (value >> 5 & 1 ? it << kModeItShift : 0);
  }
  u32 masks = mask & 0x1c0;
  if (!secure()) {
    if (!(s.cp15.scr & kScrAw)) masks &= ~kCpsrA;
    if (!(s.cp15.scr & kScrFw)) masks &= ~kCpsrF;
  }
  s.cpsr_masks = (s.cpsr_masks & ~masks) | (value & masks);
  if (mask & 0x1f) {
    const u32 new_mode = value & 0x1f;
    const bool allowed = is_mode(new_mode) && !(new_mode == static_cast<u32>(Mode::mon) && !secure());
    if (allowed) switch_mode(new_mode);
    else log_.guest_error("CPSR: {:#x} is no mode here, at pc {:#x}", new_mode, state_.header.pc);
  }
  update_mode();
  interrupts_unmasked();
}

void Cpu::interrupts_unmasked() {
  if (state_.pins.load(std::memory_order_relaxed)) {
    state_.header.poll.fetch_or(ir::kPollInterrupt, std::memory_order_relaxed);
  }
}

void Cpu::log_exception(ExceptionKind kind, u32 return_address) {
  const Vector& vector = kVectors[static_cast<unsigned>(kind)];
  const BankedRegs& regs = bank();
  if (kind == ExceptionKind::data_abort) {
    log_.write(LogItem::interrupt, "cpu {}: {} at {:#010x}: DFSR {:#x}, DFAR {:#x}", index_, vector.name,
               state_.header.pc, regs.dfsr, regs.dfar);
  } else if (kind == ExceptionKind::prefetch_abort) {
    log_.write(LogItem::interrupt, "cpu {}: {} at {:#010x}: IFSR {:#x}, IFAR {:#x}", index_, vector.name,
               state_.header.pc, regs.ifsr, regs.ifar);
  } else {
    log_.write(LogItem::interrupt, "cpu {}: {} at {:#010x}, LR {:#x}", index_, vector.name, state_.header.pc,
               return_address);
  }
}

void Cpu::enter(ExceptionKind kind, u32 return_address) {
  State& s = state_;
  if (log_.on(LogItem::interrupt)) log_exception(kind, return_address);
  const Vector& vector = kVectors[static_cast<unsigned>(kind)];
  Mode mode = vector.mode;
  const u32 scr = s.cp15.scr;
  if ((kind == ExceptionKind::irq && (scr & kScrIrq)) || (kind == ExceptionKind::fiq && (scr & kScrFiq)))
    mode = Mode::mon;
  if (external_abort_ && (scr & kScrEa)) mode = Mode::mon;
  external_abort_ = false;

  const u32 old_cpsr = cpsr();
  // What is taken from Monitor mode is handled in Secure state.
  if (s.cpsr_mode == static_cast<u32>(Mode::mon) && (scr & kScrNs)) { s.cp15.scr &= ~kScrNs; }
  switch_mode(static_cast<u32>(mode));
  s.spsr = old_cpsr;
  s.r[14] = return_address;
  const bool nonsecure = !secure();
  s.cpsr_masks |= kCpsrI;
  if ((vector.mask_abort || mode == Mode::mon) && (!nonsecure || (scr & kScrAw))) s.cpsr_masks |= kCpsrA;
  if ((vector.mask_fiq || mode == Mode::mon) && (!nonsecure || (scr & kScrFw))) s.cpsr_masks |= kCpsrF;
  s.cpsr_j = 0;
  const u32 sctlr = bank().sctlr;
  s.cpsr_e = sctlr & kSctlrEe ? 1 : 0;
  s.header.mode = sctlr & kSctlrTe ? u32{kModeThumb} : 0;  // ITSTATE cleared
  const u32 base = mode == Mode::mon ? s.cp15.mvbar : sctlr & kSctlrV ? 0xffff0000 : bank().vbar;
  s.header.pc = base + vector.offset;
  update_mode();
  update_space();
  interrupts_unmasked();
}

void Cpu::take_undefined(u32 address) {
  enter(ExceptionKind::undefined, address + (state_.header.mode & kModeThumb ? 2 : 4));
}

void Cpu::raise_fault(const ir::Fault& fault) {
  const u32 pc = static_cast<u32>(state_.header.pc);
  u32 status = static_cast<u32>(fault.code);
  if (fault.alignment) status = kFsAlignment;
  else if (fault.external && !status) status = kFsExternal;
  external_abort_ = fault.external;
  // Aborts that go to the monitor still report in the current state's registers.
  BankedRegs& regs = bank();
  if (fault.access == ir::Access::execute) {
    regs.ifsr = status & 0x140f;
    regs.ifar = static_cast<u32>(fault.address);
    return enter(ExceptionKind::prefetch_abort, pc + 4);
  }
  if (fault.access == ir::Access::write) status |= kDfsrWrite;
  regs.dfsr = status;
  regs.dfar = static_cast<u32>(fault.address);
  enter(ExceptionKind::data_abort, pc + 8);
}

bool Cpu::take_interrupt() {
  const u32 pins = state_.pins.load(std::memory_order_acquire);
  const u32 pc = static_cast<u32>(state_.header.pc);
  if ((pins & 2) && !(state_.cpsr_masks & kCpsrF)) {
    enter(ExceptionKind::fiq, pc + 4);
    return true;
  }
  if ((pins & 1) && !(state_.cpsr_masks & kCpsrI)) {
    enter(ExceptionKind::irq, pc + 4);
    return true;
  }
  return false;
}

void Cpu::set_pin(unsigned pin, bool level) {
  if (level) state_.pins.fetch_or(1u << pin, std::memory_order_release);
  else state_.pins.fetch_and(~(1u << pin), std::memory_order_release);
}

// ---- helpers ----

u64 helper_undefined(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  const u64 size = key >> 32 & kModeThumb ? 2 : 4;  // of an HLT
  if (cpu.semihosting_call(static_cast<u32>(key), key, (key & ~u64{0xffffffff}) | static_cast<u32>(key + size)))
    return 0;
  cpu.take_undefined(static_cast<u32>(key));
  return 0;
}

u64 helper_no_register(Cpu& cpu, u64 key, u64 encoding, u64) {
  const u32 insn = static_cast<u32>(encoding);
  cpu.log().unimplemented("cpu {}: coprocessor {} has no register c{}, {}, c{}, {} ({} at pc {:#010x})", cpu.index(),
                          bits(insn, 8, 4), bits(insn, 16, 4), bits(insn, 21, 3), bits(insn, 0, 4), bits(insn, 5, 3),
                          bit(insn, 20) ? "read" : "written", static_cast<u32>(key));
  return helper_undefined(cpu, key, 0, 0);
}

u64 helper_svc(Cpu& cpu, u64 key, u64 here, u64) {
  cpu.resume_at(key);
  if (cpu.semihosting_call(static_cast<u32>(here), here, key)) return 0;
  cpu.enter(ExceptionKind::svc, static_cast<u32>(key));
  return 0;
}

u64 helper_smc(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.enter(ExceptionKind::smc, static_cast<u32>(key));
  return 0;
}

// A breakpoint instruction is a prefetch abort with a debug event as its status (C3.2, B3.13.3).
u64 helper_bkpt(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.raise_fault({.address = static_cast<u32>(key), .access = ir::Access::execute, .code = kFsDebug});
  return 0;
}

u64 helper_breakpoint(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.hooks().breakpoint_reached();
  return 0;
}

u64 helper_prefetch_alignment(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.raise_fault({.address = static_cast<u32>(key), .access = ir::Access::execute, .alignment = true});
  return 0;
}

u64 helper_write_cpsr(Cpu& cpu, u64 value, u64 mask, u64 key) {
  cpu.resume_at(key);
  const bool was_secure = cpu.secure();
  cpu.set_cpsr(static_cast<u32>(value), static_cast<u32>(mask));
  if (was_secure != cpu.secure()) cpu.update_space();
  return 0;
}

u64 helper_exception_return(Cpu& cpu, u64 address, u64 value, u64) {
  const bool was_secure = cpu.secure();
  ir::StateHeader& header = cpu.state();
  header.exclusive_address = ~u64{0};
  cpu.set_cpsr(static_cast<u32>(value), ~0u);
  header.pc = static_cast<u32>(address) & (header.mode & kModeThumb ? ~1u : ~3u);
  if (was_secure != cpu.secure()) cpu.update_space();
  return 0;
}

u64 helper_interrupts_unmasked(Cpu& cpu, u64, u64, u64) {
  cpu.interrupts_unmasked();
  return 0;
}

u64 helper_wfi(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.hooks().wait_for_interrupt();
  return 0;
}

u64 helper_wfe(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.hooks().wait_for_event();
  return 0;
}

u64 helper_yield(Cpu& cpu, u64 key, u64, u64) { return helper_wfe(cpu, key, 0, 0); }

u64 helper_sev(Cpu& cpu, u64, u64, u64) {
  cpu.hooks().send_event();
  return 0;
}

u64 helper_dsb(Cpu& cpu, u64 key, u64, u64) {
  cpu.resume_at(key);
  cpu.s().tlb_pending = 0;
  cpu.hooks().synchronize();
  return 0;
}

u64 helper_cp_read(Cpu& cpu, u64 index, u64, u64) { return cpu.read_sysreg(static_cast<unsigned>(index)); }

u64 helper_cp_write(Cpu& cpu, u64 index, u64 value, u64 key) {
  cpu.write_sysreg(static_cast<unsigned>(index), static_cast<u32>(value), key);
  return 0;
}

// Semihosting for AArch32 and AArch64, release 2.0, chapter 3: the operation is in r0, its parameter in r1, and the
// answer comes in r0.
bool Cpu::semihosting_call(u32 address, u64 here, u64 behind) {
  if (!semihosting_.call || (!privileged() && !semihosting_.from_user)) return false;
  const bool thumb = here >> 32 & kModeThumb;
  u8 code[4] = {};
  if (!semihosting_.fetch(address, std::span(code).first(thumb ? 2 : 4))) return false;
  const u32 insn = load_le<u32>(code);
  const bool is_call =
      thumb ? insn == 0xdfab || insn == 0xbabc : (insn & 0x0fffffff) == 0x0f123456 || insn == 0xe10f0070;
  if (!is_call) return false;
  const Semihosting::Answer answer = semihosting_.call(state_.r[0], state_.r[1]);
  resume_at(answer.again ? here : behind);
  if (!answer.again) state_.r[0] = answer.value;
  return true;
}

}  // namespace rhea::arm
