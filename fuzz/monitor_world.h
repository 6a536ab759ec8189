// SPDX-License-Identifier: MIT
// What the targets of the monitor, QMP and qtest talk to: a board that stands still, and a line that keeps what is
// written to it. No log file is opened.
#pragma once

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "core/loop.h"
#include "machine/machine.h"
#include "monitor/monitor.h"

namespace rhea::fuzz {

class Sink final : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override { text.append(data.begin(), data.end()); }
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "null"; }
  std::string text;
};

struct World {
  explicit World(const char* engine, bool watch_lines = false)
      : machine(log), wall(core::make_host_clock(machine.net_loop())), network(machine.net_loop(), *wall, log) {
    machine::MachineConfig config;
    config.board = machine::find_board("vexpress-a9");
    config.ram_size = u64{16} << 20;
    config.accel.engine = engine;
    config.start_paused = true;
    config.watch_lines = watch_lines;
    if (!machine.build(config).ok()) __builtin_trap();
  }
  Log log;
  machine::Machine machine;
  std::unique_ptr<Clock> wall;
  net::Network network;
  monitor::Context context{.machine = machine,
                           .network = network,
                           .log = log,
                           .title = "Rhea",
                           .version = "0",
                           .open_log = [](const std::string&) -> std::FILE* {
                             errno = EACCES;
                             return nullptr;
                           }};
};

// One in which `cont` starts nothing.
struct EndedWorld : World {
  explicit EndedWorld(const char* engine) : World(engine) { machine.request_quit(0); }
};

}  // namespace rhea::fuzz
