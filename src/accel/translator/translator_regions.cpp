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

void Translator::start_region_thread() {
  // What is ready when depends on the host's time, which counted runs must not.
  if (!options_.tier2 || !options_.tier2_thread || options_.icount) return;
  const unsigned lane = compiler_->add_lane();
  requests_.start([this, lane, compiled = x64::CompiledBlock()](RegionRequest& request) mutable {
    const s64 start = sys::monotonic_now();
    compile_region(request, lane, compiled);
    const s64 spent = sys::monotonic_now() - start;
    request.owes->fetch_add(spent, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    counts_.thread_nanoseconds += static_cast<u64>(spent);
  });
}

// The CPU looks up at its pc and mode: whether a region is to begin there.
bool Translator::is_hot(VirtualCpu& cpu, Data& data, s64 now) const {
  // What is hot depends on the host's time, which counted runs must not.
  if (options_.icount && !options_.eager_tier2) return false;
  if (!options_.tier2 || !options_.chain || !options_.tables || logging_ || cpu.debugging()) return false;
  ir::StateHeader& state = cpu.state();
  const u32 page = reinterpret_cast<const u32*>(state.exec_table)[(state.pc & 0xffffffff) >> memory::kPageBits];
  data.next_region += data.owes.exchange(0, std::memory_order_relaxed) * kShare;
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

// The CPU's part: it follows the path, which needs its state, and reads it, which needs its MMU.
void Translator::make_region(VirtualCpu& cpu, Data& data, s64 now) {
  CodePage page;
  ir::Fault ignored;
  if (!cpu.mmu().code_page(cpu.state().pc, page, ignored)) return;
  RegionRequest* const request = begin_region(cpu, data, page.key);
  if (!request) return;
  const std::vector<ir::Key> path = follow(cpu, data);
  if (path.size() < 2 || !fill_region(cpu, path, *request)) {
    requests_.put_back(*request);
  } else if (requests_.has_thread()) {
    requests_.queue(*request);
  } else {
    compile_region(*request, data.lane, data.compiled);
    requests_.put_back(*request);
  }
  const s64 spent = sys::monotonic_now() - now;
  data.next_region = now + spent * kShare;
  std::lock_guard lock(mutex_);
  counts_.region_nanoseconds += static_cast<u64>(spent);
}

// Whether a region is to begin where the CPU is: what to ask for it with, or nullptr.
RegionRequest* Translator::begin_region(VirtualCpu& cpu, Data& data, u32 page) {
  std::lock_guard lock(mutex_);
  const ir::Key head = {cpu.state().pc, cpu.state().mode};
  const u32 block = cache_.first_of(head, page);
  if (block == kNoBlock || cache_.block(block).pages[1] || regions_.is_region(block)) return nullptr;
  if (regions_.is_awaited(block) || regions_.count() >= kMostRegions) return nullptr;
  RegionRequest* const request = requests_.take();
  if (!request) {
    counts_.regions_refused++;
    return nullptr;
  }
  if (!regions_.may_try(head, page)) {
    requests_.put_back(*request);
    return nullptr;
  }
  request->owes = &data.owes;
  return request;
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
    // First: what blocks would take here, counted runs take here, too.
    data.looked_up = options_.icount && looks && state.poll.load(std::memory_order_relaxed);
    if (data.looked_up || again || next.mode != head.mode || cpu.wants_sleep() || cpu.flush_pending()) break;
  }
  return path;
}

// False: the path is none for a region. Else its blocks are awaited.
bool Translator::fill_region(VirtualCpu& cpu, const std::vector<ir::Key>& path, RegionRequest& request) {
  const std::vector<PathBlock> known = await_path(cpu, path, request);
  if (known.empty()) return false;
  const usize blocks = join_path(cpu, path, known, request);
  std::lock_guard lock(mutex_);
  if (blocks > 1 && !request.parts.died) {
    request.parts.others.resize(blocks - 1);
    return true;
  }
  counts_.regions_outdated += request.parts.died;
  regions_.forget(request.parts);
  return false;
}

// The blocks of a path that a region may go through: in one page each, with accesses made as the first one's are. From
// then on it is known when one dies, so their code can be read without the lock: who writes to it, or has written,
// drops them. None: it is no path for a region.
std::vector<Translator::PathBlock> Translator::await_path(VirtualCpu& cpu, const std::vector<ir::Key>& path,
                                                          RegionRequest& request) {
  std::vector<CodePage> pages;
  for (usize i = 0; i < path.size() && (i == 0 || !(path[i] == path[0])); i++) {
    CodePage page;
    ir::Fault ignored;
    if (!cpu.mmu().code_page(path[i].pc, page, ignored)) break;
    pages.push_back(page);
  }
  std::vector<PathBlock> known;
  std::lock_guard lock(mutex_);
  counts_.paths++;
  request.parts = {};
  // A debugger may have come while the path was followed.
  if (cpu.debugging() || logging_) return known;
  for (usize i = 0; i < pages.size(); i++) {
    const u32 block = cache_.first_of(path[i], pages[i].key);
    if (block == kNoBlock || cache_.block(block).pages[1] || regions_.is_region(block)) break;
    const bool windowed = goes_through_window(cpu, path[i], pages[i]);
    if (i == 0) {
      if (regions_.is_awaited(block)) break;
      request.parts.head = block;
      request.windowed = windowed;
    } else {
      if (windowed != request.windowed) break;
      request.parts.others.push_back(block);
    }
    const Translation& code = cache_.block(block);
    known.push_back({pages[i].key, u32{code.end[0]} - code.begin[0]});
  }
  if (known.size() < 2) known.clear();
  else regions_.await(request.parts);
  return known;
}

// The IR of a block of a path. False: it is not where it was, or has other code than the block that is known.
bool Translator::read_part(VirtualCpu& cpu, const ir::Key& key, const PathBlock& block, PageReader& reader,
                           ir::Block& part) {
  if (!reader.open(cpu, key.pc, options_.max_block * 4) || reader.first().key != block.page) return false;
  part.clear();
  part.key = key;
  cpu.guest().translate(key, reader, options_.max_block, part);
  return part.guest_insns && part.guest_bytes == block.bytes && !reader.used_second();
}

// Returns how many of the blocks became one; 0: none.
usize Translator::join_path(VirtualCpu& cpu, std::span<const ir::Key> path, std::span<const PathBlock> blocks,
                            RegionRequest& request) {
  PageReader reader;
  ir::Block part, next;
  if (!read_part(cpu, path[0], blocks[0], request.reader, part)) return 0;
  // Counted runs take interrupts where they would without regions.
  ir::Joiner joiner(request.block, options_.icount);
  std::vector<u32> pages = {blocks[0].page};  // known to be there
  u32 page = 0;                               // of `part`, to be asked for
  usize joined = 1;
  for (; joined < blocks.size(); joined++) {
    if (!read_part(cpu, path[joined], blocks[joined], reader, next)) break;
    if (!joiner.append(part, path[joined], page)) break;
    if (may_change_space(part, helpers_)) pages.clear();
    const u32 id = blocks[joined].page;
    const bool asked = std::find(pages.begin(), pages.end(), id) != pages.end();
    page = asked ? 0 : id;
    if (!asked) pages.push_back(id);
    std::swap(part, next);
  }
  // Without a return or a table of jumps in it a path gains little, and where it is one of several it loses.
  if (joined < 2 || (!joiner.indirect() && !options_.eager_tier2) || !joiner.finish(part, page)) return 0;
  return joined;
}

// Any thread, in a lane of its own. Without the lock, but for what goes to the ring, and where the head is replaced.
void Translator::compile_region(RegionRequest& request, unsigned lane, x64::CompiledBlock& compiled) {
  ir::Block& block = request.block;
#ifdef RHEA_VERIFY_IR
  if (const std::string wrong = ir::verify(block); !wrong.empty())
    log_.write_text("IR: " + wrong + "\n" + ir::print(block));
#endif
  ir::run_passes(block, helpers_,
                 {.group = options_.group, .lazy_flags = options_.lazy_flags, .optimize = options_.passes});
  Lock lock(mutex_);
  if (!request.parts.died) {
    const bool in_ring = is_in_ring(request.parts.head);
    const u32 first_exit = cache_.take_exits(x64::Compiler::exit_sites(block), in_ring);
    if (!in_ring) lock.unlock();
    const x64::Compiler::Outcome outcome = compiler_->compile(
        block, {.first_exit = first_exit, .windowed = request.windowed, .in_piece = in_ring, .lane = lane}, compiled);
    if (!in_ring) lock.lock();
    if (outcome == x64::Compiler::Outcome::done && !request.parts.died) publish_region(request, first_exit, compiled);
  }
  counts_.regions_outdated += request.parts.died;
  regions_.forget(request.parts);
}

// A region that was compiled takes the first block's place.
void Translator::publish_region(const RegionRequest& request, u32 first_exit, const x64::CompiledBlock& compiled) {
  const RegionParts& parts = request.parts;
  const ir::Block& block = request.block;
  const bool in_ring = is_in_ring(parts.head);
  Translation translation = cache_.block(parts.head);
  translation.first_exit = first_exit;
  translation.incoming = 0;
  translation.entry = compiled.entry;
  cache_.drop(parts.head, *compiler_);
  forget_jumps(cache_.block(parts.head));
  const u32 index = cache_.add(translation, compiled.sites, block, in_ring);
  note_faults(index, compiled);
  if (!in_ring && remembers()) {
    origins_.add(origin_of(compiled, request.windowed, false), request.reader, compiled.faults, cache_);
  }
  regions_.add(index, parts.head, parts.others);
  make_known(index);
  log_region(request, compiled);
  note_perf("region", block.key.pc, compiled.entry, compiled.hot_bytes);
  counts_.regions++;
  counts_.region_blocks += parts.others.size() + 1;
  counts_.region_insns += block.guest_insns;
  counts_.region_bytes += compiled.hot_bytes + compiled.cold_bytes;
  unload_written(compiled);
}

void Translator::log_region(const RegionRequest& request, const x64::CompiledBlock& compiled) {
  const ir::Block& block = request.block;
  if (log_.on(LogItem::op_opt)) log_.write_text("REGION after optimization:\n" + ir::print(block));
  if (!log_.on(LogItem::out_asm)) return;
  log_.write_text(fmt::format("REGION: {:08x}, {} blocks, {} bytes + {} bytes of slow paths\n{}", block.key.pc,
                              request.parts.others.size() + 1, compiled.hot_bytes, compiled.cold_bytes,
                              compiler_->disassemble(compiled)));
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
