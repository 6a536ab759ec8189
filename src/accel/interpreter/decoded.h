// SPDX-License-Identifier: MIT
// A block as the interpreter runs it: a dense list of operations with operands that are places in a frame of values.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "ir/eval.h"
#include "ir/guest.h"

namespace rhea::accel {

// Operations that the interpreter has code for; every other pure opcode goes through `eval`. A: value, K: `imm`.
// clang-format off
#define RHEA_DECODED_OPS(X)                                                                                        \
  X(constant) X(copy)                                                                                              \
  X(get8) X(get32) X(get64) X(get128) X(set8) X(set32) X(set64) X(set128) X(set32_const)                           \
  X(add) X(add_k) X(sub) X(sub_k) X(rsb_k) X(mul) X(and_) X(and_k) X(or_) X(or_k) X(xor_) X(xor_k) X(and_not)      \
  X(not_) X(neg) X(shl) X(shl_k) X(shr) X(shr_k) X(sar) X(sar_k) X(ror_k) X(sext8) X(sext16) X(zext8) X(zext16)    \
  X(select) X(cmp_eq) X(cmp_ne) X(cmp_lt_u) X(low32) X(eval)                                                       \
  X(flags_add) X(flags_sub) X(flags_sub_k) X(flags_nz) X(flags_of) X(flags_image) X(set_carry)                     \
  X(get_flags) X(get_carry) X(test_cond)                                                                           \
  X(load8) X(load16) X(load32) X(load_any) X(store8) X(store16) X(store32) X(store_any)                            \
  X(group_read) X(group_write) X(group_commit) X(ptr_load) X(ptr_store) X(check_aligned)                                            \
  X(load_exclusive) X(store_exclusive) X(clear_exclusive) X(fence) X(call)                                         \
  X(branch) X(branch_if) X(branch_zero) X(branch_nonzero)                                                          \
  X(exit) X(exit_if) X(exit_if_zero) X(exit_if_nonzero) X(exit_indirect) X(exit_dispatch)
// clang-format on

enum class Code : u16 {
#define X(name) name,
  RHEA_DECODED_OPS(X)
#undef X
      kCount
};

struct Operation {
  Code code = Code::constant;
  u16 dst = 0;
  u16 a = 0, b = 0, c = 0;
  u8 lane = 0;    // bytes of an access
  u8 aux = 0;     // MemFlags, Cond ...
  u32 mask = 0;   // flags written, image format
  u16 ahead = 0;  // StateHeader::ahead there
  u16 inst = 0;   // index in DecodedBlock::insts, for eval, flags_of and calls
  u64 imm = 0;
  u64 location = 0;  // of the guest instruction, for what may fault
};

struct DecodedBlock {
  ir::Key key;
  u32 page = 0, second_page = 0;        // page_id; 0: none
  u32 version = 0, second_version = 0;  // of the pages' code when it was made
  u16 guest_insns = 0;
  std::vector<Operation> operations;
  std::vector<ir::Inst> insts;
  std::vector<ir::EvalFunction> functions;  // by index in insts
  std::vector<ir::ExitInfo> exits;
};

std::unique_ptr<DecodedBlock> decode_block(const ir::Block& block, std::span<const ir::Helper> helpers);

}  // namespace rhea::accel
