// SPDX-License-Identifier: MIT
// For tests: random blocks, and a plain machine that runs a block instruction by instruction.
#pragma once

#include <cstring>
#include <optional>
#include <random>
#include <vector>

#include "ir/builder.h"
#include "ir/eval.h"
#include "ir/guest.h"
#include "ir/op_kinds.h"
#include "ir/passes/passes.h"

namespace rhea::ir {

// What a run of a block leaves behind. Memory is a page at any address (modulo).
struct TestMachine {
  static constexpr u32 kSlots = sizeof(StateHeader);
  static constexpr u32 kVectors = kSlots + 64;
  std::array<u8, kVectors + 128> state{};
  alignas(16) std::array<u8, 4096> memory{};
  u32 flags = 0;
  u32 fp_flags = 0;
  u32 saturated = 0;
  u64 exit = ~u64{0};
  u64 exit_pc = 0;

  void run(const Block& block) {
    std::vector<Value> values(block.insts.size());
    for (usize i = 0; i < block.insts.size();) i = step(block, values, i);
  }

 private:
  static constexpr usize kEnd = ~usize{0} >> 1;

  usize find_label(const Block& block, u64 label) {
    for (usize i = 0; i < block.insts.size(); i++) {
      if (block.insts[i].op == Op::Label && block.insts[i].imm == label) return i;
    }
    return kEnd;
  }
  void read(u64 address, void* to, usize size) {
    for (usize i = 0; i < size; i++) static_cast<u8*>(to)[i] = memory[(address + i) & 4095];
  }
  void write(u64 address, const void* from, usize size) {
    for (usize i = 0; i < size; i++) memory[(address + i) & 4095] = static_cast<const u8*>(from)[i];
  }

  // Big-endian data: the bytes of a number the other way round; of a vector, those of each half.
  static Value in_order(const Inst& inst, Value value) {
    if (!(inst.aux & kBigEndian)) return value;
    if (inst.lane == 128) return {__builtin_bswap64(value.lo), __builtin_bswap64(value.hi)};
    return {__builtin_bswap64(value.lo) >> (64 - inst.lane)};
  }

  usize step(const Block& block, std::vector<Value>& values, usize at) {
    const Inst& inst = block.insts[at];
    Value args[3];
    for (unsigned a = 0; a < info(inst.op).args; a++) args[a] = values[inst.args[a]];
    Value result;
    switch (inst.op) {
      case Op::GetState: std::memcpy(&result, &state[inst.imm], slot_size(inst)); break;
      case Op::GetState8: result.lo = state[inst.imm]; break;
      case Op::SetState:
      case Op::SetState8: std::memcpy(&state[inst.imm], &args[0], slot_size(inst)); break;
      case Op::SetFlags: {
        const Inst& def = block.insts[inst.args[0]];
        Value def_args[3];
        for (unsigned a = 0; a < info(def.op).args; a++) def_args[a] = values[def.args[a]];
        const u32 mask = image_mask(inst.aux);
        flags = (flags & ~mask) | (flags_of(def, def_args, args[0]) & mask);
        break;
      }
      case Op::Load:
      case Op::LoadV:
        read(args[0].lo, &result, inst.lane / 8);
        result = in_order(inst, result);
        break;
      case Op::Store:
      case Op::StoreV: {
        const Value value = in_order(inst, args[1]);
        write(args[0].lo, &value, inst.lane / 8);
        break;
      }
      case Op::GroupRead:
      case Op::GroupWrite: result.lo = args[0].lo; break;
      case Op::PtrLoad: read(args[0].lo + inst.imm, &result, inst.lane / 8); break;
      case Op::PtrStore: write(args[0].lo + inst.imm, &args[1], inst.lane / 8); break;
      case Op::GroupCommit:
      case Op::Loc:
      case Op::Label: break;
      case Op::Branch: return find_label(block, inst.imm);
      case Op::BranchIf:
        if (holds(static_cast<Cond>(inst.aux), flags)) return find_label(block, inst.imm);
        break;
      case Op::BranchZero:
        if (!static_cast<u32>(args[0].lo)) return find_label(block, inst.imm);
        break;
      case Op::BranchNonZero:
        if (static_cast<u32>(args[0].lo)) return find_label(block, inst.imm);
        break;
      case Op::ExitIfOther:
        if (args[0].lo == block.exits[inst.imm].target.pc && args[1].lo == block.exits[inst.imm].target.mode) break;
        [[fallthrough]];
      case Op::ExitIndirect:
        exit = inst.imm;
        exit_pc = args[0].lo;
        return kEnd;
      case Op::ExitIfZero:
      case Op::ExitIfNonZero:
        if ((static_cast<u32>(args[0].lo) == 0) != (inst.op == Op::ExitIfZero)) break;
        exit = inst.imm;
        exit_pc = block.exits[inst.imm].target.pc;
        return kEnd;
      case Op::ExitIf:
        if (!holds(static_cast<Cond>(inst.aux), flags)) break;
        [[fallthrough]];
      case Op::Exit:
        exit = inst.imm;
        exit_pc = block.exits[inst.imm].target.pc;
        return kEnd;
      default: {
        EvalContext context{.flags = flags};
        result = eval(inst, args, context);
        flags = context.flags;
        fp_flags |= context.fp_flags;
        saturated |= context.saturated;
        break;
      }
    }
    values[at] = result;
    return at + 1;
  }
};

// Random blocks that verify. Integers, flags, state, memory, vectors, forward branches, exits.
class RandomBlock {
 public:
  explicit RandomBlock(u32 seed) : random_(seed), b_(block_) {}

  Block make(unsigned length) {
    block_.clear();
    ints_.clear();
    vectors_.clear();
    for (unsigned i = 0; i < 4; i++) ints_.push_back(b_.get(Type::I32, slot()));
    ints_.push_back(b_.const32(number()));
    vectors_.push_back(b_.get(Type::V128, vector_slot()));
    for (unsigned i = 0; i < length; i++) one();
    if (open_) close();
    b_.exit(exit());
    block_.guest_insns = static_cast<u16>(length);
    return block_;
  }

 private:
  u32 pick(u32 count) { return std::uniform_int_distribution<u32>(0, count - 1)(random_); }
  u32 number() {
    constexpr u32 kEdges[] = {0,    1,    2,      31,     32,         33,         0x7f,
                              0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff};
    return pick(3) ? kEdges[pick(std::size(kEdges))] : random_();
  }
  u32 slot() { return TestMachine::kSlots + 4 * pick(16); }
  u32 vector_slot() { return TestMachine::kVectors + 16 * pick(8); }
  Ref integer() { return ints_[pick(static_cast<u32>(ints_.size()))]; }
  Ref vector() { return vectors_[pick(static_cast<u32>(vectors_.size()))]; }
  ExitInfo exit() {
    return {.target = {.pc = random_(), .mode = 0}, .live_flags = static_cast<u8>(pick(16)), .insns = 1};
  }
  void add(Ref value) { ints_.push_back(value); }

  void close() {
    b_.label(*open_);
    open_.reset();
    ints_.resize(kept_ints_);
    vectors_.resize(kept_vectors_);
  }
  void open() {
    open_ = b_.new_label();
    kept_ints_ = ints_.size();
    kept_vectors_ = vectors_.size();
    switch (pick(3)) {
      case 0: b_.branch_if(static_cast<Cond>(pick(14)), *open_); break;
      case 1: b_.branch_zero(integer(), *open_); break;
      default: b_.branch_nonzero(integer(), *open_); break;
    }
  }

  void arithmetic() {
    constexpr Op kTwo[] = {Op::Add, Op::Sub, Op::Mul,   Op::And,   Op::Or,     Op::Xor,    Op::AndNot, Op::Shl, Op::Shr,
                           Op::Sar, Op::Ror, Op::CmpEq, Op::CmpNe, Op::CmpLtU, Op::CmpLeS, Op::DivU,   Op::DivS};
    constexpr Op kOne[] = {Op::Not,   Op::Neg,    Op::Clz,   Op::Rbit,  Op::Bswap,
                           Op::SExt8, Op::SExt16, Op::ZExt8, Op::ZExt16};
    switch (pick(4)) {
      case 0: return add(b_.op1(kOne[pick(std::size(kOne))], integer()));
      case 1: return add(b_.select(integer(), integer(), integer()));
      case 2: return add(b_.emit(pick(2) ? Op::Adc : Op::Sbc, Type::I32, integer(), integer(), b_.get_carry()));
      default: return add(b_.op2(kTwo[pick(std::size(kTwo))], integer(), integer()));
    }
  }
  void flags() {
    const Ref value = integer();
    const Op def = block_.insts[value].op;
    const bool all = def == Op::Add || def == Op::Sub || def == Op::Adc || def == Op::Sbc;
    switch (pick(5)) {
      case 0: return b_.set_carry(b_.and_(value, 1u));
      case 1: return add(b_.test(static_cast<Cond>(pick(14))));
      case 2:
        b_.emit(Op::SetFlagsImage, Type::Void, b_.and_(value, kImageMask), kNoRef, kNoRef, 0, 0,
                static_cast<u8>(1 + pick(15)));
        return;
      case 3: return add(b_.and_(b_.emit(Op::GetFlags, Type::I32, kNoRef, kNoRef, kNoRef, 0, 0, kFlagN), kImageN));
      default: return b_.set_flags(value, static_cast<u8>(all ? 1 + pick(15) : 1 + pick(3)));
    }
  }
  void vectors() {
    constexpr Op kTwo[] = {Op::VAdd,    Op::VSub,  Op::VAnd,     Op::VOr,    Op::VXor,
                           Op::VCmpGtS, Op::VMinU, Op::VSatAddS, Op::VZipLo, Op::VShlS};
    constexpr u8 kLanes[] = {8, 16, 32, 64};
    switch (pick(5)) {
      case 0: vectors_.push_back(b_.get(Type::V128, vector_slot())); return;
      case 1: vectors_.push_back(b_.get(Type::V64, vector_slot() + 8 * pick(2))); return;
      case 2: return b_.set(Type::V128, vector_slot(), vector());
      case 3: return b_.set(Type::V64, vector_slot() + 8 * pick(2), vector());
      default:
        vectors_.push_back(
            b_.emit(kTwo[pick(std::size(kTwo))], Type::V128, vector(), vector(), kNoRef, 0, kLanes[pick(4)]));
        return;
    }
  }
  void memory() {
    constexpr u8 kLanes[] = {8, 16, 32};
    b_.loc(random_());
    switch (pick(4)) {
      case 0: return add(b_.load(kLanes[pick(3)], integer()));
      case 1: return b_.store(kLanes[pick(3)], integer(), integer());
      case 2: {
        const Ref group = b_.emit(Op::GroupRead, Type::I64, integer(), kNoRef, kNoRef, 16);
        const Ref first = b_.emit(Op::PtrLoad, Type::I32, group, kNoRef, kNoRef, 0, 32);
        add(b_.emit(Op::PtrLoad, Type::I32, group, kNoRef, kNoRef, 8, 32));
        b_.set(Type::I32, slot(), first);
        return;
      }
      default: {
        const Ref a = integer(), c = integer();
        const Ref group = b_.emit(Op::GroupWrite, Type::I64, integer(), kNoRef, kNoRef, 8);
        b_.emit(Op::PtrStore, Type::I32, group, a, kNoRef, 0, 32);
        b_.emit(Op::PtrStore, Type::I32, group, c, kNoRef, 4, 32);
        b_.emit(Op::GroupCommit, Type::Void, group);
        return;
      }
    }
  }

  void one() {
    switch (pick(12)) {
      case 0:
      case 1:
      case 2: return arithmetic();
      case 3:
      case 4: return flags();
      case 5: return add(b_.get(Type::I32, slot()));
      case 6: return b_.set(Type::I32, slot(), integer());
      case 7: return vectors();
      case 8: return memory();
      case 9: return add(b_.const32(number()));
      case 10: return open_ ? close() : open();
      default:
        if (pick(3)) return add(b_.emit(Op::Copy, Type::I32, integer()));
        if (pick(2)) return b_.exit_if_zero(integer(), pick(2), exit());
        return b_.exit_if(static_cast<Cond>(pick(14)), exit());
    }
  }

  std::mt19937 random_;
  Block block_;
  Builder b_;
  std::vector<Ref> ints_, vectors_;
  std::optional<u16> open_;
  usize kept_ints_ = 0, kept_vectors_ = 0;
};

}  // namespace rhea::ir
