// SPDX-License-Identifier: MIT
// An ARMv7-A CPU as the engines see it: state, translation, MMU, exceptions, system registers.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/cpu.h"
#include "core/semihosting.h"
#include "core/snapshot.h"
#include "guest/arm/decode.h"
#include "guest/arm/state.h"
#include "ir/guest.h"
#include "util/log.h"
#include "util/result.h"

namespace rhea::arm {

enum class Pin : unsigned { irq = 0, fiq = 1 };

// What differs between CPU models.
struct Model {
  std::string_view name;
  u32 midr, ctr, clidr, ccsidr[4];
  u32 id_pfr0, id_pfr1, id_dfr0, id_afr0, id_mmfr[4], id_isar[5];
  u32 fpsid, mvfr0, mvfr1;
  u32 dbgdidr;
  u32 sctlr_reset;
  bool divide;     // SDIV, UDIV
  bool fused_mac;  // VFPv4: VFMA, VFMS
  u32 pmcr;        // implementer, id code, number of counters
};
const Model* find_model(std::string_view name);
std::vector<std::string> model_names();

enum class ExceptionKind : u8 { reset, undefined, svc, smc, prefetch_abort, data_abort, irq, fiq };

class Cpu final : public ir::Guest {
 public:
  Cpu(const Model& model, unsigned index, unsigned count, u64 reset_pc, u64 private_base, Log& log);

  // ---- ir::Guest ----
  std::string_view model_name() const override { return model_.name; }
  const ir::StateLayout& layout() const override;
  ir::StateHeader& state() override { return state_.header; }
  std::span<const ir::Helper> helpers() const override;
  void set_engine(ir::EngineHooks& hooks) override { hooks_ = &hooks; }
  void reset() override;
  void translate(const ir::Key& key, ir::CodeReader& code, unsigned max_insns, ir::Block& block) override;
  void restore_location(u64 location) override;
  bool walk(u64 address, ir::Access access, bool user, ir::Mapping& mapping, ir::Fault& fault) override;
  bool allows_unaligned() const override { return !(bank().sctlr & 2); }
  bool privileged() const override { return state_.cpsr_mode != static_cast<u32>(Mode::usr); }
  u64 space() const override { return space_; }
  void raise_fault(const ir::Fault& fault) override;
  bool take_interrupt() override;
  bool has_wakeup() const override { return state_.pins.load(std::memory_order_relaxed) != 0; }
  void set_pin(unsigned pin, bool level) override;

  // ---- the rest of the emulator ----
  void set_reset_pc(u64 pc) { reset_pc_ = static_cast<u32>(pc); }
  unsigned index() const { return index_; }
  u64 private_base() const { return private_base_; }
  const Model& model() const { return model_; }
  Log& log() { return log_; }
  ir::EngineHooks& hooks() { return *hooks_; }
  bool debugging() const { return hooks_ && hooks_->debugging(); }
  // Semihosting: the instructions that ask the host (SVC 0x123456, SVC 0xab in Thumb, HLT 0xf000, HLT 0x3c) do so.
  // `fetch` reads code; from_user: programs in user mode may too.
  struct SemihostingHook {
    std::function<bool(u32 address, std::span<u8> code)> fetch;
    std::function<Semihosting::Answer(u32 operation, u32 parameter)> call;
    bool from_user = false;
  };
  void set_semihosting(SemihostingHook hook) { semihosting_ = std::move(hook); }
  // Makes the call if the instruction at an address (of the current instruction set) is one. `here` and `behind` are
  // its key and the next one's: where it goes on.
  bool semihosting_call(u32 address, u64 here, u64 behind);
  // As QEMU's `info registers` prints them, after the "CPU#n" line.
  std::string registers_text() const;
  // "r0".."r15", "pc", "sp", "lr", "cpsr", "spsr", "s0".., "d0".., "fpscr", "fpexc".
  bool register_value(std::string_view name, u64& value) const;
  // All registers, by number (registers_gdb.cpp).
  const std::vector<RegisterFeature>& register_features() const;
  bool read_register(unsigned number, std::vector<u8>& bytes);
  bool write_register(unsigned number, std::span<const u8> bytes);
  // One instruction at an address in the current instruction set; length in bytes, 0: not enough bytes.
  std::string disassemble(u64 address, std::span<const u8> bytes, unsigned& length) const;
  static std::string disassemble(u64 address, std::span<const u8> bytes, bool thumb, unsigned& length);
  void fields(Visitor& visitor);

  // ---- for handlers and helpers ----
  State& s() { return state_; }
  const State& s() const { return state_; }
  bool secure() const { return state_.cpsr_mode == static_cast<u32>(Mode::mon) || !(state_.cp15.scr & 1); }
  BankedRegs& bank() { return state_.cp15.bank[secure() ? 0 : 1]; }
  const BankedRegs& bank() const { return state_.cp15.bank[secure() ? 0 : 1]; }
  u32 cpsr() const;
  u32 fpscr() const { return fpscr(state_.fpscr_nzcv); }
  u32 fpscr(u32 nzcv) const;  // with these flags, in image format
  // Rebuilds the mode word from the state, T and ITSTATE kept. After any change of what ModeBit lists.
  void update_mode();
  // Sets pc and mode from a key argument of a helper, before anything that looks at them.
  void resume_at(u64 key) {
    state_.header.pc = static_cast<u32>(key);
    state_.header.mode = key >> 32;
  }
  // Writes CPSR bits of `mask` without any checks; execution state bits (T, IT, J) too when in the mask.
  void set_cpsr(u32 value, u32 mask);
  // Exception entry from the current pc: `return_address` is what LR gets.
  void enter(ExceptionKind kind, u32 return_address);
  void take_undefined(u32 address);
  // Sets kPollInterrupt when an unmasked pin is up.
  void interrupts_unmasked();
  // TTBRs, TTBCR, CONTEXTIDR, DACR, SCR.NS changed: tells the engine which address space is current.
  void update_space();

  // Address translation operations: the result goes to PAR. `nonsecure`: by the Non-secure tables.
  void translate_to_par(u32 address, ir::Access access, bool user, bool nonsecure);

  // ---- system registers (sysregs.cpp) ----
  u32 read_sysreg(unsigned index);
  void write_sysreg(unsigned index, u32 value, u64 next_key);
  // How often each row of a decode table was translated.
  void count_row(const Row& row) {
    row_uses_[static_cast<usize>(row.table)][static_cast<usize>(&row - decode_rows(row.table).data())]++;
  }
  std::span<const u32> row_uses(Table table) const { return row_uses_[static_cast<usize>(table)]; }

 private:
  void switch_mode(u32 new_mode);
  u32 dacr_class(u32 dacr);
  struct Walk;
  bool walk_with(const Walk& walk, ir::Mapping& mapping, ir::Fault& fault) const;
  bool read_descriptor(const Walk& walk, u64 address, u32& value) const;
  void log_exception(ExceptionKind kind, u32 return_address);

  const Model& model_;
  unsigned index_;
  unsigned count_;
  u32 reset_pc_;
  u64 private_base_;
  Log& log_;
  ir::EngineHooks* hooks_ = nullptr;
  u64 space_ = 0;
  SemihostingHook semihosting_;
  bool external_abort_ = false;  // the exception being entered is an external abort
  std::vector<u32> dacr_classes_;
  std::array<std::vector<u32>, 5> row_uses_;
  State state_;
};

// A CPU of a model that model_names() has, or nullptr. `index` of `count` CPUs in one cluster; `private_base` is
// what CBAR reads as.
std::unique_ptr<Cpu> make_cpu(std::string_view model, unsigned index, unsigned count, u64 reset_pc, u64 private_base,
                              Log& log);

}  // namespace rhea::arm
