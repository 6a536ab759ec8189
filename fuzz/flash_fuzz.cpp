// SPDX-License-Identifier: MIT
// NOR flash as a hostile guest uses it: steps of four bytes, what to do, a command or datum, sixteen bits of address.
#include "devices/testing.h"

using namespace rhea;
using devices::testing::Bench;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  Bench bench;
  auto flash = bench.make("cfi.pflash01");
  for (usize at = 0; at + 4 <= size && at < 4 * 4096; at += 4) {
    const u8* step = data + at;
    // Around the ends of a block and of the bank, too.
    const u32 places[] = {0, 0x3ff00, 0x40000, 0x3fffff00};
    const u32 offset = (places[step[0] >> 6] + load_le<u16>(step + 2)) % (64u << 20);
    const unsigned width = 1u << (step[0] & 3) % 3;
    const u32 value = step[1] | u32{step[1]} << 8 | u32{step[1]} << 16 | u32{step[1]} << 24;
    if (step[0] & 0x20) Bench::read(*flash, 0, offset & ~(width - 1), width);
    else Bench::write(*flash, 0, offset & ~(width - 1), value, width);
  }
  devices::testing::FieldStore store;
  store.save(*flash);
  store.restore(*flash);
  bench.loop.run();
  return 0;
}
