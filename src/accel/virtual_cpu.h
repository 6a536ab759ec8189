// SPDX-License-Identifier: MIT
// A virtual CPU: a guest's state, its soft MMU, and where it stands towards the rest of the machine.
//
// Where a CPU is (`Place`) decides who may rely on what:
//   outside   between blocks, asleep or paused: its state is whole, nothing of it runs
//   blocked   about to access a device and waiting for its lock, or waiting for other CPUs: its state is whole but in
//             the middle of an instruction; it touches neither soft tables nor translated code until it is let go. The
//             access itself is made as `running` (ask(), under the lock)
//   running   anything else
// A CPU goes to `running` only through enter(), which waits while stops are requested and first does the
// maintenance that others have queued for it. So who has queued something may go on when the CPU has either done it
// or is not running.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "accel/accel.h"
#include "accel/block_runner.h"
#include "accel/run_control.h"
#include "accel/soft_mmu.h"
#include "ir/guest.h"

namespace rhea::accel {

class Debugger;
class Interpreter;
class RunControl;

// A guest CPU as the engine needs it beyond translation: what the debugger sees. One for each architecture.
class GuestCpu {
 public:
  virtual ~GuestCpu() = default;
  virtual ir::Guest& guest() = 0;
  virtual std::string registers_text() const = 0;
  virtual bool register_value(std::string_view name, u64& value) const = 0;
  virtual std::string architecture() const { return {}; }
  virtual std::span<const RegisterFeature> register_features() const { return {}; }
  virtual bool read_register(unsigned number, std::vector<u8>& bytes) const { return false; }
  virtual bool write_register(unsigned number, std::span<const u8> bytes) { return false; }
  virtual Cpu::Disassembly disassemble(u64 address, std::span<const u8> bytes) const = 0;
  virtual void set_reset_pc(u64 pc) = 0;
  virtual void fields(Visitor& visitor) = 0;
};

// What a runner keeps for a CPU.
struct RunnerData {
  virtual ~RunnerData() = default;
};

class VirtualCpu final : public Vcpu,
                         public ir::EngineHooks,
                         public MmuOwner,
                         private memory::AccessGate,
                         private IrqSink {
 public:
  VirtualCpu(unsigned index, std::unique_ptr<GuestCpu> guest_cpu, memory::AddressSpace& memory, RunControl& control,
             BlockRunner& runner, Debugger& debugger, const Options& options, Log& log);
  ~VirtualCpu() override;

  // ---- for runners -------------------------------------------------------------------------------------------
  ir::Guest& guest() { return guest_; }
  ir::StateHeader& state() { return state_; }
  SoftMmu& mmu() { return mmu_; }
  Log& log() { return log_; }
  const Options& options() const { return options_; }
  std::span<SoftMmu* const> all_mmus() const;  // for SoftMmu::page_becomes_code
  std::unique_ptr<RunnerData> runner_data;
  // `-d exec` and `-d cpu`: called before a block runs, with its key in the state. Cheap when neither is on.
  void log_block() {
    if (log_.mask() & kBlockLogs) write_block_log();
  }
  // With `-d exec,cpu,nochain`: whether every block is to come back to the runner's dispatcher (which calls log_block).
  bool logs_blocks() const { return log_.mask() & (kBlockLogs | static_cast<u32>(LogItem::nochain)); }
  // Runs work while no CPU is running or blocked within a block (this one counts as outside: call it from the
  // dispatcher, between blocks). For dropping translated code.
  void run_exclusive(const std::function<void()>& work);
  // Code of a block as `-d in_asm` shows it.
  std::string disassemble_block(const ir::Block& block);

  static VirtualCpu& of(ir::StateHeader& state) { return *static_cast<VirtualCpu*>(state.engine); }

  // ---- Vcpu, Cpu --------------------------------------------------------------------------------------------------
  IrqSink& pins() override { return *this; }
  void set_reset_pc(u64 pc) override { guest_cpu_->set_reset_pc(pc); }
  void fields(Visitor& visitor) override;
  unsigned index() const override { return index_; }
  int thread_id() const override { return thread_id_.load(std::memory_order_relaxed); }
  bool halted() const override { return asleep_.load(std::memory_order_relaxed); }
  u64 pc() const override;
  std::string registers_text() const override;
  bool register_value(std::string_view name, u64& value) const override;
  std::string architecture() const override { return guest_cpu_->architecture(); }
  std::span<const RegisterFeature> register_features() const override { return guest_cpu_->register_features(); }
  bool read_register(unsigned number, std::vector<u8>& bytes) const override;
  bool write_register(unsigned number, std::span<const u8> bytes) override;
  bool read_virtual(u64 address, std::span<u8> data) const override;
  bool physical_address(u64 address, u64& physical) const override;
  bool write_virtual(u64 address, std::span<const u8> data) override;
  Disassembly disassemble(u64 address, std::span<const u8> bytes) const override;

  // ---- EngineHooks ------------------------------------------------------------------------------------------------
  void flush_all(bool all_cpus) override;
  void flush_space(u64 space, bool all_cpus) override;
  void flush_page(u64 space, u64 address, bool all_spaces, bool all_cpus) override;
  void synchronize() override;
  void space_changed(u64 space) override;
  void privilege_changed(bool privileged) override;
  void code_changed(u64 address, u64 size, bool all) override;
  void wait_for_interrupt() override;
  void wait_for_event() override;
  void send_event() override;
  bool read_physical(u64 address, unsigned size, u64& value) override;
  bool read_memory(u64 address, unsigned size, u8 mem_flags, u64& value) override;
  bool write_memory(u64 address, unsigned size, u8 mem_flags, u64 value) override;
  s64 virtual_time() const override { return control_.virtual_clock->now(); }
  bool debugging() const override;
  bool has_breakpoint(u64 address) const override;
  void breakpoint_reached() override;
  void sync_fp_flags() override;

  // ---- MmuOwner -----------------------------------------------------------------------------------------------------
  void device_accessed() override { end_blocking(); }
  void exec_mappings_dropped() override;
  memory::AccessGate* gate() override { return this; }
  usize cpu_count() const override { return control_.cpus().size(); }
  bool watch_reached(u64 address, u64 size, bool write) override;

  // ---- for the engine ----------------------------------------------------------------------------------------------
  enum class Place : u8 { outside, blocked, running };
  Place place() const { return static_cast<Place>(place_.load(std::memory_order_seq_cst)); }
  // To running; waits while stops are requested. False: the thread is to end.
  bool enter();
  void leave(Place place = Place::outside);
  // One stay in the runner with what comes before and after it: queued maintenance, interrupts.
  // `look`: interrupts are taken before the first instruction.
  Leave run_blocks(bool look = true);
  // Whether a breakpoint or a watchpoint was met since the last call.
  bool take_debug_exit() { return std::exchange(debug_exit_, false); }
  // What run_blocks(true) does before the first instruction.
  void look_for_interrupts() {
    state_.poll.exchange(0, std::memory_order_seq_cst);
    if (flush_pending()) take_flushes();
    guest_.take_interrupt();
  }
  // One instruction, by the interpreter. `pass`: breakpoints and watchpoints do not count. False: a stop is requested,
  // nothing was done.
  bool step(Interpreter& stepper, bool mask_interrupts, bool pass);
  // The same as a part of a counted run, which goes on as if nothing had been: returns whether interrupts are looked at
  // behind it.
  bool step_exactly(Interpreter& stepper, unsigned most, bool pass);
  void drop_data_mappings() { mmu_.flush_all(); }
  bool wants_sleep() const { return sleep_ != Sleep::no; }
  // Whether a sleeping CPU has a reason to wake up.
  bool has_work() const;
  void wake_up();
  // Sleeps until has_work(), a stop, or (WFE with others running) a while.
  void sleep();
  // From any thread: makes it look up at its next poll, and wakes it.
  void kick(u32 poll_bits);
  void reset();
  void queue_flush_all();
  void set_thread_id(int id) { thread_id_.store(id, std::memory_order_relaxed); }
  bool flush_pending() const { return flush_pending_.load(std::memory_order_seq_cst); }
  std::atomic<u64> instructions{0};  // retired, with icount

  struct Flush {
    enum class Kind : u8 { all, space, page } kind = Kind::all;
    bool all_spaces = false;
    u64 space = 0;
    u64 address = 0;
  };

 private:
  static constexpr u32 kBlockLogs = static_cast<u32>(LogItem::exec) | static_cast<u32>(LogItem::cpu);
  enum class Sleep : u8 { no, interrupt, event };

  void set_irq(unsigned input, bool level) override;
  void about_to_wait() override { begin_blocking(); }
  Answer ask() override;
  void wait() override;
  // Around what it may wait in: it counts as stopped meanwhile.
  void begin_blocking();
  void end_blocking();
  void apply(const Flush& flush);
  void broadcast(const Flush& flush, bool all_cpus);
  void queue(const Flush& flush);
  void take_flushes();
  void write_block_log();
  template <typename Ready>
  bool poll_while_halted(const Ready& ready);
  void adapt_polling(s64 slept);

  const unsigned index_;
  std::unique_ptr<GuestCpu> guest_cpu_;
  ir::Guest& guest_;
  ir::StateHeader& state_;
  memory::AddressSpace& memory_;
  RunControl& control_;
  BlockRunner& runner_;
  Debugger& debugger_;
  const Options& options_;
  Log& log_;
  SoftMmu mmu_;
  bool debug_exit_ = false;
  bool abandons_ = false;  // the access that it is about to make belongs to a state that is gone
  bool passing_ = false;   // a step that breakpoints and watchpoints do not stop

  std::atomic<u8> place_{static_cast<u8>(Place::outside)};
  std::atomic<bool> asleep_{false};
  std::atomic<bool> event_{false};  // WFE's event register
  std::atomic<int> thread_id_{0};
  // Who resets the CPU writes it while its thread may be about to look.
  std::atomic<Sleep> sleep_{Sleep::no};
  s64 event_wait_ = 1;  // ms
  s64 halt_poll_ = 0;   // ns to look for interrupts before the thread sleeps
  std::mutex sleep_mutex_;
  std::condition_variable sleep_condition_;
  std::atomic<bool> flush_pending_{false};
  std::mutex flush_mutex_;
  std::vector<Flush> flushes_;
  bool flushes_others_ = false;  // queued something that synchronize() has to wait for
  bool synchronizes_ = false;    // waits for it before it goes on

  friend class RunControl;
};

}  // namespace rhea::accel
