// SPDX-License-Identifier: MIT
// Requests to a virtio disk as a hostile guest makes them. An input: 8 bytes of features, 8 of registers, then rows
// of 24 bytes that are a request's header and the shape of its chain.
#include <algorithm>
#include <vector>

#include "devices/virtio/fake_driver.h"

using namespace rhea;
using namespace rhea::devices;
using devices::testing::Bench;
using devices::testing::DriverQueue;
using devices::testing::DriverSide;

namespace {

constexpr u64 kRings = Bench::kRamBase + 0x10000, kHeader = Bench::kRamBase + 0x20000,
              kData = Bench::kRamBase + 0x30000;

void ask(DriverSide& driver, DriverQueue& queue, const u8* row) {
  std::copy_n(row, 16, queue.host(kHeader));
  if (row[16] & 1) queue.put32(kHeader, row[0] % 16);
  if (row[16] & 2) queue.put64(kHeader + 8, row[8]);
  std::vector<DriverQueue::Part> parts = {{kHeader, row[16] & 4 ? row[17] % 32u : 16u, false}};
  for (unsigned i = 0; i < row[18] % 4u; ++i)
    parts.push_back({kData + i * 0x1000, load_le<u16>(row + 19) * (row[16] & 8 ? 1u : 512u), (row[21] >> i & 1) != 0});
  if (!(row[16] & 16)) parts.push_back({kData + 0x80000, row[22] % 3u, (row[16] & 32) == 0});
  if (row[16] & 64) queue.add_indirect(kRings + 0x8000, parts);
  else queue.add(parts);
  driver.bench.disk->failures = row[23] == 1;
  driver.notify(0);
  u32 head, length;
  while (queue.take_used(head, length)) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 16) return 0;
  DriverSide driver("virtio-rng-device");
  driver.bench.insert_disk(u64{1} << 18);
  driver.bench.disk->read_only = data[8] & 1;
  if (data[8] & 2) driver.bench.drive->set_error_actions(block::ErrorAction::stop, block::ErrorAction::stop);
  driver.device.reset();
  driver.slot = driver.bench.make("virtio-mmio", {{"force-legacy", "off"}});
  driver.device = driver.bench.make<VirtioDevice>("virtio-blk-device");
  if (!driver.device || !driver.slot->plug(*driver.device).ok()) return 0;
  driver.negotiate((load_le<u64>(data) & driver.offered()) | virtio::kVersion1);
  DriverQueue queue(driver.bench, kRings);
  driver.start_queue(0, queue);
  driver.ready();
  for (usize at = 16; at + 24 <= size && at < 24 * 256; at += 24) ask(driver, queue, data + at);
  driver.put(0x100 + data[9] % 64, data[10], 1);
  devices::testing::FieldStore store;
  store.save(*driver.device);
  store.restore(*driver.device);
  driver.settle();
  if (data[11] & 1) driver.bench.drive->resume();
  driver.put(0x70, 0);
  driver.settle();
  return 0;
}
