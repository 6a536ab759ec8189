// SPDX-License-Identifier: MIT
// Rings, buffers and registers of a virtio network device as a hostile guest fills them. The first bytes of an
// input choose how the device is set up; the rest is laid over the rings and then notified again and again.
#include <algorithm>
#include <vector>

#include "devices/virtio/virtio_net_features.h"
#include "virtio_rings.h"

using namespace rhea;
using namespace rhea::devices;
using namespace rhea::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 24) return 0;
  DriverSide driver("virtio-net-device", false, {{"mac", "52:54:00:12:34:56"}});
  driver.bench.peer.takes = {.checksum = (data[16] & 1) != 0, .tso4 = (data[16] & 2) != 0};
  start(driver, data, 3);
  plant(driver, data + 24, size - 24, 3);
  for (usize at = 8; at < 16; ++at) {
    offer(driver, data[at] % 3, data[at], data[at] / 3);
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
