// SPDX-License-Identifier: MIT
// What a host cannot compute without disturbing its flags, and stands between flags and the conditions on them, is
// computed before the flags: a compare that two predicated instructions follow stays a compare and two conditional
// moves.
//
// Moved are integer operations of the same straight line whose operands are there before; with them the constants and
// slots of the state that they read. What is itself made into flags stays where it is. At most kMost values are
// moved at a time: each has to be kept in a register until it is used.
#include <algorithm>

#include "ir/passes/passes.h"

namespace rhea::ir {

namespace {

constexpr usize kReach = 40;  // instructions behind the flags
constexpr unsigned kMost = 2;

// What host code for it writes flags.
bool disturbs(Op op) {
  switch (op) {
    case Op::Sub:
    case Op::Mul:
    case Op::And:
    case Op::Or:
    case Op::Xor:
    case Op::AndNot:
    case Op::Neg:
    case Op::Shl:
    case Op::Shr:
    case Op::Sar: return true;
    default: return false;
  }
}

bool is_free(Op op) {
  return op == Op::Const || op == Op::GetState || op == Op::Add || op == Op::Not || op == Op::Ror || op == Op::SExt8 ||
         op == Op::SExt16 || op == Op::ZExt8 || op == Op::ZExt16;
}

class Raise {
 public:
  explicit Raise(Block& block) : insts_(block.insts) {}

  void run() {
    for (usize i = 1; i < insts_.size(); i++) {
      if (insts_[i].op == Op::SetFlags && insts_[i].args[0] + 1u == i) i = visit(i);
    }
  }

 private:
  bool is_condition(Ref ref) const {
    return ref != kNoRef && (insts_[ref].op == Op::TestCond || insts_[ref].op == Op::GetCarry);
  }

  // The last reader of flags before anything that they, or an order of effects, do not outlive; or `flags` itself.
  usize last_reader(usize flags) const {
    usize last = flags;
    for (usize i = flags + 1; i < std::min(insts_.size(), flags + kReach); i++) {
      const Inst& inst = insts_[i];
      switch (inst.op) {
        case Op::Loc:
        case Op::Copy:  // looked through: nobody uses it
        case Op::TestCond:
        case Op::GetCarry:
        case Op::SetState: break;
        case Op::Select:
          if (is_condition(inst.args[0])) last = i;
          break;
        case Op::Adc:
        case Op::Sbc: last = i; break;
        case Op::BranchIf:
        case Op::ExitIf: return i;
        case Op::BranchZero:
        case Op::BranchNonZero:
        case Op::ExitIfZero:
        case Op::ExitIfNonZero: return is_condition(inst.args[0]) ? i : last;
        default:
          if (!disturbs(inst.op) && !is_free(inst.op)) return last;
      }
    }
    return last;
  }

  // Where the flags are afterwards.
  usize visit(usize flags) {
    const usize begin = flags - 1, end = last_reader(flags);
    if (end - flags < 2) return flags;
    moves_.assign(end - begin, 0);
    find_roots(flags, end);
    if (roots_.empty()) return flags;
    moves_.assign(end - begin, 0);
    for (const usize root : roots_) mark(root, begin, flags);
    reorder(begin, end);
    return flags + static_cast<usize>(std::count(moves_.begin(), moves_.end(), 1));
  }

  // The first ones of what may be moved and is no operand of something else that is.
  void find_roots(usize flags, usize end) {
    const usize begin = flags - 1;
    roots_.clear();
    for (usize i = end; i-- > flags + 1;) {
      if (moves_[i - begin] || !disturbs(insts_[i].op)) continue;
      if (becomes_flags(i, end) || !may_move(i, begin, flags)) continue;
      mark(i, begin, flags);
      if (is_compared(i, begin)) share(i, begin);
      else roots_.push_back(i);
    }
    std::reverse(roots_.begin(), roots_.end());
    if (roots_.size() > kMost) roots_.resize(kMost);
  }

  // What the flags are made of, once more.
  bool is_compared(usize at, usize begin) const {
    const Inst &inst = insts_[at], &compared = insts_[begin];
    return inst.op == Op::Sub && compared.op == Op::Sub && inst.type == compared.type &&
           is_same(inst.args[0], compared.args[0]) && is_same(inst.args[1], compared.args[1]);
  }

  // Also shifted operands of both.
  bool is_same(Ref a, Ref b) const {
    if (a == b) return true;
    const Inst &x = insts_[a], &y = insts_[b];
    return x.op == y.op && (disturbs(x.op) || x.op == Op::Const) && x.type == y.type && x.imm == y.imm &&
           (x.op == Op::Const || (is_same(x.args[0], y.args[0]) && is_same(x.args[1], y.args[1])));
  }

  void share(usize at, usize begin) {
    for (usize i = at + 1; i < insts_.size(); i++) {
      for (unsigned a = 0; a < traits(insts_[i].op).args; a++) {
        if (insts_[i].args[a] == at) insts_[i].args[a] = static_cast<Ref>(begin);
      }
    }
  }

  // Also one whose flags are taken behind the range: they are made where it is.
  bool becomes_flags(usize at, usize end) const {
    for (usize i = at + 1; i < std::min(insts_.size(), end + kReach); i++) {
      if ((insts_[i].op == Op::SetFlags || insts_[i].op == Op::SetCarry) && insts_[i].args[0] == at) return true;
    }
    return false;
  }

  bool may_move(usize at, usize begin, usize flags) const {
    const Inst& inst = insts_[at];
    if (inst.op == Op::GetState) return !is_written(inst, flags, at);
    if (!disturbs(inst.op) && !is_free(inst.op)) return false;
    for (unsigned a = 0; a < traits(inst.op).args; a++) {
      const Ref arg = inst.args[a];
      if (arg >= begin && (arg <= flags || !may_move(arg, begin, flags))) return false;
    }
    return true;
  }

  bool is_written(const Inst& get, usize from, usize to) const {
    for (usize i = from + 1; i < to; i++) {
      const Inst& set = insts_[i];
      if (set.op == Op::SetState && set.imm < get.imm + slot_size(get) && get.imm < set.imm + slot_size(set))
        return true;
    }
    return false;
  }

  void mark(usize at, usize begin, usize flags) {
    moves_[at - begin] = 1;
    for (unsigned a = 0; a < traits(insts_[at].op).args; a++) {
      const Ref arg = insts_[at].args[a];
      if (arg > flags) mark(arg, begin, flags);
    }
  }

  void reorder(usize begin, usize end) {
    order_.clear();
    for (const u8 first : {1, 0}) {
      for (usize i = begin; i < end; i++) {
        if (moves_[i - begin] == first) order_.push_back(insts_[i]), names_from_.push_back(static_cast<Ref>(i));
      }
    }
    names_.resize(end - begin);
    for (usize i = 0; i < order_.size(); i++) names_[names_from_[i] - begin] = static_cast<Ref>(begin + i);
    names_from_.clear();
    std::copy(order_.begin(), order_.end(), insts_.begin() + static_cast<std::ptrdiff_t>(begin));
    for (usize i = begin; i < insts_.size(); i++) {
      for (unsigned a = 0; a < traits(insts_[i].op).args; a++) {
        Ref& arg = insts_[i].args[a];
        if (arg >= begin && arg < end) arg = names_[arg - begin];
      }
    }
  }

  std::vector<Inst>& insts_;
  std::vector<u8> moves_;  // by distance from the first instruction that may change its place
  std::vector<usize> roots_;
  std::vector<Inst> order_;
  std::vector<Ref> names_from_, names_;
};

}  // namespace

void raise(Block& block) { Raise(block).run(); }

}  // namespace rhea::ir
