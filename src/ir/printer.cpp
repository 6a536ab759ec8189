// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include "ir/ir.h"
#include "ir/op_kinds.h"

namespace rhea::ir {

namespace {

constexpr std::string_view kTypes[] = {"", "i32", "i64", "f32", "f64", "v64", "v128"};
constexpr std::string_view kConds[] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
                                       "hi", "ls", "ge", "lt", "gt", "le", "al", "?"};

std::string flags_text(u8 mask) {
  std::string text;
  if (mask & kFlagN) text += 'n';
  if (mask & kFlagZ) text += 'z';
  if (mask & kFlagC) text += 'c';
  if (mask & kFlagV) text += 'v';
  return text.empty() ? "-" : text;
}

bool writes_flags(Op op) { return op == Op::SetFlags || op == Op::SetFlagsImage || op == Op::SetCarry; }
bool has_condition(Op op) { return op == Op::TestCond || op == Op::BranchIf || op == Op::ExitIf; }

std::string exit_text(const Block& block, const Inst& inst) {
  if (inst.imm >= block.exits.size()) return " exit?";
  const ExitInfo& exit = block.exits[inst.imm];
  constexpr std::string_view kKinds[] = {"jump", "call", "ret"};
  std::string text = fmt::format(" {}", kKinds[static_cast<u8>(exit.kind)]);
  if (inst.op != Op::ExitIndirect && inst.op != Op::ExitDispatch)
    text += fmt::format(" {:#x}/{:x}", exit.target.pc, exit.target.mode);
  if (exit.kind == ExitKind::call) text += fmt::format(" return {:#x}/{:x}", exit.return_to.pc, exit.return_to.mode);
  text += fmt::format(" live {} insns {}{}", flags_text(exit.live_flags), exit.insns, exit.poll ? " poll" : "");
  return text;
}

std::string details(const Block& block, const Inst& inst) {
  switch (inst.op) {
    case Op::Const:
    case Op::VConst: return fmt::format(" {:#x}", inst.imm);
    case Op::GetState:
    case Op::SetState:
    case Op::GetState8:
    case Op::SetState8: return fmt::format(" @{}", inst.imm);
    case Op::Loc: return fmt::format(" {:#x}", inst.imm);
    case Op::Label:
    case Op::Branch:
    case Op::BranchZero:
    case Op::BranchNonZero: return fmt::format(" L{}", inst.imm);
    case Op::BranchIf: return fmt::format(" {} L{}", kConds[inst.aux & 15], inst.imm);
    case Op::Exit:
    case Op::ExitIfZero:
    case Op::ExitIfNonZero:
    case Op::ExitIfOther:
    case Op::ExitIfPolled:
    case Op::ExitIfMoved:
    case Op::ExitIndirect:
    case Op::ExitDispatch: return exit_text(block, inst);
    case Op::ExitIf: return fmt::format(" {}", kConds[inst.aux & 15]) + exit_text(block, inst);
    default: break;
  }
  std::string text;
  if (writes_flags(inst.op)) {
    text += " " + flags_text(inst.aux);
    if (inst.aux2) text += " keep " + flags_text(inst.aux2);
    return text;
  }
  if (has_condition(inst.op)) return fmt::format(" {}", kConds[inst.aux & 15]);
  if (inst.op == Op::GetFlags) return " " + flags_text(inst.aux);
  if (inst.lane) text += fmt::format(" .{}", inst.lane);
  if (inst.imm) text += fmt::format(" #{:#x}", inst.imm);
  if (inst.aux) text += fmt::format(" aux={:#x}", inst.aux);
  if (inst.aux2) text += fmt::format(" aux2={:#x}", inst.aux2);
  return text;
}

}  // namespace

std::string print(const Block& block) {
  std::string text = fmt::format("block {:#x}/{:x}: {} instructions, {} bytes\n", block.key.pc, block.key.mode,
                                 block.guest_insns, block.guest_bytes);
  for (usize i = 0; i < block.insts.size(); i++) {
    const Inst& inst = block.insts[i];
    const OpInfo& row = info(inst.op);
    if (inst.op == Op::Label) {
      text += fmt::format("L{}:\n", inst.imm);
      continue;
    }
    std::string line = row.result ? fmt::format("  %{} = ", i) : "  ";
    line += row.name;
    if (inst.type != Type::Void) line += fmt::format(".{}", kTypes[static_cast<u8>(inst.type)]);
    for (unsigned a = 0; a < row.args; a++) {
      line += inst.args[a] == kNoRef ? " ?" : fmt::format("{} %{}", a ? "," : "", inst.args[a]);
    }
    line += details(block, inst);
    if (row.result && inst.uses) line += fmt::format("  ; {} uses", inst.uses);
    text += line + "\n";
  }
  return text;
}

}  // namespace rhea::ir
