// SPDX-License-Identifier: MIT
// What a client of the JSON monitor sends, on a machine that stands still. Commands that write files or make
// devices on the host are kept out by name; each answer must be one JSON text.
#include <memory>
#include <string>

#include "core/loop.h"
#include "machine/machine.h"
#include "monitor/qmp.h"

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
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const char* word : {"memsave", "chardev", "human", "netdev", "\\"})
    if (text.find(word) != text.npos) return 0;
  if (size > kMost) return 0;
  static World world;
  Sink sink;
  std::lock_guard lock(world.machine.loop().lock());
  rhea::monitor::QmpMonitor monitor(sink, world.context, size % 2);
  monitor.start();
  const std::string hello = "{'execute':'qmp_capabilities'}\n";
  monitor.receive({reinterpret_cast<const rhea::u8*>(hello.data()), hello.size()});
  monitor.receive({data, size});
  rhea::config::JsonStream stream;
  stream.feed(sink.text, [](rhea::Result<rhea::config::Json> answer) {
    if (!answer.ok() || !answer->is_object()) __builtin_trap();
  });
  if (!stream.idle()) __builtin_trap();
  return 0;
}
