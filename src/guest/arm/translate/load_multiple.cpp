// SPDX-License-Identifier: MIT
// LDM and STM in all their forms, SRS and RFE (DDI 0406C, A8.8.57, A8.8.199, B9.3). One group access covers all of
// an instruction's registers: one lookup, one place that may fault.
#include <array>
#include <bit>

#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace {

// Lowest address of a transfer of `count` words, relative to the base.
s32 start_offset(unsigned count, bool increment, bool before) {
  const s32 size = static_cast<s32>(4 * count);
  if (increment) return before ? 4 : 0;
  return before ? -size : 4 - size;
}

Ref base_after(Translator& t, Ref base, unsigned count, bool increment) {
  return t.b.add(base, increment ? 4 * count : 0 - 4 * count);
}

using Words = std::array<Ref, 16>;

void load_words(Translator& t, Ref start, unsigned count, Words& words) {
  ir::Builder& b = t.b;
  const u8 flags = t.mem_flags() | ir::kAligned;
  if (count == 1 || (flags & ir::kBigEndian)) {
    for (unsigned i = 0; i < count; i++) words[i] = b.load(32, b.add(start, 4 * i), flags);
    return;
  }
  const Ref pointer = b.emit(Op::GroupRead, Type::I64, start, ir::kNoRef, ir::kNoRef, 4 * count, 0, flags);
  for (unsigned i = 0; i < count; i++) {
    words[i] = b.emit(Op::PtrLoad, Type::I32, pointer, ir::kNoRef, ir::kNoRef, 4 * i, 32);
  }
}

void store_words(Translator& t, Ref start, unsigned count, const Words& words) {
  ir::Builder& b = t.b;
  const u8 flags = t.mem_flags() | ir::kAligned;
  if (count == 1 || (flags & ir::kBigEndian)) {
    for (unsigned i = 0; i < count; i++) b.store(32, b.add(start, 4 * i), words[i], flags);
    return;
  }
  const Ref pointer = b.emit(Op::GroupWrite, Type::I64, start, ir::kNoRef, ir::kNoRef, 4 * count, 0, flags);
  for (unsigned i = 0; i < count; i++) { b.emit(Op::PtrStore, Type::I32, pointer, words[i], ir::kNoRef, 4 * i, 32); }
  b.emit(Op::GroupCommit, Type::Void, pointer);
}

// Where a User mode register is while another mode is current.
u32 user_register_offset(Translator& t, unsigned n) {
  const Mode mode = t.cpu_mode();
  if (mode == Mode::usr || mode == Mode::sys) return offset_r(n);
  if (n == 13) return offsetof(State, bank_r13) + 4 * kBankUsr;
  if (n == 14) return offsetof(State, bank_r14) + 4 * kBankUsr;
  if (n >= 8 && n <= 12 && mode == Mode::fiq) return static_cast<u32>(offsetof(State, bank_fiq)) + 4 * (n - 8);
  return offset_r(n);
}

}  // namespace

void load_multiple(Translator& t, unsigned n, u16 list, bool increment, bool before, bool write_back) {
  const unsigned count = static_cast<unsigned>(std::popcount(list));
  if (!count || n == 15) return t.undefined();
  const Ref base = t.reg(n);
  Words words;
  load_words(t, t.b.add(base, static_cast<u32>(start_offset(count, increment, before))), count, words);
  if (write_back) t.set_reg(n, base_after(t, base, count, increment));
  unsigned i = 0;
  for (unsigned r = 0; r < 15; r++) {
    if (list >> r & 1) t.set_reg(r, words[i++]);
  }
  if (list >> 15) t.branch_exchange(words[i], n == 13 || n == 11 ? ir::ExitKind::ret : ir::ExitKind::jump);
}

void store_multiple(Translator& t, unsigned n, u16 list, bool increment, bool before, bool write_back) {
  const unsigned count = static_cast<unsigned>(std::popcount(list));
  if (!count || n == 15) return t.undefined();
  const Ref base = t.reg(n);
  const Ref start = t.b.add(base, static_cast<u32>(start_offset(count, increment, before)));
  Words words;
  unsigned i = 0;
  for (unsigned r = 0; r < 16; r++) {
    if (list >> r & 1) words[i++] = t.reg(r);
  }
  store_words(t, start, count, words);
  if (write_back) t.set_reg(n, base_after(t, base, count, increment));
}

// SRS: LR and SPSR of this mode to the stack of another one.
void store_return_state(Translator& t, unsigned bank_mode, bool increment, bool before, bool write_back) {
  if (!t.privileged() || t.cpu_mode() == Mode::sys) return t.undefined();
  int bank;
  switch (static_cast<Mode>(bank_mode)) {
    case Mode::usr:
    case Mode::sys: bank = kBankUsr; break;
    case Mode::fiq: bank = kBankFiq; break;
    case Mode::irq: bank = kBankIrq; break;
    case Mode::svc: bank = kBankSvc; break;
    case Mode::mon: bank = kBankMon; break;
    case Mode::abt: bank = kBankAbt; break;
    case Mode::und: bank = kBankUnd; break;
    default: return t.undefined();
  }
  if (bank == kBankMon && !(t.mode & kModeSecure)) return t.undefined();
  const u32 offset = bank_mode == static_cast<u32>(t.cpu_mode())
                         ? offset_r(13)
                         : static_cast<u32>(offsetof(State, bank_r13)) + 4 * static_cast<u32>(bank);
  const Ref base = t.b.get(Type::I32, offset);
  Words words;
  words[0] = t.reg(14);
  words[1] = t.b.get(Type::I32, offsetof(State, spsr));
  store_words(t, t.b.add(base, static_cast<u32>(start_offset(2, increment, before))), 2, words);
  if (write_back) t.b.set(Type::I32, offset, base_after(t, base, 2, increment));
}

// RFE: r15 and CPSR from memory.
void return_from_exception(Translator& t, unsigned n, bool increment, bool before, bool write_back) {
  if (!t.privileged() || n == 15) return t.undefined();
  const Ref base = t.reg(n);
  Words words;
  load_words(t, t.b.add(base, static_cast<u32>(start_offset(2, increment, before))), 2, words);
  if (write_back) t.set_reg(n, base_after(t, base, 2, increment));
  t.call(HelperId::exception_return, words[0], words[1]);
  t.exit_dispatch();
}

// ---- A32 ----

namespace a32 {

void ldm(Translator& t, u32 insn) {
  load_multiple(t, field(insn, 16, 4), static_cast<u16>(insn), bit(insn, 23), bit(insn, 24), bit(insn, 21));
}
void stm(Translator& t, u32 insn) {
  store_multiple(t, field(insn, 16, 4), static_cast<u16>(insn), bit(insn, 23), bit(insn, 24), bit(insn, 21));
}

// STM with S: User mode's registers.
void stm_user(Translator& t, u32 insn) {
  const u16 list = static_cast<u16>(insn);
  const unsigned n = field(insn, 16, 4), count = static_cast<unsigned>(std::popcount(list));
  if (!t.privileged() || t.cpu_mode() == Mode::sys || !count || n == 15) return t.undefined();
  Words words;
  unsigned i = 0;
  for (unsigned r = 0; r < 16; r++) {
    if (list >> r & 1) words[i++] = r == 15 ? t.reg(15) : t.b.get(Type::I32, user_register_offset(t, r));
  }
  const s32 offset = start_offset(count, bit(insn, 23), bit(insn, 24));
  store_words(t, t.b.add(t.reg(n), static_cast<u32>(offset)), count, words);
}

// LDM with S: without r15 User mode's registers, with it an exception return.
void ldm_user(Translator& t, u32 insn) {
  const u16 list = static_cast<u16>(insn);
  const unsigned n = field(insn, 16, 4), count = static_cast<unsigned>(std::popcount(list));
  const bool returns = list >> 15, increment = bit(insn, 23);
  if (!t.privileged() || t.cpu_mode() == Mode::sys || !count || n == 15) return t.undefined();
  const Ref base = t.reg(n);
  Words words;
  load_words(t, t.b.add(base, static_cast<u32>(start_offset(count, increment, bit(insn, 24)))), count, words);
  if (bit(insn, 21)) t.set_reg(n, base_after(t, base, count, increment));
  unsigned i = 0;
  for (unsigned r = 0; r < 15; r++) {
    if (!(list >> r & 1)) continue;
    if (returns) t.set_reg(r, words[i++]);
    else t.b.set(Type::I32, user_register_offset(t, r), words[i++]);
  }
  if (returns) exception_return(t, words[i]);
}

void srs(Translator& t, u32 insn) {
  store_return_state(t, field(insn, 0, 5), bit(insn, 23), bit(insn, 24), bit(insn, 21));
}
void rfe(Translator& t, u32 insn) {
  return_from_exception(t, field(insn, 16, 4), bit(insn, 23), bit(insn, 24), bit(insn, 21));
}

}  // namespace a32

// ---- T32: increment after, or decrement before ----

namespace t32 {

namespace {
// One register, or writing back a base that is in the list, is unpredictable: taken as undefined.
bool bad_list(u32 insn) {
  return std::popcount(insn & 0xffff) < 2 || (bit(insn, 21) && insn >> field(insn, 16, 4) & 1);
}
}  // namespace

void ldm(Translator& t, u32 insn) {
  const u16 list = static_cast<u16>(insn);
  if (bad_list(insn)) return t.undefined();
  load_multiple(t, field(insn, 16, 4), list, bit(insn, 23), bit(insn, 24), bit(insn, 21));
}
void stm(Translator& t, u32 insn) {
  const u16 list = static_cast<u16>(insn);
  if (bad_list(insn)) return t.undefined();
  store_multiple(t, field(insn, 16, 4), list, bit(insn, 23), bit(insn, 24), bit(insn, 21));
}
void srs(Translator& t, u32 insn) {
  store_return_state(t, field(insn, 0, 5), bit(insn, 23), bit(insn, 24), bit(insn, 21));
}
void rfe(Translator& t, u32 insn) {
  return_from_exception(t, field(insn, 16, 4), bit(insn, 23), bit(insn, 24), bit(insn, 21));
}

}  // namespace t32

}  // namespace rhea::arm
