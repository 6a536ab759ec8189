// SPDX-License-Identifier: MIT
// The LAN9118's registers as a hostile guest uses them, with frames that come meanwhile. An input is a row of
// steps of six bytes: what to do, which register, four bytes of value.
#include <vector>

#include "devices/testing.h"

using namespace rhea;
using devices::testing::Bench;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  Bench bench;
  auto nic = bench.make("lan9118", {{"mac", "52:54:00:12:34:56"}});
  for (usize at = 0; at + 6 <= size && at < 6 * 4096; at += 6) {
    const u8* step = data + at;
    const u32 value = load_le<u32>(step + 2);
    switch (step[0] % 8) {
      case 0: bench.peer.give(std::vector<u8>(1 + value % 1600, step[1])); break;
      case 1:
        bench.net_loop.run(64);
        bench.loop.run(64);
        break;
      case 2: bench.clock.advance(value % 10'000'000); break;
      case 3:
        for (u32 i = 0; i < value % 512; ++i) Bench::read(*nic, 0, 0);
        break;
      case 4:
        for (u32 i = 0; i < value % 512; ++i) Bench::write(*nic, 0, 0x20, value);
        break;
      case 5: Bench::read(*nic, 0, step[1] & 0xfc, 4); break;
      default: Bench::write(*nic, 0, step[1] & 0xfc, value, 4); break;
    }
    if (step[0] & 0x80) bench.peer.busy = step[1] & 1;
  }
  devices::testing::FieldStore store;
  store.save(*nic);
  store.restore(*nic);
  bench.net_loop.run();
  bench.loop.run();
  return 0;
}
