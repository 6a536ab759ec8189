// SPDX-License-Identifier: MIT
// Makes tests from decode rows. A row's pattern gives its fixed bits and its fields by letter; fields are filled so
// that instructions stay within what is deterministic: base registers (r6..r9, sp) point into the memory window,
// index registers (r4, r5, r10, r11) are small, both are only written by write-back; results go to r0..r3, r12,
// r14. Encodings that the manual calls UNPREDICTABLE are not made.
#include <algorithm>
#include <bit>
#include <cstring>

#include "random_streams.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::streams {

using arm::Row;
using arm::Table;

namespace {

constexpr u32 kFree[] = {0, 1, 2, 3, 12, 14};
constexpr u32 kBases[] = {6, 7, 8, 9};
constexpr u32 kIndexes[] = {4, 5, 10, 11};
constexpr u32 kFreeList = 0x500f;

bool is_vector(const Row& row) { return row.table == Table::vfp || row.table == Table::neon; }

bool starts_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

// Branches that are tested by jumping over the next instruction.
bool is_plain_branch(const Row& row) {
  return row.name == "B" || row.name == "BL" || row.name == "B (conditional)" || row.name == "CBZ" ||
         row.name == "CBNZ";
}

// Those that are tested with a prepared register or memory (add_indirect).
bool is_indirect_branch(const Row& row) {
  return row.name == "BX" || row.name == "BLX (register)" || row.name == "TBB" || row.name == "TBH";
}

// A32 data processing and T16 operations on high registers may read r15.
bool may_read_pc(const Row& row) {
  static constexpr std::string_view names[] = {"AND", "EOR", "SUB", "RSB", "ADD", "ADC", "SBC", "RSC",
                                               "TST", "TEQ", "CMP", "CMN", "ORR", "MOV", "BIC", "MVN"};
  if (row.name.find("(high registers)") != std::string_view::npos) return true;
  if (row.table != Table::a32 || row.name.find("shifted") != std::string_view::npos) return false;
  return row.name.size() > 4 && row.name[3] == ' ' &&
         std::find(std::begin(names), std::end(names), row.name.substr(0, 3)) != std::end(names);
}

bool is_fused(const Row& row) { return starts_with(row.name, "VFM") || starts_with(row.name, "VFN"); }

bool is_testable(const Row& row) {
  if (!(row.flags & arm::kUser) || (row.flags & arm::kSystem)) return false;
  if ((row.flags & arm::kBranches) && !is_plain_branch(row) && !is_indirect_branch(row) && row.name != "POP")
    return false;
  return true;
}

u32 code_address(usize index) {
  return static_cast<u32>(kBatch + kBatchHeader + index * sizeof(Test) + offsetof(Test, code));
}

const char* table_name(Table table) {
  switch (table) {
    case Table::a32: return "a32";
    case Table::t16: return "t16";
    case Table::t32: return "t32";
    case Table::vfp: return "vfp";
    case Table::neon: return "neon";
  }
  return "";
}

// A vector instruction in T32, from its A32 form.
u32 to_thumb(const Row& row, u32 insn) {
  if (row.table == Table::vfp) return (insn & 0x0fffffff) | 0xe0000000;
  if (insn >> 24 == 0xf4) return (insn & 0x00ffffff) | 0xf9000000;
  return 0xef000000 | (insn >> 24 & 1) << 28 | (insn & 0x00ffffff);
}

}  // namespace

u32 mask_of(const Row& row, char letter) {
  u32 mask = 0;
  for (const char c : row.pattern) mask = mask << 1 | (c == letter);
  return mask;
}

u32 deposit(u32 value, u32 mask) {
  u32 result = 0;
  for (unsigned i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    result |= (value & 1) << i;
    value >>= 1;
  }
  return result;
}

Generator::Generator(u64 seed, Scope scope) : random_(seed), scope_(std::move(scope)) {
  for (Table table : {Table::a32, Table::t16, Table::t32, Table::vfp, Table::neon}) {
    for (const Row& row : arm::decode_rows(table)) {
      const std::string name = std::string(table_name(table)) + ":" + std::string(row.name);
      if (!is_testable(row) || name.find(scope_.rows) == std::string::npos) continue;
      testable_.push_back(&row);
      if (row.name == "IT" || is_indirect_branch(row)) continue;  // see add_it_block, add_indirect
      const bool branch = is_plain_branch(row);
      if (table == Table::a32 || is_vector(row)) (branch ? a32_branches_ : a32_).push_back(&row);
      if (table != Table::a32) (branch ? thumb_branches_ : thumb_).push_back(&row);
    }
  }
}

std::vector<const Row*> Generator::missed() const {
  std::vector<const Row*> list;
  for (const Row* row : testable_) {
    if (!hits_.contains(row)) list.push_back(row);
  }
  return list;
}

u32 Generator::interesting() {
  switch (below(6)) {
    case 0: return below(64);
    case 1: return ~below(16);
    case 2: return 0x80000000u - below(3) + 1;
    case 3: return 1u << below(32);
    case 4: return below(0x100) * 0x01010101u;
    default: return static_cast<u32>(random_());
  }
}

u32 Generator::float_bits() {
  const u32 sign = below(2) << 31;
  switch (below(5)) {
    case 0: return sign | kSingleEdges[below(std::size(kSingleEdges))];
    case 1: return sign | (below(3) << 23) | (static_cast<u32>(random_()) & 0x7fffff);
    case 2: return sign | ((120 + below(40)) << 23) | (static_cast<u32>(random_()) & 0x7fffff);
    case 3: return std::bit_cast<u32>(static_cast<float>(static_cast<s32>(interesting()))) ^ sign;
    default:
      return sign | (below(256) << 23) |
             ((static_cast<u32>(random_()) & 0x7fffff) >> below(23) << below(12) & 0x7fffff);
  }
}

u64 Generator::double_bits() {
  const u64 sign = u64{below(2)} << 63;
  const u64 fraction = random_() & 0xfffffffffffff;
  switch (below(5)) {
    case 0: return sign | kDoubleEdges[below(std::size(kDoubleEdges))];
    case 1: return sign | u64{below(3)} << 52 | fraction;
    case 2: return sign | u64{1000 + below(80)} << 52 | fraction;
    case 3: return std::bit_cast<u64>(static_cast<double>(std::bit_cast<float>(float_bits()))) ^ sign;
    default: return sign | u64{below(2048)} << 52 | (fraction >> below(52));
  }
}

void Generator::inputs(Test& test) {
  for (u32& r : test.r) r = interesting();
  for (u32 base : kBases) test.r[base] = kWindow + (below(9) - 4) * 8 + (chance(25) ? below(8) : 0);
  test.r[13] = kWindow + (below(9) - 4) * 8;
  for (u32 index : kIndexes) test.r[index] = chance(50) ? below(16) * 4 : below(65);
  test.cpsr = static_cast<u32>(random_()) & 0xf80f0000;
  test.fpscr = static_cast<u32>(random_()) & 0xffc0009f & (chance(30) ? 0xf800009f : ~0u);
  if (chance(3)) test.fpscr |= chance(70) ? below(4) << 16 : 0x00310000;
  const u32 kind = below(4);
  for (u64& d : test.d) {
    switch (kind == 3 ? below(3) : kind) {
      case 0: d = float_bits() | u64{float_bits()} << 32; break;
      case 1: d = double_bits(); break;
      default: d = chance(50) ? random_() : interesting() | u64{interesting()} << 32; break;
    }
  }
  for (u8& byte : test.window) byte = static_cast<u8>(random_());
}

u32 Generator::memory_immediate(const Row& row, char letter, unsigned width) {
  const u32 limit = width >= 32 ? ~0u : (1u << width) - 1;
  u32 value = static_cast<u32>(random_()) & limit;
  if (starts_with(row.name, "VLDM") || starts_with(row.name, "VSTM")) return chance(80) ? 1 + below(32) : value;
  const bool literal = row.name.find("literal") != std::string_view::npos;
  if (letter == 'i' && width >= 8 && (literal || chance(70))) value &= literal ? 0x7c : 0x7f;
  return value;
}

u32 Generator::integer_field(const Row& row, char letter, unsigned width, std::set<u32>& used) {
  const bool memory = row.flags & arm::kMemory;
  const bool narrow = width == 3;
  const auto fresh = [&](u32 count, u32 exclude_odd) {
    for (;;) {
      const u32 reg = kFree[below(count)];
      if (used.contains(reg)) continue;
      if (exclude_odd && ((reg & 1) || reg > 3 || used.contains(reg + 1))) continue;
      used.insert(reg);
      if (exclude_odd) used.insert(reg + 1);
      return reg;
    }
  };
  const bool pairs =
      starts_with(row.name, "LDRD") || starts_with(row.name, "STRD") || row.name == "LDREXD" || row.name == "STREXD";
  switch (letter) {
    case 'd':
    case 't':
    case 'a':
    case 'u':
    case 'r':
      if (width < 3 || (letter == 'r' && row.table != Table::t32) || (letter == 'u' && width != 4)) break;
      if (letter == 'a' && !memory && row.flags & arm::kPlain) return below(13);
      return fresh(narrow ? 4 : 6, letter == 't' && pairs && row.table == Table::a32);
    case 'h':  // the high and low half of a long product; condition bits of hints
      if (width != 4 || row.flags & arm::kSystem) break;
      return fresh(6, false);
    case 'n':
      if (width < 3) break;
      if (may_read_pc(row) && width == 4 && chance(4)) return 15;
      if (memory) return narrow ? 6 + below(2) : chance(10) ? 13 : kBases[below(4)];
      return narrow ? below(8) : below(13);
    case 'm':
      if (width < 3) break;
      if (may_read_pc(row) && width == 4 && chance(4)) return 15;
      if (memory) return narrow ? 4 + below(2) : kIndexes[below(4)];
      return narrow ? below(8) : below(13);
    case 'l': {
      if (width == 4) return fresh(6, false);
      u32 list = static_cast<u32>(random_()) & (width == 8 ? 0x0f : kFreeList);
      while (std::popcount(list) < 2) list |= 1u << below(4);
      return list;
    }
    case 'y':
      if (memory) return below(3);
      break;
    case 'i':
      if (memory && mask_of(row, 'm')) return below(3);
      if (memory) return memory_immediate(row, letter, width);
      break;
    default: break;
  }
  return static_cast<u32>(random_()) & ((1u << width) - 1);
}

u32 Generator::vector_field(const Row& row, char letter, unsigned width, std::set<u32>& used) {
  const bool memory = row.flags & arm::kMemory;
  if (letter == 'd' || letter == 't' || (letter == 'u' && width == 4)) {
    if (width < 4) return below(2);
    for (;;) {
      const u32 reg = kFree[below(6)];
      if (used.insert(reg).second) return reg;
    }
  }
  if (memory && letter == 'n') return chance(10) ? 13 : kBases[below(4)];
  if (memory && letter == 'm') return chance(40) ? 15 : chance(50) ? 13 : kIndexes[below(4)];
  if (memory && letter == 'i') return memory_immediate(row, letter, width);
  u32 value = static_cast<u32>(random_()) & ((1u << width) - 1);
  // Quadword registers are even.
  if (width == 4 && (letter == 'v' || letter == 'n' || letter == 'm') && row.table == Table::neon && chance(92))
    value &= ~1u;
  return value;
}

u32 Generator::field(const Row& row, char letter, unsigned width, std::set<u32>& used) {
  if (letter == 'z' && !is_vector(row)) return 0;
  if (letter == 'o' && !is_vector(row)) return (1u << width) - 1;
  if (letter == 'c' && width == 4)
    return row.table == Table::a32 && chance(70) ? 14 : is_vector(row) && chance(70) ? 14 : below(14);
  return is_vector(row) ? vector_field(row, letter, width, used) : integer_field(row, letter, width, used);
}

// What the fields alone do not say.
bool Generator::predictable(const Row& row, u32 insn) {
  const auto value = [&](char letter) { return arm::extract(insn, mask_of(row, letter)); };
  if (row.name == "BFI" || row.name == "SBFX" || row.name == "UBFX" || row.name == "BFC") {
    // Both are checked against the manual by the translation; the width must fit.
    const bool t32 = row.table == Table::t32;
    const u32 low = t32 ? bits(insn, 12, 3) << 2 | bits(insn, 6, 2) : bits(insn, 7, 5);
    const u32 high = t32 ? bits(insn, 0, 5) : bits(insn, 16, 5);
    return starts_with(row.name, "BF") ? high >= low : low + high <= 31;
  }
  if (row.table == Table::vfp && row.name.find("fixed") != std::string_view::npos) {
    return (bits(insn, 0, 4) << 1 | bit(insn, 5)) <= (bit(insn, 7) ? 32u : 16u);
  }
  if (row.table == Table::vfp &&
      (row.name == "VMOV (core to two singles)" || row.name == "VMOV (two singles to core)")) {
    return (bits(insn, 0, 4) << 1 | bit(insn, 5)) != 31;
  }
  if (starts_with(row.name, "VLDM") || starts_with(row.name, "VSTM")) {
    const bool is_double = bit(insn, 8);
    const u32 first = is_double ? bit(insn, 22) << 4 | bits(insn, 12, 4) : bits(insn, 12, 4) << 1 | bit(insn, 22);
    const u32 count = is_double ? bits(insn, 0, 8) / 2 : bits(insn, 0, 8);
    return count && count <= (is_double ? 16u : 32u) && first + count <= 32;
  }
  if (row.table == Table::neon && (starts_with(row.name, "VTB")))
    return bits(insn, 16, 4) + (bit(insn, 7) << 4) + bits(insn, 8, 2) < 32;
  if (row.table == Table::neon &&
      (row.name == "VTRN" || row.name == "VUZP" || row.name == "VZIP" || row.name == "VSWP")) {
    return bits(insn, 12, 4) + (bit(insn, 22) << 4) != bits(insn, 0, 4) + (bit(insn, 5) << 4);
  }
  if (row.table == Table::neon && (row.flags & arm::kMemory)) return bits(insn, 12, 4) + (bit(insn, 22) << 4) <= 24;
  if (row.name == "POP") return !(insn & 0x100);
  if ((row.table == Table::a32 || row.table == Table::t32) && (row.flags & arm::kMemory) && mask_of(row, 'p')) {
    const bool p = value('p'), w = value('w');
    if (row.table == Table::a32) {
      // P = 0, W = 1: unprivileged, or UNPREDICTABLE for doublewords and some register forms.
      if (!p && w && (starts_with(row.name, "LDRD") || starts_with(row.name, "STRD"))) return false;
    } else if (!p && !w) {
      return false;
    }
  }
  return true;
}

Instruction Generator::make(const Row& row, bool thumb, bool in_it) {
  for (unsigned attempt = 0; attempt < 1000; attempt++) {
    u32 insn = row.value;
    std::set<char> letters;
    std::set<u32> used;
    for (const char c : row.pattern) {
      if (c == '0' || c == '1' || !letters.insert(c).second) continue;
      const u32 mask = mask_of(row, c);
      insn |= deposit(field(row, c, static_cast<unsigned>(std::popcount(mask)), used), mask);
    }
    if (!predictable(row, insn)) continue;
    u32 encoded = thumb && is_vector(row) ? to_thumb(row, insn) : insn;
    u32 copy = encoded;
    const Row* found = row.table == Table::t16 ? arm::decode_t16(static_cast<u16>(copy))
                       : thumb                 ? arm::decode_t32(copy)
                                               : arm::decode_a32(copy);
    if (found != &row) continue;  // a more specific row's
    hits_[found]++;
    return {found, encoded, static_cast<u8>(row.table == Table::t16 ? 2 : 4)};
  }
  // Hidden by other rows: reported as missed.
  return make(pick(thumb), thumb, in_it);
}

const Row& Generator::pick(bool thumb) {
  const auto& rows = thumb ? thumb_ : a32_;
  const Row* row = rows[below(static_cast<u32>(rows.size()))];
  // Undefined ones end a stream: not too often.
  if (!scope_.fused && is_fused(*row) && chance(90)) row = rows[below(static_cast<u32>(rows.size()))];
  return *row;
}

// IT and the instructions under it.
void Generator::add_it_block(Stream& stream) {
  const u32 condition = below(15);
  u32 mask = 1 + below(15);
  const unsigned count = 4 - static_cast<unsigned>(std::countr_zero(mask));
  if (condition == 14) mask = 1u << std::countr_zero(mask);  // no "else" of AL
  const u32 it = 0xbf00 | condition << 4 | mask;
  stream.instructions.push_back({arm::decode_t16(static_cast<u16>(it)), it, 2});
  hits_[stream.instructions.back().row]++;
  stream.instructions.back().may_end = false;
  for (unsigned i = 0; i < count; i++) {
    const Row* row = &pick(true);
    while (row->flags & arm::kBranches) row = &pick(true);
    stream.instructions.push_back(make(*row, true, true));
    stream.instructions.back().may_end = i + 1 == count;
  }
}

// A branch over the next instruction.
void Generator::add_branch(Stream& stream) {
  const auto& rows = stream.thumb ? thumb_branches_ : a32_branches_;
  const Row& row = *rows[below(static_cast<u32>(rows.size()))];
  const Instruction over = make(pick(stream.thumb), stream.thumb, false);
  Instruction branch = make(row, stream.thumb, false);
  const u32 skipped = stream.thumb ? over.size / 2u : 0;
  const auto usable = [](u32 condition) { return condition < 14 ? condition : condition - 2; };
  if (!stream.thumb) {
    branch.bits &= 0xff000000;
  } else if (branch.size == 2) {
    // pc + 4 is two half-words on: one of them is the branch itself.
    const u32 distance = skipped - 1;
    if (starts_with(row.name, "CB")) branch.bits = (branch.bits & ~0x02f8u) | distance << 3;
    else branch.bits = (branch.bits & (row.name == "B" ? 0xf800u : 0xff00u)) | distance;
  } else if (row.name == "B (conditional)") {
    branch.bits = (branch.bits & 0xfbc00000) | 0x8000 | skipped;
    branch.bits &= 0xf03fffff & ~0x003f0000u;
    branch.bits |= usable(below(16)) << 22;
  } else {
    branch.bits = 0xf0000000 | (row.name == "BL" ? 0xf800u : 0xb800u) | skipped;
  }
  branch.may_end = false;
  stream.instructions.push_back(branch);
  stream.instructions.push_back(over);
}

// A branch over the next instruction whose target comes from a register or from memory, as the first instruction:
// r12, every word of the window, or every table entry leads there.
void Generator::add_indirect(Stream& stream, usize index) {
  static constexpr u32 a32[] = {0x012fff1c, 0x012fff3c, 0x01a0f00c, 0x0598f000,
                                0x0498f004, 0x08b88003, 0x08bd8004, 0x0798f00b};
  static constexpr u32 t32[] = {0x4760,     0x47e0,     0x46e7,     0xbd04,     0x4487,    0xf8d8f000,
                                0xf858fb04, 0xe8b88003, 0xe8d8f004, 0xe8d8f014, 0xf858f00b};
  const u32 which = below(stream.thumb ? std::size(t32) : std::size(a32));
  const u32 bits = stream.thumb ? t32[which] : a32[which] | (chance(60) ? 14u : below(14)) << 28;
  Instruction branch{.bits = bits, .size = static_cast<u8>(stream.thumb && bits < 0x10000 ? 2 : 4), .may_end = false};
  u32 copy = bits;
  branch.row = !stream.thumb      ? arm::decode_a32(copy)
               : branch.size == 2 ? arm::decode_t16(static_cast<u16>(copy))
                                  : arm::decode_t32(copy);
  hits_[branch.row]++;
  const Instruction over = make(pick(stream.thumb), stream.thumb, false);
  const u32 target = code_address(index) + branch.size + over.size;
  Test& test = stream.test;
  stream.target = test.r[12] = target | stream.thumb;
  test.r[0] = over.size - 2u;  // ADD pc, r0
  for (u32 reg : {8, 13}) test.r[reg] = kWindow;
  for (u32 reg : {4, 11}) test.r[reg] = below(8) * 4;
  const u32 entry = over.size / 2u;
  const u32 word = bits == 0xe8d8f004 ? entry * 0x01010101u : bits == 0xe8d8f014 ? entry * 0x00010001u : stream.target;
  for (usize i = 0; i < test.window.size(); i += 4) store_le<u32>(test.window.data() + i, word);
  stream.instructions.push_back(branch);
  stream.instructions.push_back(over);
}

void Generator::encode(Stream& stream, usize index) {
  u8* code = reinterpret_cast<u8*>(stream.test.code.data());
  usize at = 0;
  const auto half = [&](u32 value) {
    store_le<u16>(code + at, static_cast<u16>(value));
    at += 2;
  };
  for (const Instruction& insn : stream.instructions) {
    if (!stream.thumb) {
      half(insn.bits & 0xffff);
      half(insn.bits >> 16);
    } else {
      if (insn.size == 4) half(insn.bits >> 16);
      half(insn.bits & 0xffff);
    }
  }
  if (stream.big_endian && stream.thumb) {
    half(0xb650);
  } else if (stream.big_endian) {
    half(0x0000);
    half(0xf101);
  }
  if (stream.thumb) {
    if (at & 2) half(0xbf00);
    half(0xf8df);
    half(0xf000);  // LDR PC, [PC]
  } else {
    half(0xf004);
    half(0xe51f);  // LDR PC, [PC, #-4]
  }
  half(kFinish & 0xffff);
  half(kFinish >> 16);
  stream.test.entry = code_address(index) | stream.thumb;
}

Stream Generator::next(usize index) {
  Stream stream;
  stream.thumb = thumb_.empty() ? false : a32_.empty() ? true : chance(50);
  inputs(stream.test);
  const unsigned count = 1 + below(scope_.max_instructions);
  if (scope_.rows.empty() && chance(6)) {
    add_indirect(stream, index);
  } else if (chance(8)) {
    stream.big_endian = true;
    const u32 setend = stream.thumb ? 0xb658 : 0xf1010200;
    stream.instructions.push_back({stream.thumb ? arm::decode_t16(0xb658) : arm::decode_a32(setend), setend,
                                   static_cast<u8>(stream.thumb ? 2 : 4), false});
  }
  while (stream.instructions.size() < count) {
    const bool branches = !(stream.thumb ? thumb_branches_ : a32_branches_).empty();
    if (branches && chance(5)) add_branch(stream);
    else if (stream.thumb && count > 1 && chance(8)) add_it_block(stream);
    else stream.instructions.push_back(make(pick(stream.thumb), stream.thumb, false));
  }
  encode(stream, index);
  return stream;
}

Stream Generator::given(const std::string& code, usize index) {
  Stream stream;
  inputs(stream.test);
  const std::vector<std::string> parts = split(code, ',');
  stream.thumb = parts[0].substr(0, 3) == "T32";
  stream.big_endian = parts[0].substr(3) == "BE";  // the code has the SETEND at its start
  for (const std::string& part : std::span(parts).subspan(1)) {
    Instruction insn{.bits = static_cast<u32>(parse_number("0x" + part).value_or(0)),
                     .size = static_cast<u8>(part.size() / 2)};
    u32 copy = insn.bits;
    insn.row = !stream.thumb    ? arm::decode_a32(copy)
               : insn.size == 2 ? arm::decode_t16(static_cast<u16>(copy))
                                : arm::decode_t32(copy);
    stream.instructions.push_back(insn);
  }
  encode(stream, index);
  return stream;
}

Stream Generator::prefix(const Stream& stream, usize count, usize index) {
  Stream shorter = stream;
  shorter.instructions.resize(count);
  if (stream.target) {
    Test& test = shorter.test;
    shorter.target = test.r[12] = stream.target + (code_address(index) | stream.thumb) - stream.test.entry;
    for (usize i = 0; i < test.window.size(); i += 4) {
      if (load_le<u32>(&test.window[i]) == stream.target) store_le<u32>(&test.window[i], shorter.target);
    }
  }
  encode(shorter, index);
  return shorter;
}

}  // namespace rhea::streams
