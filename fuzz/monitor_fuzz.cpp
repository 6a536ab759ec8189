// SPDX-License-Identifier: MIT
// What comes over the monitor's line, key by key, on a machine that stands still. Commands that write files or run
// programs on the host are kept out by name.
#include <string_view>

#include "monitor_world.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  constexpr rhea::usize kMost = 4096;
  if (size > kMost) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* word : {"migr", "save", "screen", "dump", "capture", "chardev"})
    if (text.find(word) != text.npos) return 0;
  static rhea::fuzz::EndedWorld world("interp");
  rhea::fuzz::Sink sink;
  std::lock_guard lock(world.machine.loop().lock());
  rhea::monitor::Monitor monitor(sink, world.context, false);
  monitor.receive({data, size});
  world.log.set_mask(0);
  return 0;
}
