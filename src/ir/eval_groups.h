// SPDX-License-Identifier: MIT
// The groups that eval_function is made of, one source file each: nullptr for opcodes of other groups.
#pragma once

#include "ir/eval.h"

namespace rhea::ir::detail {

EvalFunction eval_integer(Op op);
EvalFunction eval_flags(Op op);
EvalFunction eval_fp(Op op);
EvalFunction eval_vector_basic(Op op);
EvalFunction eval_vector_shift(Op op);
EvalFunction eval_vector_saturating(Op op);
EvalFunction eval_vector_permute(Op op);
EvalFunction eval_vector_fp(Op op);

}  // namespace rhea::ir::detail
