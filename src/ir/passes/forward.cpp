// SPDX-License-Identifier: MIT
// Forwards over the block, once: constants are computed, copies looked through, operations with a neutral operand
// dropped, and a slot of the state that was read or written before in straight-line code is not read again.
//
// An instruction whose C or V a SetFlags takes keeps its opcode and operands: they are what the flags are made of.
// What a slot holds is forgotten at a label and behind a helper that writes state; a write to an overlapping slot of
// another size forgets that. Slots of the engine's header are left alone.
//
// Halves of vectors: a 64-bit slot that was written with a whole vector reads as its low half, either half of a 128-bit
// slot as a half of what was written there, and two halves as both joined. Where the high half is known to be zero no
// instruction is needed for the low one.
#include <utility>

#include "ir/eval.h"
#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

// What slots of the state are known to hold.
class Known {
 public:
  Ref find(u32 offset, Type type) const {
    if (type == Type::I32) {
      const Word& word = words_[place(offset)];
      return word.offset == offset ? word.value : kNoRef;
    }
    for (unsigned i = 0; i < count_; i++) {
      if (slots_[i].offset == offset && slots_[i].type == type) return slots_[i].value;
    }
    return kNoRef;
  }
  // The vector of 128 bits whose half is at `offset`, and which half that is.
  Ref find_whole(u32 offset, bool& high) const {
    for (unsigned i = 0; i < count_; i++) {
      if (slots_[i].type != Type::V128 || offset - slots_[i].offset > 8 || (offset - slots_[i].offset) & 7) continue;
      high = offset != slots_[i].offset;
      return slots_[i].value;
    }
    return kNoRef;
  }
  void add(u32 offset, u32 size, Type type, Ref value) {
    if (type == Type::I32) {
      if (!(offset & 3)) words_[place(offset)] = {offset, value};
      return;
    }
    if (count_ == slots_.size()) count_ = 0;  // more than that are hardly ever read again
    slots_[count_++] = {offset, static_cast<u16>(size), value, type};
  }
  void forget(u32 offset, u32 size) {
    for (u32 at = offset & ~3u; at < offset + size; at += 4) {
      Word& word = words_[place(at)];
      if (word.offset == at) word.offset = kNowhere;
    }
    for (unsigned i = 0; i < count_;) {
      const Slot& slot = slots_[i];
      if (slot.offset < offset + size && offset < slot.offset + slot.size) slots_[i] = slots_[--count_];
      else i++;
    }
  }
  void clear() {
    count_ = 0;
    words_.fill({});
  }

 private:
  // Slots of 32 bits, which most are; two that share a place push each other out.
  static constexpr u32 kNowhere = ~0u;
  struct Word {
    u32 offset = kNowhere;
    Ref value = kNoRef;
  };
  static usize place(u32 offset) { return offset / 4 % kPlaces; }
  static constexpr usize kPlaces = 64;
  std::array<Word, kPlaces> words_{};
  struct Slot {
    u32 offset;
    u16 size;
    Ref value;
    Type type;
  };
  unsigned count_ = 0;
  std::array<Slot, 48> slots_;
};

constexpr bool is_integer(Type type) { return type == Type::I32 || type == Type::I64; }
constexpr bool computes(Op op) {
  return (op >= Op::Add && op <= Op::CmpLeS) || (op >= Op::SatS && op <= Op::SelectBytes);
}
bool in_header(const Inst& inst) { return inst.imm < sizeof(StateHeader); }
bool takes_operands(const Inst& inst) { return inst.op == Op::SetFlags && (inst.aux & (kFlagC | kFlagV)); }

class Forward {
 public:
  Forward(Block& block, std::span<const Helper> helpers)
      : block_(block), helpers_(helpers), source_(block.insts.size()), half_(block.insts.size()) {
    for (const Inst& inst : block.insts) {
      if (takes_operands(inst)) source_[inst.args[0]] = kFixed;
    }
  }

  void run() {
    for (usize i = 0; i < block_.insts.size(); i++) step(block_.insts[i], static_cast<Ref>(i));
  }

 private:
  static constexpr Ref kFixed = 1;  // of an instruction that was not visited yet

  void step(Inst& inst, Ref self) {
    const bool fixed = source_[self] == kFixed;
    source_[self] = self;
    if (!takes_operands(inst)) {
      for (unsigned a = 0; a < traits(inst.op).args; a++) inst.args[a] = source_[inst.args[a]];
    }
    switch (inst.op) {
      case Op::Copy:
        if (copies(inst)) source_[self] = inst.args[0];
        return;
      case Op::GetState: return get(inst, self);
      case Op::SetState:
      case Op::SetState8: return set(inst);
      case Op::Label: return known_.clear();
      case Op::ExitIfOther:
        if (leads_on(inst)) make_dead(inst);
        return;
      case Op::Call0:
      case Op::Call1:
      case Op::Call2:
      case Op::Call3:
        if (helper_flags(inst, helpers_) & kWritesState) known_.clear();
        return;
      default:
        if (inst.type >= Type::V64) {
          if (inst.op == Op::VBitSelect) find_rotation(inst);
          half_[self] = is_half(inst);
        } else if (!fixed && computes(inst.op)) fold(inst, self);
        return;
    }
  }

  void get(Inst& inst, Ref self) {
    if (in_header(inst)) return;
    const u32 offset = static_cast<u32>(inst.imm);
    const Ref value = known_.find(offset, inst.type);
    if (inst.type == Type::V64) {
      get_half(inst, self, value);
    } else if (value != kNoRef) {
      become_copy(inst, self, value);
    } else if (inst.type != Type::V128 || !join(inst, self, offset)) {
      known_.add(offset, slot_size(inst), inst.type, self);
    }
  }

  void get_half(Inst& inst, Ref self, Ref value) {
    const u32 offset = static_cast<u32>(inst.imm);
    bool high = false;
    const bool whole = value == kNoRef;
    if (whole) value = known_.find_whole(offset, high);
    if (value != kNoRef && !high && half_[value]) {
      inst = Inst{.op = Op::Copy, .type = result_type(block_.insts[value]), .args = {value, kNoRef, kNoRef}};
      source_[self] = value;
      return;
    }
    half_[self] = true;
    if (value != kNoRef) {
      inst =
          Inst{.op = high ? Op::VHigh64 : Op::VLow64, .type = Type::V64, .lane = 64, .args = {value, kNoRef, kNoRef}};
    }
    // What is in a register with its high half clear is as good.
    if (!whole) known_.forget(offset, 8);
    known_.add(offset, 8, Type::V64, self);
  }

  // A vector both halves of which are known.
  bool join(Inst& inst, Ref self, u32 offset) {
    const Ref low = known_.find(offset, Type::V64), high = known_.find(offset + 8, Type::V64);
    if (low == kNoRef || high == kNoRef) return false;
    inst = Inst{.op = Op::VJoin64, .type = Type::V128, .lane = 64, .args = {low, high, kNoRef}};
    known_.add(offset, 16, Type::V128, self);
    return true;
  }

  void set(const Inst& inst) {
    const u32 offset = static_cast<u32>(inst.imm), size = slot_size(inst);
    known_.forget(offset, size);
    if (inst.op == Op::SetState && !in_header(inst)) known_.add(offset, size, inst.type, inst.args[0]);
  }

  // Whether the high half of a vector is zero, for the operations of which D registers are made.
  bool is_half(const Inst& inst) const {
    const auto half = [&](unsigned a) { return half_[inst.args[a]] != 0; };
    switch (inst.op) {
      case Op::VZero:
      case Op::VLow64:
      case Op::VHigh64:
      case Op::VFromF:
      case Op::VNarrow:
      case Op::VSatNarrowU:
      case Op::VSatNarrowS:
      case Op::VSatNarrowSU:
      case Op::VPairAdd:
      case Op::VTableLookup: return true;
      case Op::VAnd: return half(0) || half(1);
      case Op::VAndNot:
      case Op::VNeg:
      case Op::VAbs:
      case Op::VShlImm:
      case Op::VRotlImm:
      case Op::VShrUImm:
      case Op::VShrSImm:
      case Op::VShrRndUImm:
      case Op::VShrRndSImm: return half(0);
      case Op::VOr:
      case Op::VXor:
      case Op::VAdd:
      case Op::VSub:
      case Op::VMul:
      case Op::VMinS:
      case Op::VMinU:
      case Op::VMaxS:
      case Op::VMaxU:
      case Op::VSatAddU:
      case Op::VSatAddS:
      case Op::VSatSubU:
      case Op::VSatSubS: return half(0) && half(1);
      case Op::VBitSelect: return half(1) && half(2);
      case Op::LoadV:
      case Op::PtrLoad: return inst.lane == 64;
      default: return false;
    }
  }

  // A shift whose vacated bits are those that another one of the same vector leaves: how NEON code rotates.
  void find_rotation(Inst& inst) const {
    const Inst& mask = block_.insts[inst.args[0]];
    const Inst& kept = block_.insts[inst.args[1]];
    const Inst& other = block_.insts[inst.args[2]];
    const bool left = kept.op == Op::VShlImm;
    const Inst& shl = left ? kept : other;
    const Inst& shr = left ? other : kept;
    if (mask.op != Op::VConst || shl.op != Op::VShlImm || shr.op != Op::VShrUImm || shl.args[0] != shr.args[0]) return;
    if (shl.lane != shr.lane || shl.lane < 32 || shl.imm + shr.imm != shl.lane || shl.type != shr.type) return;
    const u64 ones = ~u64{0} >> (64 - shl.lane);
    u64 keeps = (left ? ones << shl.imm : ones >> shr.imm) & ones;
    if (shl.lane == 32) keeps |= keeps << 32;
    if (mask.imm != keeps) return;
    inst = Inst{
        .op = Op::VRotlImm, .type = inst.type, .lane = shl.lane, .args = {shl.args[0], kNoRef, kNoRef}, .imm = shl.imm};
  }

  // A copy between types (V64 of a V128) is none.
  bool copies(const Inst& inst) const { return result_type(block_.insts[inst.args[0]]) == inst.type; }
  bool is_const(Ref ref) const { return block_.insts[ref].op == Op::Const; }
  u64 const_value(Ref ref) const {
    const Inst& inst = block_.insts[ref];
    return inst.type == Type::I64 ? inst.imm : static_cast<u32>(inst.imm);
  }

  // An indirect jump that goes where the block goes on: a return to a call in the same block.
  bool leads_on(const Inst& inst) const {
    const Key& on = block_.exits[inst.imm].target;
    return is_const(inst.args[0]) && is_const(inst.args[1]) && const_value(inst.args[0]) == on.pc &&
           const_value(inst.args[1]) == on.mode;
  }

  void fold(Inst& inst, Ref self) {
    const unsigned count = traits(inst.op).args;
    bool all = is_integer(inst.type);
    for (unsigned a = 0; a < count && all; a++) all = is_const(inst.args[a]);
    if (all) return compute(inst, count);
    if (inst.op == Op::Select && is_const(inst.args[0]))
      return become_copy(inst, self, const_value(inst.args[0]) ? inst.args[1] : inst.args[2]);
    if (count == 2) simplify(inst, self);
  }

  void compute(Inst& inst, unsigned count) {
    std::array<Value, 3> values;
    for (unsigned a = 0; a < count; a++) values[a] = {const_value(inst.args[a])};
    EvalContext context;
    const u64 value = eval(inst, values.data(), context).lo;
    inst = Inst{.op = Op::Const, .type = result_type(inst), .imm = value};
  }

  void become_copy(Inst& inst, Ref self, Ref of) {
    inst = Inst{.op = Op::Copy, .type = result_type(inst), .args = {of, kNoRef, kNoRef}};
    if (copies(inst)) source_[self] = of;
  }

  void simplify(Inst& inst, Ref self) {
    const bool commutes =
        inst.op == Op::Add || inst.op == Op::And || inst.op == Op::Or || inst.op == Op::Xor || inst.op == Op::Mul;
    if (commutes && is_const(inst.args[0])) std::swap(inst.args[0], inst.args[1]);
    if (!is_const(inst.args[1])) return;
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
  std::span<const Helper> helpers_;
  std::vector<Ref> source_;  // what a copy is a copy of
  std::vector<u8> half_;     // a vector whose high half is zero
  Known known_;
};

}  // namespace

void forward(Block& block, std::span<const Helper> helpers) { Forward(block, helpers).run(); }

}  // namespace rhea::ir
