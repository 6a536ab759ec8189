// SPDX-License-Identifier: MIT
// The block loop: fetches and decodes, deals with conditions and IT blocks, and ends the block.
//
// A conditional instruction is done in one of three ways:
//  - kOwnCondition rows (conditional branches, IT) look at the condition themselves;
//  - kPlain rows that set no flags compute their result unconditionally and write a selection of it and the old
//    value (set_reg with selector_);
//  - all others are branched around. Following instructions of the same condition join that run, until one of them
//    writes flags or leaves the block.
#include "guest/arm/translator.h"

#include <bit>

#include "guest/arm/cpu.h"

namespace rhea::arm {

namespace {

// How many conditional branches a block may go on behind.
constexpr unsigned kMaxSideExits = 2;
// How far live_flags() looks.
constexpr unsigned kLookahead = 6;

u8 next_it_state(u8 it) { return (it & 7) ? static_cast<u8>((it & 0xe0) | ((it << 1) & 0x1f)) : 0; }

// Flags that a row's instruction reads and surely writes, apart from its condition.
struct FlagUse {
  u8 reads = 0;
  u8 writes = 0;
};

bool is_rrx(const Row& row, u32 insn) {
  if (!(row.flags & kMayRrx)) return false;
  return row.table == Table::a32 ? (insn & 0xff0) == 0x060 : (insn & 0x70f0) == 0x0030;
}

FlagUse flag_use(const Row& row, u32 insn, bool in_it) {
  FlagUse use;
  if ((row.flags & kReadsCarry) || is_rrx(row, insn)) use.reads |= ir::kFlagC;
  if (row.flags & kReadsFlags) use.reads = ir::kFlagNZCV;
  const bool sets = row.s_mask ? insn & row.s_mask : !((row.flags & kNotInIt) && in_it);
  if (sets) {
    if (row.flags & kSetsNZ) use.writes |= ir::kFlagNZ;
    if (row.flags & kSetsC) use.writes |= ir::kFlagC;
    if (row.flags & kSetsV) use.writes |= ir::kFlagV;
  }
  return use;
}

// Whether the destination is r15.
bool names_pc(const Row& row, u32 insn) { return (insn & row.d_mask) == row.d_mask && std::popcount(row.d_mask) == 4; }

}  // namespace

Translator::Translator(Cpu& owner, ir::CodeReader& code, ir::Block& block, unsigned max_insns)
    : cpu(owner), b(block), code_(code), max_insns_(max_insns ? max_insns : 1), debugging_(owner.debugging()) {
  pc = static_cast<u32>(block.key.pc);
  mode = static_cast<u32>(block.key.mode);
}

bool Translator::fetch32(u32 address, u32& value) {
  u16 low, high;
  if (!code_.fetch16(address, low) || !code_.fetch16(address + 2, high)) return false;
  value = low | static_cast<u32>(high) << 16;
  return true;
}

Translator::Fetched Translator::fetch(u32 address, u32 instruction_mode, u32& insn) {
  if (!(instruction_mode & kModeThumb)) return fetch32(address, insn) ? Fetched::arm : Fetched::no;
  u16 first, second;
  if (!code_.fetch16(address, first)) return Fetched::no;
  insn = first;
  if ((first & 0xf800) < 0xe800) return Fetched::thumb16;
  if (!code_.fetch16(address + 2, second)) return Fetched::no;
  insn = static_cast<u32>(first) << 16 | second;
  return Fetched::thumb32;
}

bool Translator::has_divide() const { return cpu.model().divide; }

u32 Translator::next_it() const {
  if (pending_it_ >= 0) return static_cast<u32>(pending_it_);
  return next_it_state(static_cast<u8>(mode >> kModeItShift));
}

void Translator::run() {
  const u32 first_page = pc >> 12;
  while (true) {
    const unsigned misaligned = pc & (thumb() ? 1 : 3);
    if (misaligned) {
      call(HelperId::prefetch_alignment, this_key());
      b.exit_dispatch({.insns = static_cast<u16>(count_)});
      finished_ = true;
      break;
    }
    u32 insn = 0;
    const Fetched kind = fetch(pc, mode, insn);
    if (kind == Fetched::no) break;
    if (debugging_ && cpu.hooks().has_breakpoint(pc)) {
      stop_at_breakpoint();
      break;
    }
    next_pc = pc + (kind == Fetched::thumb16 ? 2 : 4);
    const Row* row = kind == Fetched::arm       ? decode_a32(insn)
                     : kind == Fetched::thumb16 ? decode_t16(static_cast<u16>(insn))
                                                : decode_t32(insn);
    one(insn, row, kind);
    count_++;
    b.block().guest_bytes = next_pc - static_cast<u32>(b.block().key.pc);
    mode = next_mode();
    pending_it_ = -1;
    pc = next_pc;
    if (finished_ || count_ >= max_insns_ || pc >> 12 != first_page || b.size() > ir::kMaxInstructions / 2) break;
  }
  close_run();
  if (!finished_ && count_) {
    b.exit({.target = {pc, mode}, .live_flags = live_flags(pc, mode), .insns = static_cast<u16>(count_)});
  }
  b.block().guest_insns = static_cast<u16>(count_);
}

// The block ends before the instruction. It counts as part of the block where the block is nothing else.
void Translator::stop_at_breakpoint() {
  close_run();
  b.loc(pc | static_cast<u64>(mode) << 32);
  call(HelperId::breakpoint, this_key());
  b.exit_dispatch({.poll = true, .insns = static_cast<u16>(count_)});
  b.block().guest_bytes = pc + 2 - static_cast<u32>(b.block().key.pc);
  finished_ = true;
  if (!count_) count_ = 1;
}

void Translator::one(u32 insn, const Row* row, Fetched kind) {
  cond = Cond::AL;
  if (kind == Fetched::arm) {
    if (insn >> 28 < 14) cond = static_cast<Cond>(insn >> 28);
  } else if (in_it() && !(row && (row->flags & kUnconditional))) {
    const u32 it_cond = mode >> (kModeItShift + 4) & 15;
    if (it_cond < 14) cond = static_cast<Cond>(it_cond);
  }
  const bool own = row && (row->flags & kOwnCondition);
  const bool by_selection = cond != Cond::AL && row && !own && !run_open_ && selectable(*row, insn);
  const bool in_run = cond != Cond::AL && !own && !by_selection;
  if (run_open_ && (!in_run || cond != run_cond_)) close_run();

  b.loc(pc | static_cast<u64>(mode) << 32);
  if (in_run && !run_open_) open_run();
  selector_ = by_selection ? b.test(cond) : ir::kNoRef;
  end_run_ = false;
  if (row) {
    cpu.count_row(*row);
    row->handler(*this, insn);
    if (flag_use(*row, insn, in_it()).writes) end_run_ = true;
  } else {
    undefined();
  }
  selector_ = ir::kNoRef;
  if (run_open_ && end_run_) close_run();
}

bool Translator::selectable(const Row& row, u32 insn) const {
  if (!(row.flags & kPlain)) return false;
  if (flag_use(row, insn, in_it()).writes) return false;
  if (row.s_mask & insn) return false;
  return !names_pc(row, insn);
}

void Translator::open_run() {
  run_open_ = true;
  run_cond_ = cond;
  run_label_ = b.new_label();
  b.branch_if(ir::inverse(cond), run_label_);
}

void Translator::close_run() {
  if (!run_open_) return;
  b.label(run_label_);
  run_open_ = false;
}

// The block was left at this point: for good, or only where the condition of the run holds.
void Translator::left() {
  if (run_open_) end_run_ = true;
  else finished_ = true;
}

void Translator::set_reg(unsigned n, Ref value) {
  if (selector_ != ir::kNoRef) value = b.select(selector_, value, reg(n));
  b.set(Type::I32, offset_r(n), value);
}

void Translator::set_reg_or_pc(unsigned n, Ref value) {
  if (n != 15) return set_reg(n, value);
  if (thumb()) branch_indirect(value, ir::ExitKind::jump);
  else branch_exchange(value, ir::ExitKind::jump);
}

Ref Translator::call(HelperId id, Type result) {
  return b.emit(Op::Call0, result, ir::kNoRef, ir::kNoRef, ir::kNoRef, static_cast<u64>(id));
}
Ref Translator::call(HelperId id, Ref x, Type result) {
  return b.emit(Op::Call1, result, x, ir::kNoRef, ir::kNoRef, static_cast<u64>(id));
}
Ref Translator::call(HelperId id, Ref x, Ref y, Type result) {
  return b.emit(Op::Call2, result, x, y, ir::kNoRef, static_cast<u64>(id));
}
Ref Translator::call(HelperId id, Ref x, Ref y, Ref z, Type result) {
  return b.emit(Op::Call3, result, x, y, z, static_cast<u64>(id));
}

void Translator::undefined() {
  if (selector_ != ir::kNoRef) {
    const u16 not_taken = b.new_label();
    b.branch_zero(selector_, not_taken);
    call(HelperId::undefined, this_key());
    leave_early();
    b.label(not_taken);
    return;
  }
  call(HelperId::undefined, this_key());
  exit_dispatch();
}

void Translator::exit_dispatch() {
  b.exit_dispatch({.poll = true, .insns = done()});
  left();
}

void Translator::leave_early() { b.exit_dispatch({.poll = true, .insns = done()}); }

void Translator::exit_retry() { b.exit({.target = {pc, mode}, .poll = true, .insns = static_cast<u16>(count_)}); }

void Translator::exit_next(bool poll) {
  b.exit({.target = {next_pc, next_mode()}, .poll = poll, .live_flags = ir::kFlagNZCV, .insns = done()});
  left();
}

void Translator::exit_to(u32 target, u32 target_mode, ir::ExitKind kind, bool poll) {
  ir::ExitInfo exit{.target = {target, target_mode},
                    .kind = kind,
                    .poll = poll || target <= pc,
                    .live_flags = live_flags(target, target_mode),
                    .insns = done()};
  if (kind == ir::ExitKind::call) {
    exit.poll = true;
    exit.return_to = return_key(next_pc);
  }
  b.exit(exit);
  left();
}

void Translator::branch_exchange(Ref address, ir::ExitKind kind) {
  const u32 base = flow_mode() & ~kModeThumb;
  const Ref thumb_bit = b.and_(address, 1);
  const Ref target = b.and_(address, ~1u);
  ir::ExitInfo exit{.kind = kind, .poll = true, .insns = done()};
  if (kind == ir::ExitKind::call) exit.return_to = return_key(next_pc);
  b.exit_indirect(target, b.or_(thumb_bit, b.const32(base)), exit);
  left();
}

void Translator::branch_indirect(Ref address, ir::ExitKind kind) {
  const Ref target = b.and_(address, thumb() ? ~1u : ~3u);
  ir::ExitInfo exit{.kind = kind, .poll = true, .insns = done()};
  if (kind == ir::ExitKind::call) exit.return_to = return_key(next_pc);
  b.exit_indirect(target, b.const32(flow_mode()), exit);
  left();
}

void Translator::branch_conditional(Cond condition, u32 target) {
  if (condition == Cond::AL) return exit_to(target, flow_mode());
  b.exit_if(condition, {.target = {target, flow_mode()},
                        .poll = target <= pc,
                        .live_flags = live_flags(target, flow_mode()),
                        .insns = done(),
                        .has_next = true,
                        .next = {next_pc, next_mode()}});
  if (target <= pc || ++side_exits_ > kMaxSideExits) {
    b.exit({.target = {next_pc, next_mode()}, .live_flags = live_flags(next_pc, next_mode()), .insns = done()});
    left();
  }
}

void Translator::branch_if_zero(Ref value, bool zero, u32 target) {
  b.exit_if_zero(value, zero,
                 {.target = {target, flow_mode()},
                  .poll = target <= pc,
                  .live_flags = live_flags(target, flow_mode()),
                  .insns = done(),
                  .has_next = true,
                  .next = {next_pc, next_mode()}});
  if (++side_exits_ > kMaxSideExits) exit_next();
}

// Which flags may be read at a key before they are written: looks at a few instructions on from it, as long as they
// lie in the block's own page (which is known to be readable).
namespace {

// Whether an instruction whose row is no branch writes r15 all the same.
bool writes_pc(const Row& row, u32 insn) {
  if (row.table == Table::t16 || row.table == Table::a32) {
    if (names_pc(row, insn)) return true;
  }
  if (!(row.flags & kMemory) || (row.table != Table::a32 && row.table != Table::t32) || !bit(insn, 20)) return false;
  return row.pattern[31 - 15] == 'l' ? bit(insn, 15) : bits(insn, 12, 4) == 15;
}

}  // namespace

u8 Translator::live_flags(u32 target, u32 target_mode) {
  if (debugging_) return ir::kFlagNZCV;
  u8 live = 0;
  u8 written = 0;
  u32 at = target, at_mode = target_mode;
  for (unsigned i = 0; i < kLookahead && (live | written) != ir::kFlagNZCV; i++) {
    if (at >> 12 != static_cast<u32>(b.block().key.pc) >> 12 || (at & (at_mode & kModeThumb ? 1 : 3))) break;
    u32 insn = 0;
    const Fetched kind = fetch(at, at_mode, insn);
    if (kind == Fetched::no) break;
    const Row* row = kind == Fetched::arm       ? decode_a32(insn)
                     : kind == Fetched::thumb16 ? decode_t16(static_cast<u16>(insn))
                                                : decode_t32(insn);
    if (!row || (row->flags & (kBranches | kSystem | kReadsFlags)) || writes_pc(*row, insn)) break;
    const u8 it = static_cast<u8>(at_mode >> kModeItShift);
    const u32 condition = kind == Fetched::arm ? insn >> 28 : (it & 15) ? it >> 4 : 14u;
    const FlagUse use = flag_use(*row, insn, it & 15);
    u8 reads = use.reads;
    if (condition < 14) reads |= ir::flags_read(static_cast<Cond>(condition));
    live |= reads & ~written;
    if (condition >= 14) written |= use.writes & ~live;
    at += kind == Fetched::thumb16 ? 2 : 4;
    at_mode = (at_mode & ~kModeItMask) | static_cast<u32>(next_it_state(it)) << kModeItShift;
  }
  return static_cast<u8>(ir::kFlagNZCV & ~written);
}

void Cpu::translate(const ir::Key& key, ir::CodeReader& code, unsigned max_insns, ir::Block& block) {
  block.clear();
  block.key = key;
  Translator(*this, code, block, max_insns).run();
}

}  // namespace rhea::arm
