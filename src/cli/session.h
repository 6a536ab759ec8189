// SPDX-License-Identifier: MIT
// A run of one machine from a command line: its backends, its monitors, its signals, and its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chardev/backends.h"
#include "chardev/mux.h"
#include "cli/settings.h"
#include "machine/machine.h"
#include "monitor/monitor.h"
#include "net/backend.h"
#include "sys/signals.h"

namespace rhea::cli {

class Session {
 public:
  // Blocks the signals that it handles: so it is made before any thread is.
  explicit Session(Settings settings);
  ~Session();

  // Makes everything. Errors are what the command line asked for and cannot be.
  Result<void> prepare();
  // Runs the machine; returns the exit status. `finished` is true when there is nothing to run (dumpdtb=).
  int run();

 private:
  struct Plan;  // which character device goes where
  Result<void> open_log();
  Result<void> make_chardevs();
  Result<Plan> plan_chardevs();
  Result<chardev::Backend*> make_backend(const chardev::Spec& spec, const std::string& label);
  void add_monitor(chardev::Backend* backend);
  void handle_signal();
  void say(const std::string& text) const;  // "PROGRAM: text" on standard error
  void print_warnings();

  Settings settings_;
  sys::SignalWatch signals_;
  Log log_;
  std::unique_ptr<machine::Machine> machine_;
  std::unique_ptr<Clock> wall_clock_;
  std::unique_ptr<net::Network> network_;
  std::vector<std::unique_ptr<chardev::Backend>> backends_;
  std::vector<std::unique_ptr<chardev::Mux>> muxes_;
  chardev::Terminal* terminal_ = nullptr;  // the stdio backend, wherever it sits
  std::vector<monitor::ChardevRow> chardev_rows_;
  std::unique_ptr<monitor::Context> monitor_context_;
  std::vector<std::unique_ptr<monitor::Monitor>> monitors_;
  std::unique_ptr<FdWatch> signal_watch_;
};

}  // namespace rhea::cli
