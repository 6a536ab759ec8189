// SPDX-License-Identifier: MIT
// VFP loads and stores, and moves between core registers and extension registers or FP system registers.
#include "guest/arm/cpu.h"
#include "guest/arm/translate/vfp.h"

namespace rhea::arm {

void check_alignment(Translator& t, Ref address, u32 alignment, bool store) {
  if (alignment <= 1) return;
  t.b.emit(Op::CheckAligned, Type::Void, address, ir::kNoRef, ir::kNoRef, static_cast<u64>(HelperId::alignment_fault),
           static_cast<u8>(alignment), store);
}

namespace vfp {

namespace {

// Flags of word-aligned accesses.
u8 word_flags(const Translator& t) { return static_cast<u8>(t.mem_flags() | ir::kAligned); }
bool big_endian(const Translator& t) { return t.mode & kModeBigEndian; }

Ref base(Translator& t, unsigned n) { return n == 15 ? t.b.const32(t.aligned_pc()) : t.reg(n); }

// Groups are copies of memory; big-endian values are turned round here.
void load_register(Translator& t, Ref group, u32 offset, bool is_double, unsigned n) {
  const Type type = is_double ? Type::F64 : Type::F32;
  const u8 bits = is_double ? 64 : 32;
  const u32 slot = is_double ? offset_d(n) : offset_s(n);
  if (!big_endian(t)) {
    t.b.set(type, slot, t.b.emit(Op::PtrLoad, type, group, ir::kNoRef, ir::kNoRef, offset, bits));
    return;
  }
  const Type integer = is_double ? Type::I64 : Type::I32;
  const Ref value = t.b.emit(Op::PtrLoad, integer, group, ir::kNoRef, ir::kNoRef, offset, bits);
  t.b.set(integer, slot, t.b.op1(Op::Bswap, integer, value));
}

void store_register(Translator& t, Ref group, u32 offset, bool is_double, unsigned n) {
  const u8 bits = is_double ? 64 : 32;
  const u32 slot = is_double ? offset_d(n) : offset_s(n);
  if (!big_endian(t)) {
    const Type type = is_double ? Type::F64 : Type::F32;
    t.b.emit(Op::PtrStore, type, group, t.b.get(type, slot), ir::kNoRef, offset, bits);
    return;
  }
  const Type integer = is_double ? Type::I64 : Type::I32;
  const Ref value = t.b.op1(Op::Bswap, integer, t.b.get(integer, slot));
  t.b.emit(Op::PtrStore, integer, group, value, ir::kNoRef, offset, bits);
}

// A run of registers at an address, all or nothing.
void transfer(Translator& t, bool load, Ref address, bool is_double, unsigned first, unsigned count) {
  const unsigned size = is_double ? 8 : 4;
  const u8 flags = static_cast<u8>(word_flags(t) & ~ir::kBigEndian);
  const Ref group = t.b.emit(load ? Op::GroupRead : Op::GroupWrite, Type::I64, address, ir::kNoRef, ir::kNoRef,
                             size * count, 0, flags);
  for (unsigned i = 0; i < count; i++) {
    if (load) load_register(t, group, i * size, is_double, first + i);
    else store_register(t, group, i * size, is_double, first + i);
  }
  if (!load) t.b.emit(Op::GroupCommit, Type::Void, group);
}

void single_transfer(Translator& t, u32 insn, bool load) {
  if (!fp_enabled(t)) return;
  const unsigned n = bits(insn, 16, 4);
  const u32 offset = bits(insn, 0, 8) * 4;
  const Ref address = t.b.add(base(t, n), bit(insn, 23) ? offset : -offset);
  if (bit(insn, 8)) return transfer(t, load, address, true, field_d(insn), 1);
  const u32 slot = offset_s(single_d(insn));
  if (load) {
    t.b.set(Type::F32, slot, t.b.emit(Op::LoadF, Type::F32, address, ir::kNoRef, ir::kNoRef, 0, 32, word_flags(t)));
  } else {
    t.b.emit(Op::StoreF, Type::F32, address, t.b.get(Type::F32, slot), ir::kNoRef, 0, 32, word_flags(t));
  }
}

// VLDM, VSTM and FLDMX, FSTMX (an odd word count for doubles: one word more of address space).
void multiple(Translator& t, u32 insn, bool load) {
  if (!fp_enabled(t)) return;
  const bool is_double = bit(insn, 8), writeback = bit(insn, 21), increment = bit(insn, 23);
  const unsigned n = bits(insn, 16, 4), words = bits(insn, 0, 8);
  const unsigned first = is_double ? field_d(insn) : single_d(insn);
  const unsigned count = is_double ? words / 2 : words;
  // UNPREDICTABLE encodings are undefined here.
  if (!count || count > (is_double ? 16u : 32u) || first + count > 32) return t.undefined();
  if (n == 15 && (writeback || t.thumb())) return t.undefined();
  const Ref start = t.reg(n);
  const Ref address = increment ? start : t.b.add(start, -(words * 4));
  transfer(t, load, address, is_double, first, count);
  if (writeback) t.set_reg(n, increment ? t.b.add(start, words * 4) : address);
}

}  // namespace

void vldr(Translator& t, u32 insn) { single_transfer(t, insn, true); }
void vstr(Translator& t, u32 insn) { single_transfer(t, insn, false); }
void vldm(Translator& t, u32 insn) { multiple(t, insn, true); }
void vstm(Translator& t, u32 insn) { multiple(t, insn, false); }

void vmov_single_from_core(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  t.b.set(Type::I32, offset_s(single_n(insn)), t.reg(bits(insn, 12, 4)));
}

void vmov_core_from_single(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  const unsigned core = bits(insn, 12, 4);
  if (core == 15) return t.undefined();
  t.set_reg(core, t.b.get(Type::I32, offset_s(single_n(insn))));
}

namespace {

// opc1:opc2 of the moves between core register and scalar.
struct Scalar {
  unsigned lane = 0;  // bits
  unsigned index = 0;
  bool ok = false;  // an encoding that there is
};
Scalar scalar(u32 insn) {
  const unsigned opc = bits(insn, 21, 2) << 2 | bits(insn, 5, 2);
  if (opc & 8) return {8, opc & 7, true};
  if (opc & 1) return {16, bits(opc, 1, 2), true};
  if (opc & 2) return {};
  return {32, bit(opc, 2), true};
}

}  // namespace

void vmov_scalar_from_core(Translator& t, u32 insn) {
  const Scalar to = scalar(insn);
  if (!(to.lane == 32 ? fp_enabled(t) : neon_enabled(t))) return;
  if (!to.ok) return t.undefined();
  const u32 slot = offset_d(field_n(insn));
  const Ref value = t.reg(bits(insn, 12, 4));
  if (to.lane == 32) return t.b.set(Type::I32, slot + 4 * to.index, value);
  t.b.set(Type::V64, slot,
          t.b.emit(Op::VSetLane, Type::V128, t.b.get(Type::V64, slot), value, ir::kNoRef, to.index,
                   static_cast<u8>(to.lane)));
}

void vmov_core_from_scalar(Translator& t, u32 insn) {
  const Scalar from = scalar(insn);
  if (!(from.lane == 32 ? fp_enabled(t) : neon_enabled(t))) return;
  const bool is_unsigned = bit(insn, 23);
  const unsigned core = bits(insn, 12, 4);
  if (!from.ok || core == 15 || (from.lane == 32 && is_unsigned)) return t.undefined();
  const u32 slot = offset_d(field_n(insn));
  if (from.lane == 32) return t.set_reg(core, t.b.get(Type::I32, slot + 4 * from.index));
  t.set_reg(core, t.b.emit(Op::VGetLane, Type::I32, t.b.get(Type::V64, slot), ir::kNoRef, ir::kNoRef, from.index,
                           static_cast<u8>(from.lane), !is_unsigned));
}

void vdup_core(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  const bool quad = bit(insn, 21), byte = bit(insn, 22), half = bit(insn, 5);
  const unsigned d = field_n(insn);
  if ((quad && (d & 1)) || (byte && half)) return t.undefined();
  const u8 lane = byte ? 8 : half ? 16 : 32;
  const Ref value = t.b.emit(Op::VDup, Type::V128, t.reg(bits(insn, 12, 4)), ir::kNoRef, ir::kNoRef, 0, lane);
  t.b.set(quad ? Type::V128 : Type::V64, offset_d(d), value);
}

namespace {

void two_registers(Translator& t, u32 insn, u32 slot) {
  const unsigned first = bits(insn, 12, 4), second = bits(insn, 16, 4);
  const bool to_core = bit(insn, 20);
  // UNPREDICTABLE encodings are undefined here.
  if (first == 15 || second == 15 || (to_core && first == second)) return t.undefined();
  if (to_core) {
    const Ref low = t.b.get(Type::I32, slot), high = t.b.get(Type::I32, slot + 4);
    t.set_reg(first, low);
    t.set_reg(second, high);
  } else {
    t.b.set(Type::I32, slot, t.reg(first));
    t.b.set(Type::I32, slot + 4, t.reg(second));
  }
}

}  // namespace

void vmov_singles_from_core(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  if (single_m(insn) == 31) return t.undefined();
  two_registers(t, insn, offset_s(single_m(insn)));
}
void vmov_core_from_singles(Translator& t, u32 insn) { vmov_singles_from_core(t, insn); }
void vmov_double_from_core(Translator& t, u32 insn) {
  if (fp_enabled(t)) two_registers(t, insn, offset_d(field_m(insn)));
}
void vmov_core_from_double(Translator& t, u32 insn) { vmov_double_from_core(t, insn); }

void vmrs_flags(Translator& t, u32) {
  if (!fp_enabled(t)) return;
  t.b.emit(Op::SetFlagsImage, Type::Void, t.b.get(Type::I32, offsetof(State, fpscr_nzcv)), ir::kNoRef, ir::kNoRef, 0, 0,
           ir::kFlagNZCV);
  t.flags_written();
}

void vmrs(Translator& t, u32 insn) {
  if (fp_enabled(t))
    t.set_reg(bits(insn, 12, 4), t.call(HelperId::vfp_read_fpscr, t.b.get(Type::I32, offsetof(State, fpscr_nzcv))));
}

void vmsr(Translator& t, u32 insn) {
  if (!fp_enabled(t)) return;
  t.call(HelperId::vfp_write_fpscr, t.reg(bits(insn, 12, 4)), t.b.const32(t.next_mode()), t.b.const32(t.next_pc),
         Type::Void);
  t.exit_dispatch();
}

// FPSID, MVFR1, MVFR0, FPEXC: privileged, and accessible while FPEXC.EN is 0.
void vmrs_system(Translator& t, u32 insn) {
  const unsigned core = bits(insn, 12, 4);
  if (!(t.mode & kModeFpAccess) || !t.privileged() || core == 15) return t.undefined();
  switch (bits(insn, 16, 4)) {
    case 0: return t.set_reg(core, t.b.const32(t.cpu.model().fpsid));
    case 6: return t.set_reg(core, t.b.const32(t.cpu.model().mvfr1));
    case 7: return t.set_reg(core, t.b.const32(t.cpu.model().mvfr0));
    case 8: return t.set_reg(core, t.b.get(Type::I32, offsetof(State, fpexc)));
    default: return t.undefined();
  }
}

void vmsr_system(Translator& t, u32 insn) {
  if (!(t.mode & kModeFpAccess) || !t.privileged()) return t.undefined();
  switch (bits(insn, 16, 4)) {
    case 0:
    case 6:
    case 7: return;  // read-only: ignored
    case 8: break;
    default: return t.undefined();
  }
  t.call(HelperId::vfp_write_fpexc, t.reg(bits(insn, 12, 4)), t.b.const32(t.next_mode()), t.b.const32(t.next_pc),
         Type::Void);
  t.exit_dispatch();
}

}  // namespace vfp

}  // namespace rhea::arm
