// SPDX-License-Identifier: MIT
// Exceptions, modes, system registers and the table walk, without an engine.
#include <gtest/gtest.h>

#include <map>

#include "guest/arm/cpu.h"
#include "guest/arm/helpers.h"
#include "guest/arm/sysreg_table.h"

namespace rhea::arm {
namespace {

// Physical memory as a map of words, and what the guest told its engine.
class FakeEngine final : public ir::EngineHooks {
 public:
  std::map<u64, u32> memory;
  u64 space = 0;
  int spaces = 0, flushes = 0, space_flushes = 0, page_flushes = 0;
  bool is_privileged = true;
  s64 now = 0;

  void flush_all(bool) override { flushes++; }
  void flush_space(u64, bool) override { space_flushes++; }
  void flush_page(u64, u64, bool, bool) override { page_flushes++; }
  void synchronize() override {}
  void space_changed(u64 to) override { space = to, spaces++; }
  void privilege_changed(bool privileged) override { is_privileged = privileged; }
  void code_changed(u64, u64, bool) override {}
  void wait_for_interrupt() override {}
  void wait_for_event() override {}
  void send_event() override {}
  bool read_physical(u64 address, unsigned, u64& value) override {
    const auto found = memory.find(address);
    if (found == memory.end()) return false;
    value = found->second;
    return true;
  }
  bool read_memory(u64, unsigned, u8, u64&) override { return false; }
  bool write_memory(u64, unsigned, u8, u64) override { return false; }
  s64 virtual_time() const override { return now; }
  void sync_fp_flags() override {}
};

class System : public ::testing::Test {
 protected:
  Log log;
  FakeEngine engine;
  std::unique_ptr<Cpu> cpu_owner = make_cpu("cortex-a9", 2, 4, 0x60000000, 0x1e000000, log);
  Cpu& cpu = *cpu_owner;

  void SetUp() override { cpu.set_engine(engine); }

  const SysReg& reg(std::string_view name) {
    for (const SysReg& row : sysregs()) {
      if (row.name == name) return row;
    }
    ADD_FAILURE() << name;
    return sysregs()[0];
  }
  void write(std::string_view name, u32 value) {
    const SysReg& row = reg(name);
    ASSERT_TRUE(row.write) << name;
    cpu.write_sysreg(sysreg_index(row), value, cpu.state().pc | cpu.state().mode << 32);
  }
  u32 read(std::string_view name) { return cpu.read_sysreg(sysreg_index(reg(name))); }
  void to_user_mode() { helper_exception_return(cpu, 0x8000, 0x10, 0); }
};

TEST_F(System, Reset) {
  EXPECT_EQ(cpu.state().pc, 0x60000000u);
  EXPECT_EQ(cpu.cpsr(), 0x400001d3u);
  EXPECT_TRUE(cpu.secure());
  EXPECT_EQ(read("MIDR"), 0x410fc090u);
  EXPECT_EQ(read("MPIDR"), 0x80000002u);
  EXPECT_EQ(read("CBAR"), 0x1e000000u);
  EXPECT_NE(cpu.registers_text().find("PSR=400001d3 -Z-- A S svc32\n"), std::string::npos);
}

TEST_F(System, SupervisorCallAndReturn) {
  to_user_mode();
  EXPECT_FALSE(cpu.privileged());
  EXPECT_FALSE(engine.is_privileged);
  cpu.s().r[13] = 0x1000;
  cpu.s().r[14] = 0x2000;
  cpu.state().flags = ir::kImageC;
  helper_svc(cpu, 0x8004 | u64{kModeThumb} << 32, 0, 0);
  EXPECT_EQ(cpu.state().pc, 8u);
  EXPECT_EQ(cpu.s().r[14], 0x8004u);
  EXPECT_EQ(cpu.s().spsr, 0x20000030u);
  EXPECT_EQ(cpu.s().cpsr_mode, 0x13u);
  EXPECT_TRUE(engine.is_privileged);
  EXPECT_EQ(cpu.state().mode & kModeThumb, 0u);
  helper_exception_return(cpu, cpu.s().r[14], cpu.s().spsr, 0);
  EXPECT_EQ(cpu.state().pc, 0x8004u);
  EXPECT_EQ(cpu.s().r[13], 0x1000u);
  EXPECT_EQ(cpu.s().r[14], 0x2000u);
  EXPECT_EQ(cpu.state().mode & kModeThumb, u64{kModeThumb});
}

TEST_F(System, AbortsReportStatus) {
  to_user_mode();
  cpu.restore_location(0x9000 | u64{kModeThumb | 0x1cu << kModeItShift} << 32);
  cpu.raise_fault({.address = 0x1234, .access = ir::Access::write, .code = 0x1f});
  EXPECT_EQ(cpu.state().pc, 0x10u);
  EXPECT_EQ(cpu.s().r[14], 0x9008u);
  EXPECT_EQ(cpu.bank().dfsr, 0x81fu);
  EXPECT_EQ(cpu.bank().dfar, 0x1234u);
  EXPECT_EQ(cpu.s().spsr & 0x0600fc3f, 0x00001c30u);  // ITSTATE 0x1c: 00 in 26..25, 000111 in 15..10
  EXPECT_EQ(cpu.state().mode & kModeItMask, 0u);
  cpu.restore_location(0x10);
  cpu.raise_fault({.address = 0x10, .access = ir::Access::execute, .code = 5});
  EXPECT_EQ(cpu.state().pc, 0xcu);
  EXPECT_EQ(cpu.bank().ifsr, 5u);
  EXPECT_EQ(cpu.s().r[14], 0x14u);
}

TEST_F(System, InterruptsAreMaskedAndTaken) {
  cpu.set_pin(0, true);
  EXPECT_TRUE(cpu.has_wakeup());
  EXPECT_FALSE(cpu.take_interrupt());
  cpu.state().poll = 0;
  helper_write_cpsr(cpu, 0, 0x80, 0x8000);
  EXPECT_TRUE(cpu.state().poll & ir::kPollInterrupt);
  EXPECT_TRUE(cpu.take_interrupt());
  EXPECT_EQ(cpu.state().pc, 0x18u);
  EXPECT_EQ(cpu.s().r[14], 0x8004u);
  EXPECT_EQ(cpu.s().cpsr_masks & 0x80, 0x80u);
  EXPECT_FALSE(cpu.take_interrupt());
  cpu.set_pin(0, false);
  EXPECT_FALSE(cpu.has_wakeup());
}

TEST_F(System, FiqBanksItsRegisters) {
  for (u32 i = 0; i < 15; i++) cpu.s().r[i] = i;
  cpu.set_pin(1, true);
  helper_write_cpsr(cpu, 0, 0x40, 0x8000);
  ASSERT_TRUE(cpu.take_interrupt());
  EXPECT_EQ(cpu.state().pc, 0x1cu);
  EXPECT_EQ(cpu.s().r[7], 7u);
  EXPECT_EQ(cpu.s().r[8], 0u);
  cpu.s().r[8] = 88;
  helper_exception_return(cpu, 0x8000, cpu.s().spsr, 0);
  for (u32 i = 0; i < 15; i++) EXPECT_EQ(cpu.s().r[i], i);
}

TEST_F(System, VectorsMove) {
  cpu.bank().vbar = 0x40000000;
  helper_undefined(cpu, 0x8000, 0, 0);
  EXPECT_EQ(cpu.state().pc, 0x40000004u);
  EXPECT_EQ(cpu.s().r[14], 0x8004u);
  write("SCTLR", 0x00c50078 | 1u << 13 | 1u << 30);
  helper_undefined(cpu, 0x9000 | u64{kModeThumb} << 32, 0, 0);
  EXPECT_EQ(cpu.state().pc, 0xffff0004u);
  EXPECT_EQ(cpu.s().r[14], 0x9002u);
  EXPECT_TRUE(cpu.state().mode & kModeThumb);
}

TEST_F(System, ModeWordFollowsCpacr) {
  EXPECT_FALSE(cpu.state().mode & kModeFpAccess);
  write("CPACR", 0x00500000);
  EXPECT_TRUE(cpu.state().mode & kModeFpAccess);
  to_user_mode();
  EXPECT_FALSE(cpu.state().mode & kModeFpAccess);
}

TEST_F(System, MonitorModeSwitchesWorlds) {
  cpu.s().cp15.mvbar = 0x50000000;
  cpu.bank().ttbr0 = 1;
  helper_smc(cpu, 0x8004, 0, 0);
  EXPECT_EQ(cpu.state().pc, 0x50000008u);
  write("SCR", 1);
  EXPECT_TRUE(cpu.secure());
  helper_exception_return(cpu, 0x8000, 0x1d3, 0);
  EXPECT_FALSE(cpu.secure());
  EXPECT_EQ(cpu.bank().ttbr0, 0u);
  EXPECT_TRUE(engine.space >> 32 & 1);
}

TEST_F(System, SpaceIsAsidAndDomains) {
  write("CONTEXTIDR", 0x12345607);
  EXPECT_EQ(static_cast<u32>(engine.space), 7u);
  write("DACR", 0x55);
  const u64 first = engine.space;
  write("DACR", 0x51);
  EXPECT_NE(engine.space, first);
  write("DACR", 0x55);
  EXPECT_EQ(engine.space, first);
  EXPECT_EQ(engine.flushes, 0);
  for (u32 i = 0; i < 100; i++) write("DACR", 0x1000 + i);  // as many as there may be: begins anew
  EXPECT_GT(engine.flushes, 0);
}

TEST_F(System, CycleCounterCounts) {
  engine.now = 1000;
  EXPECT_EQ(read("PMCCNTR"), 0u);
  write("PMCNTENSET", 1u << 31);
  write("PMCR", 1 | 4);
  engine.now = 1500;
  EXPECT_EQ(read("PMCCNTR"), 500u);
  write("PMCR", 0);
  engine.now = 9000;
  EXPECT_EQ(read("PMCCNTR"), 500u);
}

// ---- the walk ----

struct WalkCase {
  const char* what;
  u32 sctlr;  // beside M
  u32 dacr;
  u32 first, second;
  ir::Access access;
  bool user;
  u32 fault;  // 0: none
  u64 physical;
  bool writable, global, device;
};

constexpr u32 kAfe = 1u << 29, kTre = 1u << 28;
constexpr auto R = ir::Access::read, W = ir::Access::write, X = ir::Access::execute;

// The address is 0xc0345678: entry 0xc03 of the first level, 0x45 of the second.
constexpr WalkCase kWalks[] = {
    {"section, RW at PL1", 0, 1, 0x80000402 | 0xc, 0, W, false, 0, 0x80045000, true, true, false},
    {"section, user denied", 0, 1, 0x80000402 | 0xc, 0, R, true, 0xd, 0, false, false, false},
    {"section, user reads alone", 0, 1, 0x80000802 | 0xc, 0, R, true, 0, 0x80045000, false, true, false},
    {"section, user write denied", 0, 1, 0x80000802 | 0xc, 0, W, true, 0xd, 0, false, false, false},
    {"section, not global", 0, 1, 0x80020c02 | 0xc, 0, W, true, 0, 0x80045000, true, false, false},
    {"section, execute never", 0, 1, 0x80000c12 | 0xc, 0, X, false, 0xd, 0, false, false, false},
    {"section, manager", 0, 3, 0x80000012 | 0xc, 0, X, true, 0, 0x80045000, true, true, false},
    {"section, domain", 0, 0, 0x80000402, 0, R, false, 0x9, 0, false, false, false},
    {"section, domain 2", 0, 1, 0x80000442, 0, R, false, 0x29, 0, false, false, false},
    {"section, strongly ordered", 0, 1, 0x80000402, 0, R, false, 0, 0x80045000, true, true, true},
    {"section, device", 0, 1, 0x80002402, 0, R, false, 0, 0x80045000, true, true, true},
    {"section, non-cacheable", 0, 1, 0x80001402, 0, R, false, 0, 0x80045000, true, true, false},
    {"section, read-only AP 5", 0, 1, 0x80008402 | 0xc, 0, W, false, 0xd, 0, false, false, false},
    {"section, AP 7", 0, 1, 0x80008c02 | 0xc, 0, R, true, 0, 0x80045000, false, true, false},
    {"section, no access flag", kAfe, 1, 0x80000802 | 0xc, 0, R, false, 0x3, 0, false, false, false},
    {"section, access flag, PL1", kAfe, 1, 0x80000402 | 0xc, 0, W, false, 0, 0x80045000, true, true, false},
    {"supersection", 0, 1, 0x81040402 | 0xc, 0, R, false, 0, 0x81345000, true, true, false},
    {"fault entry", 0, 1, 0, 0, R, false, 0x5, 0, false, false, false},
    {"reserved entry", 0, 1, 3, 0, R, false, 0x5, 0, false, false, false},
    {"small page", 0, 1, 0x70000001, 0x9000003e, W, true, 0, 0x90000000, true, true, false},
    {"small page, read-only", 0, 1, 0x70000001, 0x9000022e, W, true, 0xf, 0, false, false, false},
    {"small page, execute never", 0, 1, 0x70000001, 0x9000003f, X, true, 0xf, 0, false, false, false},
    {"small page, not global", 0, 1, 0x70000001, 0x9000083e, X, true, 0, 0x90000000, true, false, false},
    {"small page, domain", 0, 0, 0x70000001, 0x9000083e, R, true, 0xb, 0, false, false, false},
    {"large page", 0, 1, 0x70000001, 0x9000003d, W, true, 0, 0x90005000, true, true, false},
    {"page fault entry", 0, 1, 0x70000021, 0, R, true, 0x17, 0, false, false, false},
    {"external, level 2", 0, 1, 0x10000021, 0, R, true, 0x1e, 0, false, false, false},
    {"remap: type from PRRR", kTre, 1, 0x80000402 | 4, 0, R, false, 0, 0x80045000, true, true, true},
    {"remap: normal", kTre, 1, 0x80000402 | 8, 0, R, false, 0, 0x80045000, true, true, false},
};

TEST_F(System, WalksTables) {
  for (const WalkCase& c : kWalks) {
    engine.memory.clear();
    cpu.bank().sctlr = 0x00c50078 | 1 | c.sctlr;
    cpu.bank().ttbr0 = 0x6000404a;
    cpu.bank().dacr = c.dacr;
    engine.memory[0x60004000 | 0xc03 << 2] = c.first;
    engine.memory[0x70000000 | 0x45 << 2] = c.second;
    ir::Mapping mapping;
    ir::Fault fault;
    const bool ok = cpu.walk(0xc0345678, c.access, c.user, mapping, fault);
    ASSERT_EQ(ok, c.fault == 0) << c.what;
    if (!ok) {
      EXPECT_EQ(fault.code, c.fault) << c.what;
      continue;
    }
    EXPECT_EQ(mapping.physical, c.physical) << c.what;
    EXPECT_EQ(mapping.writable, c.writable) << c.what;
    EXPECT_EQ(mapping.global, c.global) << c.what;
    EXPECT_EQ(mapping.device, c.device) << c.what;
  }
}

TEST_F(System, WalkSelectsTheTable) {
  cpu.bank().sctlr = 0x00c50079;
  cpu.bank().dacr = 1;
  cpu.bank().ttbcr = 2;  // the lower quarter by TTBR0
  cpu.bank().ttbr0 = 0x60001000;
  cpu.bank().ttbr1 = 0x60004000;
  engine.memory[0x60001000 | 0x3ff << 2] = 0x80000c0e;
  engine.memory[0x60004000 | 0x400 << 2] = 0x90000c0e;
  ir::Mapping mapping;
  ir::Fault fault;
  ASSERT_TRUE(cpu.walk(0x3ff00000, R, true, mapping, fault));
  EXPECT_EQ(mapping.physical, 0x80000000u);
  ASSERT_TRUE(cpu.walk(0x40000000, R, true, mapping, fault));
  EXPECT_EQ(mapping.physical, 0x90000000u);
  cpu.bank().ttbcr = 2 | 1u << 5;
  EXPECT_FALSE(cpu.walk(0x40000000, R, true, mapping, fault));
  EXPECT_EQ(fault.code, 5u);
}

TEST_F(System, MmuOffIsIdentity) {
  ir::Mapping mapping;
  ir::Fault fault;
  ASSERT_TRUE(cpu.walk(0x12345678, X, true, mapping, fault));
  EXPECT_EQ(mapping.physical, 0x12345000u);
  EXPECT_TRUE(mapping.writable && mapping.executable);
}

TEST_F(System, TranslationOperationsFillPar) {
  cpu.bank().sctlr = 0x00c50079;
  cpu.bank().ttbr0 = 0x60004000;
  cpu.bank().dacr = 1;
  engine.memory[0x60004000 | 0xc03 << 2] = 0x8000040e;
  write("ATS1CPR", 0xc0345678);
  EXPECT_EQ(cpu.bank().par & 0xfffff001, 0x80045000u);
  write("ATS1CUR", 0xc0345678);
  EXPECT_EQ(cpu.bank().par, 1u | 0xd << 1);
}

TEST_F(System, RegisterTableHasNoDoubles) {
  const auto regs = sysregs();
  for (usize i = 0; i < regs.size(); i++) EXPECT_EQ(find_sysreg(regs[i].key), &regs[i]) << regs[i].name;
}

TEST_F(System, RegisterNames) {
  cpu.s().r[3] = 77;
  u64 value = 0;
  EXPECT_TRUE(cpu.register_value("r3", value));
  EXPECT_EQ(value, 77u);
  EXPECT_TRUE(cpu.register_value("pc", value));
  EXPECT_EQ(value, 0x60000000u);
  EXPECT_TRUE(cpu.register_value("d31", value));
  EXPECT_FALSE(cpu.register_value("r16", value));
  EXPECT_FALSE(cpu.register_value("r03", value));
  EXPECT_FALSE(cpu.register_value("", value));
}

TEST_F(System, Disassembles) {
  const u8 arm[] = {0x01, 0x00, 0xa0, 0xe3};
  unsigned length = 0;
  EXPECT_EQ(Cpu::disassemble(0x8000, arm, false, length), "mov r0, #1");
  EXPECT_EQ(length, 4u);
  const u8 thumb[] = {0x01, 0x20};
  EXPECT_EQ(Cpu::disassemble(0x8000, thumb, true, length), "movs r0, #1");
  EXPECT_EQ(length, 2u);
}

}  // namespace
}  // namespace rhea::arm
