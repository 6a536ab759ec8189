// SPDX-License-Identifier: MIT
// What the machine sees of an engine: virtual CPUs that run, pause, take interrupts. The translator and the
// interpreter are two of them behind one run loop; guest architectures are joined with hosts below here only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/cpu.h"
#include "core/debug_target.h"
#include "core/event_loop.h"
#include "core/irq.h"
#include "core/snapshot.h"
#include "memory/address_space.h"
#include "util/log.h"
#include "util/result.h"

namespace rhea::accel {

// `-accel tcg,chain=off,...`: each optimization can be turned off.
struct Options {
  std::string engine = "tcg";         // tcg (the translator), interp (the IR interpreter) or qtest (CPUs stand still)
  bool chain = true;                  // blocks jump to each other directly
  bool ibtc = true;                   // inline caches and the hash for indirect jumps in generated code
  bool pin = true;                    // guest registers stay in host registers across blocks
  bool lazy_flags = true;             // flags stay in host flags; liveness over block ends
  bool group = true;                  // one lookup for a run of accesses (LDM, STM)
  bool inline_fp = true;              // floating point and vectors inline
  bool tables = true;                 // soft tables; off: every access takes the slow path
  bool windows = true;                // guest pages of busy address spaces in the host's page tables
  bool copies = true;                 // translations of code that lies elsewhere are copied
  bool check_copies = false;          // they are made, and compared with what a copy would be
  bool eager_windows = false;         // windows are opened at once, of the kernel too
  bool passes = true;                 // IR passes
  bool tier2 = true;                  // hot paths are compiled once more, as regions
  bool eager_tier2 = false;           // every path that is met at a poll is
  bool tier2_thread = true;           // by a thread beside the CPUs
  bool lone = true;                   // one CPU alone with its RAM stores exclusively without the host's LOCK
  bool shared_ram = false;            // other processes may write to RAM as CPUs do (share=on)
  bool halt_poll = true;              // a CPU that was woken soon looks for interrupts itself for a while
  unsigned max_block = 64;            // guest instructions of a block, at most
  u64 cache_size = u64{256} << 20;    // bytes of generated code; memory is taken as it is made
  std::string host_features = "all";  // what of the host CPU is used beyond x86-64-v2: "all", "none", "avx2+bmi2", ...
  std::string cache_folder;           // translations are kept here for later runs; empty: not at all
  bool perf_map = false;              // names of generated code for perf: /tmp/perf-PID.map
  bool icount = false;                // virtual time from instructions; one thread runs all CPUs
  unsigned icount_shift = 3;          // an instruction takes 2^shift ns
  std::string trace_file;             // with icount: a line for each block, for comparing runs ("lockstep")
};
// All switches by name, for parsing and help: {"chain", "blocks jump ..."}.
struct Switch {
  std::string_view name;
  bool Options::*member;
  std::string_view summary;
};
std::span<const Switch> switches();

struct CpuConfig {
  std::string model;     // "cortex-a9"
  u64 reset_pc = 0;      // where it starts after a reset
  u64 private_base = 0;  // of its MPCore private peripherals (CBAR)
  unsigned count = 1;
};

// Inputs of a CPU's IrqSink.
enum CpuPin : unsigned { kPinIrq = 0, kPinFiq = 1 };

class Vcpu : public Cpu {
 public:
  virtual IrqSink& pins() = 0;
  virtual void set_reset_pc(u64 pc) = 0;
  virtual void fields(Visitor& visitor) = 0;
};

class Debugger;

// What an engine with icount takes in from outside, between two instructions. All on the CPUs' thread, but wake_up.
class InputPoint {
 public:
  virtual ~InputPoint() = default;
  // The CPUs stand: what is due now is carried out. Under the machine loop's lock. `fired` is how many timers have
  // fired so far. False: the machine is to stop here (it has been told so).
  virtual void arrive(s64 count, s64 time, u64 fired) = 0;
  // The next count at which arrive() is to be called, or kNever; and, where that count is reached, the time.
  virtual s64 next_count() const = 0;
  virtual s64 next_time() const = 0;
  // Whether arrive() would find something now. Any thread.
  virtual bool waits() const = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual unsigned cpus() const = 0;
  virtual Vcpu& cpu(unsigned index) = 0;
  // Virtual time: of instructions with icount, else real time while running. Timers run on the machine's loop.
  virtual Clock& virtual_clock() = 0;

  // CPUs are created paused and reset. From any thread but a CPU's; pause() returns when all have stopped.
  virtual void resume() = 0;
  virtual void pause() = 0;
  virtual bool running() const = 0;
  // Only while paused.
  virtual void reset() = 0;
  // Runs `work` with all CPUs at a safe point (paused or between blocks), from any thread but a CPU's, then goes on.
  virtual void at_safe_point(const std::function<void()>& work) = 0;
  // Breakpoints and steps (debugger.h). A debugger comes or goes; breakpoints and watchpoints are set and cleared: from
  // any thread but a CPU's.
  virtual Debugger& debugger() = 0;
  virtual void set_debugging(bool on) = 0;
  virtual void set_breakpoint(u64 address) = 0;
  virtual bool clear_breakpoint(u64 address) = 0;
  virtual void set_watchpoint(WatchKind kind, u64 address, u64 size) = 0;
  virtual bool clear_watchpoint(WatchKind kind, u64 address, u64 size) = 0;
  // Instructions of all CPUs since the start, with icount; else -1.
  virtual s64 instructions() const = 0;
  virtual u64 timers_fired() const = 0;
  // Only with icount and before the first resume(); and that something waits there now, from any thread.
  virtual void set_input_point(InputPoint* inputs) = 0;
  virtual void wake_for_input() = 0;
  // Whether the calling thread runs the CPUs (with icount).
  virtual bool on_cpu_thread() const = 0;
  // Virtual time, for snapshots; only while paused. Restoring it before the devices: they arm their timers by it.
  virtual void clock_fields(Visitor& visitor) = 0;
  // From the CPU whose access turned the machine off: the trace ends here, not where the machine's loop comes to
  // stop the CPUs some instructions later.
  virtual void guest_ended() {}
  // Guest memory was replaced as a whole. Only while paused.
  virtual void memory_replaced() = 0;
  // Ends the CPUs' threads for good, those within a device's access too: after it no device is touched any more.
  // Without the loop's lock held (such an access may need it).
  virtual void end() = 0;
  // Engine "qtest": no CPU runs, and virtual time stands until it is stepped. On the loop's thread, under its lock.
  virtual bool steps() const { return false; }
  virtual void step_to(s64 time) {}
  virtual s64 next_deadline() const { return kNever; }
  // `info jit` and the like: lines of text.
  virtual std::string statistics() const = 0;
};

Result<std::unique_ptr<Engine>> create_engine(const Options& options, const CpuConfig& cpus,
                                              memory::AddressSpace& memory, EventLoop& loop, Log& log);

// The CPU models there are.
std::vector<std::string> cpu_models();

}  // namespace rhea::accel
