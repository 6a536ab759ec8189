// SPDX-License-Identifier: MIT
// The interrupt controller and the MPCore timers: any register of any window by any CPU, lines that change
// meanwhile, time that passes.
#include "devices/testing.h"

using namespace rhea;
using devices::testing::Bench;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  Bench bench;
  auto chip = bench.make("a9mpcore_priv");
  const auto windows = chip->windows();
  for (usize at = 0; at + 8 <= size && at < 8 * 4096; at += 8) {
    const u8* step = data + at;
    const auto& window = windows[step[0] % windows.size()];
    memory::Attributes who;
    who.cpu = step[1] & 3;
    who.secure = step[1] & 4;
    const unsigned bytes = 1u << (step[1] >> 3 & 3);
    const u64 offset = load_le<u16>(step + 2) % window.size & ~u64{bytes - 1};
    const u32 value = load_le<u32>(step + 4);
    switch (step[1] >> 5) {
      case 0: chip->inputs()->set_irq(value % 70, step[0] & 0x80); break;
      case 1: bench.clock.advance(value % 1'000'000); break;
      case 2:
      case 3: window.handler->read(offset, bytes, who); break;
      default: window.handler->write(offset, value, bytes, who); break;
    }
  }
  devices::testing::FieldStore store;
  store.save(*chip);
  store.restore(*chip);
  return 0;
}
