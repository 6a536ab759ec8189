// SPDX-License-Identifier: MIT
#include "accel/translator/translator.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "accel/code_reader.h"
#include "ir/passes/passes.h"
#include "sys/perf_map.h"
#include "sys/poller.h"
#include "util/bits.h"

namespace rhea::accel {

namespace {

constexpr unsigned kMaxInstructionBytes = 4;
constexpr u64 kRewriteOfCode = 32, kRewrite = 512;  // bytes, one behind the other
constexpr u32 kRingPieces = 16;
constexpr u64 kRingShare = 3;              // eighths of the buffer,
constexpr u64 kRingBytes = u64{48} << 20;  // at most
constexpr u64 kPageMask = memory::kPageSize - 1;

// What cannot be shown block by block while others are made at the same time.
constexpr u32 kShown = static_cast<u32>(LogItem::in_asm) | static_cast<u32>(LogItem::op) |
                       static_cast<u32>(LogItem::op_opt) | static_cast<u32>(LogItem::out_asm);

// 64-byte lines that [begin, end) of a page touches.
u64 line_mask(u64 begin, u64 end) {
  u64 mask = 0;
  for (u64 line = begin / 64; line <= (end - 1) / 64 && line < 64; line++) mask |= u64{1} << line;
  return mask;
}

}  // namespace

Result<std::unique_ptr<BlockRunner>> make_translator(const RunnerContext& context) {
  std::unique_ptr<Translator> translator = RHEA_TRY(Translator::create(context));
  return std::unique_ptr<BlockRunner>(std::move(translator));
}

Result<std::unique_ptr<Translator>> Translator::create(const RunnerContext& context) {
  std::unique_ptr<Translator> translator(new Translator(context));
  RHEA_TRY(x64::parse_features(context.options.host_features));
  const u64 size = std::min(std::max(align_up(context.options.cache_size, u64{1} << 20), u64{4} << 20), u64{1} << 30);
  if (context.options.perf_map) {
    RHEA_TRY(sys::map_anonymous_twice(size, translator->write_, translator->run_));
  } else {
    translator->file_ = RHEA_TRY(sys::create_memory_file("rhea-code", size));
    translator->write_ = RHEA_TRY(sys::map_shared(translator->file_.get(), 0, size, sys::Protection::read_write));
    translator->run_ = RHEA_TRY(sys::map_shared(translator->file_.get(), 0, size, sys::Protection::read_execute));
  }
  if (context.options.windows) translator->faults_.open(translator->run_.data(), size);
  return translator;
}

// Whose pages a block is made from, while it is made: between with the lock held at its beginning and its end.
class Translator::PageClaim {
 public:
  PageClaim(std::array<Claim, 2>& claims, u32 first, u32 second) : claims_(claims) {
    claims_[0].written = claims_[1].written = 0;
    claims_[0].page = first;
    claims_[1].page = second;
  }
  ~PageClaim() { claims_[0].page = claims_[1].page = 0; }
  PageClaim(const PageClaim&) = delete;
  PageClaim& operator=(const PageClaim&) = delete;
  // Whether lines that a block comes from were.
  bool was_written(const Translation& made) const {
    for (unsigned i = 0; i < 2; i++) {
      if (made.pages[i] && claims_[i].written & line_mask(made.begin[i], made.end[i])) return true;
    }
    return false;
  }

 private:
  std::array<Claim, 2>& claims_;
};

Translator::Data::Data() {
  Result<sys::MemoryMap> mapped = sys::map_anonymous(x64::kJumpEntries * sizeof(x64::JumpEntry));
  if (!mapped.ok()) throw std::bad_alloc();
  map = mapped.take();
  jumps = reinterpret_cast<x64::JumpEntry*>(map.data());
  clear_jumps();
}

void Translator::Data::clear_jumps() {
  sys::discard(map.data(), map.size());
  jumps[x64::jump_index(0)] = x64::JumpEntry{};
}

void Translator::Data::forget_jumps(u64 begin, u64 end) {
  for (u32 i = 0; i < x64::kJumpEntries; i++) {
    const u64 code = reinterpret_cast<u64>(jumps[i].code);
    if (code < begin || code >= end) continue;
    jumps[i] = x64::JumpEntry{};
  }
}

void Translator::attach(VirtualCpu& cpu) {
  auto data = std::make_unique<Data>();
  cpu.state().jump_table = data->jumps;
  cpu.runner_data = std::move(data);
  std::lock_guard lock(mutex_);
  cpus_.push_back(&cpu);
  if (!compiler_) make_compiler(cpu);
  else data_of(cpu).lane = compiler_->add_lane();
}

void Translator::make_compiler(VirtualCpu& cpu) {
  x64::Settings settings;
  settings.layout = cpu.guest().layout();
  settings.helpers = helpers_ = cpu.guest().helpers();
  settings.runtime = {rhea_soft_load,   rhea_soft_load128, rhea_soft_store,     rhea_soft_store128,  rhea_group_read,
                      rhea_group_write, rhea_group_commit, rhea_load_exclusive, rhea_store_exclusive};
  settings.features = x64::detect_features() & x64::parse_features(options_.host_features).value();
  settings.write_table = kWriteTable;
  settings.exec_table = kExecTable;
  settings.window = faults_.active() ? kWindow : 0;
  settings.pin = options_.pin;
  settings.lazy_flags = options_.lazy_flags;
  settings.inline_fp = options_.inline_fp;
  settings.tables = options_.tables;
  settings.ibtc = options_.ibtc;
  settings.icount = options_.icount;
  settings.lone = options_.lone && lone_cpu_ && !options_.shared_ram;
  compiler_ = std::make_unique<x64::Compiler>(settings, write_.data(), run_.data(), write_.size());
  if (options_.perf_map) perf_map_ = sys::open_perf_map();
  if (options_.copies) open_ring();
  open_store(cpu);
  start_region_thread();
}

// Options that change the IR, which the compiler does not know of.
void Translator::open_store(VirtualCpu& cpu) {
  if (options_.cache_folder.empty()) return;
  const std::string fingerprint = fmt::format("{} {} {} {} {}", cpu.guest().model_name(), options_.group,
                                              options_.passes, options_.max_block, compiler_->fingerprint());
  store_.open(options_.cache_folder, fingerprint, *compiler_);
}

void Translator::open_ring() {
  const u64 piece = align_down(std::min(write_.size() / 8 * kRingShare, kRingBytes) / kRingPieces, u64{8192});
  const u32 begin = compiler_->set_aside(piece * kRingPieces);
  cache_.open_ring(begin, static_cast<u32>(piece), kRingPieces);
  ring_faults_.resize(kRingPieces);
  origins_.find_at_other_addresses();
  open_piece(0);
}

std::atomic<u64>& CodeLines::make(u32 page) {
  std::atomic<std::atomic<u64>*>& part = parts_[page / kPagesPerPart % kParts];
  if (!part.load(std::memory_order_relaxed)) {
    owned_.push_back(std::make_unique<std::atomic<u64>[]>(kPagesPerPart));
    part.store(owned_.back().get(), std::memory_order_release);
  }
  return part.load(std::memory_order_relaxed)[page % kPagesPerPart];
}

std::atomic<u64>* CodeLines::find(u32 page) const {
  std::atomic<u64>* part = parts_[page / kPagesPerPart % kParts].load(std::memory_order_acquire);
  return part ? &part[page % kPagesPerPart] : nullptr;
}

void CodeLines::clear() {
  for (const auto& part : owned_) {
    for (u32 i = 0; i < kPagesPerPart; i++) part[i].store(0, std::memory_order_relaxed);
  }
}

// ---- running ------------------------------------------------------------------------------------------------------
Leave Translator::run(VirtualCpu& cpu) {
  Data& data = data_of(cpu);
  ir::StateHeader& state = cpu.state();
  const bool logs = cpu.logs_blocks();
  if (logs != logging_.load(std::memory_order_relaxed)) {
    logging_.store(logs, std::memory_order_relaxed);
    empty(cpu);
  }
  u32 from = 0;
  if (data.postponed.mode != kNoMode && make_postponed_region(cpu, data)) return Leave::poll;
  for (;;) {
    if (cpu.mmu().eager()) cpu.mmu().look_around(0);
    const void* code = find(cpu, data, from);
    from = 0;
    if (!code) {
      // Where room was to be made, and the machine ends, there is none yet.
      if (!state.exception && !state.poll.load(std::memory_order_relaxed)) continue;
      state.exception = 0;
      if (state.poll.load(std::memory_order_relaxed)) return Leave::poll;
      continue;
    }
    if (options_.icount && state.budget <= 0) return Leave::budget;
    cpu.log_block();
    const u64 left = compiler_->enter(state, code);
    const u32 exit = static_cast<u32>(left);
    if (exit) {
      std::lock_guard lock(mutex_);
      const ir::Key& target = cache_.exit(exit).target;
      state.pc = target.pc;
      state.mode = target.mode;
    }
    if (state.worn_site) replace_worn(cpu);
    switch (left & ~u64{0xffffffff}) {
      case x64::Left::kPoll: {
        data.left_poll++;
        const s64 now = sys::monotonic_now();
        cpu.mmu().look_around(now);
        if (is_hot(cpu, data, now)) {
          if (options_.icount) data.postponed = {state.pc, state.mode};
          else make_region(cpu, data, now);
        }
        return Leave::poll;
      }
      case x64::Left::kBudget: return Leave::budget;
      case x64::Left::kException:
        data.left_exception++;
        state.exception = 0;
        if (options_.icount) state.budget += static_cast<s32>(state.ahead) - 1;
        if (state.poll.load(std::memory_order_relaxed)) return Leave::poll;
        break;
      default:
        from = exit;
        if (exit) data.left_link++;
        else data.left_dispatch++;
        // Straight code that is seen for the first time never polls by itself. With icount the budget ends it.
        if (!options_.icount && state.poll.load(std::memory_order_relaxed)) return Leave::poll;
        break;
    }
  }
}

const void* Translator::find(VirtualCpu& cpu, Data& data, u32 from) {
  ir::StateHeader& state = cpu.state();
  const u32* exec = reinterpret_cast<const u32*>(state.exec_table);
  x64::JumpEntry& entry = data.jumps[x64::jump_index(state.pc)];
  // Any thread may forget it just now (forget_jumps): the code is to look again, then.
  const u32 page = std::atomic_ref<u32>(entry.page).load(std::memory_order_relaxed);
  if (!from && !entry.second_page && entry.pc == state.pc && entry.mode == state.mode &&
      page == exec[(state.pc & 0xffffffff) >> 12]) {
    return std::atomic_ref<const void*>(entry.code).load(std::memory_order_acquire);
  }
  data.lookups++;
  const u64 epoch = epoch_;
  CodePage first;
  ir::Fault fault;
  if (!cpu.mmu().code_page(state.pc, first, fault)) {
    cpu.mmu().raise_fetch_fault(fault);
    state.exception = 1;
    return nullptr;
  }
  Full full = Full::nothing;
  {
    std::unique_lock lock(mutex_);
    u32 index = look_up(cpu, first);
    if (index == kNoBlock) {
      lock.unlock();
      index = translate(cpu, full);
      lock.lock();
    }
    // It may have been written already, where the lock was given back: nothing may lead to it then.
    if (index != kNoBlock && !cache_.block(index).dead) {
      if (from && epoch == epoch_ && may_link(from, index)) {
        cache_.link(from, index, *compiler_);
        counts_.links++;
      }
      enter_jump(data, index);
      return compiler_->address(cache_.block(index).entry);
    }
  }
  if (full == Full::everything) empty(cpu);
  else if (full == Full::piece) empty_piece(cpu);
  return nullptr;
}

u32 Translator::look_up(VirtualCpu& cpu, const CodePage& first) {
  ir::StateHeader& state = cpu.state();
  for (u32 at = cache_.first_of({state.pc, state.mode}, first.key); at != kNoBlock; at = cache_.next_of(at)) {
    const Translation& translation = cache_.block(at);
    if (!translation.pages[1]) return at;
    CodePage second;
    ir::Fault ignored;
    const u64 next = ((state.pc | kPageMask) + 1) & 0xffffffff;
    if (cpu.mmu().code_page(next, second, ignored) && second.key == translation.pages[1]) return at;
  }
  return kNoBlock;
}

// ---- making blocks ------------------------------------------------------------------------------------------------
u32 Translator::translate(VirtualCpu& cpu, Full& full) {
  constexpr unsigned kPatience = 3;
  ir::StateHeader& state = cpu.state();
  unsigned attempts = 0;
  for (unsigned max_insns = options_.max_block;;) {
    PageReader reader;
    if (!reader.open(cpu, state.pc, max_insns * kMaxInstructionBytes)) {
      cpu.mmu().raise_fetch_fault(reader.fault());
      state.exception = 1;
      return kNoBlock;
    }
    Retry retry = Retry::no;
    const u32 index = make(cpu, reader, {.max_insns = max_insns, .locked = attempts++ >= kPatience}, full, retry);
    if (retry == Retry::shorter && max_insns > 1) max_insns = (max_insns + 1) / 2;
    else if (retry != Retry::again) {
      if (index == kNoBlock && full == Full::nothing) {
        cpu.mmu().raise_fetch_fault(reader.fault());
        state.exception = 1;
      }
      return index;
    }
  }
}

// Stores to the page are announced from now on, before its code is read.
void Translator::watch(VirtualCpu& cpu, const CodePage& page) {
  if (!(page.ram->page_flags(page.offset).load(std::memory_order_relaxed) & memory::kPageHasCode)) {
    code_pages_.emplace_back(page.ram, page.offset);
  }
  SoftMmu::page_becomes_code(*page.ram, page.offset, cpu.all_mmus());
}

bool Translator::goes_through_window(VirtualCpu& cpu, const ir::Key& key, const CodePage& page) const {
  return (page.key & kWindowedCode) && cpu.state().unaligned && faults_.active() &&
         !worn_.contains({key.pc, key.mode, page.key});
}

u32 Translator::make(VirtualCpu& cpu, PageReader& reader, Plan plan, Full& full, Retry& retry) {
  const ir::StateHeader& state = cpu.state();
  Data& data = data_of(cpu);
  Lock lock(mutex_);
  data.block.clear();
  data.block.key = {state.pc, state.mode};
  const PageClaim claim(data.claims, reader.first().id, reader.second().id);
  watch(cpu, reader.first());
  if (reader.second().id) watch(cpu, reader.second());
  plan.windowed = goes_through_window(cpu, data.block.key, reader.first());
  plan.debugging = cpu.debugging();
  const bool shown = log_.mask() & kShown;
  if (remembers() && !plan.debugging && !shown) {
    const CodeOrigins::Found found = find_made(data.block.key, reader, plan.windowed);
    if (found.dead != kNoBlock) return revive(cpu, reader, found.dead);
    plan.like = found.other;
  }
  if (plan.in_ring() && copies_.can_copy(plan.like, state.pc) && !options_.check_copies) {
    const u32 index = copy(cpu, reader, plan.like);
    if (index == kNoBlock) full = Full::piece;
    return index;
  }
  plan.locked = plan.locked || plan.in_ring() || shown;
  Translation made;
  switch (compile(cpu, reader, plan, made, lock)) {
    case x64::Compiler::Outcome::full: full = plan.in_ring() ? Full::piece : Full::everything; return kNoBlock;
    case x64::Compiler::Outcome::too_complex: retry = Retry::shorter; return kNoBlock;
    case x64::Compiler::Outcome::done: break;
  }
  if (!data.block.guest_insns) return kNoBlock;
  if (claim.was_written(made)) {
    retry = Retry::again;
    return kNoBlock;
  }
  if (!plan.locked) {
    // Another CPU may have been faster.
    const u32 there = cache_.find(made.key, made.pages[0], made.pages[1]);
    if (there != kNoBlock) return there;
  }
  return publish(cpu, reader, plan, made);
}

// Without the lock, unless the plan says so: then another CPU may do the same, and what is made known changes.
x64::Compiler::Outcome Translator::compile(VirtualCpu& cpu, PageReader& reader, const Plan& plan, Translation& made,
                                           Lock& lock) {
  Data& data = data_of(cpu);
  ir::Block& block = data.block;
  const auto start = std::chrono::steady_clock::now();
  if (!plan.locked) lock.unlock();
  cpu.guest().translate(block.key, reader, plan.max_insns, block);
  x64::Compiler::Outcome outcome = x64::Compiler::Outcome::done;
  if (block.guest_insns) {
    log_ir(cpu, block);
    ir::run_passes(
        block, cpu.guest().helpers(),
        {.group = options_.group, .lazy_flags = options_.lazy_flags && !plan.debugging, .optimize = options_.passes});
    if (log_.on(LogItem::op_opt)) log_.write_text("OP after optimization:\n" + ir::print(block));
    made = extent_of(block, reader);
    if (!plan.locked) lock.lock();
    made.first_exit = cache_.take_exits(x64::Compiler::exit_sites(block), plan.in_ring());
    if (!plan.locked) lock.unlock();
    outcome = compiler_->compile(block,
                                 {.first_exit = made.first_exit,
                                  .second_page = made.pages[1],
                                  .windowed = plan.windowed,
                                  .in_piece = plan.in_ring(),
                                  .lane = data.lane},
                                 data.compiled);
    made.entry = data.compiled.entry;
  }
  const auto end = std::chrono::steady_clock::now();
  if (!plan.locked) lock.lock();
  counts_.nanoseconds += static_cast<u64>((end - start).count());
  return outcome;
}

void Translator::log_ir(VirtualCpu& cpu, const ir::Block& block) {
  if (log_.on(LogItem::in_asm)) log_.write_text(cpu.disassemble_block(block));
  if (log_.on(LogItem::op)) log_.write_text("OP:\n" + ir::print(block));
#ifdef RHEA_VERIFY_IR
  if (const std::string wrong = ir::verify(block); !wrong.empty())
    log_.write_text("IR: " + wrong + "\n" + ir::print(block));
#endif
}

// What of a block's translation its code says.
Translation Translator::extent_of(const ir::Block& block, const PageReader& reader) {
  Translation made;
  made.key = block.key;
  const u64 in_page = block.key.pc & kPageMask;
  const u64 end = in_page + std::max<u32>(block.guest_bytes, 1);
  made.pages = {reader.first().key, end > memory::kPageSize ? reader.second().key : 0};
  made.begin = {static_cast<u16>(in_page), 0};
  made.end = {static_cast<u16>(std::min(end, memory::kPageSize)),
              static_cast<u16>(end > memory::kPageSize ? end - memory::kPageSize : 0)};
  return made;
}

// A block that was compiled is one that all CPUs find.
u32 Translator::publish(VirtualCpu& cpu, const PageReader& reader, const Plan& plan, const Translation& made) {
  const Data& data = data_of(cpu);
  const ir::Block& block = data.block;
  const x64::CompiledBlock& compiled = data.compiled;
  const u32 index = cache_.add(made, compiled.sites, block, plan.in_ring());
  note_faults(index, compiled);
  if (plan.in_ring()) compare(plan.like, index, compiled);
  else if (remembers()) {
    origins_.add(origin_of(compiled, plan.windowed, !plan.debugging), reader, compiled.faults, cache_);
  }
  counts_.in_ring += plan.in_ring();
  make_known(index);
  if (log_.on(LogItem::out_asm)) {
    log_.write_text(fmt::format("OUT: {:08x}, {} bytes + {} bytes of slow paths\n{}", block.key.pc, compiled.hot_bytes,
                                compiled.cold_bytes, compiler_->disassemble(compiled)));
  }
  note_perf("guest", block.key.pc, compiled.entry, compiled.hot_bytes);
  counts_.blocks++;
  counts_.windowed += plan.windowed;
  counts_.guest_insns += block.guest_insns;
  counts_.guest_bytes += block.guest_bytes;
  counts_.hot_bytes += compiled.hot_bytes;
  counts_.cold_bytes += compiled.cold_bytes;
  unload_written(compiled);
  return index;
}

// What has the same code was made before: it needs its pages, no translation.
u32 Translator::revive(VirtualCpu& cpu, const PageReader& reader, u32 index) {
  store_.taken();
  const Origin& origin = origins_.origin(index);
  const u32 second = cache_.block(index).end[1] ? reader.second().key : 0;
  compiler_->set_second_page(origin.second_check, second);
  for (const x64::FaultSite& site : origins_.faults(index)) faults_.add(site.at, site.slow);
  cache_.revive(index, {reader.first().key, second});
  make_known(index);
  note_perf("guest", cache_.block(index).key.pc, cache_.block(index).entry, origin.hot_bytes);
  return index;
}

// What was made from the same code and is as it was made: a dead block that may come to life, and one to copy from,
// which fits into an empty piece of the ring.
CodeOrigins::Found Translator::find_made(const ir::Key& key, const PageReader& reader, bool windowed) {
  constexpr u32 kRoom = 8192;  // more than Compiler::compile() wants behind a block
  CodeOrigins::Found found = origins_.find(key, windowed, reader, cache_);
  if (!store_.active()) found = {kNoBlock, found.dead != kNoBlock ? found.dead : found.other};
  if (found.dead != kNoBlock && !store_.is_sound(found.dead)) found.dead = kNoBlock;
  if (found.other == kNoBlock) return found;
  const Origin& origin = origins_.origin(found.other);
  if (std::max(origin.hot_bytes, origin.cold_bytes) + kRoom > cache_.piece_bytes() / 2 ||
      !store_.is_sound(found.other)) {
    found.other = kNoBlock;
  }
  return found;
}

u32 Translator::copy(VirtualCpu& cpu, const PageReader& reader, u32 like) {
  Data& data = data_of(cpu);
  const ir::Key& key = data.block.key;
  x64::CompiledBlock& compiled = data.compiled;
  const Translation source = cache_.block(like);
  copies_.measure(like, compiled);
  if (!compiler_->place_in_piece(compiled)) return kNoBlock;
  Translation translation = source;
  translation.key = key;
  translation.first_exit = cache_.take_exits(source.exits, true);
  translation.pages = {reader.first().key, source.end[1] ? reader.second().key : 0};
  translation.entry = compiled.entry;
  translation.incoming = 0;
  translation.dead = false;
  copies_.copy(like, key, translation.first_exit, *compiler_, compiled);
  compiler_->set_second_page(compiled.second_check, translation.pages[1]);
  const u32 index = cache_.add_like(like, static_cast<u32>(key.pc - source.key.pc), translation, compiled.sites);
  note_faults(index, compiled);
  make_known(index);
  note_perf("guest", key.pc, compiled.entry, compiled.hot_bytes);
  counts_.copied++;
  unload_written(compiled);
  return index;
}

// Of the block that was just made.
void Translator::note_faults(u32 index, const x64::CompiledBlock& compiled) {
  for (const x64::FaultSite& site : compiled.faults) {
    faults_.add(site.at, site.slow);
    if (is_in_ring(index)) ring_faults_[cache_.filled_piece()].push_back(site.at);
  }
}

// A block that was just made, with the one of the same code.
void Translator::compare(u32 like, u32 made, const x64::CompiledBlock& compiled) {
  const u64 pc = cache_.block(made).key.pc;
  if (copies_.can_learn(like, pc)) {
    if (copies_.learn(like, made, compiled, *compiler_)) store_.learnt();
    return;
  }
  if (!copies_.can_copy(like, pc) || !options_.check_copies) return;
  counts_.compared++;
  if (copies_.is_copy(like, made, compiled, *compiler_)) return;
  counts_.different++;
  log_.write(LogItem::guest_errors, "translation at {:#x} is no copy of the one at {:#x}", pc,
             cache_.block(like).key.pc);
}

void Translator::make_known(u32 index) {
  const Translation& translation = cache_.block(index);
  for (unsigned i = 0; i < 2; i++) {
    if (!translation.pages[i]) continue;
    lines_.make(translation.pages[i] & ~kWindowedCode)
        .fetch_or(line_mask(translation.begin[i], translation.end[i]), std::memory_order_seq_cst);
  }
  link_new(index);
}

// Host code is mapped twice, to be written and to be run, and would count twice as resident memory. What is finished
// needs the first mapping only for a link now and then: each few MiB of new code drop it.
void Translator::unload_written(const x64::CompiledBlock& compiled) {
  constexpr u64 kStep = u64{4} << 20;
  written_ += compiled.hot_bytes + compiled.cold_bytes;
  if (written_ < kStep) return;
  write_.unload(0, write_.size());
  written_ = 0;
}

void Translator::note_perf(const char* kind, u64 pc, u32 entry, u32 bytes) {
  if (!perf_map_) return;
  fmt::print(perf_map_, "{:x} {:x} {}_{:x}\n", reinterpret_cast<u64>(compiler_->address(entry)), bytes, kind, pc);
  std::fflush(perf_map_);
}

// ---- links ----------------------------------------------------------------------------------------------------------
bool Translator::may_link(u32 exit_id, u32 target) const {
  if (!options_.chain || logging_) return false;
  const ExitRecord& exit = cache_.exit(exit_id);
  const Translation& to = cache_.block(target);
  if (exit.to != kNoBlock || cache_.block(exit.from).dead || to.dead) return false;
  if (!(exit.target == to.key)) return false;
  if (!options_.tables && to.pages[1]) return false;  // nothing checks the second page then
  // Within a page: the same page of RAM, else its mapping changed on the way.
  if (exit.site.same_page) return cache_.block(exit.from).pages[0] == to.pages[0];
  return options_.tables;
}

// Links within the page need no look at where it is mapped: they are made at once where the target is there.
void Translator::link_new(u32 index) {
  const Translation& made = cache_.block(index);
  for (u32 id = made.first_exit; id < made.first_exit + made.exits; id++) {
    const ExitRecord& exit = cache_.exit(id);
    if (!exit.site.same_page) continue;
    const u32 target = cache_.find(exit.target, made.pages[0], 0);
    if (target != kNoBlock && may_link(id, target)) {
      cache_.link(id, target, *compiler_);
      counts_.links++;
    }
  }
}

void Translator::enter_jump(Data& data, u32 index) {
  if (!options_.ibtc || !options_.tables || logging_) return;
  const Translation& translation = cache_.block(index);
  x64::JumpEntry& entry = data.jumps[x64::jump_index(translation.key.pc)];
  entry.pc = static_cast<u32>(translation.key.pc);
  entry.mode = static_cast<u32>(translation.key.mode);
  entry.page = translation.pages[0];
  entry.second_page = translation.pages[1];
  std::atomic_ref<const void*>(entry.code).store(compiler_->address(translation.entry), std::memory_order_release);
}

// An access that faults again and again and has no page mapped by it (a device) is dear: its block is made anew, with
// tables.
void Translator::replace_worn(VirtualCpu& cpu) {
  const u32 at = std::exchange(cpu.state().worn_site, 0);
  std::lock_guard lock(mutex_);
  const u32 index = cache_.block_at(at);
  if (index == kNoBlock || cache_.block(index).dead) return;
  const Translation& block = cache_.block(index);
  // The blocks of a region find out which of them it is.
  if (regions_.is_region(index)) {
    counts_.regions_dropped++;
  } else {
    worn_.emplace(block.key.pc, block.key.mode, block.pages[0]);
    counts_.replaced++;
  }
  cache_.drop(index, *compiler_);
  forget_jumps(block);
  regions_.block_died(index);
  drop_doomed();
}

// ---- dropping ------------------------------------------------------------------------------------------------------
// The CPUs' jump tables are written by their own threads under the lock, and here.
void Translator::forget_jumps(const Translation& translation) {
  const void* code = compiler_->address(translation.entry);
  for (VirtualCpu* cpu : cpus_) {
    Data& data = data_of(*cpu);
    x64::JumpEntry& entry = data.jumps[x64::jump_index(translation.key.pc)];
    if (entry.code != code) continue;
    std::atomic_ref<u32>(entry.page).store(x64::Compiler::kNoPage, std::memory_order_relaxed);
    std::atomic_ref<const void*>(entry.code).store(compiler_->dispatch_code(), std::memory_order_release);
  }
}

// A page may be marked and have no code: what was made ended before it, or failed. Its mark is taken back with the
// first store then, or all later ones would be slow, also those of a process that has the page as data later on.
bool Translator::concerns_code(u32 page, u64 lines) const {
  // Claims first: who gives one back has made the lines known before.
  if (is_claimed(page)) return true;
  const std::atomic<u64>* known = lines_.find(page);
  const u64 has = known ? known->load(std::memory_order_seq_cst) : 0;
  return !has || has & lines;
}

bool Translator::is_claimed(u32 page) const {
  return std::any_of(cpus_.begin(), cpus_.end(), [page](const VirtualCpu* cpu) {
    const auto& claims = data_of(*cpu).claims;
    return claims[0].page.load() == page || claims[1].page.load() == page;
  });
}

// Tells who makes a block of a page what was written there. `page` 0: of any one.
void Translator::note_written(u32 page, u64 lines) {
  for (VirtualCpu* cpu : cpus_) {
    for (Claim& claim : data_of(*cpu).claims) {
      if (!page || claim.page.load() == page) claim.written |= lines;
    }
  }
}

// Whether a page is cleared or copied to: stores that go on where the last one ended, and met a block, or are many.
// Those of a guest that puts new code behind other code meet none.
bool Translator::rewrites(u32 page, u64 begin, u64 end) {
  const u64 from = u64{page} << memory::kPageBits | begin, to = from + (end - begin);
  if (written_to_.exchange(to, std::memory_order_relaxed) != from) {
    written_from_.store(from, std::memory_order_relaxed);
    written_code_.store(false, std::memory_order_relaxed);
  }
  const u64 bytes = to - written_from_.load(std::memory_order_relaxed);
  return bytes >= (written_code_.load(std::memory_order_relaxed) ? kRewriteOfCode : kRewrite);
}

void Translator::code_written(memory::RamBlock& ram, u64 offset, u64 size) {
  const u64 end = std::min(offset + size, ram.size());
  for (u64 at = offset; at < end;) {
    const u64 next = std::min(end, (at | kPageMask) + 1);
    const u64 begin = at & kPageMask;
    const u32 id = page_id(ram, at);
    // What is left of the page will be written, too, each store by itself as long as it has code.
    const bool all = rewrites(id, begin, begin + (next - at));
    if (all || concerns_code(id, line_mask(begin, begin + (next - at)))) {
      std::lock_guard lock(mutex_);
      const auto dropped = [&](u32 index) {
        block_dropped(index);
        written_code_.store(true, std::memory_order_relaxed);
      };
      const u32 from = all ? 0 : static_cast<u32>(begin), to = all ? memory::kPageSize : from + (next - at);
      note_written(id, line_mask(begin, begin + (next - at)));
      if (!cache_.drop(id, from, to, *compiler_, dropped) && !is_claimed(id)) {
        if (std::atomic<u64>* lines = lines_.find(id)) lines->store(0, std::memory_order_seq_cst);
        ram.page_flags(at).fetch_and(static_cast<u8>(~memory::kPageHasCode), std::memory_order_seq_cst);
      }
      drop_doomed();
    }
    at = next;
  }
}

void Translator::forget_code(u64 begin, u64 end) {
  std::lock_guard lock(mutex_);
  note_written(0, ~u64{0});
  cache_.drop_addresses(begin, end, *compiler_, [&](u32 index) { block_dropped(index); });
  drop_doomed();
}

void Translator::block_dropped(u32 index) {
  forget_jumps(cache_.block(index));
  regions_.block_died(index);
  counts_.dropped++;
}

void Translator::drop_everything() {
  regions_.clear();
  store_.clear(*compiler_);
  faults_.clear();
  for (auto& sites : ring_faults_) sites.clear();
  if (cache_.has_ring()) open_piece(0);
  worn_.clear();
  lines_.clear();
  for (const auto& [ram, offset] : code_pages_) {
    ram->page_flags(offset).fetch_and(static_cast<u8>(~memory::kPageHasCode), std::memory_order_seq_cst);
  }
  code_pages_.clear();
  for (VirtualCpu* cpu : cpus_) data_of(*cpu).clear_jumps();
  epoch_++;
  counts_.emptied++;
}

void Translator::open_piece(u32 piece) {
  cache_.open_piece(piece);
  compiler_->open_piece(cache_.piece_begin(piece), cache_.piece_bytes());
}

// Makes room in the ring.
void Translator::empty_piece(VirtualCpu& cpu) {
  const auto goes_on = [&] {
    std::lock_guard lock(mutex_);
    const u32 next = cache_.next_piece();
    if (cache_.is_empty(next)) open_piece(next);
    return cache_.is_empty(next);
  };
  if (goes_on()) return;
  const u64 epoch = epoch_;
  cpu.run_exclusive([&] {
    std::lock_guard lock(mutex_);
    if (epoch_ == epoch) drop_piece(cache_.next_piece());
  });
}

// All CPUs are outside of generated code.
void Translator::drop_piece(u32 piece) {
  const u64 begin = reinterpret_cast<u64>(compiler_->address(cache_.piece_begin(piece)));
  const u64 end = reinterpret_cast<u64>(compiler_->address(cache_.piece_begin(piece + 1)));
  for (VirtualCpu* cpu : cpus_) data_of(*cpu).forget_jumps(begin, end);
  regions_.blocks_die([&](u32 block) { return cache_.is_in_piece(block, piece); });
  drop_doomed();
  for (const u32 at : ring_faults_[piece]) faults_.remove(at);
  ring_faults_[piece].clear();
  cache_.clear_piece(piece, *compiler_);
  open_piece(piece);
  epoch_++;
  counts_.pieces++;
}

void Translator::empty(VirtualCpu& cpu) {
  const u64 epoch = epoch_;
  cpu.run_exclusive([&] {
    const auto nobody_compiles = requests_.hold();
    std::lock_guard lock(mutex_);
    if (epoch_ == epoch) drop_everything();
  });
}

}  // namespace rhea::accel
