// SPDX-License-Identifier: MIT
// Loads and stores of one or two registers, exclusives, swaps (DDI 0406C, A4.6, A8).
//
// Registers are written after the last access that may fault, so that a fault leaves the state of before.
#include "guest/arm/translate/core.h"

namespace rhea::arm {

namespace {

unsigned bits_of(Width width) {
  switch (width) {
    case Width::byte:
    case Width::signed_byte: return 8;
    case Width::half:
    case Width::signed_half: return 16;
    case Width::word: break;
  }
  return 32;
}

u8 flags_of(Translator& t, Width width, bool unprivileged) {
  u8 flags = t.mem_flags();
  if (width == Width::signed_byte || width == Width::signed_half) flags |= ir::kSigned;
  if (unprivileged) flags |= ir::kUserAccess;
  return flags;
}

Ref access_address(Translator& t, const Addressing& address) {
  return address.pre ? address.offset_address : t.reg(address.n);
}

void write_back(Translator& t, const Addressing& address) {
  if (address.write_back && address.n != 15) t.set_reg(address.n, address.offset_address);
}

}  // namespace

Addressing address_immediate(Translator& t, unsigned n, s32 offset, bool pre, bool write_back) {
  return {n, add_folded(t, t.reg(n), static_cast<u32>(offset)), pre, write_back || !pre};
}

Addressing address_register(Translator& t, unsigned n, Ref offset, bool add, bool pre, bool write_back) {
  return {n, add ? t.b.add(t.reg(n), offset) : t.b.sub(t.reg(n), offset), pre, write_back || !pre};
}

void load_register(Translator& t, Width width, unsigned rt, const Addressing& address, bool unprivileged) {
  const Ref value = t.b.load(bits_of(width), access_address(t, address), flags_of(t, width, unprivileged));
  write_back(t, address);
  if (rt != 15) return t.set_reg(rt, value);
  // A load of the program counter from the stack is a return.
  t.branch_exchange(value, address.n == 13 && address.write_back ? ir::ExitKind::ret : ir::ExitKind::jump);
}

void store_register(Translator& t, Width width, unsigned rt, const Addressing& address, bool unprivileged) {
  t.b.store(bits_of(width), access_address(t, address), t.reg(rt), flags_of(t, width, unprivileged));
  write_back(t, address);
}

void load_literal(Translator& t, Width width, unsigned rt, u32 address) {
  const Ref value = t.b.load(bits_of(width), t.b.const32(address), flags_of(t, width, false));
  if (rt != 15) return t.set_reg(rt, value);
  t.branch_exchange(value, ir::ExitKind::jump);
}

void load_dual(Translator& t, unsigned rt, unsigned rt2, const Addressing& address) {
  ir::Builder& b = t.b;
  const u8 flags = t.mem_flags() | ir::kAligned;
  const Ref from = access_address(t, address);
  Ref low, high;
  if (flags & ir::kBigEndian) {
    low = b.load(32, from, flags);
    high = b.load(32, b.add(from, 4), flags);
  } else {
    const Ref pointer = b.emit(Op::GroupRead, Type::I64, from, ir::kNoRef, ir::kNoRef, 8, 0, flags);
    low = b.emit(Op::PtrLoad, Type::I32, pointer, ir::kNoRef, ir::kNoRef, 0, 32);
    high = b.emit(Op::PtrLoad, Type::I32, pointer, ir::kNoRef, ir::kNoRef, 4, 32);
  }
  write_back(t, address);
  t.set_reg(rt, low);
  t.set_reg(rt2, high);
}

void store_dual(Translator& t, unsigned rt, unsigned rt2, const Addressing& address) {
  ir::Builder& b = t.b;
  const u8 flags = t.mem_flags() | ir::kAligned;
  const Ref to = access_address(t, address);
  if (flags & ir::kBigEndian) {
    b.store(32, to, t.reg(rt), flags);
    b.store(32, b.add(to, 4), t.reg(rt2), flags);
  } else {
    const Ref pointer = b.emit(Op::GroupWrite, Type::I64, to, ir::kNoRef, ir::kNoRef, 8, 0, flags);
    b.emit(Op::PtrStore, Type::I32, pointer, t.reg(rt), ir::kNoRef, 0, 32);
    b.emit(Op::PtrStore, Type::I32, pointer, t.reg(rt2), ir::kNoRef, 4, 32);
    b.emit(Op::GroupCommit, Type::Void, pointer);
  }
  write_back(t, address);
}

// A doubleword in big-endian memory has the first register in its upper half.
void load_exclusive(Translator& t, unsigned width, unsigned rt, unsigned rt2, unsigned n, u32 offset) {
  if (rt == 15 || n == 15 || (width == 64 && rt2 == 15)) return t.undefined();
  ir::Builder& b = t.b;
  const u8 flags = t.mem_flags() | ir::kAligned;
  const Ref value = b.emit(Op::LoadExclusive, width == 64 ? Type::I64 : Type::I32, add_folded(t, t.reg(n), offset),
                           ir::kNoRef, ir::kNoRef, 0, static_cast<u8>(width), flags);
  if (width != 64) return t.set_reg(rt, value);
  const bool big = flags & ir::kBigEndian;
  t.set_reg(rt, b.emit(big ? Op::HighHalf : Op::Trunc, Type::I32, value));
  t.set_reg(rt2, b.emit(big ? Op::Trunc : Op::HighHalf, Type::I32, value));
}

void store_exclusive(Translator& t, unsigned width, unsigned d, unsigned rt, unsigned rt2, unsigned n, u32 offset) {
  if (d == 15 || rt == 15 || n == 15 || (width == 64 && rt2 == 15)) return t.undefined();
  ir::Builder& b = t.b;
  const u8 flags = t.mem_flags() | ir::kAligned;
  Ref value = t.reg(rt);
  if (width == 64) {
    const bool big = flags & ir::kBigEndian;
    value = b.emit(Op::Pair, Type::I64, big ? t.reg(rt2) : value, big ? value : t.reg(rt2));
  }
  const Ref failed = b.emit(Op::StoreExclusive, width == 64 ? Type::I64 : Type::I32, add_folded(t, t.reg(n), offset),
                            value, ir::kNoRef, 0, static_cast<u8>(width), flags);
  t.set_reg(d, failed);
}

// ---- A32 ----

namespace a32 {

void ldst_imm(Translator& t, u32 insn) {
  const bool pre = bit(insn, 24), write_back = bit(insn, 21);
  const unsigned rt = field(insn, 12, 4);
  const s32 imm = static_cast<s32>(field(insn, 0, 12));
  const Addressing address = address_immediate(t, field(insn, 16, 4), bit(insn, 23) ? imm : -imm, pre, write_back);
  const Width width = bit(insn, 22) ? Width::byte : Width::word;
  const bool unprivileged = !pre && write_back;
  if (bit(insn, 20)) load_register(t, width, rt, address, unprivileged);
  else store_register(t, width, rt, address, unprivileged);
}

void ldst_reg(Translator& t, u32 insn) {
  const bool pre = bit(insn, 24), write_back = bit(insn, 21);
  const unsigned rt = field(insn, 12, 4);
  const Ref offset = shift_by_field(t, t.reg(field(insn, 0, 4)), field(insn, 5, 2), field(insn, 7, 5), false).value;
  const Addressing address = address_register(t, field(insn, 16, 4), offset, bit(insn, 23), pre, write_back);
  const Width width = bit(insn, 22) ? Width::byte : Width::word;
  const bool unprivileged = !pre && write_back;
  if (bit(insn, 20)) load_register(t, width, rt, address, unprivileged);
  else store_register(t, width, rt, address, unprivileged);
}

namespace {

void extra(Translator& t, u32 insn, const Addressing& address) {
  const bool load = bit(insn, 20), unprivileged = !bit(insn, 24) && bit(insn, 21);
  const unsigned rt = field(insn, 12, 4), op = field(insn, 5, 2);
  if (!load && op != 1) {
    if (rt & 1) return t.undefined();
    return op == 2 ? load_dual(t, rt, rt + 1, address) : store_dual(t, rt, rt + 1, address);
  }
  const Width width = op == 1 ? Width::half : op == 2 ? Width::signed_byte : Width::signed_half;
  if (load) load_register(t, width, rt, address, unprivileged);
  else store_register(t, width, rt, address, unprivileged);
}

// The second register of LDRD and STRD would be r15.
bool bad_dual(u32 insn) { return !bit(insn, 20) && field(insn, 5, 2) != 1 && field(insn, 12, 4) >= 14; }

}  // namespace

void extra_imm(Translator& t, u32 insn) {
  if (bad_dual(insn)) return t.undefined();
  const s32 imm = static_cast<s32>(field(insn, 8, 4) << 4 | field(insn, 0, 4));
  extra(t, insn, address_immediate(t, field(insn, 16, 4), bit(insn, 23) ? imm : -imm, bit(insn, 24), bit(insn, 21)));
}

void extra_reg(Translator& t, u32 insn) {
  if (bad_dual(insn)) return t.undefined();
  extra(t, insn,
        address_register(t, field(insn, 16, 4), t.reg(field(insn, 0, 4)), bit(insn, 23), bit(insn, 24), bit(insn, 21)));
}

// SWP, SWPB: an exclusive pair; where another CPU came between, the instruction is done again.
void swp(Translator& t, u32 insn) {
  const unsigned rt = field(insn, 12, 4), m = field(insn, 0, 4), n = field(insn, 16, 4);
  if (rt == 15 || m == 15 || n == 15) return t.undefined();
  ir::Builder& b = t.b;
  const u8 width = bit(insn, 22) ? 8 : 32;
  const u8 flags = t.mem_flags() | ir::kAligned;
  const Ref address = t.reg(n);
  const Ref old = b.emit(Op::LoadExclusive, Type::I32, address, ir::kNoRef, ir::kNoRef, 0, width, flags);
  const Ref failed = b.emit(Op::StoreExclusive, Type::I32, address, t.reg(m), ir::kNoRef, 0, width, flags);
  const u16 done = b.new_label();
  b.branch_zero(failed, done);
  t.exit_retry();
  b.label(done);
  t.set_reg(rt, old);
}

void strex(Translator& t, u32 insn) {
  constexpr u8 kWidths[] = {32, 64, 8, 16};
  const unsigned width = kWidths[field(insn, 21, 2)], rt = field(insn, 0, 4);
  if (width == 64 && (rt & 1)) return t.undefined();
  store_exclusive(t, width, field(insn, 12, 4), rt, rt + 1, field(insn, 16, 4), 0);
}

void ldrex(Translator& t, u32 insn) {
  constexpr u8 kWidths[] = {32, 64, 8, 16};
  const unsigned width = kWidths[field(insn, 21, 2)], rt = field(insn, 12, 4);
  if (width == 64 && (rt & 1)) return t.undefined();
  load_exclusive(t, width, rt, rt + 1, field(insn, 16, 4), 0);
}

void clrex(Translator& t, u32 insn) { t.b.emit(Op::ClearExclusive, Type::Void); }
void preload(Translator& t, u32 insn) {}

}  // namespace a32

// ---- T32 ----

namespace t32 {

namespace {

Width width_of(u32 insn) {
  const bool is_signed = bit(insn, 24);
  switch (field(insn, 21, 2)) {
    case 0: return is_signed ? Width::signed_byte : Width::byte;
    case 1: return is_signed ? Width::signed_half : Width::half;
    default: return Width::word;
  }
}

// Loads of bytes and half-words to r15 are preloads and hints.
bool is_preload(u32 insn) { return bit(insn, 20) && field(insn, 12, 4) == 15 && width_of(insn) != Width::word; }

void single(Translator& t, u32 insn, const Addressing& address, bool unprivileged) {
  const unsigned rt = field(insn, 12, 4);
  if (bit(insn, 20)) return load_register(t, width_of(insn), rt, address, unprivileged);
  if (rt == 15 || field(insn, 16, 4) == 15) return t.undefined();
  store_register(t, width_of(insn), rt, address, unprivileged);
}

}  // namespace

void ldst_imm12(Translator& t, u32 insn) {
  if (is_preload(insn)) return;
  single(t, insn, address_immediate(t, field(insn, 16, 4), static_cast<s32>(field(insn, 0, 12)), true, false), false);
}

void ldst_imm8(Translator& t, u32 insn) {
  const bool pre = bit(insn, 10), up = bit(insn, 9), write_back = bit(insn, 8);
  if (!pre && !write_back) return t.undefined();
  if (is_preload(insn)) return pre && !up && !write_back ? void() : t.undefined();
  const s32 imm = static_cast<s32>(field(insn, 0, 8));
  const bool unprivileged = pre && up && !write_back;
  single(t, insn, address_immediate(t, field(insn, 16, 4), up ? imm : -imm, pre, write_back), unprivileged);
}

void ldr_literal(Translator& t, u32 insn) {
  if (is_preload(insn)) return;
  const u32 imm = field(insn, 0, 12);
  load_literal(t, width_of(insn), field(insn, 12, 4), t.aligned_pc() + (bit(insn, 23) ? imm : 0 - imm));
}

void ldst_reg(Translator& t, u32 insn) {
  if (field(insn, 16, 4) == 15) return bit(insn, 20) ? ldr_literal(t, insn) : t.undefined();
  if (is_preload(insn)) return;
  const Ref offset = t.b.shl(t.reg(field(insn, 0, 4)), field(insn, 4, 2));
  single(t, insn, address_register(t, field(insn, 16, 4), offset, true, true, false), false);
}

void ldrd(Translator& t, u32 insn) {
  const bool pre = bit(insn, 24), write_back = bit(insn, 21);
  const unsigned rt = field(insn, 12, 4), rt2 = field(insn, 8, 4), n = field(insn, 16, 4);
  if ((!pre && !write_back) || rt == 15 || rt2 == 15) return t.undefined();
  if (n == 15 && (write_back || !bit(insn, 20))) return t.undefined();
  const s32 imm = static_cast<s32>(field(insn, 0, 8) << 2), offset = bit(insn, 23) ? imm : -imm;
  Addressing address;
  if (n == 15) address = {15, t.b.const32(t.aligned_pc() + static_cast<u32>(offset)), true, false};
  else address = address_immediate(t, n, offset, pre, write_back);
  if (bit(insn, 20)) load_dual(t, rt, rt2, address);
  else store_dual(t, rt, rt2, address);
}

void strex(Translator& t, u32 insn) {
  store_exclusive(t, 32, field(insn, 8, 4), field(insn, 12, 4), 0, field(insn, 16, 4), field(insn, 0, 8) << 2);
}
void ldrex(Translator& t, u32 insn) {
  load_exclusive(t, 32, field(insn, 12, 4), 0, field(insn, 16, 4), field(insn, 0, 8) << 2);
}
void strex_narrow(Translator& t, u32 insn) {
  store_exclusive(t, bit(insn, 4) ? 16 : 8, field(insn, 0, 4), field(insn, 12, 4), 0, field(insn, 16, 4), 0);
}
void ldrex_narrow(Translator& t, u32 insn) {
  load_exclusive(t, bit(insn, 4) ? 16 : 8, field(insn, 12, 4), 0, field(insn, 16, 4), 0);
}
void strexd(Translator& t, u32 insn) {
  store_exclusive(t, 64, field(insn, 0, 4), field(insn, 12, 4), field(insn, 8, 4), field(insn, 16, 4), 0);
}
void ldrexd(Translator& t, u32 insn) {
  load_exclusive(t, 64, field(insn, 12, 4), field(insn, 8, 4), field(insn, 16, 4), 0);
}
void clrex(Translator& t, u32 insn) { t.b.emit(Op::ClearExclusive, Type::Void); }

// TBB, TBH: a branch forward by twice a table's entry.
void table_branch(Translator& t, u32 insn) {
  const unsigned n = field(insn, 16, 4), m = field(insn, 0, 4);
  const bool half = bit(insn, 4);
  if (m == 15) return t.undefined();
  const Ref address = t.b.add(t.reg(n), t.b.shl(t.reg(m), half ? 1 : 0));
  const Ref entry = t.b.load(half ? 16 : 8, address, t.mem_flags());
  t.branch_indirect(t.b.add(t.b.shl(entry, 1), t.pc_value()), ir::ExitKind::jump);
}

}  // namespace t32

}  // namespace rhea::arm
