// SPDX-License-Identifier: MIT
// Makes IR: one method for each opcode, with the folding of constants that costs nothing at this point.
#pragma once

#include "ir/ir.h"

namespace rhea::ir {

class Builder {
 public:
  explicit Builder(Block& block) : block_(block) {}

  Block& block() { return block_; }
  usize size() const { return block_.insts.size(); }

  Ref emit(Op op, Type type, Ref a = kNoRef, Ref b = kNoRef, Ref c = kNoRef, u64 imm = 0, u8 lane = 0, u8 aux = 0,
           u8 aux2 = 0) {
    Inst inst{.op = op, .type = type, .lane = lane, .aux = aux, .aux2 = aux2, .args = {a, b, c}, .imm = imm};
    block_.insts.push_back(inst);
    return static_cast<Ref>(block_.insts.size() - 1);
  }

  Ref const32(u32 value) { return emit(Op::Const, Type::I32, kNoRef, kNoRef, kNoRef, value); }
  Ref const64(u64 value) { return emit(Op::Const, Type::I64, kNoRef, kNoRef, kNoRef, value); }
  bool is_const(Ref value) const { return block_.insts[value].op == Op::Const; }
  u64 const_value(Ref value) const { return block_.insts[value].imm; }

  Ref get(Type type, u32 offset) {
    return emit(Op::GetState, type == Type::V64 ? Type::V64 : type, kNoRef, kNoRef, kNoRef, offset);
  }
  void set(Type type, u32 offset, Ref value) { emit(Op::SetState, type, value, kNoRef, kNoRef, offset); }

  // Binary and unary integer operations of 32 bits; the 64-bit forms take the type.
  Ref op2(Op op, Ref a, Ref b) { return emit(op, Type::I32, a, b); }
  Ref op1(Op op, Ref a) { return emit(op, Type::I32, a); }
  Ref op2(Op op, Type type, Ref a, Ref b) { return emit(op, type, a, b); }
  Ref op1(Op op, Type type, Ref a) { return emit(op, type, a); }
  Ref add(Ref a, Ref b) { return op2(Op::Add, a, b); }
  Ref add(Ref a, u32 b) { return b ? op2(Op::Add, a, const32(b)) : a; }
  Ref add(Ref a, int b) { return add(a, static_cast<u32>(b)); }
  Ref sub(Ref a, Ref b) { return op2(Op::Sub, a, b); }
  Ref and_(Ref a, Ref b) { return op2(Op::And, a, b); }
  Ref and_(Ref a, u32 b) { return op2(Op::And, a, const32(b)); }
  Ref and_(Ref a, int b) { return and_(a, static_cast<u32>(b)); }
  Ref or_(Ref a, Ref b) { return op2(Op::Or, a, b); }
  Ref xor_(Ref a, Ref b) { return op2(Op::Xor, a, b); }
  Ref shl(Ref a, u32 n) { return n ? op2(Op::Shl, a, const32(n)) : a; }
  Ref shr(Ref a, u32 n) { return n ? op2(Op::Shr, a, const32(n)) : a; }
  Ref sar(Ref a, u32 n) { return n ? op2(Op::Sar, a, const32(n)) : a; }
  Ref select(Ref condition, Ref yes, Ref no, Type type = Type::I32) {
    return emit(Op::Select, type, condition, yes, no);
  }

  void set_flags(Ref of, u8 mask) { emit(Op::SetFlags, Type::Void, of, kNoRef, kNoRef, 0, 0, mask); }
  void set_carry(Ref value) { emit(Op::SetCarry, Type::Void, value, kNoRef, kNoRef, 0, 0, kFlagC); }
  Ref get_carry() { return emit(Op::GetCarry, Type::I32); }
  Ref test(Cond cond) { return emit(Op::TestCond, Type::I32, kNoRef, kNoRef, kNoRef, 0, 0, static_cast<u8>(cond)); }

  Ref load(unsigned bits, Ref address, u8 flags = 0, Type type = Type::I32) {
    return emit(Op::Load, type, address, kNoRef, kNoRef, 0, static_cast<u8>(bits), flags);
  }
  void store(unsigned bits, Ref address, Ref value, u8 flags = 0, Type type = Type::I32) {
    emit(Op::Store, type, address, value, kNoRef, 0, static_cast<u8>(bits), flags);
  }

  // The next instruction of the guest begins: they are numbered in Loc's lane and aux.
  void loc(u64 location) {
    emit(Op::Loc, Type::Void, kNoRef, kNoRef, kNoRef, location, static_cast<u8>(locs_), static_cast<u8>(locs_ >> 8));
    locs_++;
  }
  u16 new_label() { return block_.labels++; }
  void label(u16 number) { emit(Op::Label, Type::Void, kNoRef, kNoRef, kNoRef, number); }
  void branch(u16 number) { emit(Op::Branch, Type::Void, kNoRef, kNoRef, kNoRef, number); }
  void branch_if(Cond cond, u16 number) {
    emit(Op::BranchIf, Type::Void, kNoRef, kNoRef, kNoRef, number, 0, static_cast<u8>(cond));
  }
  void branch_zero(Ref value, u16 number) { emit(Op::BranchZero, Type::Void, value, kNoRef, kNoRef, number); }
  void branch_nonzero(Ref value, u16 number) { emit(Op::BranchNonZero, Type::Void, value, kNoRef, kNoRef, number); }

  void exit(const ExitInfo& exit) { emit(Op::Exit, Type::Void, kNoRef, kNoRef, kNoRef, add_exit(exit)); }
  void exit_if(Cond cond, const ExitInfo& exit) {
    emit(Op::ExitIf, Type::Void, kNoRef, kNoRef, kNoRef, add_exit(exit), 0, static_cast<u8>(cond));
  }
  void exit_if_zero(Ref value, bool zero, const ExitInfo& exit) {
    emit(zero ? Op::ExitIfZero : Op::ExitIfNonZero, Type::Void, value, kNoRef, kNoRef, add_exit(exit));
  }
  void exit_indirect(Ref pc, Ref mode, const ExitInfo& exit) {
    emit(Op::ExitIndirect, Type::Void, pc, mode, kNoRef, add_exit(exit));
  }
  void exit_dispatch(const ExitInfo& exit) {
    emit(Op::ExitDispatch, Type::Void, kNoRef, kNoRef, kNoRef, add_exit(exit));
  }

 private:
  u64 add_exit(const ExitInfo& exit) {
    block_.exits.push_back(exit);
    return block_.exits.size() - 1;
  }
  Block& block_;
  unsigned locs_ = 0;
};

}  // namespace rhea::ir
