// SPDX-License-Identifier: MIT
// A hostile guest's rings, for the targets of virtio devices.
#pragma once

#include <algorithm>

#include "devices/virtio/fake_driver.h"

namespace rhea::fuzz {

using devices::testing::Bench;
using devices::testing::DriverQueue;
using devices::testing::DriverSide;

constexpr u64 kRings = Bench::kRamBase + 0x10000;
constexpr u64 kRingsApart = 0x4000;
constexpr usize kTable = DriverQueue::kSize * 16;  // bytes of descriptors

inline u8* ring(DriverSide& driver, unsigned index) {
  return driver.bench.ram->data() + (kRings - Bench::kRamBase) + index * kRingsApart;
}

// The first 8 bytes of `choice` are the features that the guest asks for.
inline void start(DriverSide& driver, const u8* choice, unsigned queues) {
  driver.negotiate((load_le<u64>(choice) & driver.offered()) | devices::virtio::kVersion1);
  for (unsigned index = 0; index < queues; ++index) {
    DriverQueue queue(driver.bench, kRings + index * kRingsApart);
    driver.start_queue(index, queue);
  }
  driver.ready();
}

// Addresses that mostly lie in RAM, so that chains get somewhere.
inline void plant(DriverSide& driver, const u8* data, usize size, unsigned queues) {
  for (usize at = 0; at + 16 <= size && at < queues * kTable; at += 16) {
    u8* to = ring(driver, static_cast<unsigned>(at / kTable)) + at % kTable;
    std::copy_n(data + at, 16, to);
    if (data[at + 7] < 0xf0) store_le<u64>(to, Bench::kRamBase + (load_le<u32>(data + at) % Bench::kRamSize));
    if (data[at + 11] < 0xf0) store_le<u32>(to + 8, load_le<u16>(data + at + 8));
    store_le<u16>(to + 14, data[at + 14] % 9);
  }
}

// Makes a head available, now and then one beyond the table or far too many at once.
inline void offer(DriverSide& driver, unsigned index, u8 byte, unsigned head) {
  u8* available = ring(driver, index) + kTable;
  const u16 count = load_le<u16>(available + 2);
  store_le<u16>(available + 4 + count % DriverQueue::kSize * 2u, static_cast<u16>(head % 9));
  store_le<u16>(available + 2, static_cast<u16>(count + 1 + (byte > 250 ? byte : 0)));
  driver.notify(index);
}

}  // namespace rhea::fuzz
