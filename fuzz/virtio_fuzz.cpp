// SPDX-License-Identifier: MIT
// Rings, buffers and registers of a virtio network device as a hostile guest fills them. The first bytes of an
// input choose how the device is set up; the rest is laid over the rings and then notified again and again.
#include <algorithm>
#include <vector>

#include "devices/virtio/fake_driver.h"
#include "devices/virtio/virtio_net_features.h"

using namespace rhea;
using namespace rhea::devices;
using devices::testing::Bench;
using devices::testing::DriverQueue;
using devices::testing::DriverSide;

namespace {

constexpr u64 kRings = Bench::kRamBase + 0x10000;
constexpr usize kTable = DriverQueue::kSize * 16;  // bytes of descriptors

void start(DriverSide& driver, const u8* choice) {
  u64 features = load_le<u64>(choice) & driver.offered();
  driver.negotiate(features | virtio::kVersion1);
  for (unsigned index = 0; index < 3; ++index) {
    DriverQueue queue(driver.bench, kRings + index * 0x4000);
    driver.start_queue(index, queue);
  }
  driver.ready();
}

// Addresses that mostly lie in RAM, so that chains get somewhere.
void plant(DriverSide& driver, const u8* data, usize size) {
  u8* ram = driver.bench.ram->data() + (kRings - Bench::kRamBase);
  for (usize at = 0; at + 16 <= size && at < 3 * kTable; at += 16) {
    u8* to = ram + at / kTable * 0x4000 + at % kTable;
    std::copy_n(data + at, 16, to);
    if (data[at + 7] < 0xf0) store_le<u64>(to, Bench::kRamBase + (load_le<u32>(data + at) % Bench::kRamSize));
    if (data[at + 11] < 0xf0) store_le<u32>(to + 8, load_le<u16>(data + at + 8));
    store_le<u16>(to + 14, data[at + 14] % 9);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 24) return 0;
  DriverSide driver("virtio-net-device", false, {{"mac", "52:54:00:12:34:56"}});
  driver.bench.peer.takes = {.checksum = (data[16] & 1) != 0, .tso4 = (data[16] & 2) != 0};
  start(driver, data);
  plant(driver, data + 24, size - 24);
  u8* ram = driver.bench.ram->data() + (kRings - Bench::kRamBase);
  for (usize at = 8; at < 16; ++at) {
    const unsigned index = data[at] % 3;
    u8* available = ram + index * 0x4000 + kTable;
    const u16 count = load_le<u16>(available + 2);
    store_le<u16>(available + 4 + count % DriverQueue::kSize * 2u, data[at] / 3 % 9);
    store_le<u16>(available + 2, static_cast<u16>(count + 1 + (data[at] > 250 ? data[at] : 0)));
    driver.notify(index);
    driver.bench.peer.give(std::vector<u8>(14 + data[at] * 16u, data[at]),
                           {.needs_checksum = (data[17] & 1) != 0, .checksum_start = data[18]});
    net::Reservation reservation;
    net::Port* port = driver.bench.peer.peer();
    if (port->can_reserve() && port->reserve(100 + data[19] * 100u, reservation)) {
      for (const net::Piece& piece : reservation.pieces) std::fill_n(piece.data, piece.size, data[20]);
      if (data[21] & 1) port->commit(reservation, 14 + data[22], {});
      else port->abort(reservation);
    }
    driver.settle();
    if (data[23] == at) driver.put(load_le<u16>(data) & 0x1fc, load_le<u32>(data + 4));
  }
  driver.put(0x70, 0);
  driver.settle();
  return 0;
}
