// SPDX-License-Identifier: MIT
// The PL181 and its card as a hostile guest uses them: steps of six bytes, what to do, a register or command, four
// bytes of value. The first byte of an input chooses the card's size.
#include <vector>

#include "devices/testing.h"

using namespace rhea;
using devices::testing::Bench;

namespace {

void step(Bench& bench, devices::SysbusDevice& host, const u8* at) {
  const u32 value = load_le<u32>(at + 2);
  const auto put = [&](u32 offset, u32 word) { Bench::write(host, 0, offset, word); };
  switch (at[0] % 10) {
    case 0:  // a command, with the argument that it needs to get somewhere
      put(0x08, at[0] & 0x80 ? Bench::read(host, 0, 0x14) & 0xffff0000 : value);
      put(0x0c, 0x400 | (at[1] & 0x3f) | (at[0] & 0x40) | (value & 0x280));
      break;
    case 1:
      put(0x08, 0);
      put(0x0c, 0x400 | 0x40 | 55);
      break;
    case 2:
      put(0x28, value);
      put(0x2c, at[1] | 1);
      break;
    case 3:
      for (u32 i = 0; i < value % 600; ++i) Bench::read(host, 0, 0x80);
      break;
    case 4:
      for (u32 i = 0; i < value % 600; ++i) put(0x80, value + i);
      break;
    case 5: bench.clock.advance(value); break;
    case 6: bench.loop.run(16); break;
    case 7: bench.disk->failures = at[1] % 3; break;
    case 8: at[1] & 1 ? (void)bench.drive->remove() : bench.drive->insert(bench.fake_image()); break;
    default: at[0] & 0x80 ? (void)Bench::read(host, 0, at[1] & 0xfc) : put(at[1] & 0xfc, value); break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 1) return 0;
  Bench bench;
  bench.insert_disk(u64{4096} << data[0] % 10);
  bench.disk->read_only = data[0] & 0x80;
  auto host = bench.make("pl181");
  if (!host) return 0;
  for (usize at = 1; at + 6 <= size && at < 6 * 2048; at += 6) step(bench, *host, data + at);
  devices::testing::FieldStore store;
  store.save(*host);
  store.restore(*host);
  bench.loop.run();
  host->reset(ResetKind::warm);
  return 0;
}
