// SPDX-License-Identifier: MIT
// The decode tables. An instruction is one row of a table in decode/*.inc and one function:
//
//   INST(handler, "NAME", "cccc00I01000nnnnddddvvvvvvvvvvvv", flags)
//
// `handler` is a function void handler(Translator&, u32 insn) in the table's namespace (a32, t16, t32, vfp, neon).
// In the pattern, 0 and 1 are fixed, letters are fields (any run of one letter), most significant bit first:
// c is the condition (never 1111), d the destination register, s the "sets flags" bit, n, m, t, a other registers;
// z and o are bits that should be zero and one (they do not matter), x bits that do not matter. Where rows overlap, the
// one with more fixed bits wins.
//
// T32 encodings are the first half-word in bits 31..16, the second in bits 15..0. The tables vfp and neon are in
// their A32 form; T32 encodings are brought to it before they are looked up (decode.cpp: to_a32_form).
#pragma once

#include <span>
#include <string_view>

#include "ir/ir.h"
#include "util/types.h"

namespace rhea::arm {

class Translator;
using Handler = void (*)(Translator& t, u32 insn);

enum RowFlag : u32 {
  kUser = 1u << 0,        // deterministic and allowed in User mode: can be tested with random operands
  kBranches = 1u << 1,    // changes the flow of control (or may: writes of r15 through d)
  kSystem = 1u << 2,      // privileged, or depends on more than registers and memory
  kMemory = 1u << 3,      // accesses memory
  kReadsCarry = 1u << 4,  // reads C whatever its condition
  kSetsNZ = 1u << 5,      // writes these flags: when the pattern has an s, only where that bit is set
  kSetsC = 1u << 6,
  kSetsV = 1u << 7,
  kPlain = 1u << 8,           // writes nothing but register d (and, with s, flags): may be done by selection
  kOwnCondition = 1u << 9,    // the handler looks at the condition itself
  kReadsFlags = 1u << 10,     // may read all of N Z C V
  kMayRrx = 1u << 11,         // reads C when its shift is RRX
  kNotInIt = 1u << 12,        // T16: sets flags outside of IT blocks alone
  kUnconditional = 1u << 13,  // done whatever the IT block's condition
  kSetsNZC = kSetsNZ | kSetsC,
  kSetsNZCV = kSetsNZ | kSetsC | kSetsV,
};

enum class Table : u8 { a32, t16, t32, vfp, neon };

struct Row {
  Handler handler;
  std::string_view name;
  std::string_view pattern;
  u32 flags;
  u32 mask;                 // bits that are fixed
  u32 value;                // and what they are
  u32 d_mask;               // the field d, or 0
  u32 s_mask;               // the bit s, or 0
  u32 zero_mask, one_mask;  // should-be bits
  Table table;
};

// The bits of `insn` under a mask, moved together.
constexpr u32 extract(u32 insn, u32 mask) {
  u32 value = 0;
  for (unsigned from = 0, to = 0; mask >> from; from++) {
    if (mask >> from & 1) value |= (insn >> from & 1) << to++;
    if (from == 31) break;
  }
  return value;
}

// All rows of a table, in the order of its file.
std::span<const Row> decode_rows(Table table);

// The row of an encoding, or nullptr: undefined.
const Row* decode_a32(u32 insn);
const Row* decode_t16(u16 insn);
// `insn` is changed to the form that the row's handler takes (A32's, for vfp and neon).
const Row* decode_t32(u32& insn);

}  // namespace rhea::arm
