// SPDX-License-Identifier: MIT
// Registers as a debugger numbers them. The core set, VFP and NEON are gdb's own features with gdb's names ("Debugging
// with GDB", G.5.3 ARM Features); 16 to 24 are left out, as the FPA registers had these numbers. Then come the banked
// registers of the processor modes and the system registers: a banked one is there for Secure (_S) and Non-secure
// state (_NS), and by its plain name as the current state sees it.
#include <algorithm>

#include "guest/arm/cpu.h"
#include "guest/arm/helpers.h"
#include "guest/arm/sysreg_table.h"
#include "util/text.h"

namespace rhea::arm {

namespace {

constexpr unsigned kCpsr = 25;
constexpr unsigned kVfp = 26;               // d0..d31, fpscr
constexpr unsigned kVfpSystem = kVfp + 33;  // fpsid, fpexc
constexpr unsigned kNeon = kVfpSystem + 2;  // q0..q15: d0..d31 in pairs
constexpr unsigned kModes = kNeon + 16;

constexpr std::string_view kNeonTypes =
    "<vector id=\"neon_u8\" type=\"uint8\" count=\"16\"/>\n"
    "<vector id=\"neon_u16\" type=\"uint16\" count=\"8\"/>\n"
    "<vector id=\"neon_u32\" type=\"uint32\" count=\"4\"/>\n"
    "<vector id=\"neon_u64\" type=\"uint64\" count=\"2\"/>\n"
    "<vector id=\"neon_f32\" type=\"ieee_single\" count=\"4\"/>\n"
    "<vector id=\"neon_f64\" type=\"ieee_double\" count=\"2\"/>\n"
    "<union id=\"neon_q\">\n<field name=\"u8\" type=\"neon_u8\"/>\n<field name=\"u16\" type=\"neon_u16\"/>\n"
    "<field name=\"u32\" type=\"neon_u32\"/>\n<field name=\"u64\" type=\"neon_u64\"/>\n"
    "<field name=\"f32\" type=\"neon_f32\"/>\n<field name=\"f64\" type=\"neon_f64\"/>\n</union>\n";

struct ModeRegister {
  std::string_view name;
  Mode mode;
  enum : u8 { sp, lr, spsr } which;
};
constexpr ModeRegister kModeRegisters[] = {
    {"sp_usr", Mode::usr, ModeRegister::sp},     {"lr_usr", Mode::usr, ModeRegister::lr},
    {"sp_fiq", Mode::fiq, ModeRegister::sp},     {"lr_fiq", Mode::fiq, ModeRegister::lr},
    {"spsr_fiq", Mode::fiq, ModeRegister::spsr}, {"sp_irq", Mode::irq, ModeRegister::sp},
    {"lr_irq", Mode::irq, ModeRegister::lr},     {"spsr_irq", Mode::irq, ModeRegister::spsr},
    {"sp_svc", Mode::svc, ModeRegister::sp},     {"lr_svc", Mode::svc, ModeRegister::lr},
    {"spsr_svc", Mode::svc, ModeRegister::spsr}, {"sp_abt", Mode::abt, ModeRegister::sp},
    {"lr_abt", Mode::abt, ModeRegister::lr},     {"spsr_abt", Mode::abt, ModeRegister::spsr},
    {"sp_und", Mode::und, ModeRegister::sp},     {"lr_und", Mode::und, ModeRegister::lr},
    {"spsr_und", Mode::und, ModeRegister::spsr}, {"sp_mon", Mode::mon, ModeRegister::sp},
    {"lr_mon", Mode::mon, ModeRegister::lr},     {"spsr_mon", Mode::mon, ModeRegister::spsr},
};
constexpr unsigned kSystemFirst = kModes + std::size(kModeRegisters);

struct SystemRegister {
  std::string name;
  const SysReg* row;
  enum : u8 { current, secure, nonsecure } which;
};

const std::vector<SystemRegister>& system_registers() {
  static const std::vector<SystemRegister> list = [] {
    std::vector<SystemRegister> all;
    std::vector<std::string_view> seen;
    for (const SysReg& row : sysregs()) {
      const bool usual_name = row.name.find(' ') == row.name.npos;
      if (!(row.access & (kReadPrivileged | kReadAny)) || row.key.crm == kAny || row.key.op2 == kAny || !usual_name)
        continue;
      if (std::find(seen.begin(), seen.end(), row.name) != seen.end()) continue;
      seen.push_back(row.name);
      all.push_back({std::string(row.name), &row, SystemRegister::current});
      if (!row.stored() || row.offset[0] == row.offset[1]) continue;
      all.push_back({std::string(row.name) + "_S", &row, SystemRegister::secure});
      all.push_back({std::string(row.name) + "_NS", &row, SystemRegister::nonsecure});
    }
    return all;
  }();
  return list;
}

std::vector<RegisterFeature> make_features() {
  std::vector<RegisterFeature> features;
  RegisterFeature core{"org.gnu.gdb.arm.core", 0, {}};
  for (unsigned i = 0; i < 13; i++) core.registers.push_back({fmt::format("r{}", i), 32, "uint32", "general"});
  core.registers.push_back({"sp", 32, "data_ptr", "general"});
  core.registers.push_back({"lr", 32, "int", "general"});
  core.registers.push_back({"pc", 32, "code_ptr", "general"});
  features.push_back(core);
  // The same feature goes on at 25: the target description says so.
  features.push_back({"org.gnu.gdb.arm.core", kCpsr, {{"cpsr", 32, "int", "general"}}});
  RegisterFeature vfp{"org.gnu.gdb.arm.vfp", kVfp, {}};
  for (unsigned i = 0; i < 32; i++) vfp.registers.push_back({fmt::format("d{}", i), 64, "ieee_double", "float"});
  vfp.registers.push_back({"fpscr", 32, "int", "float"});
  features.push_back(vfp);
  features.push_back(
      {"org.rhea.gdb.arm.vfp-system", kVfpSystem, {{"fpsid", 32, "int", "system"}, {"fpexc", 32, "int", "system"}}});
  RegisterFeature neon{"org.rhea.gdb.arm.neon", kNeon, {}, std::string(kNeonTypes)};
  for (unsigned i = 0; i < 16; i++) neon.registers.push_back({fmt::format("q{}", i), 128, "neon_q", "vector"});
  features.push_back(neon);
  RegisterFeature modes{"org.rhea.gdb.arm.banked", kModes, {}};
  for (const ModeRegister& row : kModeRegisters)
    modes.registers.push_back({std::string(row.name), 32, "int", "system"});
  features.push_back(modes);
  RegisterFeature system{"org.rhea.gdb.arm.system", kSystemFirst, {}};
  for (const SystemRegister& row : system_registers()) system.registers.push_back({row.name, 32, "int", "system"});
  features.push_back(system);
  return features;
}

template <typename T>
void put(std::vector<u8>& bytes, T value) {
  bytes.resize(sizeof value);
  store_le<T>(bytes.data(), value);
}

// Where a mode's register is now: in its bank, or in use.
u32& mode_register(State& s, const ModeRegister& row) {
  const Bank bank = bank_of(row.mode);
  const bool in_use = bank_of(static_cast<Mode>(s.cpsr_mode)) == bank;
  switch (row.which) {
    case ModeRegister::sp: return in_use ? s.r[13] : s.bank_r13[bank];
    case ModeRegister::lr: return in_use ? s.r[14] : s.bank_r14[bank];
    default: return in_use ? s.spsr : s.bank_spsr[bank];
  }
}

u32& stored(State& s, const SysReg& row, bool secure) {
  return *reinterpret_cast<u32*>(reinterpret_cast<u8*>(&s) + row.offset[secure ? 0 : 1]);
}

}  // namespace

const std::vector<RegisterFeature>& Cpu::register_features() const {
  static const std::vector<RegisterFeature> features = make_features();
  return features;
}

bool Cpu::read_register(unsigned number, std::vector<u8>& bytes) {
  State& s = state_;
  if (number < 15) return put(bytes, s.r[number]), true;
  if (number == 15) return put(bytes, static_cast<u32>(s.header.pc)), true;
  if (number == kCpsr) return put(bytes, cpsr()), true;
  if (number < kVfp) return false;
  if (number < kVfp + 32) return put(bytes, load_le<u64>(s.v + 8 * (number - kVfp))), true;
  if (number == kVfp + 32) {
    if (hooks_) hooks_->sync_fp_flags();
    return put(bytes, fpscr()), true;
  }
  if (number == kVfpSystem) return put(bytes, model_.fpsid), true;
  if (number == kVfpSystem + 1) return put(bytes, s.fpexc), true;
  if (number < kModes) return bytes.assign(s.v + 16 * (number - kNeon), s.v + 16 * (number - kNeon) + 16), true;
  if (number < kSystemFirst) return put(bytes, mode_register(s, kModeRegisters[number - kModes])), true;
  const auto& system = system_registers();
  if (number - kSystemFirst >= system.size()) return false;
  const SystemRegister& which = system[number - kSystemFirst];
  const SysReg& row = *which.row;
  if (which.which != SystemRegister::current)
    return put(bytes, stored(s, row, which.which == SystemRegister::secure)), true;
  put(bytes, row.read ? row.read(*this) : row.stored() ? stored(s, row, secure()) : row.reset);
  return true;
}

bool Cpu::write_register(unsigned number, std::span<const u8> bytes) {
  State& s = state_;
  if (number >= kVfp && number < kVfp + 32) {
    if (bytes.size() != 8) return false;
    std::copy(bytes.begin(), bytes.end(), s.v + 8 * (number - kVfp));
    return true;
  }
  if (number >= kNeon && number < kModes) {
    if (bytes.size() != 16) return false;
    std::copy(bytes.begin(), bytes.end(), s.v + 16 * (number - kNeon));
    return true;
  }
  if (bytes.size() != 4) return false;
  const u32 value = load_le<u32>(bytes.data());
  if (number < 15) return s.r[number] = value, true;
  if (number == 15) {
    s.header.pc = value & (s.header.mode & kModeThumb ? ~1u : ~3u);
    s.header.mode &= ~u64{kModeItMask};
    return true;
  }
  if (number == kCpsr) return set_cpsr(value, ~0u), update_space(), true;
  if (number < kVfp) return false;
  if (number == kVfp + 32) {
    helper_vfp_write_fpscr(*this, value, s.header.mode, s.header.pc);
    return true;
  }
  if (number == kVfpSystem) return false;
  if (number == kVfpSystem + 1) return s.fpexc = value & 0xc0000000, update_mode(), true;
  if (number < kSystemFirst) return mode_register(s, kModeRegisters[number - kModes]) = value, true;
  const auto& system = system_registers();
  if (number - kSystemFirst >= system.size()) return false;
  const SystemRegister& which = system[number - kSystemFirst];
  const SysReg& row = *which.row;
  const bool current = which.which == SystemRegister::current || (which.which == SystemRegister::secure) == secure();
  if (current && row.write) {
    row.write(*this, value);
  } else {
    if (!row.stored() || !row.mask) return false;
    u32& where = stored(s, row, current ? secure() : which.which == SystemRegister::secure);
    where = (where & ~row.mask) | (value & row.mask);
  }
  update_mode();
  update_space();
  if (hooks_) hooks_->flush_all(false);
  return true;
}

}  // namespace rhea::arm
