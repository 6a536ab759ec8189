// SPDX-License-Identifier: MIT
#include "ir/eval.h"

#include "ir/eval_groups.h"

namespace rhea::ir {

namespace {

const std::array<EvalFunction, static_cast<usize>(Op::kCount)>& table() {
  static const auto functions = [] {
    std::array<EvalFunction, static_cast<usize>(Op::kCount)> all{};
    for (usize i = 0; i < all.size(); i++) {
      const Op op = static_cast<Op>(i);
      for (auto group : {detail::eval_integer, detail::eval_flags, detail::eval_fp, detail::eval_vector_basic,
                         detail::eval_vector_shift, detail::eval_vector_saturating, detail::eval_vector_permute,
                         detail::eval_vector_fp}) {
        if (EvalFunction found = group(op)) all[i] = found;
      }
    }
    return all;
  }();
  return functions;
}

}  // namespace

EvalFunction eval_function(Op op) { return op < Op::kCount ? table()[static_cast<usize>(op)] : nullptr; }

Value eval(const Inst& inst, const Value* args, EvalContext& context) {
  EvalFunction function = eval_function(inst.op);
  return function ? function(inst, args, context) : Value{};
}

}  // namespace rhea::ir
