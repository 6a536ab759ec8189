// SPDX-License-Identifier: MIT
// Decoding: rows are compiled from their patterns, and found through an index on the bits that tell most rows
// apart. Within one slot of the index rows are ordered by their number of fixed bits, so that the first match is
// the most specific one.
#include "guest/arm/decode.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

namespace rhea::arm {

#define INST(handler, ...) void handler(Translator& t, u32 insn);
namespace a32 {
#include "guest/arm/decode/a32.inc"
}
namespace t16 {
#include "guest/arm/decode/t16.inc"
}
namespace t32 {
#include "guest/arm/decode/t32.inc"
}
namespace vfp {
#include "guest/arm/decode/vfp.inc"
}
namespace neon {
#include "guest/arm/decode/neon.inc"
}
#undef INST

namespace {

constexpr u32 letter_mask(std::string_view pattern, char letter) {
  u32 mask = 0;
  for (const char c : pattern) mask = mask << 1 | (c == letter);
  return mask;
}

constexpr Row make_row(Handler handler, std::string_view name, std::string_view pattern, u32 flags, Table table) {
  const u32 ones = letter_mask(pattern, '1');
  return Row{.handler = handler,
             .name = name,
             .pattern = pattern,
             .flags = flags,
             .mask = ones | letter_mask(pattern, '0'),
             .value = ones,
             .d_mask = letter_mask(pattern, 'd'),
             .s_mask = letter_mask(pattern, 's'),
             .zero_mask = letter_mask(pattern, 'z'),
             .one_mask = letter_mask(pattern, 'o'),
             .table = table};
}

// One row more than there are: a table may still be empty.
#define INST(handler, name, pattern, flags) make_row(&RHEA_TABLE::handler, name, pattern, flags, Table::RHEA_TABLE),
#define RHEA_TABLE a32
constexpr Row kA32[] = {
#include "guest/arm/decode/a32.inc"
    Row{}};
#undef RHEA_TABLE
#define RHEA_TABLE t16
constexpr Row kT16[] = {
#include "guest/arm/decode/t16.inc"
    Row{}};
#undef RHEA_TABLE
#define RHEA_TABLE t32
constexpr Row kT32[] = {
#include "guest/arm/decode/t32.inc"
    Row{}};
#undef RHEA_TABLE
#define RHEA_TABLE vfp
constexpr Row kVfp[] = {
#include "guest/arm/decode/vfp.inc"
    Row{}};
#undef RHEA_TABLE
#define RHEA_TABLE neon
constexpr Row kNeon[] = {
#include "guest/arm/decode/neon.inc"
    Row{}};
#undef RHEA_TABLE
#undef INST

using RowList = std::vector<const Row*>;

// Slots of an index: `bits` names the instruction bits that make a slot's number.
struct Index {
  Index(RowList rows, u32 index_bits) : bits(index_bits) {
    find_runs();
    const u32 slots = 1u << std::popcount(bits);
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row* a, const Row* b) { return std::popcount(a->mask) > std::popcount(b->mask); });
    // Each row goes into the slots that agree with it in the bits that both look at: counted first, then placed.
    start.assign(slots + 1, 0);
    for (const Row* row : rows) for_slots(*row, [&](u32 slot) { ++start[slot + 1]; });
    for (u32 slot = 0; slot < slots; ++slot) start[slot + 1] += start[slot];
    list.resize(start[slots]);
    std::vector<u32> next(start.begin(), start.end() - 1);
    for (const Row* row : rows) for_slots(*row, [&](u32 slot) { list[next[slot]++] = row; });
  }

  const Row* find(u32 insn) const {
    const u32 slot = slot_of(insn);
    for (u32 i = start[slot]; i < start[slot + 1]; i++) {
      if ((insn & list[i]->mask) == list[i]->value) return list[i];
    }
    return nullptr;
  }

  // extract(insn, bits), run by run.
  u32 slot_of(u32 insn) const {
    u32 slot = 0;
    for (const Run& run : runs) slot |= (insn & run.mask) >> run.shift;
    return slot;
  }
  void find_runs() {
    unsigned placed = 0;
    for (u32 left = bits; left;) {
      const unsigned low = static_cast<unsigned>(std::countr_zero(left));
      const unsigned count = static_cast<unsigned>(std::countr_one(left >> low));
      const u32 mask = ((u32{1} << count) - 1) << low;
      runs.push_back({mask, low - placed});
      placed += count;
      left &= ~mask;
    }
  }

  template <typename F>
  void for_slots(const Row& row, F&& each) const {
    const u32 fixed = extract(row.value & row.mask, bits), open = extract(~row.mask, bits);
    for (u32 part = open;; part = (part - 1) & open) {
      each(fixed | part);
      if (part == 0) return;
    }
  }

  struct Run {
    u32 mask = 0;
    unsigned shift = 0;
  };
  u32 bits;
  std::vector<Run> runs;  // of the ones in `bits`
  std::vector<u32> start;
  RowList list;
};

RowList rows_of(Table table) {
  RowList list;
  for (const Row& row : decode_rows(table)) list.push_back(&row);
  return list;
}

// A32's unconditional space (condition 1111) has rows of its own.
RowList a32_rows(bool unconditional) {
  RowList list = rows_of(Table::a32);
  std::erase_if(list, [&](const Row* row) { return (row->mask >> 28 == 15) != unconditional; });
  return list;
}

struct Decoder {
  Index a32_conditional{a32_rows(false), 0x0ff000f0};
  Index a32_unconditional{a32_rows(true), 0x0ff00000};
  Index t16{rows_of(Table::t16), 0xffc0};
  Index t32{rows_of(Table::t32), 0x1ff080f0};
  Index vfp{rows_of(Table::vfp), 0x0fb00050};
  Index neon{rows_of(Table::neon), 0x01b00f50};
};

const Decoder& decoder() {
  static const Decoder instance;
  return instance;
}

const Row* decode_a32_neon(u32 insn) { return decoder().neon.find(insn); }

// Advanced SIMD in A32: data processing 1111001u, element loads and stores 11110100xxx0.
constexpr bool is_neon(u32 insn) { return (insn & 0xfe000000) == 0xf2000000 || (insn & 0xff100000) == 0xf4000000; }
// Coprocessors 10 and 11.
constexpr bool is_vfp(u32 insn) { return (insn & 0x0e000e00) == 0x0c000a00 || (insn & 0x0f000e00) == 0x0e000a00; }

}  // namespace

std::span<const Row> decode_rows(Table table) {
  switch (table) {
    case Table::a32: return {kA32, std::size(kA32) - 1};
    case Table::t16: return {kT16, std::size(kT16) - 1};
    case Table::t32: return {kT32, std::size(kT32) - 1};
    case Table::vfp: return {kVfp, std::size(kVfp) - 1};
    case Table::neon: break;
  }
  return {kNeon, std::size(kNeon) - 1};
}

const Row* decode_a32(u32 insn) {
  if (insn >> 28 == 15) {
    if (is_neon(insn)) return decode_a32_neon(insn);
    return decoder().a32_unconditional.find(insn);
  }
  if (is_vfp(insn)) return decoder().vfp.find(insn);
  return decoder().a32_conditional.find(insn);
}

const Row* decode_t16(u16 insn) { return decoder().t16.find(insn); }

const Row* decode_t32(u32& insn) {
  if ((insn & 0xef000000) == 0xef000000) {  // 111u1111: Advanced SIMD data processing
    insn = 0xf2000000 | (insn >> 28 & 1) << 24 | (insn & 0x00ffffff);
    return decode_a32_neon(insn);
  }
  if ((insn & 0xff100000) == 0xf9000000) {  // element and structure loads and stores
    insn = 0xf4000000 | (insn & 0x00ffffff);
    return decode_a32_neon(insn);
  }
  if (insn >> 28 == 14 && is_vfp(insn)) return decoder().vfp.find(insn);
  return decoder().t32.find(insn);
}

}  // namespace rhea::arm
