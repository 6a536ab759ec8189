// SPDX-License-Identifier: MIT
// The kinds of results and arguments of each opcode, as opcodes.inc gives them.
#pragma once

#include <array>

#include "ir/ir.h"

namespace rhea::ir {

enum class Kind : u8 { Void, I, I32, I64, F, F32, F64, V, Any };

struct OpKinds {
  Kind result = Kind::Void;
  std::array<Kind, 3> args{};
  u8 count = 0;
};
const OpKinds& kinds(Op op);

// Where a guest instruction begins, and what joins or leaves straight-line code.
constexpr bool shapes_flow(Op op) { return op >= Op::Loc && op <= Op::ExitDispatch; }

// Whether a value of a type is one of a kind, in an instruction whose type field is `own`.
bool matches(Kind kind, Type own, Type actual);

}  // namespace rhea::ir
