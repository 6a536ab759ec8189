// SPDX-License-Identifier: MIT
// The engine: makes the CPUs and what runs them, and their threads.
//
// Without icount each CPU has a thread: it sleeps (WFI), or stays in the runner until its poll word is set. With
// icount one thread gives each CPU in turn a slice of instructions; between slices, at exact counts, it runs the
// timers that are due.
#include <algorithm>
#include <cstdio>

#include "accel/engine_parts.h"
#include "accel/run_control.h"
#include "accel/virtual_clock.h"
#include "accel/virtual_cpu.h"
#include "sys/thread.h"
#include "util/text.h"

namespace rhea::accel {

namespace {

constexpr s32 kSlice = 50000;         // instructions of a CPU's turn with icount, when there is more than one
constexpr s32 kTraceSlice = 10000;    // between two lines of the trace
constexpr s32 kTraceAll = 100;        // below that the lines have the registers too

// Lines for comparing two runs: after each slice, what the CPU's hot registers hold.
class Trace {
 public:
  // `name`: a path, perhaps ":N", a line about every N instructions, and perhaps ":FROM", none before so many. To find
  // the first instruction that differs: N = 1, FROM the last line of a coarser trace that was equal.
  static Result<std::unique_ptr<Trace>> open(const std::string& name) {
    std::string path = name;
    std::vector<u64> numbers;
    for (usize colon; numbers.size() < 2 && (colon = path.rfind(':')) != std::string::npos;) {
      const std::optional<u64> number = parse_number(std::string_view(path).substr(colon + 1));
      if (!number) break;
      numbers.insert(numbers.begin(), *number);
      path.resize(colon);
    }
    const u64 every = numbers.empty() ? kTraceSlice : numbers[0];
    if (every == 0 || every > INT32_MAX || (numbers.empty() && name.find(':') != std::string::npos)) {
      return Error("trace file '{}': after ':' comes the number of instructions between lines, 1 to {}, and perhaps after "
                   "another ':' the number of the first one", name, INT32_MAX);
    }
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (!file) return Error("trace file '{}' cannot be opened for writing", path);
    return std::unique_ptr<Trace>(new Trace(file, static_cast<s32>(every), numbers.size() > 1 ? numbers[1] : 0));
  }
  ~Trace() { std::fclose(file_); }
  s32 every(const VirtualCpu& cpu) const {
    const u64 now = cpu.instructions.load(std::memory_order_relaxed);
    return now >= from_ ? every_ : static_cast<s32>(std::min<u64>(from_ - now, INT32_MAX / 2));
  }

  void line(VirtualCpu& cpu) {
    if (cpu.instructions.load(std::memory_order_relaxed) < from_) return;
    const ir::StateHeader& state = cpu.state();
    u64 hash = 0xcbf29ce484222325;
    auto mix = [&](u64 value) { hash = (hash ^ value) * 0x100000001b3; };
    const u8* base = reinterpret_cast<const u8*>(&state);
    for (const ir::Pin& pin : cpu.guest().layout().pins) {
      u64 value = 0;
      std::memcpy(&value, base + pin.offset, pin.type == ir::Type::I32 || pin.type == ir::Type::F32 ? 4 : 8);
      mix(value);
      if (every_ < kTraceAll) std::fprintf(file_, "%llx ", static_cast<unsigned long long>(value));
    }
    std::fprintf(file_, "%u %llu %08llx %08llx %08x %016llx\n", cpu.index(),
                 static_cast<unsigned long long>(cpu.instructions.load(std::memory_order_relaxed)),
                 static_cast<unsigned long long>(state.pc), static_cast<unsigned long long>(state.mode), state.flags & ir::kImageMask,
                 static_cast<unsigned long long>(hash));
  }

 private:
  Trace(std::FILE* file, s32 every, u64 from) : file_(file), every_(every), from_(from) {}
  std::FILE* file_;
  s32 every_;
  u64 from_;
};

class EngineImpl final : public Engine, private memory::Listener {
 public:
  EngineImpl(const Options& options, memory::AddressSpace& memory, EventLoop& loop, Log& log)
      : options_(options), memory_(memory), log_(log) {
    // Flags that nobody reads may be anything, and an exception saves them: runs could not be compared.
    if (options_.icount && !options_.trace_file.empty()) options_.lazy_flags = false;
    if (options_.engine == "qtest") {
      options_.icount = false;
      auto clock = std::make_unique<SteppedClock>(loop);
      stepped_ = clock.get();
      clock_ = std::move(clock);
    } else if (options_.icount) {
      auto clock = std::make_unique<InstructionClock>(loop, options_.icount_shift);
      counter_ = clock.get();
      clock->on_armed = [this] { control_.notify_work(); };
      clock_ = std::move(clock);
    } else {
      clock_ = std::make_unique<RealVirtualClock>(loop);
    }
    control_.single_thread = options_.icount;
  }

  Result<void> create(const EngineParts& parts) {
    if (options_.icount && !options_.trace_file.empty()) trace_ = RHEA_TRY(Trace::open(options_.trace_file));
    number_ram();
    const RunnerContext context{options_, memory_, log_};
    runner_ = RHEA_TRY(parts.make_runner(context));
    for (unsigned i = 0; i < parts.cpus; i++) {
      std::unique_ptr<GuestCpu> guest = RHEA_TRY(parts.make_cpu(i));
      cpus_.push_back(std::make_unique<VirtualCpu>(i, std::move(guest), memory_, control_, *runner_, options_, log_));
    }
    reset();
    control_.stop();  // created paused
    memory_.add_listener(*this);
    if (!stepped_) start_threads();
    return {};
  }

  ~EngineImpl() override {
    memory_.remove_listener(*this);
    end();
  }

  unsigned cpus() const override { return static_cast<unsigned>(cpus_.size()); }
  Vcpu& cpu(unsigned index) override { return *cpus_[index]; }
  Clock& virtual_clock() override { return *clock_; }
  bool running() const override { return running_.load(); }

  void resume() override {
    if (running_.exchange(true)) return;
    clock_->run();
    control_.go();
  }
  void pause() override {
    if (!running_.exchange(false)) return;
    control_.stop();
    clock_->stop();
  }
  void end() override {
    if (running_.exchange(false)) clock_->stop();
    control_.end();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  void reset() override {
    for (auto& cpu : cpus_) cpu->reset();
    runner_->code_dropped();
  }
  void at_safe_point(const std::function<void()>& work) override {
    control_.stop();
    work();
    control_.go();
  }
  bool steps() const override { return stepped_ != nullptr; }
  void step_to(s64 time) override { if (stepped_) stepped_->step_to(time); }
  s64 next_deadline() const override { return stepped_ ? stepped_->next_deadline() : kNever; }
  std::string statistics() const override;

 private:
  // Gives each page of RAM its dense number.
  void number_ram() {
    std::vector<memory::RamBlock*> seen;
    u32 next = 0;
    for (const memory::Range& range : memory_.ranges()) {
      if (!range.ram || std::find(seen.begin(), seen.end(), range.ram) != seen.end()) continue;
      seen.push_back(range.ram);
      range.ram->first_page_index = next;
      next += static_cast<u32>(range.ram->size() >> memory::kPageBits);
    }
  }

  // ---- memory::Listener ----
  void layout_changed() override {
    for (auto& cpu : cpus_) cpu->queue_flush_all();
    runner_->code_dropped();
  }
  // Also the CPU whose store this is: it flushes when the device has returned.
  void reads_changed() override {
    for (auto& cpu : cpus_) cpu->queue_flush_all();
  }
  void code_written(memory::RamBlock& ram, u64 offset, u64 size) override { runner_->code_written(ram, offset, size); }

  void start_threads() {
    if (counter_) {
      threads_.emplace_back([this] { run_counted(); });
      return;
    }
    for (auto& cpu : cpus_) threads_.emplace_back([this, &cpu = *cpu] { run_cpu(cpu); });
  }

  void run_cpu(VirtualCpu& cpu) {
    sys::name_current_thread(fmt::format("CPU {}", cpu.index()));
    cpu.set_thread_id(sys::current_thread_id());
    while (cpu.enter()) {
      if (!cpu.wants_sleep()) cpu.run_blocks();
      cpu.leave();
      if (cpu.wants_sleep()) cpu.sleep();
    }
  }

  // ---- icount ----
  void run_counted() {
    sys::name_current_thread("CPUs");
    for (auto& cpu : cpus_) cpu->set_thread_id(sys::current_thread_id());
    while (!control_.ending()) {
      bool any = false;
      for (auto& cpu : cpus_) {
        if (cpu->wants_sleep() && !cpu->has_work()) continue;
        any = true;
        if (!run_slice(*cpu)) return;
      }
      if (!any && !wait_idle()) return;
    }
  }

  bool run_slice(VirtualCpu& cpu) {
    if (!cpu.enter()) return false;
    if (cpu.wants_sleep()) cpu.wake_up();
    s32 most = cpus_.size() > 1 ? kSlice : INT32_MAX / 2;
    if (trace_) most = std::min(most, trace_->every(cpu));
    counter_->begin_slice(&cpu.state().budget, most);
    while (cpu.run_blocks() == Leave::poll && !cpu.wants_sleep() && !control_.stopped() && !control_.ending()) {
      if (cpu.state().budget <= 0) break;
    }
    const s64 executed = counter_->end_slice();
    cpu.instructions.fetch_add(static_cast<u64>(executed), std::memory_order_relaxed);
    if (trace_) trace_->line(cpu);
    cpu.leave();
    counter_->run_due(stopped_);
    return true;
  }

  // All CPUs sleep: on to the next timer, or until something comes in from outside.
  bool wait_idle() {
    if (control_.stopped()) control_.wait_until_free(true);
    if (control_.ending()) return false;
    if (counter_->skip_to_deadline(stopped_)) {
      counter_->run_due(stopped_);
      return true;
    }
    control_.wait_for_work([this] {
      if (control_.ending() || control_.stopped() || counter_->take_armed()) return true;
      return std::any_of(cpus_.begin(), cpus_.end(), [](const auto& cpu) { return cpu->has_work(); });
    });
    return !control_.ending();
  }

  Options options_;
  memory::AddressSpace& memory_;
  Log& log_;
  std::unique_ptr<VirtualClock> clock_;
  InstructionClock* counter_ = nullptr;
  SteppedClock* stepped_ = nullptr;
  std::unique_ptr<Trace> trace_;
  RunControl control_;
  const std::function<bool()> stopped_ = [this] { return control_.stopped() || control_.ending(); };
  std::unique_ptr<BlockRunner> runner_;
  std::vector<std::unique_ptr<VirtualCpu>> cpus_;
  std::vector<std::thread> threads_;
  std::atomic<bool> running_{false};
};

std::string EngineImpl::statistics() const {
  std::string text = fmt::format("engine {}\n", options_.engine);
  text += runner_->statistics();
  for (const auto& cpu : cpus_) {
    const SoftMmu::Statistics& mmu = cpu->mmu().statistics();
    text += fmt::format("CPU {}: {} entries made, {} slow loads, {} slow stores, {} device accesses, {} stores to code, "
                        "{} flushes, {} page flushes\n",
                        cpu->index(), mmu.fills, mmu.slow_loads, mmu.slow_stores, mmu.device_accesses, mmu.code_stores,
                        mmu.flushes, mmu.page_flushes);
  }
  if (counter_) text += fmt::format("{} instructions, virtual time {} ns\n", counter_->instructions(), counter_->now());
  return text;
}

}  // namespace

Result<std::unique_ptr<Engine>> create_engine(const Options& options, const EngineParts& parts, memory::AddressSpace& memory,
                                              EventLoop& loop, Log& log) {
  if (parts.cpus == 0 && options.engine != "qtest") return Error("0 CPUs: a machine has at least one");
  auto engine = std::make_unique<EngineImpl>(options, memory, loop, log);
  RHEA_TRY(engine->create(parts));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace rhea::accel
