// SPDX-License-Identifier: MIT
// Hooks of the system registers, and the table made of sysregs.inc.
#include <array>

#include "guest/arm/cpu.h"
#include "guest/arm/sysreg_table.h"

namespace rhea::arm {

namespace {

// ---- identification ----
u32 read_midr(Cpu& cpu) { return cpu.model().midr; }
u32 read_ctr(Cpu& cpu) { return cpu.model().ctr; }
// Multiprocessing extensions, cluster 0.
u32 read_mpidr(Cpu& cpu) { return 0x80000000 | cpu.index(); }
u32 read_id_pfr0(Cpu& cpu) { return cpu.model().id_pfr0; }
u32 read_id_pfr1(Cpu& cpu) { return cpu.model().id_pfr1; }
u32 read_id_dfr0(Cpu& cpu) { return cpu.model().id_dfr0; }
u32 read_id_mmfr0(Cpu& cpu) { return cpu.model().id_mmfr[0]; }
u32 read_id_mmfr1(Cpu& cpu) { return cpu.model().id_mmfr[1]; }
u32 read_id_mmfr2(Cpu& cpu) { return cpu.model().id_mmfr[2]; }
u32 read_id_mmfr3(Cpu& cpu) { return cpu.model().id_mmfr[3]; }
u32 read_id_isar0(Cpu& cpu) { return cpu.model().id_isar[0]; }
u32 read_id_isar1(Cpu& cpu) { return cpu.model().id_isar[1]; }
u32 read_id_isar2(Cpu& cpu) { return cpu.model().id_isar[2]; }
u32 read_id_isar3(Cpu& cpu) { return cpu.model().id_isar[3]; }
u32 read_id_isar4(Cpu& cpu) { return cpu.model().id_isar[4]; }
u32 read_clidr(Cpu& cpu) { return cpu.model().clidr; }
u32 read_ccsidr(Cpu& cpu) {
  const u32 select = cpu.bank().csselr;
  return select < std::size(cpu.model().ccsidr) ? cpu.model().ccsidr[select] : 0;
}
u32 read_cbar(Cpu& cpu) { return static_cast<u32>(cpu.private_base()); }
u32 read_dbgdidr(Cpu& cpu) { return cpu.model().dbgdidr; }
u32 read_isr(Cpu& cpu) {
  const u32 pins = cpu.s().pins.load(std::memory_order_relaxed);
  return (pins & 1) << 7 | (pins & 2) << 5;
}

// ---- control ----
constexpr u32 kSctlrTranslation = 0x30000001;  // M, TRE, AFE
constexpr u32 kSctlrWritable = 0x72027c07;

void write_sctlr(Cpu& cpu, u32 value) {
  u32& sctlr = cpu.bank().sctlr;
  const u32 before = sctlr;
  sctlr = (sctlr & ~kSctlrWritable) | (value & kSctlrWritable);
  if ((before ^ sctlr) & kSctlrTranslation) cpu.hooks().flush_all(false);
}
void write_cpacr(Cpu& cpu, u32 value) { cpu.s().cp15.cpacr = value & 0xc0f00000; }
void write_scr(Cpu& cpu, u32 value) {
  cpu.s().cp15.scr = value & 0x3f;
  cpu.update_space();
}
void write_nsacr(Cpu& cpu, u32 value) { cpu.s().cp15.nsacr = value & 0x7cc00; }

// ---- translation ----
// TLB entries are tagged with ASIDs, not with table roots: a new root alone invalidates nothing.
void write_ttbr0(Cpu& cpu, u32 value) { cpu.bank().ttbr0 = value; }
void write_ttbr1(Cpu& cpu, u32 value) { cpu.bank().ttbr1 = value; }
void write_ttbcr(Cpu& cpu, u32 value) {
  u32& ttbcr = cpu.bank().ttbcr;
  if (ttbcr == (value & 0x37)) return;
  ttbcr = value & 0x37;
  cpu.hooks().flush_all(false);
}
void write_dacr(Cpu& cpu, u32 value) {
  cpu.bank().dacr = value;
  cpu.update_space();
}
void write_contextidr(Cpu& cpu, u32 value) {
  cpu.bank().contextidr = value;
  cpu.update_space();
}
void write_prrr(Cpu& cpu, u32 value) {
  if (cpu.bank().prrr == value) return;
  cpu.bank().prrr = value;
  cpu.hooks().flush_all(false);
}
void write_nmrr(Cpu& cpu, u32 value) {
  if (cpu.bank().nmrr == value) return;
  cpu.bank().nmrr = value;
  cpu.hooks().flush_all(false);
}

// ATS1C and ATS12NSO: bit 0 write, bit 1 User, bit 2 the Non-secure tables. B3.12.8, PAR: B4.1.112.
template <unsigned Kind>
void write_ats(Cpu& cpu, u32 value) {
  cpu.translate_to_par(value, Kind & 1 ? ir::Access::write : ir::Access::read, Kind & 2, Kind & 4);
}

void write_iciallu(Cpu& cpu, u32) { cpu.hooks().code_changed(0, 0, true); }
void write_icimvau(Cpu& cpu, u32 value) { cpu.hooks().code_changed(value & ~31u, 32, false); }

// ---- TLB maintenance ----
void tlbi_all(Cpu& cpu, bool all_cpus) {
  cpu.s().tlb_pending = 1;
  cpu.hooks().flush_all(all_cpus);
}
void tlbi_mva(Cpu& cpu, u32 value, bool all_spaces, bool all_cpus) {
  cpu.s().tlb_pending = 1;
  cpu.hooks().flush_page(value & 0xff, value & ~0xfffu, all_spaces, all_cpus);
}
void tlbi_asid(Cpu& cpu, u32 value, bool all_cpus) {
  cpu.s().tlb_pending = 1;
  cpu.hooks().flush_space(value & 0xff, all_cpus);
}
void write_tlbi_all(Cpu& cpu, u32) { tlbi_all(cpu, false); }
void write_tlbi_all_is(Cpu& cpu, u32) { tlbi_all(cpu, true); }
void write_tlbi_mva(Cpu& cpu, u32 value) { tlbi_mva(cpu, value, false, false); }
void write_tlbi_mva_is(Cpu& cpu, u32 value) { tlbi_mva(cpu, value, false, true); }
void write_tlbi_mvaa(Cpu& cpu, u32 value) { tlbi_mva(cpu, value, true, false); }
void write_tlbi_mvaa_is(Cpu& cpu, u32 value) { tlbi_mva(cpu, value, true, true); }
void write_tlbi_asid(Cpu& cpu, u32 value) { tlbi_asid(cpu, value, false); }
void write_tlbi_asid_is(Cpu& cpu, u32 value) { tlbi_asid(cpu, value, true); }

// ---- performance monitors: the cycle counter counts, events are not counted ----
constexpr u32 kPmcrEnable = 1, kPmcrResetCycles = 4, kPmcrDivide = 8;
constexpr u32 kCycleCounter = 1u << 31;

u32 counter_mask(Cpu& cpu) { return kCycleCounter | ((1u << (cpu.model().pmcr >> 11 & 31)) - 1); }

bool cycles_count(Cpu& cpu) { return (cpu.s().cp15.pmcr & kPmcrEnable) && (cpu.s().cp15.pmcnten & kCycleCounter); }
u32 cycles_now(Cpu& cpu) {
  const u64 now = static_cast<u64>(cpu.hooks().virtual_time());
  return static_cast<u32>(cpu.s().cp15.pmcr & kPmcrDivide ? now / 64 : now);
}
u32 read_pmccntr(Cpu& cpu) {
  const SysRegs& regs = cpu.s().cp15;
  return cycles_count(cpu) ? cycles_now(cpu) - regs.pmccntr_offset : regs.pmccntr_stopped;
}
void write_pmccntr(Cpu& cpu, u32 value) {
  cpu.s().cp15.pmccntr_offset = cycles_now(cpu) - value;
  cpu.s().cp15.pmccntr_stopped = value;
}
// Changes what decides whether cycles are counted; the count goes on from where it was.
template <typename Change>
void change_counting(Cpu& cpu, Change change) {
  const u32 count = read_pmccntr(cpu);
  change(cpu.s().cp15);
  write_pmccntr(cpu, count);
}
void write_pmcr(Cpu& cpu, u32 value) {
  change_counting(cpu, [&](SysRegs& regs) { regs.pmcr = (regs.pmcr & ~0x39u) | (value & 0x39); });
  if (value & kPmcrResetCycles) write_pmccntr(cpu, 0);
  if (value & 2) {
    for (u32& counter : cpu.s().cp15.pmxevcntr) counter = 0;
  }
}
void write_pmcntenset(Cpu& cpu, u32 value) {
  change_counting(cpu, [&](SysRegs& regs) { regs.pmcnten |= value & counter_mask(cpu); });
}
void write_pmcntenclr(Cpu& cpu, u32 value) {
  change_counting(cpu, [&](SysRegs& regs) { regs.pmcnten &= ~value; });
}
void write_pmovsr(Cpu& cpu, u32 value) { cpu.s().cp15.pmovsr &= ~value; }
void write_pmintenset(Cpu& cpu, u32 value) { cpu.s().cp15.pminten |= value & counter_mask(cpu); }
void write_pmintenclr(Cpu& cpu, u32 value) { cpu.s().cp15.pminten &= ~value; }

// The selected counter, or nullptr.
u32* selected(u32* counters, usize count, u32 select) { return select < count ? &counters[select] : nullptr; }
u32 read_pmxevtyper(Cpu& cpu) {
  SysRegs& regs = cpu.s().cp15;
  if (regs.pmselr == 31) return regs.pmxevtyper[6];
  const u32* type = selected(regs.pmxevtyper, 6, regs.pmselr);
  return type ? *type : 0;
}
void write_pmxevtyper(Cpu& cpu, u32 value) {
  SysRegs& regs = cpu.s().cp15;
  if (regs.pmselr == 31) regs.pmxevtyper[6] = value & 0xf8000000;
  else if (u32* type = selected(regs.pmxevtyper, 6, regs.pmselr)) *type = value & 0xf80000ff;
}
u32 read_pmxevcntr(Cpu& cpu) {
  SysRegs& regs = cpu.s().cp15;
  const u32* counter = selected(regs.pmxevcntr, 6, regs.pmselr);
  return counter ? *counter : 0;
}
void write_pmxevcntr(Cpu& cpu, u32 value) {
  SysRegs& regs = cpu.s().cp15;
  if (u32* counter = selected(regs.pmxevcntr, 6, regs.pmselr)) *counter = value;
}
// Event 0 is the software increment.
void write_pmswinc(Cpu& cpu, u32 value) {
  SysRegs& regs = cpu.s().cp15;
  for (unsigned i = 0; i < 6; i++) {
    if ((value & regs.pmcnten) >> i & 1 && (regs.pmxevtyper[i] & 0xff) == 0) regs.pmxevcntr[i]++;
  }
}

// ---- the table ----

#define BANKED(member)                                                                                      \
  {                                                                                                         \
    offsetof(State, cp15) + offsetof(SysRegs, bank) + offsetof(BankedRegs, member),                         \
        offsetof(State, cp15) + offsetof(SysRegs, bank) + sizeof(BankedRegs) + offsetof(BankedRegs, member) \
  }
#define COMMON(member) \
  { offsetof(State, cp15.member), offsetof(State, cp15.member) }
#define NONE \
  { 0, 0 }
#define SYSREG(cp, crn, op1, crm, op2, name, access, storage, mask, reset, read, write, flags) \
  SysReg{{cp, crn, op1, crm, op2}, name, access, storage, mask, reset, read, write, flags},
constexpr SysReg kSysRegs[] = {
#include "guest/arm/sysregs.inc"
};
#undef SYSREG
#undef NONE
#undef COMMON
#undef BANKED

constexpr bool matches(u8 pattern, u8 value) { return pattern == kAny || pattern == value; }

}  // namespace

std::span<const SysReg> sysregs() { return kSysRegs; }

// Rows without wildcards stand before those with them.
const SysReg* find_sysreg(const SysRegKey& key) {
  for (const SysReg& reg : kSysRegs) {
    if (reg.key.cp == key.cp && reg.key.crn == key.crn && reg.key.op1 == key.op1 && matches(reg.key.crm, key.crm) &&
        matches(reg.key.op2, key.op2)) {
      return &reg;
    }
  }
  return nullptr;
}

u32 sysreg_index(const SysReg& reg) { return static_cast<u32>(&reg - kSysRegs); }

u32 Cpu::read_sysreg(unsigned index) { return kSysRegs[index].read(*this); }

void Cpu::write_sysreg(unsigned index, u32 value, u64 next_key) {
  const SysReg& reg = kSysRegs[index];
  if (reg.flags & (kChangesMode | kEndsBlock)) resume_at(next_key);
  reg.write(*this, value);
  if (reg.flags & kChangesMode) update_mode();
}

}  // namespace rhea::arm
