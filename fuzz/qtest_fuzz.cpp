// SPDX-License-Identifier: MIT
// Lines of the qtest protocol on a whole board whose CPUs stand still: every register can be reached from
// here.
#include <memory>
#include <string>

#include "core/loop.h"
#include "machine/machine.h"
#include "monitor/qtest.h"

namespace {

class Sink final : public rhea::chardev::Backend {
 public:
  void write(std::span<const rhea::u8> data) override { text.append(data.begin(), data.end()); }
  void set_frontend(rhea::chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "null"; }
  std::string text;
};

struct World {
  World()
      : machine(log),
        wall(rhea::core::make_host_clock(machine.net_loop())),
        network(machine.net_loop(), *wall, log) {
    rhea::machine::MachineConfig config;
    config.board = rhea::machine::find_board("vexpress-a9");
    config.ram_size = rhea::u64{16} << 20;
    config.accel.engine = "qtest";
    config.start_paused = true;
    config.watch_lines = true;
    if (!machine.build(config).ok()) __builtin_trap();
  }
  rhea::Log log;
  rhea::machine::Machine machine;
  std::unique_ptr<rhea::Clock> wall;
  rhea::net::Network network;
  rhea::monitor::Context context{
      .machine = machine, .network = network, .log = log, .title = "Rhea", .version = "0"};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  constexpr rhea::usize kMost = 1024;
  if (size > kMost) return 0;
  static World world;
  Sink sink;
  std::lock_guard lock(world.machine.loop().lock());
  rhea::monitor::Qtest qtest(sink, world.context, nullptr);
  qtest.receive({data, size});
  rhea::usize lines = 0;
  for (rhea::usize i = 0; i < size; ++i) lines += data[i] == '\n';
  rhea::usize answers = 0;
  for (rhea::usize at = 0; (at = sink.text.find('\n', at)) != sink.text.npos; ++at)
    answers += sink.text.compare(sink.text.rfind('\n', at ? at - 1 : 0) + 1, 3, "IRQ") != 0;
  if (lines && answers < lines) __builtin_trap();
  return 0;
}
