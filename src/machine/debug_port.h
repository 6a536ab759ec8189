// SPDX-License-Identifier: MIT
// The machine as a debugger sees it (core/debug_target.h).
#pragma once

#include "core/debug_target.h"
#include "machine/machine.h"

namespace rhea::machine {

class DebugPort final : public DebugTarget {
 public:
  explicit DebugPort(Machine& machine);

  void attach(DebugClient* client) override;
  unsigned cpus() const override { return machine_.engine_->cpus(); }
  Cpu& cpu(unsigned index) override { return machine_.engine_->cpu(index); }
  bool running() const override { return machine_.state() == RunState::running; }
  void interrupt() override;
  bool resume(std::span<const CpuAction> actions) override;
  Result<void> reverse(bool step, unsigned cpu) override;
  bool can_reverse() const override;
  StepMode& step_mode() override;
  void set_breakpoint(u64 address) override { machine_.engine_->set_breakpoint(address); }
  bool clear_breakpoint(u64 address) override { return machine_.engine_->clear_breakpoint(address); }
  Result<void> set_watchpoint(WatchKind kind, u64 address, u64 size) override;
  bool clear_watchpoint(WatchKind kind, u64 address, u64 size) override {
    return machine_.engine_->clear_watchpoint(kind, address, size);
  }
  bool read_physical(u64 address, std::span<u8> data) override;
  bool write_physical(u64 address, std::span<const u8> data) override;
  std::string monitor_command(std::string_view line) override;
  void kill() override { machine_.request_quit(0); }
  void restart() override { machine_.request_reset(false); }

 private:
  void take_stop();
  void state_changed(RunState state);

  Machine& machine_;
  DebugClient* client_ = nullptr;
  bool own_stop_ = false;  // the state changes because of us
};

}  // namespace rhea::machine
