// SPDX-License-Identifier: MIT
// The interpreter's inner loop: one label for each operation, each of which jumps to the next one's.
//
// The frame holds a value for each instruction of the block. Loads and stores of up to a word look into the soft
// tables themselves; everything else of memory is the soft MMU's.
#include "accel/interpreter/interpreter.h"
#include "util/bits.h"

namespace rhea::accel {

namespace {

using ir::Type;
using ir::Value;

u32 nz_of(u32 value) { return (value >> 31 ? ir::kImageN : 0) | (value == 0 ? ir::kImageZ : 0); }
u32 add_flags(u32 a, u32 b) {
  u32 sum;
  const bool carry = __builtin_add_overflow(a, b, &sum);
  return nz_of(sum) | (carry ? ir::kImageC : 0) | ((a ^ sum) & (b ^ sum)) >> 31;
}
u32 sub_flags(u32 a, u32 b) {
  const u32 difference = a - b;
  return nz_of(difference) | (a >= b ? ir::kImageC : 0) | ((a ^ b) & (a ^ difference)) >> 31;
}
static_assert(ir::kImageV == 1);

u64 extend(u64 value, const Operation& op) {
  if (!(op.aux & ir::kSigned) || op.lane >= 8) return value;
  const u64 wide = static_cast<u64>(sign_extend(value, op.lane * 8));
  return op.mask ? wide : static_cast<u32>(wide);
}

// Host address of an access in the tables, or nullptr: the slow path.
u8* lookup(u64* table, u64 address, unsigned size) {
  if (address & (size - 1)) return nullptr;
  const u64 entry = table[address >> memory::kPageBits];
  return entry ? reinterpret_cast<u8*>(entry + address) : nullptr;
}
u64* write_table(const ir::StateHeader& state) {
  return reinterpret_cast<u64*>(reinterpret_cast<u8*>(state.read_table) + kWriteTable);
}

Value pointer_load(const Operation& op, u64 pointer) {
  const u8* from = reinterpret_cast<const u8*>(pointer) + op.imm;
  Value value;
  std::memcpy(&value, from, op.lane);
  if (op.aux & ir::kBigEndian) {
    if (op.lane == 2) value.lo = byte_swap(static_cast<u16>(value.lo));
    else if (op.lane == 4) value.lo = byte_swap(static_cast<u32>(value.lo));
    else value = {byte_swap(value.lo), byte_swap(value.hi)};
  }
  if (op.lane <= 8) value.lo = extend(value.lo, op);
  return value;
}
void pointer_store(const Operation& op, u64 pointer, Value value) {
  if (op.aux & ir::kBigEndian) {
    if (op.lane == 2) value.lo = byte_swap(static_cast<u16>(value.lo));
    else if (op.lane == 4) value.lo = byte_swap(static_cast<u32>(value.lo));
    else value = {byte_swap(value.lo), byte_swap(value.hi)};
  }
  std::memcpy(reinterpret_cast<u8*>(pointer) + op.imm, &value, op.lane);
}

}  // namespace

bool Interpreter::execute(VirtualCpu& cpu, const DecodedBlock& block, Value* v) {
  static constexpr void* kLabels[] = {
#define X(name) &&op_##name,
      RHEA_DECODED_OPS(X)
#undef X
  };
  ir::StateHeader& state = cpu.state();
  u8* const slots = reinterpret_cast<u8*>(&state);
  const Operation* const first = block.operations.data();
  const Operation* op = first;
  SoftMmu& mmu = cpu.mmu();

#define NEXT goto* kLabels[static_cast<usize>((++op)->code)]
#define JUMP(index)                              \
  do {                                           \
    op = first + (index);                        \
    goto* kLabels[static_cast<usize>(op->code)]; \
  } while (0)
#define A32 static_cast<u32>(v[op->a].lo)
#define B32 static_cast<u32>(v[op->b].lo)
#define K32 static_cast<u32>(op->imm)
#define RESULT(value)                        \
  do {                                       \
    v[op->dst].lo = static_cast<u32>(value); \
    NEXT;                                    \
  } while (0)
#define SET_FLAGS(image)                                          \
  do {                                                            \
    state.flags = (state.flags & ~op->mask) | ((image)&op->mask); \
    NEXT;                                                         \
  } while (0)
  goto* kLabels[static_cast<usize>(op->code)];

op_constant:
  v[op->dst].lo = op->imm;
  NEXT;
op_copy:
  v[op->dst] = v[op->a];
  NEXT;
op_get8:
  v[op->dst].lo = slots[op->imm];
  NEXT;
op_get32:
  // A pin of the CPU is one, which devices set at any time.
  RESULT(__atomic_load_n(reinterpret_cast<const u32*>(slots + op->imm), __ATOMIC_RELAXED));
op_get64:
  v[op->dst] = {load_raw<u64>(slots + op->imm), 0};
  NEXT;
op_get128:
  v[op->dst] = load_raw<Value>(slots + op->imm);
  NEXT;
op_set8:
  slots[op->imm] = static_cast<u8>(v[op->a].lo);
  NEXT;
op_set32:
  store_raw(slots + op->imm, A32);
  NEXT;
op_set64:
  store_raw(slots + op->imm, v[op->a].lo);
  NEXT;
op_set128:
  store_raw(slots + op->imm, v[op->a]);
  NEXT;
op_set32_const:
  store_raw(slots + op->imm, op->mask);
  NEXT;

op_add:
  RESULT(A32 + B32);
op_add_k:
  RESULT(A32 + K32);
op_sub:
  RESULT(A32 - B32);
op_sub_k:
  RESULT(A32 - K32);
op_rsb_k:
  RESULT(K32 - A32);
op_mul:
  RESULT(A32 * B32);
op_and_:
  RESULT(A32 & B32);
op_and_k:
  RESULT(A32 & K32);
op_or_:
  RESULT(A32 | B32);
op_or_k:
  RESULT(A32 | K32);
op_xor_:
  RESULT(A32 ^ B32);
op_xor_k:
  RESULT(A32 ^ K32);
op_and_not:
  RESULT(A32 & ~B32);
op_not_:
  RESULT(~A32);
op_neg:
  RESULT(0 - A32);
op_shl:
  RESULT(B32 < 32 ? A32 << B32 : 0);
op_shl_k:
  RESULT(A32 << K32);
op_shr:
  RESULT(B32 < 32 ? A32 >> B32 : 0);
op_shr_k:
  RESULT(A32 >> K32);
op_sar:
  RESULT(static_cast<s32>(A32) >> (B32 < 32 ? B32 : 31));
op_sar_k:
  RESULT(static_cast<s32>(A32) >> K32);
op_ror_k:
  RESULT(std::rotr(A32, static_cast<int>(K32 & 31)));
op_sext8:
  RESULT(static_cast<s32>(static_cast<s8>(A32)));
op_sext16:
  RESULT(static_cast<s32>(static_cast<s16>(A32)));
op_zext8:
  RESULT(static_cast<u8>(A32));
op_zext16:
  RESULT(static_cast<u16>(A32));
op_select:
  v[op->dst] = A32 ? v[op->b] : v[op->c];
  NEXT;
op_cmp_eq:
  RESULT(A32 == B32);
op_cmp_ne:
  RESULT(A32 != B32);
op_cmp_lt_u:
  RESULT(A32 < B32);
op_low32:
  RESULT(v[op->a].lo);

op_eval : {
  const ir::Inst& inst = block.insts[op->inst];
  const Value args[3] = {v[op->a], v[op->b], v[op->c]};
  ir::EvalContext context;
  v[op->dst] = block.functions[op->inst](inst, args, context);
  state.fp_flags |= context.fp_flags;
  state.saturated |= context.saturated;
  NEXT;
}

op_flags_add:
  SET_FLAGS(add_flags(A32, B32));
op_flags_sub:
  SET_FLAGS(sub_flags(A32, B32));
op_flags_sub_k:
  SET_FLAGS(sub_flags(A32, K32));
op_flags_nz:
  SET_FLAGS(nz_of(static_cast<u32>(v[op->dst].lo)));
op_flags_of : {
  const Value args[3] = {v[op->a], v[op->b], v[op->c]};
  SET_FLAGS(ir::flags_of(block.insts[op->inst], args, v[op->dst]));
}
op_flags_image:
  SET_FLAGS(A32);
op_set_carry:
  state.flags = (state.flags & ~ir::kImageC) | (A32 & 1 ? ir::kImageC : 0);
  NEXT;
op_get_flags:
  RESULT(state.flags & ir::kImageMask);
op_get_carry:
  RESULT(state.flags & ir::kImageC ? 1 : 0);
op_test_cond:
  RESULT(ir::holds(static_cast<ir::Cond>(op->aux & 15), state.flags) ? 1 : 0);

op_load8:
  if (u8* host = lookup(state.read_table, A32, 1)) RESULT(*host);
  goto op_load_any;
op_load16:
  if (u8* host = lookup(state.read_table, A32, 2)) RESULT(load_raw<u16>(host));
  goto op_load_any;
op_load32:
  if (u8* host = lookup(state.read_table, A32, 4)) RESULT(load_raw<u32>(host));
  goto op_load_any;
op_load_any : {
  state.location = op->location;
  state.ahead = op->ahead;
  Value value;
  if (!mmu.load(A32, op->lane, op->aux, value)) goto leave;
  if (op->lane <= 8) value.lo = extend(value.lo, *op);
  v[op->dst] = value;
  NEXT;
}
op_store8:
  if (u8* host = lookup(write_table(state), A32, 1)) {
    *host = static_cast<u8>(B32);
    NEXT;
  }
  goto op_store_any;
op_store16:
  if (u8* host = lookup(write_table(state), A32, 2)) {
    store_raw(host, static_cast<u16>(B32));
    NEXT;
  }
  goto op_store_any;
op_store32:
  if (u8* host = lookup(write_table(state), A32, 4)) {
    store_raw(host, B32);
    NEXT;
  }
  goto op_store_any;
op_store_any:
  state.location = op->location;
  state.ahead = op->ahead;
  if (!mmu.store(A32, op->lane, op->aux, v[op->b])) goto leave;
  NEXT;

op_group_read:
  state.location = op->location;
  state.ahead = op->ahead;
  if (u8* host = lookup(state.read_table, A32, 4);
      host && !(op->aux & ir::kUserAccess) && (A32 & (memory::kPageSize - 1)) + K32 <= memory::kPageSize) {
    v[op->dst].lo = reinterpret_cast<u64>(host);
    NEXT;
  }
  v[op->dst].lo = mmu.group_read(A32, K32, op->aux);
  if (state.exception) goto leave;
  NEXT;
op_group_write:
  state.location = op->location;
  state.ahead = op->ahead;
  if (u8* host = lookup(write_table(state), A32, 4);
      host && !(op->aux & ir::kUserAccess) && (A32 & (memory::kPageSize - 1)) + K32 <= memory::kPageSize) {
    v[op->dst].lo = reinterpret_cast<u64>(host);
    NEXT;
  }
  v[op->dst].lo = mmu.group_write(A32, K32, op->aux);
  if (state.exception) goto leave;
  NEXT;
op_group_commit:
  mmu.group_commit(v[op->a].lo);
  NEXT;
op_ptr_load:
  v[op->dst] = pointer_load(*op, v[op->a].lo);
  NEXT;
op_ptr_store:
  pointer_store(*op, v[op->a].lo, v[op->b]);
  NEXT;

op_load_exclusive : {
  state.location = op->location;
  state.ahead = op->ahead;
  u64 value = 0;
  if (!mmu.load_exclusive(A32, op->lane, op->aux, value)) goto leave;
  v[op->dst] = {value, 0};
  NEXT;
}
op_store_exclusive : {
  state.location = op->location;
  state.ahead = op->ahead;
  u32 failed = 1;
  if (!mmu.store_exclusive(A32, op->lane, op->aux, v[op->b].lo, failed)) goto leave;
  RESULT(failed);
}
op_clear_exclusive:
  state.exclusive_address = ~u64{0};
  NEXT;
op_fence:
  std::atomic_thread_fence(std::memory_order_seq_cst);
  NEXT;

op_call : {
  state.location = op->location;
  state.ahead = op->ahead;
  const unsigned count = op->lane;
  const ir::Helper& helper = cpu.guest().helpers()[op->imm];
  const u64 result =
      helper.function(&state, count > 0 ? v[op->a].lo : 0, count > 1 ? v[op->b].lo : 0, count > 2 ? v[op->c].lo : 0);
  v[op->dst].lo = op->mask ? result : static_cast<u32>(result);
  if ((op->aux & ir::kFaults) && state.exception) goto leave;
  NEXT;
}

op_check_aligned:
  if (A32 & (op->lane - 1u)) {
    state.location = op->location;
    state.ahead = op->ahead;
    cpu.guest().helpers()[op->imm].function(&state, A32, op->aux, 0);
    goto leave;
  }
  NEXT;

op_branch:
  JUMP(op->imm);
op_branch_if:
  if (ir::holds(static_cast<ir::Cond>(op->aux & 15), state.flags)) JUMP(op->imm);
  NEXT;
op_branch_zero:
  if (!A32) JUMP(op->imm);
  NEXT;
op_branch_nonzero:
  if (A32) JUMP(op->imm);
  NEXT;

op_exit_if_zero:
  if (A32) NEXT;
  goto op_exit;
op_exit_if_nonzero:
  if (!A32) NEXT;
  goto op_exit;
op_exit_if:
  if (!ir::holds(static_cast<ir::Cond>(op->aux & 15), state.flags)) NEXT;
op_exit : {
  const ir::ExitInfo& exit = block.exits[op->imm];
  state.pc = exit.target.pc;
  state.mode = exit.target.mode;
  if (options_.icount) state.budget += block.guest_insns - exit.insns;
  return exit.poll;
}
op_exit_indirect : {
  const ir::ExitInfo& exit = block.exits[op->imm];
  state.pc = A32;
  state.mode = B32;
  if (options_.icount) state.budget += block.guest_insns - exit.insns;
  return exit.poll;
}
op_exit_dispatch : {
  const ir::ExitInfo& exit = block.exits[op->imm];
  if (options_.icount) state.budget += block.guest_insns - exit.insns;
  return true;
}
leave:
  return true;

#undef NEXT
#undef JUMP
#undef A32
#undef B32
#undef K32
#undef RESULT
#undef SET_FLAGS
}

}  // namespace rhea::accel
