// SPDX-License-Identifier: MIT
// Lines of the qtest protocol on a whole board whose CPUs stand still: every register can be reached from
// here.
#include "monitor/qtest.h"
#include "monitor_world.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  constexpr rhea::usize kMost = 1024;
  if (size > kMost) return 0;
  static rhea::fuzz::World world("qtest", true);
  rhea::fuzz::Sink sink;
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
