// SPDX-License-Identifier: MIT
// What a debugger asked of the CPUs: breakpoints, watchpoints, who goes and who steps; and why they stopped.
//
// A breakpoint is a helper call that the guest's translator puts before the instruction (Guest::translate asks
// has_breakpoint), so that setting one drops the translations of that address and costs nothing elsewhere. Pages with
// a watchpoint have no entries in any soft table: their accesses take the slow path, which looks here. Single steps
// are run by the interpreter, whatever the engine.
//
// To stop, each CPU parks at its next poll (RunControl's stop would hold one in the middle of a device access). When
// all are parked or asleep `on_stop` is called, on whichever thread saw it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "core/clock.h"
#include "core/debug_target.h"
#include "util/types.h"

namespace rhea::accel {

class VirtualCpu;

struct Watchpoint {
  WatchKind kind = WatchKind::write;
  u64 address = 0;
  u64 size = 0;
  bool operator==(const Watchpoint&) const = default;
};

class Debugger {
 public:
  // ---- for the machine's loop -------------------------------------------------------------------------------------
  // Called when all CPUs have stopped for a reason that take_stop() gives. Any thread, no lock held.
  std::function<void()> on_stop;
  std::optional<DebugStop> take_stop();
  // Stops all CPUs soon.
  void request_stop(const DebugStop& stop);
  // What each CPU does when it runs next. Only while they are stopped; forgets reasons to stop that nobody took.
  void set_actions(std::span<const CpuAction> actions);
  DebugTarget::StepMode step_mode;
  // With icount: stops where so many instructions were done, exactly, without disturbing how the run goes on (kNever:
  // nowhere); `on_count` is called there, on the CPUs' thread, and decides what to tell by request_stop().
  void stop_at(s64 count) { stop_count_.store(count); }
  s64 stop_count() const { return stop_count_.load(std::memory_order_relaxed); }
  std::function<void()> on_count;
  void reached_count() {
    stop_count_.store(kNever);
    if (on_count) on_count();
  }
  void pass_next(unsigned cpu) { passes_[cpu].store(true); }
  void pass_none() {
    for (auto& passes : passes_) passes.store(false);
  }
  // While it is set, what would stop a CPU is told to it instead, and the CPU goes on: looking for the last such place.
  std::function<void(const DebugStop&)> on_scan;
  // Whether only steps are done, and virtual time is to stand meanwhile.
  bool holds_clock() const;

  // ---- for the engine -----------------------------------------------------------------------------------------------
  void add(VirtualCpu& cpu) { cpus_.push_back(&cpu); }
  // While no CPU runs: a debugger is there. The engine drops what was translated before.
  void set_attached(bool attached) { attached_.store(attached); }
  void add_breakpoint(u64 address) { change(breakpoints_, address, true); }
  bool remove_breakpoint(u64 address) { return change(breakpoints_, address, false); }
  void add_watchpoint(const Watchpoint& watchpoint) { change(watchpoints_, watchpoint, true); }
  bool remove_watchpoint(const Watchpoint& watchpoint) { return change(watchpoints_, watchpoint, false); }
  void clear();

  // ---- for a CPU on its thread ------------------------------------------------------------------------------------
  bool attached() const { return attached_.load(std::memory_order_relaxed); }
  bool has_breakpoint(u64 address) const;
  // Whether any watchpoint is there: cheap.
  bool watches() const { return watching_.load(std::memory_order_relaxed); }
  bool watches_page(u64 address) const;
  // The first watchpoint that an access meets, and the address where it does.
  bool watched(u64 address, u64 size, bool write, Watchpoint& found) const;
  CpuAction action(unsigned cpu) const { return static_cast<CpuAction>(actions_[cpu].load(std::memory_order_seq_cst)); }
  // Whether this CPU goes on from where it was stopped: its next instruction is not looked at again.
  bool passes(unsigned cpu) const { return passes_[cpu].load(std::memory_order_relaxed); }
  void passed(unsigned cpu) { passes_[cpu].store(false, std::memory_order_relaxed); }
  bool stopping() const { return stopping_.load(std::memory_order_seq_cst); }
  // This CPU met something: all stop.
  void hit(const DebugStop& stop) {
    if (!on_scan) return request_stop(stop);
    on_scan(stop);
    passes_[stop.cpu].store(true);
  }
  // Waits while it is not to run. From outside. False at once when `ending` holds.
  void park(VirtualCpu& cpu, const std::function<bool()>& ending);
  bool must_park(unsigned cpu) const { return stopping() || (attached() && action(cpu) == CpuAction::stay); }
  // A CPU has come to rest: perhaps it was the last one.
  void check_all_stopped();
  void wake_parked();

 private:
  template <typename T>
  bool change(std::vector<T>& list, const T& item, bool add);

  std::vector<VirtualCpu*> cpus_;
  std::atomic<bool> attached_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> watching_{false};
  std::atomic<s64> stop_count_{kNever};
  static constexpr usize kMaxCpus = 64;
  std::atomic<u8> actions_[kMaxCpus] = {};  // CpuAction; set by set_actions
  std::atomic<bool> passes_[kMaxCpus] = {};
  mutable std::mutex mutex_;
  std::condition_variable parked_;
  bool announced_ = false;  // on_stop was called for this stop
  std::optional<DebugStop> stop_;
  std::vector<u64> breakpoints_;
  std::vector<Watchpoint> watchpoints_;
};

}  // namespace rhea::accel
