// SPDX-License-Identifier: MIT
// A run of one machine from a command line: its backends, its monitors, its signals, and its end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chardev/registry.h"
#include "cli/back_ends.h"
#include "cli/drive_options.h"
#include "cli/frame_lines.h"
#include "cli/semihosting.h"
#include "cli/settings.h"
#include "cli/user_objects.h"
#include "gdbstub/stub.h"
#include "machine/machine.h"
#include "monitor/monitor.h"
#include "monitor/qmp.h"
#include "monitor/qtest.h"
#include "net/backend.h"
#include "sys/daemon.h"
#include "sys/signals.h"

namespace rhea::cli {

class Session {
 public:
  // Blocks the signals that it handles: so it is made before any thread is.
  explicit Session(Settings settings);
  ~Session();

  // Makes everything. Errors are what the command line asked for and cannot be.
  Result<void> prepare();
  // Runs the machine; returns the exit status. With -machine dumpdtb= there is nothing to run: it says where the tree
  // is.
  int run();

 private:
  struct Plan;  // which character device goes where
  Result<void> open_log();
  void set_surroundings();
  Result<void> open_shares();
  Result<void> make_chardevs();
  Result<Plan> plan_chardevs();
  Result<chardev::Backend*> open_chardev(const Typed& typed, const chardev::Spec& spec, const std::string& id);
  Result<void> make_monitors(const Plan& plan);
  Result<void> make_mon(const Typed& typed);
  Result<void> make_qtest();
  Result<void> settle_memory();
  Result<void> make_semihosting();
  void add_monitor(chardev::Backend* backend);
  Result<void> load_state();
  Result<void> open_gdb(const std::string& device);
  void handle_signal();
  Result<void> leave_privileges();
  void say(const std::string& text) const;  // "PROGRAM: text" on standard error
  void print_warnings();
  Result<void> plug_device(const std::string& driver, const monitor::Context::Texts& options);

  Settings settings_;
  sys::PidFile pid_file_;
  sys::SignalWatch signals_;
  Log log_;
  audio::Backends audio_;
  fsdev::Shares shares_;
  std::unique_ptr<machine::Machine> machine_;
  std::unique_ptr<Clock> wall_clock_;
  std::unique_ptr<FrameLines> frame_lines_;
  std::unique_ptr<BackEnds> back_ends_;
  std::unique_ptr<net::Network> network_;
  std::unique_ptr<DrivePlan> drives_;
  bool making_ = false;  // the networks of the command line
  std::string opening_;  // the option whose character device is being made, for what it says
  std::unique_ptr<monitor::Context> monitor_context_;
  UserObjects objects_;
  std::vector<std::unique_ptr<monitor::Monitor>> monitors_;
  std::vector<std::unique_ptr<monitor::QmpMonitor>> qmps_;
  std::unique_ptr<monitor::Qtest> qtest_;
  std::unique_ptr<HostSemihosting> semihosting_;
  std::FILE* qtest_log_ = nullptr;
  std::unique_ptr<gdbstub::Stub> gdb_;
  chardev::Backend* gdb_port_ = nullptr;
  std::unique_ptr<FdWatch> signal_watch_;
};

}  // namespace rhea::cli
