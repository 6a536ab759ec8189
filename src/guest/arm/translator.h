// SPDX-License-Identifier: MIT
// One block's translation: what instruction handlers work with.
//
// A handler reads registers with reg(), computes with `b`, and writes with set_reg() after the last operation that
// may fault. Conditions are dealt with outside of the handlers: a conditional instruction that only writes a
// register becomes a selection (in set_reg), others are branched around, runs of the same condition together.
// What leaves the block goes through the exit functions, which count instructions and know about polls.
#pragma once

#include "guest/arm/decode.h"
#include "guest/arm/helpers.h"
#include "guest/arm/state.h"
#include "ir/builder.h"
#include "ir/guest.h"

namespace rhea::arm {

using ir::Cond;
using ir::Op;
using ir::Ref;
using ir::Type;

class Translator {
 public:
  Translator(Cpu& cpu, ir::CodeReader& code, ir::Block& block, unsigned max_insns);
  void run();

  // ---- the instruction being translated ----
  Cpu& cpu;
  ir::Builder b;
  u32 pc = 0;       // its address
  u32 next_pc = 0;  // the address behind it
  u32 mode = 0;     // mode word, with ITSTATE as before this instruction
  Cond cond = Cond::AL;

  bool thumb() const { return mode & kModeThumb; }
  bool privileged() const { return mode & kModeCpuMask; }
  Mode cpu_mode() const { return static_cast<Mode>(0x10 | ((mode & kModeCpuMask) >> kModeCpuShift)); }
  bool has_divide() const;
  bool in_it() const { return mode & (0xfu << kModeItShift); }
  bool last_in_it() const { return (mode >> kModeItShift & 0xf) == 8; }
  // MemFlag bits that every data access of this mode has.
  u8 mem_flags() const {
    return static_cast<u8>((mode & kModeBigEndian ? ir::kBigEndian : 0) | (mode & kModeAlign ? ir::kAligned : 0));
  }
  // Value of r15 when read: the instruction's address plus 8 or 4.
  u32 pc_value() const { return pc + (thumb() ? 4 : 8); }
  u32 aligned_pc() const { return pc_value() & ~3u; }

  // ---- registers ----
  Ref reg(unsigned n) { return n == 15 ? b.const32(pc_value()) : b.get(Type::I32, offset_r(n)); }
  void set_reg(unsigned n, Ref value);  // n is not 15
  // To r0..r14, or a branch when it is r15 (as data processing does: interworking in A32 alone).
  void set_reg_or_pc(unsigned n, Ref value);

  // A key (helpers.inc): this instruction's, the next one's.
  Ref this_key() { return b.const64(pc | static_cast<u64>(mode) << 32); }
  Ref next_key() { return b.const64(next_pc | static_cast<u64>(next_mode()) << 32); }

  // ---- helpers: HelperId from helpers.inc and vfp_helpers.inc ----
  Ref call(HelperId id, Type result = Type::I32);
  Ref call(HelperId id, Ref a, Type result = Type::I32);
  Ref call(HelperId id, Ref a, Ref b, Type result = Type::I32);
  Ref call(HelperId id, Ref a, Ref b, Ref c, Type result = Type::I32);

  // ---- leaving the block; each ends it (or the conditional run) ----
  void undefined();                   // takes the Undefined Instruction exception
  void exit_next(bool poll = false);  // to the instruction behind this one, in a block of its own
  void exit_to(u32 target, u32 target_mode, ir::ExitKind kind = ir::ExitKind::jump, bool poll = false);
  void exit_dispatch();  // a helper has set pc and mode
  void leave_early();    // the same, where the block goes on behind a label
  void exit_retry();     // does this instruction again; the block goes on behind a label
  void branch_exchange(Ref address, ir::ExitKind kind);  // bit 0 selects T32
  void branch_indirect(Ref address, ir::ExitKind kind);  // in the current instruction set
  // B with a condition: leaves if it holds, else goes on.
  void branch_conditional(Cond condition, u32 target);
  // CBZ, CBNZ: leaves if the value is zero (or not), else goes on.
  void branch_if_zero(Ref value, bool zero, u32 target);
  ir::Key return_key(u32 address) const { return {address, next_mode()}; }
  u32 next_mode() const { return (mode & ~kModeItMask) | next_it() << kModeItShift; }
  u32 next_it() const;
  // ITSTATE cleared: for what control flow goes to.
  u32 flow_mode() const { return mode & ~kModeItMask; }

  // Called by the IT instruction: the ITSTATE of the next instruction.
  void set_it(u8 state) { pending_it_ = state; }
  // This instruction writes condition flags outside of its row's flags: the conditional run ends behind it.
  void flags_written() { end_run_ = true; }

 private:
  friend struct TranslatorTestAccess;
  enum class Fetched : u8 { no, arm, thumb16, thumb32 };
  bool fetch32(u32 address, u32& value);
  Fetched fetch(u32 address, u32 instruction_mode, u32& insn);
  void one(u32 insn, const Row* row, Fetched kind);
  void stop_at_breakpoint();
  void open_run();
  void close_run();
  bool selectable(const Row& row, u32 insn) const;
  void left();
  u8 live_flags(u32 target, u32 target_mode);
  u16 done() const { return static_cast<u16>(count_ + 1); }

  ir::CodeReader& code_;
  unsigned max_insns_;
  const bool debugging_;
  unsigned count_ = 0;  // instructions before the current one
  unsigned side_exits_ = 0;
  bool finished_ = false;  // the block has left unconditionally
  bool run_open_ = false;  // in a run of conditional instructions, branched around
  bool run_left_ = false;  // the run's last instruction left the block
  bool end_run_ = false;
  Cond run_cond_ = Cond::AL;
  u16 run_label_ = 0;
  Ref selector_ = ir::kNoRef;  // the current instruction is done by selection on this value
  int pending_it_ = -1;
};

}  // namespace rhea::arm
