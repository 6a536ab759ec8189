// SPDX-License-Identifier: MIT
// How the translator finds hot paths and makes regions of them.
#include <algorithm>

#include "accel/code_reader.h"
#include "accel/translator/translator.h"
#include "ir/join.h"
#include "ir/passes/passes.h"
#include "sys/poller.h"

namespace rhea::accel {

namespace {

constexpr unsigned kHot = 2;          // so often a place is met before its path is looked at
constexpr usize kLongestPath = 64;    // blocks
constexpr s64 kShare = 20;            // one part in so many of a CPU's time may go into regions
constexpr usize kMostRegions = 4096;  // that live at a time

// Whether a helper of a block may change the address space, and with it what is at a page.
bool may_change_space(const ir::Block& block, std::span<const ir::Helper> helpers) {
  return std::any_of(block.insts.begin(), block.insts.end(),
                     [&](const ir::Inst& inst) { return ir::helper_flags(inst, helpers) & ir::kWritesState; });
}

}  // namespace

// The CPU looks up at its pc and mode: whether a region is to begin there.
bool Translator::is_hot(VirtualCpu& cpu, Data& data, s64 now) const {
  // What is hot depends on the host's time, which counted runs must not.
  if (options_.icount && !options_.eager_tier2) return false;
  if (!options_.tier2 || !options_.chain || !options_.tables || logging_ || cpu.debugging()) return false;
  ir::StateHeader& state = cpu.state();
  const u32 page = reinterpret_cast<const u32*>(state.exec_table)[(state.pc & 0xffffffff) >> memory::kPageBits];
  if (!page || (now < data.next_region && !options_.eager_tier2)) return false;
  return data.hot.meet({state.pc, state.mode}, page, options_.eager_tier2 ? 1 : kHot);
}

// Counted runs take interrupts and requests where they would without regions: the path is looked at when the poll word
// is clear again, if the CPU is still where it was. True: it was met and was not clear on the way.
bool Translator::make_postponed_region(VirtualCpu& cpu, Data& data) {
  const ir::StateHeader& state = cpu.state();
  const ir::Key head = std::exchange(data.postponed, ir::Key{.mode = kNoMode});
  if (!(head == ir::Key{state.pc, state.mode}) || state.poll.load(std::memory_order_relaxed)) return false;
  data.looked_up = false;
  make_region(cpu, data, sys::monotonic_now());
  return data.looked_up;
}

void Translator::make_region(VirtualCpu& cpu, Data& data, s64 now) {
  CodePage page;
  ir::Fault ignored;
  if (!cpu.mmu().code_page(cpu.state().pc, page, ignored)) return;
  {
    std::lock_guard lock(mutex_);
    const ir::Key head = {cpu.state().pc, cpu.state().mode};
    const u32 block = cache_.first_of(head, page.key);
    if (block == kNoBlock || cache_.block(block).pages[1] || regions_.is_region(block)) return;
    if (regions_.count() >= kMostRegions || !regions_.may_try(head, page.key)) return;
  }
  const std::vector<ir::Key> path = follow(cpu, data);
  if (path.size() > 1) {
    std::lock_guard lock(mutex_);
    counts_.paths++;
    join_path(cpu, path);
  }
  const s64 spent = sys::monotonic_now() - now;
  data.next_region = now + spent * kShare;
  std::lock_guard lock(mutex_);
  counts_.region_nanoseconds += static_cast<u64>(spent);
}

// Runs the guest from where it is until it is there again, meets a block a second time, enters another mode, or has
// gone far: the blocks that it went through, the last one of which may be the first.
std::vector<ir::Key> Translator::follow(VirtualCpu& cpu, Data& data) {
  ir::StateHeader& state = cpu.state();
  const ir::Key head = {state.pc, state.mode};
  std::vector<ir::Key> path = {head};
  while (path.size() < kLongestPath) {
    if (options_.icount && state.budget < static_cast<s32>(options_.max_block)) break;
    const bool looks = recorder_.run_once(cpu, options_.max_block);
    const ir::Key next = {state.pc, state.mode};
    const bool again = std::find(path.begin(), path.end(), next) != path.end();
    path.push_back(next);
    if (again || next.mode != head.mode || cpu.wants_sleep() || cpu.flush_pending()) break;
    data.looked_up = options_.icount && looks && state.poll.load(std::memory_order_relaxed);
    if (data.looked_up) break;
  }
  return path;
}

// The IR of a block of a path, if it is one that a region may go through: in one page, alive, with accesses made as the
// region's are.
u32 Translator::read_part(VirtualCpu& cpu, const ir::Key& key, bool windowed, PageReader& reader, ir::Block& part) {
  if (!reader.open(cpu, key.pc, options_.max_block * 4)) return kNoBlock;
  const u32 block = cache_.first_of(key, reader.first().key);
  if (block == kNoBlock || cache_.block(block).pages[1]) return kNoBlock;
  if (goes_through_window(cpu, key, reader.first()) != windowed) return kNoBlock;
  part.clear();
  part.key = key;
  cpu.guest().translate(key, reader, options_.max_block, part);
  return part.guest_insns && !reader.used_second() ? block : kNoBlock;
}

void Translator::join_path(VirtualCpu& cpu, const std::vector<ir::Key>& path) {
  PageReader head_reader, reader;
  ir::Block part, next;
  if (!head_reader.open(cpu, path[0].pc, 4)) return;
  const bool windowed = goes_through_window(cpu, path[0], head_reader.first());
  const u32 head = read_part(cpu, path[0], windowed, head_reader, part);
  if (head == kNoBlock || regions_.is_region(head)) return;
  // Counted runs take interrupts where they would without regions.
  ir::Joiner joiner(region_, options_.icount);
  std::vector<u32> others, pages = {head_reader.first().key};  // pages: known to be there
  u32 page = 0;                                                // of `part`, to be asked for
  for (usize i = 1; i < path.size() && !(path[i] == path[0]); i++) {
    const u32 block = read_part(cpu, path[i], windowed, reader, next);
    if (block == kNoBlock || regions_.is_region(block) || !joiner.append(part, path[i], page)) break;
    if (may_change_space(part, cpu.guest().helpers())) pages.clear();
    const u32 id = reader.first().key;
    const bool asked = std::find(pages.begin(), pages.end(), id) != pages.end();
    page = asked ? 0 : id;
    if (!asked) pages.push_back(id);
    others.push_back(block);
    std::swap(part, next);
  }
  // Without a return or a table of jumps in it a path gains little, and where it is one of several it loses.
  if (others.empty() || (!joiner.indirect() && !options_.eager_tier2) || !joiner.finish(part, page)) return;
  compile_region(cpu, head, others, head_reader, windowed);
}

void Translator::compile_region(VirtualCpu& cpu, u32 head, const std::vector<u32>& others, const PageReader& reader,
                                bool windowed) {
#ifdef RHEA_VERIFY_IR
  if (const std::string wrong = ir::verify(region_); !wrong.empty())
    log_.write_text("IR: " + wrong + "\n" + ir::print(region_));
#endif
  ir::run_passes(region_, cpu.guest().helpers(),
                 {.group = options_.group, .lazy_flags = options_.lazy_flags, .optimize = options_.passes});
  Translation translation = cache_.block(head);
  const bool in_ring = is_in_ring(head);
  Data& data = data_of(cpu);
  x64::CompiledBlock& compiled = data.compiled;
  translation.first_exit = cache_.take_exits(x64::Compiler::exit_sites(region_), in_ring);
  translation.incoming = 0;
  const x64::Compiler::Request request = {
      .first_exit = translation.first_exit, .windowed = windowed, .in_piece = in_ring, .lane = data.lane};
  if (compiler_->compile(region_, request, compiled) != x64::Compiler::Outcome::done) return;
  translation.entry = compiled.entry;
  // The first block's place is taken.
  cache_.drop(head, *compiler_);
  forget_jumps(cache_.block(head));
  const u32 index = cache_.add(translation, compiled.sites, region_, in_ring);
  note_faults(index, compiled);
  if (!in_ring && remembers()) origins_.add(origin_of(compiled, windowed, false), reader, compiled.faults, cache_);
  regions_.add(index, head, others);
  make_known(index, cpu);
  log_region(others.size() + 1, compiled);
  note_perf("region", region_.key.pc, compiled.entry, compiled.hot_bytes);
  counts_.regions++;
  counts_.region_blocks += others.size() + 1;
  counts_.region_insns += region_.guest_insns;
  counts_.region_bytes += compiled.hot_bytes + compiled.cold_bytes;
  unload_written(compiled);
}

void Translator::log_region(usize blocks, const x64::CompiledBlock& compiled) {
  if (log_.on(LogItem::op_opt)) log_.write_text("REGION after optimization:\n" + ir::print(region_));
  if (!log_.on(LogItem::out_asm)) return;
  log_.write_text(fmt::format("REGION: {:08x}, {} blocks, {} bytes + {} bytes of slow paths\n{}", region_.key.pc,
                              blocks, compiled.hot_bytes, compiled.cold_bytes, compiler_->disassemble(compiled)));
}

// Regions that have lost a block, and those that go through one of them.
void Translator::drop_doomed() {
  for (std::vector<u32> doomed = regions_.take_doomed(); !doomed.empty(); doomed = regions_.take_doomed()) {
    for (const u32 region : doomed) {
      if (cache_.block(region).dead) continue;
      cache_.drop(region, *compiler_);
      block_dropped(region);
      counts_.regions_dropped++;
    }
  }
}

}  // namespace rhea::accel
