// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include "ir/ir.h"
#include "ir/op_kinds.h"

namespace rhea::ir {

namespace {

class Verifier {
 public:
  explicit Verifier(const Block& block) : block_(block), label_at_(block.labels, kNone), branched_(block.labels) {}

  std::string run() {
    if (block_.insts.empty()) return "the block is empty";
    if (block_.insts.size() > kMaxInstructions)
      return fmt::format("{} instructions, at most {}", block_.insts.size(), kMaxInstructions);
    std::string wrong = find_labels();
    for (at_ = 0; at_ < block_.insts.size() && wrong.empty(); at_++) wrong = check(block_.insts[at_]);
    if (!wrong.empty()) return wrong;
    const Op last = block_.insts.back().op;
    if (last != Op::Exit && last != Op::ExitIndirect && last != Op::ExitDispatch) {
      return fmt::format("the block ends with {}, not with an exit", info(last).name);
    }
    return {};
  }

 private:
  static constexpr usize kNone = ~usize{0};

  template <typename... Args>
  std::string wrong(fmt::format_string<Args...> format, Args&&... args) {
    return fmt::format("%{} {}: ", at_, info(block_.insts[at_].op).name) +
           fmt::format(format, std::forward<Args>(args)...);
  }

  std::string find_labels() {
    for (at_ = 0; at_ < block_.insts.size(); at_++) {
      const Inst& inst = block_.insts[at_];
      if (inst.op >= Op::kCount) return fmt::format("%{}: no such opcode {}", at_, static_cast<u8>(inst.op));
      if (inst.op != Op::Label) continue;
      if (inst.imm >= block_.labels) return wrong("label {} of {}", inst.imm, block_.labels);
      if (label_at_[inst.imm] != kNone) return wrong("label {} is there twice", inst.imm);
      label_at_[inst.imm] = at_;
    }
    return {};
  }

  std::string check(const Inst& inst) {
    const OpKinds& row = kinds(inst.op);
    if (row.result == Kind::I && inst.type != Type::I32 && inst.type != Type::I64)
      return wrong("the type is no integer");
    if (row.result == Kind::F && inst.type != Type::F32 && inst.type != Type::F64) return wrong("the type is no float");
    if (row.result == Kind::V && inst.type != Type::V128 && inst.type != Type::V64)
      return wrong("the type is no vector");
    if (row.result == Kind::Any && inst.type == Type::Void && !is_call(inst.op)) return wrong("no type");
    for (unsigned a = 0; a < row.count; a++) {
      std::string text = check_argument(inst, row, a);
      if (!text.empty()) return text;
    }
    return check_control(inst);
  }

  static bool is_call(Op op) { return op >= Op::Call0 && op <= Op::Call3; }

  std::string check_argument(const Inst& inst, const OpKinds& row, unsigned a) {
    const Ref ref = inst.args[a];
    if (ref == kNoRef) return wrong("argument {} is missing", a);
    if (ref >= at_) return wrong("argument {} is %{}, which is not defined before", a, ref);
    const Inst& def = block_.insts[ref];
    if (!info(def.op).result) return wrong("argument {} is %{}, which has no value", a, ref);
    if (!matches(row.args[a], own_type(inst), result_type(def))) {
      return wrong("argument {} is %{} ({}), of the wrong type", a, ref, info(def.op).name);
    }
    // Not across a label that was branched to from before the definition.
    for (usize label = 0; label < label_at_.size(); label++) {
      if (label_at_[label] == kNone || label_at_[label] > at_ || label_at_[label] < ref) continue;
      if (branched_[label] && branched_[label] - 1 < ref) {
        return wrong("argument {} is %{}, defined on one of the ways to label {}", a, ref, label);
      }
    }
    return {};
  }

  static Type own_type(const Inst& inst) {
    // Comparisons have I32 results of operands that are of one type: that of the type field.
    return inst.type;
  }

  std::string check_control(const Inst& inst) {
    switch (inst.op) {
      case Op::Branch:
      case Op::BranchIf:
      case Op::BranchZero:
      case Op::BranchNonZero:
        if (inst.imm >= block_.labels || label_at_[inst.imm] == kNone) return wrong("there is no label {}", inst.imm);
        if (label_at_[inst.imm] <= at_) return wrong("label {} lies behind", inst.imm);
        if (!branched_[inst.imm]) branched_[inst.imm] = at_ + 1;
        return {};
      case Op::Exit:
      case Op::ExitIf:
      case Op::ExitIfZero:
      case Op::ExitIfNonZero:
      case Op::ExitIfOther:
      case Op::ExitIfPolled:
      case Op::ExitIfMoved:
      case Op::ExitIndirect:
      case Op::ExitDispatch:
        if (inst.imm >= block_.exits.size()) return wrong("exit {} of {}", inst.imm, block_.exits.size());
        return {};
      default: return {};
    }
  }

  const Block& block_;
  usize at_ = 0;
  std::vector<usize> label_at_;
  std::vector<usize> branched_;  // 1 + index of the first branch to it
};

}  // namespace

std::string verify(const Block& block) { return Verifier(block).run(); }

}  // namespace rhea::ir
