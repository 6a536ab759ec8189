// SPDX-License-Identifier: MIT
// An instruction whose C or V a SetFlags takes keeps its opcode and operands: they are what the flags are made of.
#include "ir/eval.h"
#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

class Folder {
 public:
  explicit Folder(Block& block) : block_(block), source_(block.insts.size()), fixed_(block.insts.size()) {
    for (const Inst& inst : block.insts) {
      if (inst.op == Op::SetFlags && (inst.aux & (kFlagC | kFlagV))) fixed_[inst.args[0]] = true;
    }
  }

  void run() {
    for (usize i = 0; i < block_.insts.size(); i++) {
      source_[i] = static_cast<Ref>(i);
      Inst& inst = block_.insts[i];
      for (unsigned a = 0; a < info(inst.op).args; a++) inst.args[a] = resolve(inst, inst.args[a]);
      if (inst.op == Op::Copy && copies(inst)) source_[i] = inst.args[0];
      else if (!fixed_[i]) fold(inst, static_cast<Ref>(i));
    }
  }

 private:
  static bool is_integer(Type type) { return type == Type::I32 || type == Type::I64; }
  Ref resolve(const Inst& user, Ref ref) const {
    if (user.op == Op::SetFlags && (user.aux & (kFlagC | kFlagV))) return ref;
    return source_[ref];
  }
  // A copy between types (V64 of a V128) is none.
  bool copies(const Inst& inst) const { return result_type(block_.insts[inst.args[0]]) == inst.type; }
  static Type result_type(const Inst& inst) {
    switch (inst.op) {
      case Op::CmpEq:
      case Op::CmpNe:
      case Op::CmpLtU:
      case Op::CmpLeU:
      case Op::CmpLtS:
      case Op::CmpLeS:
      case Op::FCmp:
      case Op::FToS:
      case Op::FToU:
      case Op::Trunc:
      case Op::HighHalf: return Type::I32;
      case Op::Pair:
      case Op::SExt32:
      case Op::ZExt32: return Type::I64;
      default: return inst.type;
    }
  }
  bool is_const(Ref ref) const { return block_.insts[ref].op == Op::Const; }
  u64 const_value(Ref ref) const {
    const Inst& inst = block_.insts[ref];
    return inst.type == Type::I64 ? inst.imm : static_cast<u32>(inst.imm);
  }

  static bool computes(Op op) {
    return (op >= Op::Add && op <= Op::CmpLeS) || (op >= Op::SatS && op <= Op::SelectBytes);
  }

  void fold(Inst& inst, Ref self) {
    if (!computes(inst.op)) return;
    const unsigned count = info(inst.op).args;
    bool all = is_integer(inst.type);
    std::array<Value, 3> values;
    for (unsigned a = 0; a < count; a++) {
      all = all && is_const(inst.args[a]);
      if (all) values[a] = {const_value(inst.args[a])};
    }
    if (all) {
      EvalContext context;
      const u64 value = eval(inst, values.data(), context).lo;
      inst = Inst{.op = Op::Const, .type = result_type(inst), .imm = value};
      return;
    }
    if (inst.op == Op::Select && is_const(inst.args[0]))
      return become_copy(inst, self, const_value(inst.args[0]) ? inst.args[1] : inst.args[2]);
    simplify(inst, self);
  }

  void become_copy(Inst& inst, Ref self, Ref of) {
    inst = Inst{.op = Op::Copy, .type = result_type(inst), .args = {of, kNoRef, kNoRef}};
    if (copies(inst)) source_[self] = of;
  }

  void simplify(Inst& inst, Ref self) {
    const bool commutes =
        inst.op == Op::Add || inst.op == Op::And || inst.op == Op::Or || inst.op == Op::Xor || inst.op == Op::Mul;
    if (commutes && is_const(inst.args[0])) std::swap(inst.args[0], inst.args[1]);
    if (info(inst.op).args != 2 || !is_const(inst.args[1])) return;
    const u64 b = const_value(inst.args[1]);
    const u64 ones = inst.type == Type::I64 ? ~u64{0} : 0xffffffff;
    switch (inst.op) {
      case Op::Add:
      case Op::Sub:
      case Op::Or:
      case Op::Xor:
      case Op::AndNot:
      case Op::Shl:
      case Op::Shr:
      case Op::Sar:
      case Op::Ror:
        if (b == 0) become_copy(inst, self, inst.args[0]);
        return;
      case Op::And:
        if (b == ones) become_copy(inst, self, inst.args[0]);
        else if (b == 0) inst = Inst{.op = Op::Const, .type = inst.type, .imm = 0};
        return;
      case Op::Mul:
        if (b == 1) become_copy(inst, self, inst.args[0]);
        return;
      default: return;
    }
  }

  Block& block_;
  std::vector<Ref> source_;  // what a copy is a copy of
  std::vector<bool> fixed_;
};

}  // namespace

void fold(Block& block) { Folder(block).run(); }

}  // namespace rhea::ir
