// SPDX-License-Identifier: MIT
// The state of an ARMv7-A CPU, as generated code addresses it, and the mode word that translations depend on.
//
// The condition flags N Z C V live in header.flags (image format of ir.h), the address of the next instruction in
// header.pc, T and ITSTATE in header.mode. r[] holds the current mode's view; the registers of the other modes
// are in banks (exceptions.cpp moves them). Names are DDI 0406C's.
#pragma once

#include <atomic>
#include <cstddef>

#include "guest/arm/sysregs.h"
#include "ir/guest.h"
#include "util/bits.h"
#include "util/types.h"

namespace rhea::arm {

class Cpu;

// CPSR.M
enum class Mode : u8 { usr = 0x10, fiq = 0x11, irq = 0x12, svc = 0x13, mon = 0x16, abt = 0x17, und = 0x1b, sys = 0x1f };

// Banks of r13, r14 and SPSR, by Bank; usr and sys share one (and have no SPSR).
enum Bank : u8 { kBankUsr, kBankFiq, kBankIrq, kBankSvc, kBankMon, kBankAbt, kBankUnd, kBanks };

// Where a mode keeps its registers; System mode and what is no mode use User's.
constexpr Bank bank_of(Mode mode) {
  switch (mode) {
    case Mode::fiq: return kBankFiq;
    case Mode::irq: return kBankIrq;
    case Mode::svc: return kBankSvc;
    case Mode::mon: return kBankMon;
    case Mode::abt: return kBankAbt;
    case Mode::und: return kBankUnd;
    default: return kBankUsr;
  }
}

// The mode word (ir::Key::mode, StateHeader::mode): all that the translation of an instruction depends on. The FP
// part has FPSCR's own places (LEN, STRIDE, RMode, FZ, DN, AHP).
enum ModeBit : u32 {
  kModeThumb = 1u << 0,
  kModeCpuShift = 1,  // CPSR.M[3:0]; 0 is User, the only unprivileged mode
  kModeCpuMask = 15u << kModeCpuShift,
  kModeFpAccess = 1u << 5,   // CPACR and NSACR allow coprocessors 10 and 11 at this privilege
  kModeFpEnabled = 1u << 6,  // FPEXC.EN
  kModeNeonOff = 1u << 7,    // CPACR.ASEDIS
  kModeItShift = 8,          // ITSTATE[7:0]
  kModeItMask = 0xffu << kModeItShift,
  kModeFpscrMask = 0x07f70000u,
  kModeBigEndian = 1u << 28,  // CPSR.E
  kModeAlign = 1u << 29,      // SCTLR.A: every misaligned access faults
  kModeSecure = 1u << 30,     // secure state (Monitor mode or SCR.NS = 0)
};

// FPSCR, the parts that are not flags or cumulative exceptions: AHP, DN, FZ, RMode, STRIDE, LEN.
constexpr u32 kFpscrControl = kModeFpscrMask;

struct State {
  ir::StateHeader header;  // first

  u32 r[16] = {};            // current mode; r[15] is unused
  u32 cpsr_mode = 0x13;      // CPSR.M
  u32 cpsr_masks = 0x1c0;    // CPSR.A, I, F at their places (bits 8, 7, 6)
  u32 cpsr_ge = 0;           // CPSR.GE, 4 bits
  u32 cpsr_q = 0;            // CPSR.Q: 0 or 1
  u32 cpsr_e = 0;            // CPSR.E: 0 or 1
  u32 spsr = 0;              // of the current mode
  std::atomic<u32> pins{0};  // bit 0: IRQ, bit 1: FIQ

  // FPSCR = fpscr_control | N Z C V of fpscr_nzcv | QC from header.saturated | header.fp_flags.
  u32 fpscr_control = 0;  // kFpscrControl bits
  u32 fpscr_nzcv = 0;     // image format of ir.h, like header.flags
  u32 fpexc = 0;
  u32 tlb_pending = 0;  // TLB maintenance since the last DSB
  u32 cpsr_j = 0;

  alignas(64) u8 v[32 * 8] = {};  // D0..D31, little endian; Qn is D2n, D2n+1

  u32 bank_r13[kBanks] = {};
  u32 bank_r14[kBanks] = {};
  u32 bank_spsr[kBanks] = {};
  u32 bank_fiq[5] = {};  // r8..r12 of FIQ mode, or of the others while in FIQ mode

  SysRegs cp15;
  Cpu* cpu = nullptr;
};

constexpr u32 offset_r(unsigned n) { return static_cast<u32>(offsetof(State, r)) + 4 * n; }
constexpr u32 offset_d(unsigned n) { return static_cast<u32>(offsetof(State, v)) + 8 * n; }
constexpr u32 offset_q(unsigned n) { return static_cast<u32>(offsetof(State, v)) + 16 * n; }
// Single-precision register n: a half of D(n/2).
constexpr u32 offset_s(unsigned n) { return static_cast<u32>(offsetof(State, v)) + 4 * n; }

// The flags image (ir.h) as NZCV in bits 31..28, and back.
constexpr u32 image_to_nzcv(u32 image) {
  return ((image & ir::kImageN) << 16) | ((image & ir::kImageZ) << 16) | ((image & ir::kImageC) << 21) |
         ((image & ir::kImageV) << 28);
}
constexpr u32 nzcv_to_image(u32 psr) {
  return ((psr >> 16) & (ir::kImageN | ir::kImageZ)) | ((psr >> 21) & ir::kImageC) | ((psr >> 28) & ir::kImageV);
}
static_assert(image_to_nzcv(ir::kImageN) == 1u << 31 && image_to_nzcv(ir::kImageZ) == 1u << 30);
static_assert(image_to_nzcv(ir::kImageC) == 1u << 29 && image_to_nzcv(ir::kImageV) == 1u << 28);

}  // namespace rhea::arm
