// SPDX-License-Identifier: MIT
#include "accel/interpreter/interpreter.h"

#include "accel/code_reader.h"
#include "ir/passes/passes.h"

namespace rhea::accel {

namespace {
constexpr u32 kPagesPerPart = 1u << 12;
constexpr usize kParts = 1u << 12;    // 64 GiB of RAM
constexpr usize kMaxBlocks = 200000;  // of a CPU; then all are dropped
constexpr unsigned kMaxInstructionBytes = 4;
}  // namespace

std::unique_ptr<BlockRunner> make_interpreter(const RunnerContext& context) {
  return std::make_unique<Interpreter>(context);
}

void Interpreter::attach(VirtualCpu& cpu) {
  auto data = std::make_unique<Data>();
  data->frame.resize(ir::kMaxInstructions + 1);
  cpu.runner_data = std::move(data);
  std::lock_guard lock(mutex_);
  if (pages_.empty()) pages_.resize(kParts);
}

// Under mutex_, or of a page that has been asked for before.
Interpreter::PageCode& Interpreter::page(u32 id) {
  auto& part = pages_[id / kPagesPerPart % kParts];
  if (!part) part = std::make_unique<PageCode[]>(kPagesPerPart);
  return part[id % kPagesPerPart];
}

void Interpreter::note_lines(PageCode& page, u64 begin, u64 end) {
  for (u64 line = begin / 64; line <= (end - 1) / 64 && line < 64; line++) page.lines |= u64{1} << line;
}

void Interpreter::code_written(memory::RamBlock& ram, u64 offset, u64 size) {
  if (!size) return;
  std::lock_guard lock(mutex_);
  for (u64 at = offset; at < offset + size;) {
    const u64 end = std::min(offset + size, (at | (memory::kPageSize - 1)) + 1);
    PageCode& code = page(page_id(ram, at));
    PageCode written;
    note_lines(written, at % memory::kPageSize, end - (at - at % memory::kPageSize));
    if (!code.lines || code.lines & written.lines) {  // none: marked, but what was decoded ended before it
      code.version.fetch_add(1, std::memory_order_release);
      code.lines = 0;
      ram.page_flags(at).fetch_and(static_cast<u8>(~memory::kPageHasCode));
    }
    at = end;
  }
}

bool Interpreter::valid(const DecodedBlock& block, const ir::StateHeader& state) {
  const u32* exec = reinterpret_cast<const u32*>(state.exec_table);
  const u64 number = (state.pc & 0xffffffff) >> memory::kPageBits;
  if (exec[number] != block.page || page(block.page).version.load(std::memory_order_acquire) != block.version)
    return false;
  if (!block.second_page) return true;
  return exec[(number + 1) % kTableEntries] == block.second_page &&
         page(block.second_page).version.load(std::memory_order_acquire) == block.second_version;
}

DecodedBlock* Interpreter::find(VirtualCpu& cpu, Data& data) {
  ir::StateHeader& state = cpu.state();
  DecodedBlock*& front = data.front[front_index(state)];
  const bool current = data.epoch == epoch_.load(std::memory_order_relaxed);
  if (current && front && front->key.pc == state.pc && front->key.mode == state.mode && valid(*front, state))
    return front;
  if (data.epoch != epoch_.load() || data.blocks.size() > kMaxBlocks) {
    data.epoch = epoch_.load();
    data.front.fill(nullptr);
    data.blocks.clear();
  }
  CodePage first;
  ir::Fault fault;
  if (!cpu.mmu().code_page(state.pc, first, fault)) {
    cpu.mmu().raise_fetch_fault(fault);
    return nullptr;
  }
  auto found = data.blocks.find({{state.pc, state.mode}, first.id});
  if (found != data.blocks.end()) {
    DecodedBlock& block = *found->second;
    if (block.second_page) {
      CodePage second;
      cpu.mmu().code_page((state.pc & ~(memory::kPageSize - 1)) + memory::kPageSize, second, fault);
    }
    if (valid(block, state)) return front = &block;
  }
  DecodedBlock* made = translate(cpu, data);
  if (made) data.front[front_index(state)] = made;
  return made;
}

DecodedBlock* Interpreter::translate(VirtualCpu& cpu, Data& data) {
  ir::StateHeader& state = cpu.state();
  PageReader reader;
  if (!reader.open(cpu, state.pc, options_.max_block * kMaxInstructionBytes)) {
    cpu.mmu().raise_fetch_fault(reader.fault());
    return nullptr;
  }
  ir::Block block;
  block.key = {state.pc, state.mode};
  std::unique_ptr<DecodedBlock> decoded;
  {
    std::lock_guard lock(mutex_);
    const CodePage& first = reader.first();
    const CodePage& second = reader.second();
    SoftMmu::page_becomes_code(*first.ram, first.offset, cpu.all_mmus());
    if (second.id) SoftMmu::page_becomes_code(*second.ram, second.offset, cpu.all_mmus());
    cpu.guest().translate(block.key, reader, options_.max_block, block);
    const u64 in_page = state.pc & (memory::kPageSize - 1);
    const u64 end = in_page + std::max<u64>(block.guest_bytes, 1);
    note_lines(page(first.id), in_page, std::min(end, memory::kPageSize));
    if (second.id && end > memory::kPageSize) note_lines(page(second.id), 0, end - memory::kPageSize);
    decoded = std::make_unique<DecodedBlock>();
    decoded->version = page(first.id).version.load();
    if (second.id) decoded->second_version = page(second.id).version.load();
    decoded->second_page = end > memory::kPageSize ? second.id : 0;
  }
  if (!block.guest_insns) {
    cpu.mmu().raise_fetch_fault(reader.fault());
    return nullptr;
  }
  if (log_.on(LogItem::in_asm)) log_.write_text(cpu.disassemble_block(block));
  if (log_.on(LogItem::op)) log_.write_text("OP:\n" + ir::print(block));
#ifdef RHEA_VERIFY_IR
  if (std::string wrong = ir::verify(block); !wrong.empty()) log_.write_text("IR: " + wrong + "\n" + ir::print(block));
#endif
  ir::run_passes(
      block, cpu.guest().helpers(),
      {.group = options_.group, .lazy_flags = options_.lazy_flags && !cpu.debugging(), .optimize = options_.passes});
  if (log_.on(LogItem::op_opt)) log_.write_text("OP after optimization:\n" + ir::print(block));
  std::unique_ptr<DecodedBlock> full = decode_block(block, cpu.guest().helpers());
  full->page = reader.first().id;
  full->version = decoded->version;
  full->second_page = decoded->second_page;
  full->second_version = decoded->second_version;
  data.translated++;
  blocks_.fetch_add(1, std::memory_order_relaxed);
  auto& slot = data.blocks[{full->key, full->page}];
  DecodedBlock*& front = data.front[front_index(state)];
  if (front == slot.get()) front = nullptr;
  slot = std::move(full);
  return slot.get();
}

bool Interpreter::run_once(VirtualCpu& cpu, unsigned max_insns) {
  ir::StateHeader& state = cpu.state();
  PageReader reader;
  ir::Block block;
  block.key = {state.pc, state.mode};
  const bool readable = reader.open(cpu, state.pc, max_insns * kMaxInstructionBytes);
  if (readable) cpu.guest().translate(block.key, reader, max_insns, block);
  if (!readable || !block.guest_insns) {
    cpu.mmu().raise_fetch_fault(reader.fault());
    return true;
  }
  ir::run_passes(block, cpu.guest().helpers(), {.group = options_.group, .lazy_flags = false, .optimize = false});
  const std::unique_ptr<DecodedBlock> decoded = decode_block(block, cpu.guest().helpers());
  std::vector<ir::Value> frame(block.insts.size() + 1);
  if (options_.icount) state.budget -= decoded->guest_insns;
  cpu.log_block();
  const bool look = execute(cpu, *decoded, frame.data());
  if (state.exception && options_.icount) state.budget += static_cast<s32>(state.ahead) - 1;
  state.exception = 0;
  return look;
}

Leave Interpreter::run(VirtualCpu& cpu) {
  Data& data = static_cast<Data&>(*cpu.runner_data);
  ir::StateHeader& state = cpu.state();
  for (;;) {
    DecodedBlock* block = find(cpu, data);
    bool look = true;
    if (block) {
      if (options_.icount) {
        if (state.budget < block->guest_insns) return Leave::budget;
        state.budget -= block->guest_insns;
      }
      cpu.log_block();
      look = execute(cpu, *block, data.frame.data());
    }
    if (state.exception) {
      state.exception = 0;
      if (block && options_.icount) state.budget += static_cast<s32>(state.ahead) - 1;
    }
    if ((look || !options_.icount) && state.poll.load(std::memory_order_relaxed)) return Leave::poll;
  }
}

std::string Interpreter::statistics() const {
  return fmt::format("interpreter: {} blocks translated\n", blocks_.load(std::memory_order_relaxed));
}

}  // namespace rhea::accel
