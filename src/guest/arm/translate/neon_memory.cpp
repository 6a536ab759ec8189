// SPDX-License-Identifier: MIT
// Advanced SIMD element and structure loads and stores (DDI 0406C, A7.7).
//
// "Multiple" forms move whole registers: one group of consecutive bytes, which is taken apart or put together with
// permutations of lanes (structures of three: with table lookups). A group is a copy of memory; in big-endian mode
// the bytes of each element are reversed. With SCTLR.A set, elements of less than a word are accessed one by one: a
// fault in their middle leaves registers that the repeated instruction loads again. "Single" forms move one element
// of each register, or load it into all lanes. Addresses are checked for the alignment that the encoding states, or
// that of an element when every access is to be aligned.
#include <array>

#include "guest/arm/translate/neon.h"

namespace rhea::arm::neon {

namespace {

struct Transfer {
  Transfer(Translator& translator, u32 insn, bool is_load)
      : t(translator), s(translator, insn, false), load(is_load), base(bits(insn, 16, 4)), index(bits(insn, 0, 4)),
        address(translator.reg(base)) {}

  Translator& t;
  Simd s;
  bool load;
  unsigned base, index;
  Ref address;
  unsigned structure = 1;  // registers of one structure
  unsigned repeat = 1;     // consecutive registers for each of them
  unsigned step = 1;       // from one register of a structure to the next
  unsigned bytes = 1;      // of an element
  unsigned alignment = 1;

  unsigned last() const { return s.d + (structure - 1) * step + repeat - 1; }
  bool big_endian() const { return t.mode & kModeBigEndian; }
  // Every access is to be aligned (SCTLR.A), and elements are smaller than the words that groups are checked for.
  bool element_wise() const { return (t.mode & kModeAlign) && bytes < 4; }
  void check() {
    const unsigned needed = t.mode & kModeAlign ? std::max(alignment, bytes) : alignment;
    check_alignment(t, address, needed, !load);
  }
  void write_back(unsigned size) {
    if (index == 15) return;
    t.set_reg(base, index == 13 ? t.b.add(address, size) : t.b.add(address, t.reg(index)));
  }
};

// ---- multiple structures -----------------------------------------------------------------------------------

// 8 or 16 consecutive bytes of memory, and their elements as lanes.
Ref turn_round(const Transfer& x, Ref value) {
  if (!x.big_endian() || x.bytes == 1) return value;
  return x.s.op(x.bytes == 2 ? Op::VRev16 : x.bytes == 4 ? Op::VRev32 : Op::VRev64, 8, value);
}
// Where a group is not possible `group` is the address.
Ref read(const Transfer& x, Ref group, unsigned offset, bool wide) {
  if (x.element_wise()) {
    Ref value = x.s.zero();
    for (unsigned i = 0; i < (wide ? 16 : 8) / x.bytes; i++) {
      const Ref element = x.t.b.load(8 * x.bytes, x.t.b.add(group, offset + i * x.bytes), x.t.mem_flags());
      value = x.s.op(Op::VSetLane, 8 * x.bytes, value, element, kNone, i);
    }
    return value;
  }
  const Ref value =
      x.t.b.emit(Op::PtrLoad, wide ? Type::V128 : Type::V64, group, kNone, kNone, offset, wide ? 128 : 64);
  return turn_round(x, value);
}
void write(const Transfer& x, Ref group, unsigned offset, bool wide, Ref value) {
  if (x.element_wise()) {
    for (unsigned i = 0; i < (wide ? 16 : 8) / x.bytes; i++) {
      const Ref element = x.t.b.emit(Op::VGetLane, Type::I32, value, kNone, kNone, i, static_cast<u8>(8 * x.bytes));
      x.t.b.store(8 * x.bytes, x.t.b.add(group, offset + i * x.bytes), element, x.t.mem_flags());
    }
    return;
  }
  x.t.b.emit(Op::PtrStore, wide ? Type::V128 : Type::V64, group, turn_round(x, value), kNone, offset, wide ? 128 : 64);
}

// Two registers that follow each other, as one vector.
void set_pair(const Simd& s, unsigned reg, Ref value) {
  if (!(reg & 1)) return s.set_quad(reg, value);
  s.set_double(reg, s.op(Op::VLow64, 64, value));
  s.set_double(reg + 1, s.op(Op::VHigh64, 64, value));
}
Ref get_pair(const Simd& s, unsigned reg) {
  if (!(reg & 1)) return s.quad_(reg);
  return s.op(Op::VJoin64, 64, s.double_(reg), s.double_(reg + 1));
}

void one_register_each(const Transfer& x, Ref group) {
  for (unsigned i = 0; i < x.repeat;) {
    const bool pair = i + 1 < x.repeat && !((x.s.d + i) & 1);
    const unsigned reg = x.s.d + i;
    if (!x.load) write(x, group, 8 * i, pair, pair ? x.s.quad_(reg) : x.s.double_(reg));
    else if (pair) x.s.set_quad(reg, read(x, group, 8 * i, true));
    else x.s.set_double(reg, read(x, group, 8 * i, false));
    i += pair ? 2 : 1;
  }
}

void structures_of_two(const Transfer& x, Ref group) {
  const Simd& s = x.s;
  const unsigned lane = 8 * x.bytes, second = s.d + x.step;
  const bool pairs = x.repeat == 2;
  if (x.load) {
    const Ref a = read(x, group, 0, true), b = pairs ? read(x, group, 16, true) : a;
    const Ref even = s.op(Op::VUnzipEven, lane, a, b), odds = s.op(Op::VUnzipOdd, lane, a, b);
    if (pairs) {
      set_pair(s, s.d, even);
      set_pair(s, second, odds);
    } else {
      s.set_double(s.d, even);
      s.set_double(second, odds);
    }
    return;
  }
  const Ref a = pairs ? get_pair(s, s.d) : s.double_(s.d), b = pairs ? get_pair(s, second) : s.double_(second);
  write(x, group, 0, true, s.op(Op::VZipLo, lane, a, b));
  if (pairs) write(x, group, 16, true, s.op(Op::VZipHi, lane, a, b));
}

// Eight table indices in one constant.
template <typename Source>
Ref lookup(const Simd& s, Ref low, Ref high, Source source) {
  u64 indices = 0;
  for (unsigned i = 0; i < 8; i++) indices |= u64{source(i)} << (8 * i);
  return s.op(Op::VTableLookup, 8, s.constant(indices), low, high, 24);
}

void structures_of_three(const Transfer& x, Ref group) {
  const Simd& s = x.s;
  const unsigned size = x.bytes;
  if (x.load) {
    const Ref low = read(x, group, 0, true), high = read(x, group, 16, false);
    for (unsigned r = 0; r < 3; r++) {
      s.set_double(s.d + r * x.step,
                   lookup(s, low, high, [&](unsigned i) { return (i / size * 3 + r) * size + i % size; }));
    }
    return;
  }
  const Ref low = s.op(Op::VJoin64, 64, s.double_(s.d), s.double_(s.d + x.step));
  const Ref high = s.double_(s.d + 2 * x.step);
  for (unsigned part = 0; part < 3; part++) {
    write(x, group, 8 * part, false, lookup(s, low, high, [&](unsigned i) {
            const unsigned element = (8 * part + i) / size;
            return element % 3 * 8 + element / 3 * size + i % size;
          }));
  }
}

void structures_of_four(const Transfer& x, Ref group) {
  const Simd& s = x.s;
  const unsigned lane = 8 * x.bytes;
  if (x.load) {
    const Ref a = read(x, group, 0, true), b = read(x, group, 16, true);
    const Ref first_third = s.op(Op::VUnzipEven, lane, a, b), second_fourth = s.op(Op::VUnzipOdd, lane, a, b);
    const Ref first_second = s.op(Op::VUnzipEven, lane, first_third, second_fourth);
    const Ref third_fourth = s.op(Op::VUnzipOdd, lane, first_third, second_fourth);
    s.set_double(s.d, s.op(Op::VLow64, 64, first_second));
    s.set_double(s.d + x.step, s.op(Op::VHigh64, 64, first_second));
    s.set_double(s.d + 2 * x.step, s.op(Op::VLow64, 64, third_fourth));
    s.set_double(s.d + 3 * x.step, s.op(Op::VHigh64, 64, third_fourth));
    return;
  }
  const Ref odds = s.op(Op::VZipLo, lane, s.double_(s.d), s.double_(s.d + 2 * x.step));
  const Ref evens = s.op(Op::VZipLo, lane, s.double_(s.d + x.step), s.double_(s.d + 3 * x.step));
  write(x, group, 0, true, s.op(Op::VZipLo, lane, odds, evens));
  write(x, group, 16, true, s.op(Op::VZipHi, lane, odds, evens));
}

// The type field: structure, repeat, step; and which alignment fields there are (a mask of 1 << align).
struct Form {
  u8 structure = 0, repeat = 0, step = 0, aligns = 0;
};
constexpr std::array<Form, 16> kForms = [] {
  std::array<Form, 16> forms{};
  forms[0b0111] = {1, 1, 1, 0b0011};
  forms[0b1010] = {1, 2, 1, 0b0111};
  forms[0b0110] = {1, 3, 1, 0b0011};
  forms[0b0010] = {1, 4, 1, 0b1111};
  forms[0b1000] = {2, 1, 1, 0b0111};
  forms[0b1001] = {2, 1, 2, 0b0111};
  forms[0b0011] = {2, 2, 2, 0b1111};
  forms[0b0100] = {3, 1, 1, 0b0011};
  forms[0b0101] = {3, 1, 2, 0b0011};
  forms[0b0000] = {4, 1, 1, 0b1111};
  forms[0b0001] = {4, 1, 2, 0b1111};
  return forms;
}();

void multiple(Translator& t, u32 insn, bool load) {
  if (!neon_enabled(t)) return;
  const Form form = kForms[bits(insn, 8, 4)];
  const unsigned size = bits(insn, 6, 2), align = bits(insn, 4, 2);
  if (!(form.aligns >> align & 1) || (size == 3 && form.structure > 1)) return t.undefined();
  Transfer x(t, insn, load);
  x.structure = form.structure;
  x.repeat = form.repeat;
  x.step = form.step;
  x.bytes = 1 << size;
  x.alignment = align ? 4u << align : 1;
  if (x.base == 15 || x.last() > 31) return t.undefined();  // UNPREDICTABLE
  x.check();
  const unsigned total = 8 * x.structure * x.repeat;
  const bool grouped = !x.element_wise();
  const Ref group =
      !grouped ? x.address : t.b.emit(load ? Op::GroupRead : Op::GroupWrite, Type::I64, x.address, kNone, kNone, total);
  switch (x.structure) {
    case 1: one_register_each(x, group); break;
    case 2: structures_of_two(x, group); break;
    case 3: structures_of_three(x, group); break;
    case 4: structures_of_four(x, group); break;
  }
  if (!load && grouped) t.b.emit(Op::GroupCommit, Type::Void, group);
  x.write_back(total);
}

// ---- single structures ---------------------------------------------------------------------------------------

// The index_align field (table A7-20 and the instructions' descriptions): false for undefined encodings.
bool decode_lane(Transfer& x, u32 insn, unsigned& lane) {
  const u32 field = bits(insn, 4, 4);
  const unsigned size = bits(insn, 10, 2), low = field & ((1u << size) - 1) & 3;
  x.bytes = 1 << size;
  lane = field >> (size + 1);
  x.step = size && bit(field, size) ? 2 : 1;
  const bool low_bit = field & 1;
  switch (x.structure) {
    case 1:
      if (bit(field, size) || (size == 2 && low != 0 && low != 3)) return false;
      x.alignment = size && low ? x.bytes : 1;
      return true;
    case 2:
      if (size == 2 && (field & 2)) return false;
      x.alignment = low_bit ? 2 * x.bytes : 1;
      return true;
    case 3: return size == 2 ? !low : !low_bit;
    default:
      if (size == 2 && low == 3) return false;
      x.alignment = size == 2 ? (low ? 4u << low : 1) : low_bit ? 4 * x.bytes : 1;
      return true;
  }
}

// Element accesses; all of them come before any register is written.
Ref load_element(const Transfer& x, unsigned i) {
  const Ref address = x.t.b.add(x.address, i * x.bytes);
  return x.t.b.load(8 * x.bytes, address, x.t.mem_flags());
}

void one_lane(Translator& t, u32 insn, bool load) {
  if (!neon_enabled(t)) return;
  Transfer x(t, insn, load);
  unsigned lane = 0;
  x.structure = bits(insn, 8, 2) + 1;
  if (bits(insn, 10, 2) == 3 || !decode_lane(x, insn, lane)) return t.undefined();
  if (x.base == 15 || x.last() > 31) return t.undefined();  // UNPREDICTABLE
  x.check();
  std::array<Ref, 4> elements{};
  for (unsigned i = 0; i < x.structure; i++) {
    if (load) {
      elements[i] = load_element(x, i);
      continue;
    }
    const Ref value = t.b.emit(Op::VGetLane, Type::I32, x.s.double_(x.s.d + i * x.step), kNone, kNone, lane,
                               static_cast<u8>(8 * x.bytes));
    t.b.store(8 * x.bytes, t.b.add(x.address, i * x.bytes), value, t.mem_flags());
  }
  for (unsigned i = 0; load && i < x.structure; i++) {
    const unsigned reg = x.s.d + i * x.step;
    x.s.set_double(reg, x.s.op(Op::VSetLane, 8 * x.bytes, x.s.double_(reg), elements[i], kNone, lane));
  }
  x.write_back(x.structure * x.bytes);
}

}  // namespace

void vld_multiple(Translator& t, u32 insn) { multiple(t, insn, true); }
void vst_multiple(Translator& t, u32 insn) { multiple(t, insn, false); }
void vld_lane(Translator& t, u32 insn) { one_lane(t, insn, true); }
void vst_lane(Translator& t, u32 insn) { one_lane(t, insn, false); }

void vld_all_lanes(Translator& t, u32 insn) {
  if (!neon_enabled(t)) return;
  Transfer x(t, insn, true);
  const unsigned size = bits(insn, 6, 2);
  const bool two = bit(insn, 5), aligned = bit(insn, 4);
  x.structure = bits(insn, 8, 2) + 1;
  x.bytes = size == 3 ? 4 : 1u << size;
  if (x.structure == 1) x.repeat = two ? 2 : 1;
  else x.step = two ? 2 : 1;
  if (aligned) x.alignment = size == 3 ? 16 : x.structure == 4 && size == 2 ? 8 : x.structure * x.bytes;
  const bool there_is = x.structure == 4 ? size != 3 || aligned
                                         : size != 3 && !(aligned && (x.structure == 3 || (x.structure == 1 && !size)));
  if (!there_is || x.base == 15 || x.last() > 31) return t.undefined();  // the latter: UNPREDICTABLE
  x.check();
  std::array<Ref, 4> elements{};
  for (unsigned i = 0; i < x.structure; i++) elements[i] = load_element(x, i);
  for (unsigned i = 0; i < x.structure; i++) {
    const Ref all = x.s.op(Op::VDup, 8 * x.bytes, elements[i]);
    for (unsigned r = 0; r < x.repeat; r++) x.s.set_double(x.s.d + i * x.step + r, all);
  }
  x.write_back(x.structure * x.bytes);
}

}  // namespace rhea::arm::neon
