// SPDX-License-Identifier: MIT
// What a client of the JSON monitor sends, on a machine that stands still. Commands that write files or make
// devices on the host are kept out by name; each answer must be one JSON text.
#include <string>

#include "monitor/qmp.h"
#include "monitor_world.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  constexpr rhea::usize kMost = 4096;
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const char* word : {"memsave", "chardev", "human", "netdev", "migrate", "screendump", "dump-guest", "\\"})
    if (text.find(word) != text.npos) return 0;
  if (size > kMost) return 0;
  static rhea::fuzz::EndedWorld world("qtest");
  rhea::fuzz::Sink sink;
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
