// SPDX-License-Identifier: MIT
// What comes over the monitor's line, key by key, on a machine that stands still. No file is written.
#include <cerrno>
#include <memory>

#include "core/loop.h"
#include "machine/machine.h"
#include "monitor/monitor.h"

namespace {

class Sink final : public rhea::chardev::Backend {
 public:
  void write(std::span<const rhea::u8>) override {}
  void set_frontend(rhea::chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "null"; }
};

struct World {
  World()
      : machine(log),
        wall(rhea::core::make_host_clock(machine.net_loop())),
        network(machine.net_loop(), *wall, log) {
    rhea::machine::MachineConfig config;
    config.board = rhea::machine::find_board("vexpress-a9");
    config.ram_size = rhea::u64{16} << 20;
    config.accel.engine = "interp";
    config.start_paused = true;
    if (!machine.build(config).ok()) __builtin_trap();
    machine.request_quit(0);  // so that `cont` starts nothing
  }
  rhea::Log log;
  rhea::machine::Machine machine;
  std::unique_ptr<rhea::Clock> wall;
  rhea::net::Network network;
  rhea::monitor::Context context{.machine = machine,
                                 .network = network,
                                 .log = log,
                                 .title = "Rhea",
                                 .version = "0",
                                 .open_log = [](const std::string&) -> std::FILE* {
                                   errno = EACCES;
                                   return nullptr;
                                 }};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  constexpr rhea::usize kMost = 4096;
  if (size > kMost) return 0;
  static World world;
  Sink sink;
  std::lock_guard lock(world.machine.loop().lock());
  rhea::monitor::Monitor monitor(sink, world.context, false);
  monitor.receive({data, size});
  world.log.set_mask(0);
  return 0;
}
