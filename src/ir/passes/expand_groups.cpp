// SPDX-License-Identifier: MIT
// All loads of a GroupRead happen where the group was, before anything that the instruction does with them, so that
// a fault finds the state as it was. Stores stay where their PtrStores were.
#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

class Expander {
 public:
  explicit Expander(Block& block) : block_(block), old_(std::move(block.insts)), renamed_(old_.size(), kNoRef) {
    block_.insts.clear();
  }

  void run() {
    for (usize i = 0; i < old_.size(); i++) {
      Inst inst = old_[i];
      if (inst.op == Op::GroupRead) {
        read_group(static_cast<Ref>(i));
        continue;
      }
      if (inst.op == Op::GroupWrite || inst.op == Op::GroupCommit) continue;
      if (inst.op == Op::PtrLoad) continue;  // was made with its group
      if (inst.op == Op::PtrStore) {
        write_part(inst);
        continue;
      }
      for (unsigned a = 0; a < info(inst.op).args; a++) inst.args[a] = renamed_[inst.args[a]];
      renamed_[i] = put(inst);
    }
  }

 private:
  Ref put(const Inst& inst) {
    block_.insts.push_back(inst);
    return static_cast<Ref>(block_.insts.size() - 1);
  }
  Ref address(const Inst& group, u64 offset) {
    const Ref base = renamed_[group.args[0]];
    if (!offset) return base;
    const Ref constant = put({.op = Op::Const, .type = Type::I32, .imm = offset});
    return put({.op = Op::Add, .type = Type::I32, .args = {base, constant, kNoRef}});
  }
  static u8 flags(const Inst& group, const Inst& part) {
    u8 flags = (group.aux & kUserAccess) | (part.aux & (kBigEndian | kSigned));
    if ((group.aux & kAligned) && part.lane <= 32) flags |= kAligned;
    return flags;
  }
  static Op load_op(Type type) {
    if (type == Type::F32 || type == Type::F64) return Op::LoadF;
    return type == Type::V64 || type == Type::V128 ? Op::LoadV : Op::Load;
  }
  static Op store_op(Type type) {
    if (type == Type::F32 || type == Type::F64) return Op::StoreF;
    return type == Type::V64 || type == Type::V128 ? Op::StoreV : Op::Store;
  }

  void read_group(Ref group) {
    for (usize i = group + 1u; i < old_.size(); i++) {
      const Inst& part = old_[i];
      if (part.op != Op::PtrLoad || part.args[0] != group) continue;
      Inst load{.op = load_op(part.type), .type = part.type, .lane = part.lane, .aux = flags(old_[group], part)};
      load.args[0] = address(old_[group], part.imm);
      renamed_[i] = put(load);
    }
  }

  void write_part(const Inst& part) {
    const Inst& group = old_[part.args[0]];
    Inst store{.op = store_op(part.type), .type = part.type, .lane = part.lane, .aux = flags(group, part)};
    store.args[0] = address(group, part.imm);
    store.args[1] = renamed_[part.args[1]];
    put(store);
  }

  Block& block_;
  std::vector<Inst> old_;
  std::vector<Ref> renamed_;
};

}  // namespace

void expand_groups(Block& block) { Expander(block).run(); }

}  // namespace rhea::ir
