// SPDX-License-Identifier: MIT
// The meaning of the IR's pure opcodes: the reference that passes, interpreter and back ends are held against, and
// what a back end calls for an opcode that it has no code for.
//
// Pure is every opcode but those of state (GetState ...), memory, helpers (Call*) and control flow.
#pragma once

#include "ir/fp.h"
#include "ir/ir.h"

namespace rhea::ir {

// A value of any type. I32 and F32: the low 32 bits, the rest zero; I64, F64, V64: `lo`; V128: both.
// Returned in rax:rdx by the System V ABI.
struct Value {
  u64 lo = 0;
  u64 hi = 0;
  bool operator==(const Value&) const = default;
};

// What pure opcodes read and write besides their operands. Cumulative bits are or-ed in.
struct EvalContext {
  u32 flags = 0;      // condition flags, image format
  u32 fp_flags = 0;   // FpFlag
  u32 saturated = 0;  // not zero: a vector operation saturated
};

using EvalFunction = Value (*)(const Inst& inst, const Value* args, EvalContext& context);

// The function of an opcode, or nullptr for those that are not pure. Flag writers (SetFlags) are not here: see
// flags_of. `args` holds as many values as the opcode has arguments.
EvalFunction eval_function(Op op);
Value eval(const Inst& inst, const Value* args, EvalContext& context);

// All four flags (image format) that SetFlags takes from a value: made by `def` from `args`, with the result `value`.
// Where the instruction gives neither C nor V those bits are 0.
u32 flags_of(const Inst& def, const Value* args, Value value);
// FlagBits as a mask in image format.
u32 image_mask(u8 flag_bits);

}  // namespace rhea::ir
