// SPDX-License-Identifier: MIT
#include "accel/interpreter/decoded.h"
#include "ir/passes/passes.h"

namespace rhea::accel {

using ir::Inst;
using ir::Op;
using ir::Ref;
using ir::Type;

namespace {

class Decoder {
 public:
  Decoder(const ir::Block& block, std::span<const ir::Helper> helpers)
      : block_(block), helpers_(helpers), label_at_(block.labels), needed_(block.insts.size()) {}

  std::unique_ptr<DecodedBlock> run() {
    auto result = std::make_unique<DecodedBlock>();
    out_ = result.get();
    out_->key = block_.key;
    out_->guest_insns = block_.guest_insns;
    out_->exits = block_.exits;
    find_needed_constants();
    for (at_ = 0; at_ < block_.insts.size(); at_++) one(block_.insts[at_]);
    for (Operation& op : out_->operations) {
      if (op.code >= Code::branch && op.code <= Code::branch_nonzero) op.imm = label_at_[op.imm];
    }
    return result;
  }

 private:
  bool is_const(Ref ref) const { return block_.insts[ref].op == Op::Const; }
  u64 const_value(Ref ref) const { return block_.insts[ref].imm; }
  bool narrow(const Inst& inst) const { return inst.type == Type::I32; }

  // The form of a 32-bit operation with a constant second operand, or kCount.
  Code constant_form(const Inst& inst) const {
    if (!narrow(inst) || ir::info(inst.op).args < 2) return Code::kCount;
    if (inst.op == Op::Sub && is_const(inst.args[0]) && !is_const(inst.args[1])) return Code::rsb_k;
    if (!is_const(inst.args[1])) return Code::kCount;
    switch (inst.op) {
      case Op::Add: return Code::add_k;
      case Op::Sub: return Code::sub_k;
      case Op::And: return Code::and_k;
      case Op::Or: return Code::or_k;
      case Op::Xor: return Code::xor_k;
      case Op::Shl: return const_value(inst.args[1]) < 32 ? Code::shl_k : Code::kCount;
      case Op::Shr: return const_value(inst.args[1]) < 32 ? Code::shr_k : Code::kCount;
      case Op::Sar: return const_value(inst.args[1]) < 32 ? Code::sar_k : Code::kCount;
      case Op::Ror: return Code::ror_k;
      default: return Code::kCount;
    }
  }
  bool flags_with_constant(const Inst& inst) const {
    const Inst& def = block_.insts[inst.args[0]];
    return inst.op == Op::SetFlags && def.op == Op::Sub && def.type == Type::I32 && is_const(def.args[1]);
  }
  bool store_of_constant(const Inst& inst) const {
    return inst.op == Op::SetState && inst.type == Type::I32 && is_const(inst.args[0]);
  }

  // Constants that some operation reads from the frame.
  void find_needed_constants() {
    for (const Inst& inst : block_.insts) {
      const Code form = constant_form(inst);
      for (unsigned a = 0; a < ir::info(inst.op).args; a++) {
        if (form == Code::rsb_k ? a == 0 : form != Code::kCount && a == 1) continue;
        if (store_of_constant(inst)) continue;
        needed_[inst.args[a]] = true;
      }
      if (inst.op != Op::SetFlags) continue;
      const Inst& def = block_.insts[inst.args[0]];
      for (unsigned a = 0; a < ir::info(def.op).args; a++) {
        if (a == 1 && flags_with_constant(inst)) continue;
        needed_[def.args[a]] = true;
      }
    }
  }

  Operation& put(Code code, const Inst& inst) {
    Operation op;
    op.code = code;
    op.dst = static_cast<u16>(at_);
    const unsigned count = ir::info(inst.op).args;
    if (count > 0) op.a = inst.args[0];
    if (count > 1) op.b = inst.args[1];
    if (count > 2) op.c = inst.args[2];
    op.aux = inst.aux;
    op.imm = inst.imm;
    op.location = location_;
    op.ahead = ahead_;
    out_->operations.push_back(op);
    return out_->operations.back();
  }
  void put_eval(Code code, const Inst& inst, const Inst& keep) {
    Operation& op = put(code, inst);
    op.inst = static_cast<u16>(out_->insts.size());
    out_->insts.push_back(keep);
    out_->functions.push_back(ir::eval_function(keep.op));
  }

  void one(const Inst& inst) {
    if (inst.op == Op::Const) {
      if (needed_[at_]) put(Code::constant, inst).imm = inst.type == Type::I64 ? inst.imm : static_cast<u32>(inst.imm);
      return;
    }
    if (const Code form = constant_form(inst); form != Code::kCount) {
      Operation& op = put(form, inst);
      op.imm = static_cast<u32>(const_value(inst.args[form == Code::rsb_k ? 0 : 1]));
      if (form == Code::rsb_k) op.a = inst.args[1];
      return;
    }
    if (state(inst) || flags(inst) || memory(inst) || control(inst)) return;
    if (const Code code = plain(inst); code != Code::kCount) put(code, inst);
    else put_eval(Code::eval, inst, inst);
  }

  Code plain(const Inst& inst) const {
    switch (inst.op) {
      case Op::Copy: return Code::copy;
      case Op::Select: return Code::select;
      case Op::BitsToF:
      case Op::FToBits:
      case Op::ZExt32: return Code::copy;
      case Op::Trunc: return Code::low32;
      default: break;
    }
    if (!narrow(inst)) return Code::kCount;
    switch (inst.op) {
      case Op::Add: return Code::add;
      case Op::Sub: return Code::sub;
      case Op::Mul: return Code::mul;
      case Op::And: return Code::and_;
      case Op::Or: return Code::or_;
      case Op::Xor: return Code::xor_;
      case Op::AndNot: return Code::and_not;
      case Op::Not: return Code::not_;
      case Op::Neg: return Code::neg;
      case Op::Shl: return Code::shl;
      case Op::Shr: return Code::shr;
      case Op::Sar: return Code::sar;
      case Op::SExt8: return Code::sext8;
      case Op::SExt16: return Code::sext16;
      case Op::ZExt8: return Code::zext8;
      case Op::ZExt16: return Code::zext16;
      case Op::CmpEq: return Code::cmp_eq;
      case Op::CmpNe: return Code::cmp_ne;
      case Op::CmpLtU: return Code::cmp_lt_u;
      default: return Code::kCount;
    }
  }

  bool state(const Inst& inst) {
    const u32 size = ir::slot_size(inst);
    switch (inst.op) {
      case Op::GetState: put(size == 4 ? Code::get32 : size == 8 ? Code::get64 : Code::get128, inst); return true;
      case Op::GetState8: put(Code::get8, inst); return true;
      case Op::SetState8: put(Code::set8, inst); return true;
      case Op::SetState:
        if (store_of_constant(inst)) put(Code::set32_const, inst).mask = static_cast<u32>(const_value(inst.args[0]));
        else put(size == 4 ? Code::set32 : size == 8 ? Code::set64 : Code::set128, inst);
        return true;
      default: return false;
    }
  }

  bool flags(const Inst& inst) {
    switch (inst.op) {
      case Op::SetFlags: return set_flags(inst), true;
      case Op::SetFlagsImage: put(Code::flags_image, inst).mask = ir::image_mask(inst.aux); return true;
      case Op::SetCarry: put(Code::set_carry, inst); return true;
      case Op::GetFlags: put(Code::get_flags, inst); return true;
      case Op::GetCarry: put(Code::get_carry, inst); return true;
      case Op::TestCond: put(Code::test_cond, inst); return true;
      default: return false;
    }
  }
  void set_flags(const Inst& inst) {
    const Inst& def = block_.insts[inst.args[0]];
    Code code = Code::flags_of;
    if (def.type == Type::I32 && def.op == Op::Add) code = Code::flags_add;
    else if (flags_with_constant(inst)) code = Code::flags_sub_k;
    else if (def.type == Type::I32 && def.op == Op::Sub) code = Code::flags_sub;
    else if (def.type != Type::I64 && !(inst.aux & (ir::kFlagC | ir::kFlagV))) code = Code::flags_nz;
    if (code == Code::flags_of) put_eval(code, inst, def);
    else put(code, inst);
    Operation& op = out_->operations.back();
    op.mask = ir::image_mask(inst.aux);
    op.dst = inst.args[0];
    if (code == Code::flags_nz) return;
    const unsigned count = ir::info(def.op).args;
    op.a = count > 0 ? def.args[0] : 0;
    op.b = count > 1 ? def.args[1] : 0;
    op.c = count > 2 ? def.args[2] : 0;
    if (code == Code::flags_sub_k) op.imm = static_cast<u32>(const_value(def.args[1]));
  }

  bool memory(const Inst& inst) {
    const bool plain = !(inst.aux & (ir::kSigned | ir::kBigEndian | ir::kUserAccess)) && inst.type != Type::V128 &&
                       inst.type != Type::V64;
    auto access = [&](Code code) {
      Operation& op = put(code, inst);
      op.lane = inst.lane / 8;
      op.mask = inst.type == Type::I64 || inst.type == Type::F64;  // wide
      op.inst = static_cast<u16>(inst.type);
      return true;
    };
    switch (inst.op) {
      case Op::Load:
      case Op::LoadF:
      case Op::LoadV:
        if (plain && inst.lane == 32) return access(Code::load32);
        if (plain && inst.lane == 8) return access(Code::load8);
        if (plain && inst.lane == 16) return access(Code::load16);
        return access(Code::load_any);
      case Op::Store:
      case Op::StoreF:
      case Op::StoreV:
        if (plain && inst.lane == 32) return access(Code::store32);
        if (plain && inst.lane == 8) return access(Code::store8);
        if (plain && inst.lane == 16) return access(Code::store16);
        return access(Code::store_any);
      case Op::GroupRead: return access(Code::group_read);
      case Op::GroupWrite: return access(Code::group_write);
      case Op::GroupCommit: return access(Code::group_commit);
      case Op::CheckAligned: put(Code::check_aligned, inst).lane = inst.lane; return true;
      case Op::PtrLoad: return access(Code::ptr_load);
      case Op::PtrStore: return access(Code::ptr_store);
      case Op::LoadExclusive: return access(Code::load_exclusive);
      case Op::StoreExclusive: return access(Code::store_exclusive);
      case Op::ClearExclusive: return access(Code::clear_exclusive);
      case Op::Fence: return access(Code::fence);
      default: return false;
    }
  }

  bool control(const Inst& inst) {
    switch (inst.op) {
      case Op::Loc:
        location_ = inst.imm;
        ahead_ = static_cast<u16>(ir::insns_from(block_, inst));
        return true;
      case Op::Label: label_at_[inst.imm] = out_->operations.size(); return true;
      case Op::Branch: put(Code::branch, inst); return true;
      case Op::BranchIf: put(Code::branch_if, inst); return true;
      case Op::BranchZero: put(Code::branch_zero, inst); return true;
      case Op::BranchNonZero: put(Code::branch_nonzero, inst); return true;
      case Op::Exit: put(Code::exit, inst); return true;
      case Op::ExitIf: put(Code::exit_if, inst); return true;
      case Op::ExitIfZero: put(Code::exit_if_zero, inst); return true;
      case Op::ExitIfNonZero: put(Code::exit_if_nonzero, inst); return true;
      case Op::ExitIndirect: put(Code::exit_indirect, inst); return true;
      case Op::ExitDispatch: put(Code::exit_dispatch, inst); return true;
      case Op::Call0:
      case Op::Call1:
      case Op::Call2:
      case Op::Call3: {
        Operation& op = put(Code::call, inst);
        op.lane = ir::info(inst.op).args;
        op.mask = inst.type == Type::I64 || inst.type == Type::F64;
        op.aux = ir::helper_flags(inst, helpers_);
        return true;
      }
      default: return false;
    }
  }

  const ir::Block& block_;
  std::span<const ir::Helper> helpers_;
  DecodedBlock* out_ = nullptr;
  usize at_ = 0;
  u64 location_ = 0;
  u16 ahead_ = 0;
  std::vector<usize> label_at_;
  std::vector<bool> needed_;
};

}  // namespace

std::unique_ptr<DecodedBlock> decode_block(const ir::Block& block, std::span<const ir::Helper> helpers) {
  return Decoder(block, helpers).run();
}

}  // namespace rhea::accel
