// SPDX-License-Identifier: MIT
// A machine as a debugger sees it: CPUs that stop, go and step; breakpoints; memory; a past, where one is recorded.
// All members are called on the machine's loop, under its lock.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "core/cpu.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea {

enum class WatchKind : u8 { write, read, access };

// Why the machine stands.
struct DebugStop {
  enum class Why : u8 {
    none,
    interrupted,  // by interrupt(), or by somebody else (the monitor, an error)
    stepped,
    breakpoint,     // at `address`, before the instruction
    watchpoint,     // the instruction at the CPU's pc is about to access `address`
    reached,        // a count of instructions that was waited for
    history_start,  // nothing was recorded before this
    history_end,    // nothing was recorded behind this
  };
  Why why = Why::none;
  unsigned cpu = 0;
  u64 address = 0;
  WatchKind watch = WatchKind::write;
};

class DebugClient {
 public:
  virtual ~DebugClient() = default;
  // The machine has stopped: after resume(), or because somebody stopped it.
  virtual void stopped(const DebugStop& stop) = 0;
  // The machine ends with this status.
  virtual void ended(int status) = 0;
};

enum class CpuAction : u8 { stay, go, step };

class DebugTarget {
 public:
  virtual ~DebugTarget() = default;

  // One client at a time; nullptr detaches it: breakpoints go, and the machine runs on.
  virtual void attach(DebugClient* client) = 0;

  virtual unsigned cpus() const = 0;
  virtual Cpu& cpu(unsigned index) = 0;
  virtual bool running() const = 0;
  // Asks for a stop; the client is told.
  virtual void interrupt() = 0;
  // What each CPU does from now on, by index. False: the machine has ended. When a CPU that steps has done one
  // instruction all are stopped.
  virtual bool resume(std::span<const CpuAction> actions) = 0;
  // While it stands: goes back by one instruction of a CPU (`step`), or to what last would have stopped it. An error
  // where no past is recorded.
  virtual Result<void> reverse(bool step, unsigned cpu) = 0;
  virtual bool can_reverse() const = 0;

  // While stepping: whether interrupts wait, and virtual time stands.
  struct StepMode {
    bool mask_interrupts = true;
    bool hold_timers = true;
  };
  virtual StepMode& step_mode() = 0;

  // Any number at one address counts as one. While the machine stands or runs.
  virtual void set_breakpoint(u64 address) = 0;
  virtual bool clear_breakpoint(u64 address) = 0;
  virtual Result<void> set_watchpoint(WatchKind kind, u64 address, u64 size) = 0;
  virtual bool clear_watchpoint(WatchKind kind, u64 address, u64 size) = 0;

  // Physical memory: RAM, and registers of devices where reading them has no effect. False where there is nothing.
  virtual bool read_physical(u64 address, std::span<u8> data) = 0;
  virtual bool write_physical(u64 address, std::span<const u8> data) = 0;

  // What the monitor prints for a command.
  virtual std::string monitor_command(std::string_view line) = 0;
  // Ends the machine; starts it anew.
  virtual void kill() = 0;
  virtual void restart() = 0;
};

}  // namespace rhea
