// SPDX-License-Identifier: MIT
// CPU models, reset, the mode word, the address space's name, state for the engines and for snapshots.
#include "guest/arm/cpu.h"

#include "guest/arm/helpers.h"

namespace rhea::arm {

namespace {

// ID registers: Cortex-A9 MPCore r0p0 (DDI 0388, 4.2), Cortex-A7 r0p5 (DDI 0464, 4.2). What this model of the A7
// does not have is left out: large physical
// addresses, virtualization, the generic timer.
constexpr Model kModels[] = {
    {.name = "cortex-a9",
     .midr = 0x410fc090,
     .ctr = 0x80038003,
     .clidr = 0x09000003,
     .ccsidr = {0xe00fe019, 0x200fe019, 0, 0},
     .id_pfr0 = 0x1031,
     .id_pfr1 = 0x11,
     .id_dfr0 = 0,
     .id_afr0 = 0,
     .id_mmfr = {0x00100103, 0x20000000, 0x01230000, 0x00002111},
     .id_isar = {0x00101111, 0x13112111, 0x21232041, 0x11112131, 0x00111142},
     .fpsid = 0x41033090,
     .mvfr0 = 0x11110222,
     .mvfr1 = 0x01111111,
     .dbgdidr = 0x35141000,
     .sctlr_reset = 0x00c50078,
     .divide = false,
     .fused_mac = false,
     .pmcr = 0x41093000},
    {.name = "cortex-a7",
     .midr = 0x410fc075,
     .ctr = 0x84448003,
     .clidr = 0x0a200023,
     .ccsidr = {0x701fe00a, 0x201fe00a, 0x711fe07a, 0},
     .id_pfr0 = 0x1131,
     .id_pfr1 = 0x11,
     .id_dfr0 = 0x02010555,
     .id_afr0 = 0,
     .id_mmfr = {0x10101103, 0x40000000, 0x01240000, 0x02102211},
     .id_isar = {0x02101110, 0x13112111, 0x21232041, 0x11112131, 0x10011142},
     .fpsid = 0x41023075,
     .mvfr0 = 0x10110222,
     .mvfr1 = 0x11111111,
     .dbgdidr = 0x3515f005,
     .sctlr_reset = 0x00c50078,
     .divide = true,
     .fused_mac = true,
     .pmcr = 0x41072000},
};

// Registers in the order of how much a host register helps: what compilers use most.
constexpr ir::Pin kPins[] = {
    {offset_r(0), ir::Type::I32, "r0"},    {offset_r(3), ir::Type::I32, "r3"},    {offset_r(13), ir::Type::I32, "sp"},
    {offset_r(2), ir::Type::I32, "r2"},    {offset_r(1), ir::Type::I32, "r1"},    {offset_r(4), ir::Type::I32, "r4"},
    {offset_r(5), ir::Type::I32, "r5"},    {offset_r(14), ir::Type::I32, "lr"},   {offset_r(6), ir::Type::I32, "r6"},
    {offset_r(12), ir::Type::I32, "r12"},  {offset_r(7), ir::Type::I32, "r7"},    {offset_r(11), ir::Type::I32, "r11"},
    {offset_r(8), ir::Type::I32, "r8"},    {offset_r(9), ir::Type::I32, "r9"},    {offset_r(10), ir::Type::I32, "r10"},
    {offset_q(0), ir::Type::V128, "q0"},   {offset_q(1), ir::Type::V128, "q1"},   {offset_q(2), ir::Type::V128, "q2"},
    {offset_q(3), ir::Type::V128, "q3"},   {offset_q(8), ir::Type::V128, "q8"},   {offset_q(9), ir::Type::V128, "q9"},
    {offset_q(10), ir::Type::V128, "q10"}, {offset_q(11), ir::Type::V128, "q11"}, {offset_q(12), ir::Type::V128, "q12"},
    {offset_q(13), ir::Type::V128, "q13"}, {offset_q(14), ir::Type::V128, "q14"}, {offset_q(15), ir::Type::V128, "q15"},
    {offset_q(4), ir::Type::V128, "q4"},   {offset_q(5), ir::Type::V128, "q5"},   {offset_q(6), ir::Type::V128, "q6"},
    {offset_q(7), ir::Type::V128, "q7"},
};
constexpr ir::StateLayout kLayout{.size = sizeof(State), .pins = kPins};

template <auto Function>
constexpr ir::Helper::Function helper_entry() {
  return +[](void* state, u64 a, u64 b, u64 c) -> u64 { return Function(*static_cast<State*>(state)->cpu, a, b, c); };
}

constexpr ir::Helper kHelpers[] = {
#define HELPER(name, flags) {#name, helper_entry<&helper_##name>(), flags},
#include "guest/arm/helpers.inc"
#include "guest/arm/vfp_helpers.inc"
#undef HELPER
};

}  // namespace

const Model* find_model(std::string_view name) {
  for (const Model& model : kModels) {
    if (model.name == name) return &model;
  }
  return nullptr;
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Model& model : kModels) names.emplace_back(model.name);
  return names;
}

std::unique_ptr<Cpu> make_cpu(std::string_view name, unsigned index, unsigned count, u64 reset_pc, u64 private_base,
                              Log& log) {
  const Model* model = find_model(name);
  if (!model) return nullptr;
  return std::make_unique<Cpu>(*model, index, count, reset_pc, private_base, log);
}

std::span<const ir::Helper> helper_table() { return kHelpers; }

Cpu::Cpu(const Model& model, unsigned index, unsigned count, u64 reset_pc, u64 private_base, Log& log)
    : model_(model), index_(index), count_(count), reset_pc_(static_cast<u32>(reset_pc)), private_base_(private_base),
      log_(log) {
  for (const Table table : {Table::a32, Table::t16, Table::t32, Table::vfp, Table::neon}) {
    row_uses_[static_cast<usize>(table)].resize(decode_rows(table).size());
  }
  state_.cpu = this;
  reset();
}

const ir::StateLayout& Cpu::layout() const { return kLayout; }
std::span<const ir::Helper> Cpu::helpers() const { return kHelpers; }

// B1.9.1, and what DDI 0388 says of each register's reset value. The pins' levels are the devices' and stay.
void Cpu::reset() {
  State& s = state_;
  std::fill(std::begin(s.r), std::end(s.r), 0);
  std::fill(std::begin(s.v), std::end(s.v), u8{0});
  std::fill(std::begin(s.bank_r13), std::end(s.bank_r13), 0);
  std::fill(std::begin(s.bank_r14), std::end(s.bank_r14), 0);
  std::fill(std::begin(s.bank_spsr), std::end(s.bank_spsr), 0);
  std::fill(std::begin(s.bank_fiq), std::end(s.bank_fiq), 0);
  s.cp15 = SysRegs{};
  for (BankedRegs& regs : s.cp15.bank) {
    regs.sctlr = model_.sctlr_reset;
    regs.prrr = 0x00098aa4;
    regs.nmrr = 0x44e048e0;
  }
  s.cp15.pmcr = model_.pmcr;
  s.cpsr_mode = static_cast<u32>(Mode::svc);
  s.cpsr_masks = 0x1c0;
  s.cpsr_ge = s.cpsr_q = s.cpsr_e = s.cpsr_j = s.spsr = 0;
  s.fpscr_control = s.fpscr_nzcv = s.fpexc = s.tlb_pending = 0;
  s.header.flags = ir::kImageZ;
  s.header.fp_flags = s.header.saturated = 0;
  s.header.exclusive_address = ~u64{0};
  s.header.exception = 0;
  s.header.pc = reset_pc_ & ~1u;
  s.header.mode = reset_pc_ & 1;
  external_abort_ = false;
  dacr_classes_.clear();
  update_mode();
  update_space();
  if (hooks_) {
    hooks_->flush_all(false);
    hooks_->privilege_changed(true);
    hooks_->sync_fp_flags();
  }
  interrupts_unmasked();
}

void Cpu::restore_location(u64 location) { resume_at(location); }

void Cpu::update_mode() {
  const State& s = state_;
  u32 mode = static_cast<u32>(s.header.mode) & (kModeThumb | kModeItMask);
  mode |= (s.cpsr_mode & 15) << kModeCpuShift;
  if (s.cpsr_e) mode |= kModeBigEndian;
  if (bank().sctlr & 2) mode |= kModeAlign;
  if (secure()) mode |= kModeSecure;
  const u32 coprocessors = s.cp15.cpacr >> 20 & 3;  // 10; 11 is to be the same
  const bool privileged = mode & kModeCpuMask;
  bool access = coprocessors == 3 || (coprocessors == 1 && privileged);
  if (!secure() && !(s.cp15.nsacr & 1u << 10)) access = false;
  if (access) mode |= kModeFpAccess;
  if (s.fpexc & 1u << 30) mode |= kModeFpEnabled;
  if (s.cp15.cpacr >> 31 || (!secure() && s.cp15.nsacr & 1u << 15)) mode |= kModeNeonOff;
  state_.header.mode = mode | (s.fpscr_control & kModeFpscrMask);
  state_.header.unaligned = !(mode & kModeAlign);
}

u32 Cpu::fpscr(u32 nzcv) const {
  return state_.fpscr_control | image_to_nzcv(nzcv) | (state_.header.saturated ? 1u << 27 : 0) |
         (state_.header.fp_flags & 0x9f);
}

// Numbers DACR values as they come: guests use a few. With too many the numbers begin anew.
u32 Cpu::dacr_class(u32 dacr) {
  for (usize i = 0; i < dacr_classes_.size(); i++) {
    if (dacr_classes_[i] == dacr) return static_cast<u32>(i);
  }
  if (dacr_classes_.size() >= 64) {
    dacr_classes_.clear();
    if (hooks_) hooks_->flush_all(false);
  }
  dacr_classes_.push_back(dacr);
  return static_cast<u32>(dacr_classes_.size() - 1);
}

// The address space's name (ir::Guest::space): the ASID in the low half; security state and the class of DACR in
// the high half.
void Cpu::update_space() {
  const BankedRegs& regs = bank();
  const u64 space =
      (regs.contextidr & 0xff) | static_cast<u64>(dacr_class(regs.dacr)) << 33 | static_cast<u64>(!secure()) << 32;
  if (space == space_) return;
  space_ = space;
  if (hooks_) hooks_->space_changed(space);
}

void Cpu::fields(Visitor& visitor) {
  State& s = state_;
  if (hooks_) hooks_->sync_fp_flags();
  visitor.begin("arm", 1);
  visitor.raw("r", s.r, sizeof s.r);
  visitor.raw("v", s.v, sizeof s.v);
  visitor.raw("bank_r13", s.bank_r13, sizeof s.bank_r13);
  visitor.raw("bank_r14", s.bank_r14, sizeof s.bank_r14);
  visitor.raw("bank_spsr", s.bank_spsr, sizeof s.bank_spsr);
  visitor.raw("bank_fiq", s.bank_fiq, sizeof s.bank_fiq);
  visitor.raw("cp15", &s.cp15, sizeof s.cp15);
  visitor.field("flags", s.header.flags);
  visitor.field("pc", s.header.pc);
  visitor.field("mode", s.header.mode);
  visitor.field("fp_flags", s.header.fp_flags);
  visitor.field("saturated", s.header.saturated);
  visitor.field("cpsr_mode", s.cpsr_mode);
  visitor.field("cpsr_masks", s.cpsr_masks);
  visitor.field("cpsr_ge", s.cpsr_ge);
  visitor.field("cpsr_q", s.cpsr_q);
  visitor.field("cpsr_e", s.cpsr_e);
  visitor.field("spsr", s.spsr);
  visitor.field("fpscr_control", s.fpscr_control);
  visitor.field("fpscr_nzcv", s.fpscr_nzcv);
  visitor.field("fpexc", s.fpexc);
  visitor.field("tlb_pending", s.tlb_pending);
  visitor.field("exclusive_address", s.header.exclusive_address);
  visitor.field("exclusive_value", s.header.exclusive_value);
  visitor.field("exclusive_size", s.header.exclusive_size);
  u32 pins = s.pins.load();
  visitor.field("pins", pins);
  s.pins.store(pins & 3);
  visitor.end();
  if (!visitor.restoring()) return;
  // Whatever came: only what a CPU can hold.
  constexpr u32 kModes =
      1u << 0x10 | 1u << 0x11 | 1u << 0x12 | 1u << 0x13 | 1u << 0x16 | 1u << 0x17 | 1u << 0x1b | 1u << 0x1f;
  if (s.cpsr_mode > 31 || !(kModes >> s.cpsr_mode & 1)) s.cpsr_mode = static_cast<u32>(Mode::svc);
  s.header.flags &= ir::kImageMask;
  s.fpscr_nzcv &= ir::kImageMask;
  s.cpsr_masks &= 0x1c0;
  s.cpsr_ge &= 15;
  s.cpsr_q &= 1;
  s.cpsr_e &= 1;
  s.fpscr_control &= kFpscrControl;
  s.header.pc &= s.header.mode & kModeThumb ? 0xfffffffe : 0xfffffffc;
  update_mode();
  dacr_classes_.clear();
  space_ = ~u64{0};
  update_space();
  if (hooks_) {
    hooks_->flush_all(false);
    hooks_->privilege_changed(privileged());
    hooks_->sync_fp_flags();
  }
  interrupts_unmasked();
}

}  // namespace rhea::arm
