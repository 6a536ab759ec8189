// SPDX-License-Identifier: MIT
// The intermediate representation: what a guest front end makes of a block of guest code, and what the
// interpreter runs and a host back end compiles.
//
// A block is a list of instructions in SSA form: an instruction's index is the name of its value. Control goes
// forward only (labels), and leaves through exits. A value defined between a branch and its label is not used
// behind the label: what outlives a branch goes through guest state. Guest state is typed slots at offsets in a
// structure that begins with StateHeader; condition flags are one slot with instructions of its own, so that an
// engine may keep them in host flags. The IR names no guest.
//
// Faults are precise: an instruction that may fault has the state as of the last Loc; front ends therefore write
// no guest state between a Loc and the last instruction of it that may fault (except through that fault's own
// retry being harmless).
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/types.h"

namespace rhea::ir {

enum class Type : u8 { Void, I32, I64, F32, F64, V64, V128 };

enum class Op : u8 {
#define OP(name, ...) name,
#include "ir/opcodes.inc"
#undef OP
  kCount
};

using Ref = u16;  // index of an instruction in its block
constexpr Ref kNoRef = 0xffff;
constexpr unsigned kMaxInstructions = 8000;  // of a block
constexpr unsigned kMaxGroup = 128;          // bytes of a GroupRead or GroupWrite

struct Inst {
  Op op;
  Type type = Type::Void;  // of the result; of the stored value for stores
  u8 lane = 0;
  u8 aux = 0;
  u8 aux2 = 0;
  u8 reserved = 0;
  u16 uses = 0;  // filled by passes: how often the value is read
  std::array<Ref, 3> args = {kNoRef, kNoRef, kNoRef};
  u64 imm = 0;
};
static_assert(sizeof(Inst) == 24);

// The image format of condition flags: the host's SETO in bit 0 and LAHF's byte in bits 8..15.
enum FlagBit : u8 { kFlagN = 1, kFlagZ = 2, kFlagC = 4, kFlagV = 8, kFlagNZ = 3, kFlagNZCV = 15 };
constexpr u32 kImageV = 1u << 0;
constexpr u32 kImageC = 1u << 8;
constexpr u32 kImageZ = 1u << 14;
constexpr u32 kImageN = 1u << 15;
constexpr u32 kImageMask = kImageV | kImageC | kImageZ | kImageN;

// Conditions on flags, numbered as ARM does.
enum class Cond : u8 { EQ, NE, CS, CC, MI, PL, VS, VC, HI, LS, GE, LT, GT, LE, AL };
constexpr Cond inverse(Cond cond) { return static_cast<Cond>(static_cast<u8>(cond) ^ 1); }
bool holds(Cond cond, u32 image);
u8 flags_read(Cond cond);  // FlagBits

// Bits of `aux` of memory operations.
enum MemFlag : u8 {
  kSigned = 1,
  kUserAccess = 2,  // as unprivileged code, whatever the current privilege (LDRT)
  kAligned = 4,     // a misaligned address faults whatever the guest's alignment mode
  kBigEndian = 8,
};

// FpMode: bits of `aux` of floating-point operations.
enum FpModeBit : u8 {
  kFpRoundMask = 3,    // 0 nearest even, 1 towards plus infinity, 2 towards minus infinity, 3 towards zero
  kFpFlushToZero = 4,  // denormal inputs are zero, denormal results (before rounding) are zero
  kFpDefaultNan = 8,   // every NaN result is the default NaN
  kFpModeNeon = kFpFlushToZero | kFpDefaultNan,
};

// Parallel (packed) arithmetic in 32 bits: aux of Parallel, ParallelGe.
enum class ParallelKind : u8 {
  // prefix in bits 3..4: 0 modulo with GE (S*, U*), 1 saturating (Q*, UQ*), 2 halving (SH*, UH*); bit 5: unsigned
  // operation in bits 0..2
  add = 0,
  sub = 1,
  add_sub_exchange = 2,
  sub_add_exchange = 3
};
constexpr u8 parallel(ParallelKind kind, unsigned prefix, bool is_unsigned) {
  return static_cast<u8>(static_cast<u8>(kind) | prefix << 3 | is_unsigned << 5);
}

// What a translation depends on: where its code is and in which mode of the guest. `mode` is the guest's own
// word (instruction set, privilege, IT state, FP modes ...).
struct Key {
  u64 pc = 0;
  u64 mode = 0;
  bool operator==(const Key&) const = default;
};

enum class ExitKind : u8 { jump, call, ret };

struct ExitInfo {
  Key target;  // where it is known; for ExitIfOther, ExitIfMoved: where the block goes on
  ExitKind kind = ExitKind::jump;
  bool poll = false;          // look at the poll word before going on (backward jumps, calls, indirect jumps, returns)
  u8 live_flags = kFlagNZCV;  // which flags the code there may read
  u16 insns = 0;              // guest instructions done when leaving here
  u32 page = 0;               // for ExitIfMoved: id of the page that the target's code was read from
  bool has_next = false;      // of a conditional exit:
  Key next;                   // where the guest goes on if it is not taken
  Key return_to;              // for calls: where the matching return comes back to
};

struct Block {
  Key key;
  std::vector<Inst> insts;
  std::vector<ExitInfo> exits;
  u16 labels = 0;
  u16 guest_insns = 0;
  u32 guest_bytes = 0;  // of code, from key.pc; at most two pages
  void clear() {
    insts.clear();
    exits.clear();
    labels = guest_insns = 0;
    guest_bytes = 0;
  }
};

// Instructions of the block from that of a Loc on.
inline u32 insns_from(const Block& block, const Inst& loc) {
  const unsigned number = loc.lane | unsigned{loc.aux} << 8;
  return number < block.guest_insns ? block.guest_insns - number : 0;
}

struct OpInfo {
  std::string_view name;
  u8 args;
  bool result;
};
const OpInfo& info(Op op);

// What is asked of each instruction several times while it is translated.
struct OpTraits {
  u8 args = 0;
  bool faults = false;
  bool effect = false;
  Type result = Type::Void;  // Void: the type field's
};
extern const std::array<OpTraits, static_cast<usize>(Op::kCount)> kOpTraits;
inline const OpTraits& traits(Op op) { return kOpTraits[static_cast<usize>(op)]; }

// The type of an instruction's value. It is not the type field where that is the operands' (comparisons and
// conversions of floats to integers).
inline Type result_type(const Inst& inst) {
  const Type fixed = traits(inst.op).result;
  return fixed == Type::Void ? inst.type : fixed;
}

// Every instruction for which it returns true may leave the block with a guest fault (calls: it depends on the helper).
inline bool may_fault(const Inst& inst) { return traits(inst.op).faults; }
// Has an effect besides its value (is never removed).
inline bool has_effect(const Inst& inst) { return traits(inst.op).effect; }

// As `-d op` shows it.
std::string print(const Block& block);
// The first thing wrong with a block, or nothing: argument counts and types, order of definition, labels
// forward, an exit at the end.
std::string verify(const Block& block);

}  // namespace rhea::ir
