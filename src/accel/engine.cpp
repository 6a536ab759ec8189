// SPDX-License-Identifier: MIT
// The engine: makes the CPUs and what runs them, and their threads.
//
// Without icount each CPU has a thread: it sleeps (WFI), or stays in the runner until its poll word is set. With
// icount one thread gives each CPU in turn a slice of instructions; between slices, at exact counts, it runs the
// timers that are due.
#include <algorithm>
#include <cstdio>

#include "accel/debugger.h"
#include "accel/engine_parts.h"
#include "accel/interpreter/interpreter.h"
#include "accel/run_control.h"
#include "accel/virtual_clock.h"
#include "accel/virtual_cpu.h"
#include "sys/thread.h"
#include "util/text.h"

namespace rhea::accel {

namespace {

constexpr s32 kSlice = 50000;       // instructions of a CPU's turn with icount, when there is more than one
constexpr s32 kTraceSlice = 10000;  // between two lines of the trace
constexpr s32 kTraceAll = 100;      // below that the lines have the registers too

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
      return Error(
          "trace file '{}': after ':' comes the number of instructions between lines, 1 to {}, and perhaps after "
          "another ':' the number of the first one",
          name, INT32_MAX);
    }
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (!file) return Error("trace file '{}' cannot be opened for writing", path);
    return std::unique_ptr<Trace>(new Trace(file, static_cast<s32>(every), numbers.size() > 1 ? numbers[1] : 0));
  }
  ~Trace() { std::fclose(file_); }
  void end() { ended_.store(true, std::memory_order_relaxed); }
  s32 every(const VirtualCpu& cpu) const {
    const u64 now = cpu.instructions.load(std::memory_order_relaxed);
    return now >= from_ ? every_ : static_cast<s32>(std::min<u64>(from_ - now, INT32_MAX / 2));
  }

  void line(VirtualCpu& cpu) {
    if (ended_.load(std::memory_order_relaxed) || cpu.instructions.load(std::memory_order_relaxed) < from_) return;
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
                 static_cast<unsigned long long>(state.pc), static_cast<unsigned long long>(state.mode),
                 state.flags & ir::kImageMask, static_cast<unsigned long long>(hash));
  }

 private:
  Trace(std::FILE* file, s32 every, u64 from) : file_(file), every_(every), from_(from) {}
  std::FILE* file_;
  s32 every_;
  u64 from_;
  std::atomic<bool> ended_{false};
};

class EngineImpl final : public Engine, private memory::Listener {
 public:
  EngineImpl(const Options& options, memory::AddressSpace& memory, EventLoop& loop, Log& log)
      : options_(options), memory_(memory), loop_(loop), log_(log) {
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
      counter_->set_least_wait(static_cast<s32>(options_.max_block));
      clock->on_armed = [this] { control_.notify_work(); };
      clock_ = std::move(clock);
    } else {
      clock_ = std::make_unique<RealVirtualClock>(loop);
    }
    control_.single_thread = options_.icount;
    control_.virtual_clock = clock_.get();
  }

  Result<void> create(const EngineParts& parts) {
    if (options_.icount && !options_.trace_file.empty()) trace_ = RHEA_TRY(Trace::open(options_.trace_file));
    number_ram();
    const RunnerContext context{options_, memory_, log_, parts.cpus};
    runner_ = RHEA_TRY(parts.make_runner(context));
    stepper_ = std::make_unique<Interpreter>(context);
    for (unsigned i = 0; i < parts.cpus; i++) {
      std::unique_ptr<GuestCpu> guest = RHEA_TRY(parts.make_cpu(i));
      cpus_.push_back(
          std::make_unique<VirtualCpu>(i, std::move(guest), memory_, control_, *runner_, debugger_, options_, log_));
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
    if (!debugger_.holds_clock()) clock_->run();
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
    debugger_.wake_parked();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    if (runner_) runner_->end();
  }
  void reset() override {
    for (auto& cpu : cpus_) cpu->reset();
    turn_left_ = 0;
    drop_code();
  }
  void at_safe_point(const std::function<void()>& work) override {
    control_.stop();
    work();
    control_.go();
  }
  bool steps() const override { return stepped_ != nullptr; }
  void step_to(s64 time) override {
    if (stepped_) stepped_->step_to(time);
  }
  s64 next_deadline() const override { return stepped_ ? stepped_->next_deadline() : kNever; }
  std::string statistics() const override;

  s64 instructions() const override { return counter_ ? counter_->instructions() : -1; }
  u64 timers_fired() const override { return counter_ ? counter_->fired() : 0; }
  void set_input_point(InputPoint* inputs) override { inputs_ = inputs; }
  void wake_for_input() override {
    for (auto& cpu : cpus_) cpu->kick(ir::kPollRequest);
  }
  bool on_cpu_thread() const override { return cpu_thread_.load() == static_cast<u64>(sys::current_thread_id()); }
  void clock_fields(Visitor& visitor) override {
    clock_->fields(visitor);
    visitor.field("turn", turn_);
    visitor.field("turn_left", turn_left_);
    if (!visitor.restoring()) return;
    turn_ = turn_before_ = cpus_.empty() ? 0 : turn_ % static_cast<unsigned>(cpus_.size());
    turn_done_ = 0;
    turn_left_ = std::clamp<s64>(turn_left_, 0, INT32_MAX / 2);
  }
  void guest_ended() override {
    if (trace_) trace_->end();
  }
  void memory_replaced() override {
    at_safe_point([&] { forget_all(); });
  }

  Debugger& debugger() override { return debugger_; }
  void set_debugging(bool on) override {
    at_safe_point([&] {
      debugger_.set_attached(on);
      if (!on) debugger_.clear();
      forget_all();
    });
    if (!on) debugger_.set_actions({});
  }
  void set_breakpoint(u64 address) override {
    at_safe_point([&] {
      debugger_.add_breakpoint(address);
      runner_->forget_code(address, address + 1);
    });
  }
  bool clear_breakpoint(u64 address) override {
    bool there = false;
    at_safe_point([&] {
      there = debugger_.remove_breakpoint(address);
      runner_->forget_code(address, address + 1);
    });
    return there;
  }
  void set_watchpoint(WatchKind kind, u64 address, u64 size) override {
    at_safe_point([&] {
      debugger_.add_watchpoint({kind, address, size});
      for (auto& cpu : cpus_) cpu->queue_flush_all();
    });
  }
  bool clear_watchpoint(WatchKind kind, u64 address, u64 size) override {
    return debugger_.remove_watchpoint({kind, address, size});
  }

 private:
  // No translation is found any more. Their host code stays until the cache is full: a CPU that waits for a device
  // within a block returns into it.
  void drop_code() { runner_->forget_code(0, ~u64{0}); }

  void forget_all() {
    drop_code();
    for (auto& cpu : cpus_) cpu->queue_flush_all();
  }

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
    drop_code();
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
      if (debugger_.must_park(cpu.index())) {
        cpu.leave();
        debugger_.park(cpu, ending_);
        continue;
      }
      if (!step_for_debugger(cpu) && !cpu.wants_sleep()) cpu.run_blocks();
      cpu.leave();
      if (debugger_.stopping()) debugger_.check_all_stopped();
      else if (cpu.wants_sleep()) cpu.sleep();
    }
  }

  // Where a debugger steps this CPU, or lets it go on from where it had stopped it. False: it is to run as ever.
  bool step_for_debugger(VirtualCpu& cpu) {
    if (!debugger_.attached()) return false;
    const bool steps = debugger_.action(cpu.index()) == CpuAction::step;
    if (!steps && !debugger_.passes(cpu.index())) return false;
    if (!cpu.step(*stepper_, !steps || debugger_.step_mode.mask_interrupts, true)) return true;
    debugger_.passed(cpu.index());
    if (steps) debugger_.hit({.why = DebugStop::Why::stepped, .cpu = cpu.index()});
    return true;
  }

  // ---- icount ----
  void run_counted() {
    sys::name_current_thread("CPUs");
    cpu_thread_.store(static_cast<u64>(sys::current_thread_id()));
    for (auto& cpu : cpus_) cpu->set_thread_id(sys::current_thread_id());
    while (!control_.ending()) {
      if (debugger_.stopping()) {
        debugger_.park(*cpus_[0], ending_);
        continue;
      }
      if (control_.stopped()) {
        control_.wait_until_free(true);
        continue;
      }
      if (turn_left_ == 0) counter_->run_due(stopped_);  // what a stop kept from being done behind the slice
      take_inputs();
      if (debugger_.stopping() || control_.stopped()) continue;
      if (counter_->instructions() >= debugger_.stop_count() && turn_left_ == 0) {
        debugger_.reached_count();
        continue;
      }
      if (VirtualCpu* cpu = next_cpu()) {
        if (!run_slice(*cpu)) return;
      } else if (!wait_idle()) {
        return;
      }
    }
  }

  void take_inputs() {
    if (!inputs_ || turn_left_ > 0) return;
    // Who stops the machine holds the loop's lock and waits for us only while we are in a slice.
    std::lock_guard lock(loop_.lock());
    if (!stopped_()) inputs_->arrive(counter_->instructions(), counter_->now(), counter_->fired());
  }

  // CPUs take turns. A turn that was interrupted from outside goes on.
  VirtualCpu* next_cpu() {
    if (turn_left_ > 0) return cpus_[turn_].get();
    for (usize i = 1; i <= cpus_.size(); i++) {
      const unsigned index = static_cast<unsigned>((turn_ + i) % cpus_.size());
      VirtualCpu& cpu = *cpus_[index];
      const CpuAction action = debugger_.attached() && !inputs_ ? debugger_.action(index) : CpuAction::go;
      if (action == CpuAction::stay) continue;
      if (cpu.wants_sleep() && !cpu.has_work() && action != CpuAction::step) continue;
      turn_before_ = std::exchange(turn_, index);
      turn_done_ = 0;
      return &cpu;
    }
    return nullptr;
  }

  bool run_slice(VirtualCpu& cpu) {
    if (!cpu.enter()) return false;
    const bool goes_on = turn_left_ > 0;
    if (inputs_ ? debugger_.stopping() : debugger_.must_park(cpu.index())) {
      cpu.leave();
      if (!debugger_.stopping()) turn_left_ = 0;
      return true;
    }
    if (cpu.wants_sleep()) cpu.wake_up();
    s64 most = goes_on ? turn_left_ : cpus_.size() > 1 ? kSlice : INT32_MAX / 2;
    if (trace_ && !goes_on) most = std::min<s64>(most, trace_->every(cpu));
    if (inputs_) most = std::min(most, inputs_->next_count() - counter_->instructions());
    ir::StateHeader& state = cpu.state();
    const s64 until_stop = debugger_.stop_count() - counter_->instructions();
    if (until_stop <= 0) {
      turn_left_ = std::max<s64>(most, 1);
      cpu.leave();
      debugger_.reached_count();
      return true;
    }
    if (most > 0) {
      counter_->begin_slice(state, static_cast<s32>(std::min(most, until_stop)));
      if (!goes_on) turn_look_ = true;
      if (inputs_ || !step_for_debugger(cpu)) run_budget(cpu);
      // What is left is for when the debugger or a pause lets it go on; what ended by itself is over.
      const bool interrupted = state.budget > 0 && !cpu.wants_sleep() && !(inputs_ && inputs_->waits());
      const s64 executed = counter_->end_slice();
      turn_left_ = interrupted ? state.budget : 0;
      if (executed == until_stop && most > until_stop) turn_left_ = most - executed;
      cpu.instructions.fetch_add(static_cast<u64>(executed), std::memory_order_relaxed);
      turn_done_ += executed;
      if (trace_ && !interrupted && turn_done_ > 0) trace_->line(cpu);
    } else {
      turn_left_ = 0;
    }
    // An input came in before the first instruction: a replay, which knows of it, does not begin such a turn.
    if (turn_left_ == 0 && turn_done_ == 0) turn_ = turn_before_;
    cpu.leave();
    if (turn_left_ == 0) counter_->run_due(stopped_);
    return true;
  }

  // Until the budget is used up to the last instruction, or something else ends the slice. `turn_look_` stays for when
  // the turn goes on: whether interrupts are looked at first.
  void run_budget(VirtualCpu& cpu) {
    ir::StateHeader& state = cpu.state();
    while (state.budget > 0 && !cpu.wants_sleep() && !stopped_() && !debugger_.stopping()) {
      if (inputs_ && turn_look_ && inputs_->waits()) return;
      const bool steps = inputs_ && debugger_.attached() && debugger_.action(cpu.index()) == CpuAction::step;
      if (steps || (debugger_.attached() && debugger_.passes(cpu.index()))) {
        if (turn_look_) cpu.look_for_interrupts();
        turn_look_ = cpu.step_exactly(*stepper_, 1, true);
        debugger_.passed(cpu.index());
        if (steps) debugger_.hit({.why = DebugStop::Why::stepped, .cpu = cpu.index()});
        continue;
      }
      const Leave left = cpu.run_blocks(turn_look_);
      turn_look_ = !cpu.take_debug_exit();  // a breakpoint is no place where the run itself would look
      if (left == Leave::poll || state.budget <= 0) continue;
      turn_look_ = cpu.step_exactly(*stepper_, static_cast<unsigned>(state.budget), false);
    }
  }

  // All CPUs sleep: on to the next timer, or until something comes in from outside.
  bool wait_idle() {
    if (counter_->skip_to_deadline(stopped_, inputs_ ? inputs_->next_time() : kNever)) {
      counter_->run_due(stopped_);
      return true;
    }
    control_.wait_for_work([this] {
      if (control_.ending() || control_.stopped() || debugger_.stopping() || counter_->take_armed()) return true;
      if (inputs_ && inputs_->waits()) return true;
      return std::any_of(cpus_.begin(), cpus_.end(), [](const auto& cpu) { return cpu->has_work(); });
    });
    return !control_.ending();
  }

  Options options_;
  memory::AddressSpace& memory_;
  EventLoop& loop_;
  Log& log_;
  std::unique_ptr<VirtualClock> clock_;
  InstructionClock* counter_ = nullptr;
  SteppedClock* stepped_ = nullptr;
  InputPoint* inputs_ = nullptr;
  std::atomic<u64> cpu_thread_{0};
  unsigned turn_ = 0;         // the CPU whose turn it is or was, with icount
  unsigned turn_before_ = 0;  // whose turn was before it
  bool turn_look_ = true;
  s64 turn_left_ = 0;  // instructions of a turn that was interrupted
  s64 turn_done_ = 0;  // instructions of the turn so far
  std::unique_ptr<Trace> trace_;
  RunControl control_;
  const std::function<bool()> stopped_ = [this] { return control_.stopped() || control_.ending(); };
  const std::function<bool()> ending_ = [this] { return control_.ending(); };
  Debugger debugger_;
  std::unique_ptr<BlockRunner> runner_;
  std::unique_ptr<Interpreter> stepper_;
  std::vector<std::unique_ptr<VirtualCpu>> cpus_;
  std::vector<std::thread> threads_;
  std::atomic<bool> running_{false};
};

std::string EngineImpl::statistics() const {
  std::string text = fmt::format("engine {}\n", options_.engine);
  text += runner_->statistics();
  for (const auto& cpu : cpus_) {
    const SoftMmu::Statistics& mmu = cpu->mmu().statistics();
    text += fmt::format(
        "CPU {}: {} entries made, {} slow loads, {} slow stores, {} device accesses, {} stores to code, "
        "{} flushes, {} page flushes\n",
        cpu->index(), mmu.fills.get(), mmu.slow_loads.get(), mmu.slow_stores.get(), mmu.device_accesses.get(),
        mmu.code_stores.get(), mmu.flushes.get(), mmu.page_flushes.get());
    if (mmu.windows_opened.get()) {
      text += fmt::format("CPU {}: {} windows opened, {} closed; {} mappings made in them, {} undone\n", cpu->index(),
                          mmu.windows_opened.get(), mmu.windows_closed.get(), mmu.window_maps.get(),
                          mmu.window_unmaps.get());
    }
  }
  if (counter_) text += fmt::format("{} instructions, virtual time {} ns\n", counter_->instructions(), counter_->now());
  return text;
}

}  // namespace

Result<std::unique_ptr<Engine>> create_engine(const Options& options, const EngineParts& parts,
                                              memory::AddressSpace& memory, EventLoop& loop, Log& log) {
  if (parts.cpus == 0 && options.engine != "qtest") return Error("0 CPUs: a machine has at least one");
  auto engine = std::make_unique<EngineImpl>(options, memory, loop, log);
  RHEA_TRY(engine->create(parts));
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace rhea::accel
