// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/virtio/fake_driver.h"
#include "devices/virtio/virtio_net_features.h"

namespace rhea::devices {
namespace {

using namespace virtio_net;
using testing::Bench;
using testing::DriverQueue;
using testing::DriverSide;

constexpr u64 kRings = Bench::kRamBase + 0x10000;
constexpr u64 kData = Bench::kRamBase + 0x100000;

TEST(VirtioMmio, EmptySlot) {
  Bench bench;
  auto slot = bench.make("virtio-mmio");
  EXPECT_EQ(Bench::read(*slot, 0, 0), 0x74726976u);
  EXPECT_EQ(Bench::read(*slot, 0, 4), 1u);
  EXPECT_EQ(Bench::read(*slot, 0, 8), 0u);
  EXPECT_TRUE(slot->can_plug(Bus::virtio));
  EXPECT_FALSE(slot->can_plug(Bus::pci));
}

struct Rng : ::testing::Test {
  DriverSide driver{"virtio-rng-device"};
  DriverQueue queue{driver.bench, kRings};
  void start(u64 features = virtio::kVersion1) {
    driver.negotiate(features);
    driver.start_queue(0, queue);
    driver.ready();
  }
};

TEST_F(Rng, FillsBuffers) {
  EXPECT_EQ(driver.get(4), 2u);
  EXPECT_EQ(driver.get(8), 4u);
  EXPECT_TRUE(driver.offered() & virtio::kVersion1);
  start();
  EXPECT_EQ(driver.get(0x70), 15u);
  queue.add({{kData, 64, true}, {kData + 0x1000, 64, true}});
  driver.notify(0);
  u32 head, length;
  ASSERT_TRUE(queue.take_used(head, length));
  EXPECT_EQ(length, 128u);
  EXPECT_NE(load_le<u64>(queue.host(kData)), load_le<u64>(queue.host(kData + 0x1000)));
  EXPECT_TRUE(driver.bench.irqs.levels[0]);
  EXPECT_EQ(driver.get(0x60), 1u);
  driver.put(0x64, 1);
  EXPECT_FALSE(driver.bench.irqs.levels[0]);
}

TEST_F(Rng, EventIndexHoldsBackInterrupts) {
  start(virtio::kVersion1 | virtio::kEventIdx);
  queue.set_used_event(1);
  queue.add({{kData, 8, true}});
  driver.notify(0);
  driver.put(0x64, 1);
  queue.set_used_event(3);
  const unsigned before = driver.bench.irqs.rises[0];
  for (int i = 0; i < 2; ++i) {
    queue.add({{kData, 8, true}});
    driver.notify(0);
  }
  EXPECT_EQ(driver.bench.irqs.rises[0], before);
  queue.add({{kData, 8, true}});
  driver.notify(0);
  EXPECT_EQ(driver.bench.irqs.rises[0], before + 1);
  EXPECT_EQ(queue.available_event(), queue.available_count());
}

TEST_F(Rng, IndirectTables) {
  start(virtio::kVersion1 | virtio::kIndirectDesc);
  queue.add_indirect(kData, {{kData + 0x1000, 16, true}, {kData + 0x2000, 16, true}});
  driver.notify(0);
  u32 head, length;
  ASSERT_TRUE(queue.take_used(head, length));
  EXPECT_EQ(length, 32u);
}

// What a hostile driver may put into the rings: the device asks for a reset, and works after it.
struct Hostile : Rng {
  void breaks() {
    driver.notify(0);
    EXPECT_EQ(driver.get(0x70), 15u | virtio::kNeedsReset);
    EXPECT_TRUE(driver.get(0x60) & 2);
    u32 head, length;
    EXPECT_FALSE(queue.take_used(head, length));
    queue = DriverQueue(driver.bench, kRings);
    std::memset(queue.host(kRings), 0, 0x2000);
    start();
    queue.add({{kData, 8, true}});
    driver.notify(0);
    EXPECT_TRUE(queue.take_used(head, length));
  }
  Hostile& operator=(const Hostile&) = delete;
};

TEST_F(Hostile, HeadBeyondTheTable) {
  start();
  queue.offer(200);
  breaks();
}
TEST_F(Hostile, ChainThatDoesNotEnd) {
  start();
  queue.add({{kData, 8, true}});
  queue.put16(kRings + 12, 3);
  queue.put16(kRings + 14, 0);
  breaks();
}
TEST_F(Hostile, NextBeyondTheTable) {
  start();
  queue.add({{kData, 8, true}});
  queue.put16(kRings + 12, 3);
  queue.put16(kRings + 14, 999);
  breaks();
}
TEST_F(Hostile, BufferOutsideRam) {
  start();
  queue.add({{0x1000, 8, true}});
  breaks();
}
TEST_F(Hostile, BufferBeyondRam) {
  start();
  queue.add({{Bench::kRamBase + Bench::kRamSize - 4, 0xffffffff, true}});
  breaks();
}
TEST_F(Hostile, IndexJumps) {
  start();
  queue.put16(queue.available() + 2, 1000);
  breaks();
}
TEST_F(Hostile, IndirectWithin) {
  start(virtio::kVersion1 | virtio::kIndirectDesc);
  queue.add_indirect(kData, {{kData, 16, true}});
  queue.put16(kData + 12, 4);
  breaks();
}
TEST_F(Hostile, IndirectOfWrongSize) {
  start(virtio::kVersion1 | virtio::kIndirectDesc);
  queue.add_indirect(kData, {{kData, 16, true}});
  queue.put32(kRings + 8, 17);
  breaks();
}
TEST_F(Hostile, IndirectNotNegotiated) {
  start();
  queue.add_indirect(kData, {{kData, 16, true}});
  breaks();
}
TEST_F(Hostile, ReadableBehindWritable) {
  start();
  queue.add({{kData, 8, true}, {kData, 8, false}});
  breaks();
}
TEST_F(Hostile, RingsOutsideRam) {
  driver.negotiate(virtio::kVersion1);
  DriverQueue nowhere(driver.bench, 0x1000);
  driver.start_queue(0, nowhere);
  driver.ready();
  breaks();
}

TEST_F(Rng, RefusesFeaturesThatWereNotOffered) {
  driver.negotiate(virtio::kVersion1 | u64{1} << 50);
  EXPECT_EQ(driver.get(0x70) & 8, 0u);
  driver.negotiate(0);
  EXPECT_EQ(driver.get(0x70) & 8, 0u) << "a version 2 transport takes no legacy driver";
}

TEST(RngLimit, GivesNoMoreThanItMay) {
  DriverSide driver("virtio-rng-device", false, {{"max-bytes", "10"}, {"period", "100"}});
  DriverQueue queue(driver.bench, kRings);
  driver.negotiate(virtio::kVersion1);
  driver.start_queue(0, queue);
  driver.ready();
  for (int i = 0; i < 3; ++i) queue.add({{kData, 8, true}});
  driver.notify(0);
  u32 head, length, total = 0, buffers = 0;
  while (queue.take_used(head, length)) total += length, ++buffers;
  EXPECT_EQ(total, 10u);
  EXPECT_EQ(buffers, 2u);
  driver.bench.clock.advance(100 * kMillisecond);
  EXPECT_TRUE(queue.take_used(head, length));
}

TEST(RngLegacy, QueueByPageNumber) {
  DriverSide driver("virtio-rng-device", true);
  EXPECT_EQ(driver.get(4), 1u);
  EXPECT_EQ(driver.offered() >> 32, 0u);
  driver.put(0x28, 4096);
  driver.put(0x30, 0);
  driver.put(0x38, 8);
  driver.put(0x3c, 4096);
  driver.put(0x40, static_cast<u32>(kRings >> 12));
  driver.put(0x70, 7);
  u8* ring = driver.bench.ram->data() + (kRings - Bench::kRamBase);
  store_le<u64>(ring, kData);
  store_le<u32>(ring + 8, 16);
  store_le<u16>(ring + 12, 2);
  store_le<u16>(ring + 8 * 16 + 4, 0);
  store_le<u16>(ring + 8 * 16 + 2, 1);
  driver.notify(0);
  EXPECT_EQ(load_le<u16>(ring + 4096 + 2), 1u);
  EXPECT_EQ(load_le<u32>(ring + 4096 + 8), 16u);
  EXPECT_EQ(driver.get(0x40), static_cast<u32>(kRings >> 12));
}

// --- virtio-net ---------------------------------------------------------------------------------------------------

struct Net : ::testing::Test {
  DriverSide driver{"virtio-net-device", false, {{"mac", "52:54:00:12:34:56"}}};
  testing::FakePeer& peer = driver.bench.peer;
  DriverQueue rx{driver.bench, kRings}, tx{driver.bench, kRings + 0x4000}, control{driver.bench, kRings + 0x8000};
  static constexpr u64 kUsual = virtio::kVersion1 | virtio::kEventIdx | kMac | kStatus | kCsum | kGuestCsum |
                                kHostTso4 | kGuestTso4 | kMrgRxbuf | kCtrlVq | kCtrlRx | kCtrlVlan | kCtrlMacAddr |
                                kCtrlGuestOffloads;
  static constexpr usize kHeader = 12;

  void start(u64 features = kUsual) {
    driver.negotiate(features);
    EXPECT_EQ(driver.get(0x70), 11u);
    driver.start_queue(0, rx);
    driver.start_queue(1, tx);
    driver.start_queue(2, control);
    driver.ready();
    driver.settle();
  }
  static std::vector<u8> frame(usize size, u8 fill) {
    std::vector<u8> bytes(size, fill);
    const u8 to[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
    std::copy_n(to, 6, bytes.begin());
    return bytes;
  }
  void put_bytes(u64 at, const std::vector<u8>& bytes) { std::memcpy(rx.host(at), bytes.data(), bytes.size()); }
  std::vector<u8> bytes_at(u64 at, usize size) { return {rx.host(at), rx.host(at) + size}; }
  u8 command(u8 type, u8 number, std::vector<u8> data) {
    data.insert(data.begin(), {type, number});
    put_bytes(kData + 0x80000, data);
    *rx.host(kData + 0x90000) = 0xee;
    control.add({{kData + 0x80000, static_cast<u32>(data.size()), false}, {kData + 0x90000, 1, true}});
    driver.put(0x50, 2);
    return *rx.host(kData + 0x90000);
  }
};

TEST_F(Net, TellsWhatItIs) {
  EXPECT_EQ(driver.get(8), 1u);
  EXPECT_EQ(driver.get(0x100, 1), 0x52u);
  EXPECT_EQ(driver.get(0x105, 1), 0x56u);
  EXPECT_EQ(driver.get(0x106, 2), 1u);
  const u64 offered = driver.offered();
  EXPECT_EQ(offered & kUsual, kUsual);
  EXPECT_EQ(offered & (feature(10) | feature(14) | feature(22)), 0u) << "no UFO, one pair of queues";
  EXPECT_EQ(dynamic_cast<HasPort&>(*driver.device).port()->info(), "model=virtio-net-device,macaddr=52:54:00:12:34:56");
}

TEST_F(Net, SendsFromGuestMemory) {
  start();
  auto bytes = frame(200, 0x33);
  put_bytes(kData, std::vector<u8>(kHeader, 0));
  put_bytes(kData + 0x1000, bytes);
  tx.add({{kData, kHeader, false}, {kData + 0x1000, 200, false}});
  driver.notify(1);
  ASSERT_EQ(peer.frames.size(), 1u);
  EXPECT_EQ(peer.frames[0], bytes);
  u32 head, length;
  EXPECT_TRUE(tx.take_used(head, length));
  EXPECT_EQ(tx.available_event(), tx.available_count()) << "it asks for the next one";
}

TEST_F(Net, PassesOffloadsOn) {
  peer.takes = {.checksum = true, .tso4 = true, .max_frame = 1514};
  start();
  std::vector<u8> header(kHeader);
  header[0] = 1;
  header[1] = 1;
  store_le<u16>(&header[2], 54);
  store_le<u16>(&header[4], 1448);
  store_le<u16>(&header[6], 34);
  store_le<u16>(&header[8], 16);
  put_bytes(kData, header);
  put_bytes(kData + kHeader, frame(30000, 1));
  tx.add({{kData, kHeader + 30000, false}});
  driver.notify(1);
  ASSERT_EQ(peer.offloads.size(), 1u);
  EXPECT_EQ(peer.offloads[0].gso, net::Offload::tcp4);
  EXPECT_EQ(peer.offloads[0].gso_size, 1448);
  EXPECT_TRUE(peer.offloads[0].needs_checksum);
  EXPECT_EQ(peer.frames[0].size(), 30000u);
  header[1] = 4;  // TSO6 was not negotiated
  put_bytes(kData, header);
  tx.add({{kData, kHeader + 30000, false}});
  driver.notify(1);
  EXPECT_EQ(peer.frames.size(), 1u);
  u32 head, length;
  EXPECT_TRUE(tx.take_used(head, length) && tx.take_used(head, length)) << "given back all the same";
}

TEST_F(Net, BusyPeerHoldsTheQueue) {
  start();
  peer.busy = true;
  put_bytes(kData + kHeader, frame(100, 1));
  for (int i = 0; i < 3; ++i) tx.add({{kData, kHeader + 100, false}});
  driver.notify(1);
  u32 head, length;
  EXPECT_FALSE(tx.take_used(head, length));
  peer.busy = false;
  dynamic_cast<HasPort&>(*driver.device).port()->on_room();
  driver.settle();
  EXPECT_EQ(peer.frames.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(tx.take_used(head, length));
}

TEST_F(Net, ReceivesIntoSeveralBuffers) {
  start();
  for (u64 i = 0; i < 4; ++i) rx.add({{kData + i * 0x1000, 512, true}});
  const auto bytes = frame(1200, 0x44);
  EXPECT_EQ(peer.give(bytes, {.checksum_valid = true}), net::Sent::taken);
  u32 head, length;
  std::vector<u8> got;
  for (u64 i = 0; i < 3; ++i) {
    ASSERT_TRUE(rx.take_used(head, length));
    const auto part = bytes_at(kData + i * 0x1000, length);
    got.insert(got.end(), part.begin(), part.end());
  }
  EXPECT_FALSE(rx.take_used(head, length));
  EXPECT_EQ(got[0], 2);
  EXPECT_EQ(load_le<u16>(&got[10]), 3u);
  EXPECT_EQ(std::vector<u8>(got.begin() + kHeader, got.end()), bytes);
  EXPECT_TRUE(driver.bench.irqs.levels[0]);
}

TEST_F(Net, NoBuffersMeansBusyUntilTheDriverNotifies) {
  start();
  EXPECT_EQ(peer.give(frame(100, 1)), net::Sent::busy);
  EXPECT_EQ(peer.rooms, 0u);
  rx.add({{kData, 2048, true}});
  driver.notify(0);
  EXPECT_EQ(peer.rooms, 1u);
  EXPECT_EQ(peer.give(frame(100, 1)), net::Sent::taken);
  EXPECT_EQ(peer.give(frame(100, 1)), net::Sent::busy);
  driver.put(0x70, 0);
  driver.settle();
  EXPECT_EQ(peer.rooms, 2u) << "a reset lets the peer go on";
  EXPECT_EQ(peer.give(frame(100, 1)), net::Sent::dropped);
}

TEST_F(Net, LendsItsBuffers) {
  start();
  net::Port& port = *dynamic_cast<HasPort&>(*driver.device).port();
  EXPECT_TRUE(port.can_reserve());
  for (u64 i = 0; i < 6; ++i) rx.add({{kData + i * 0x1000, 1024, true}});
  net::Reservation reservation;
  ASSERT_TRUE(port.reserve(3000, reservation));
  usize room = 0;
  for (const auto& piece : reservation.pieces) {
    std::memset(piece.data, 0x77, piece.size);
    room += piece.size;
  }
  EXPECT_GE(room, 3000u);
  const u8 to[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
  std::memcpy(reservation.pieces[0].data, to, 6);
  port.commit(reservation, 1500, {});
  u32 head, length, total = 0;
  while (rx.take_used(head, length)) total += length;
  EXPECT_EQ(total, kHeader + 1500);
  // What was lent and not used serves the next frame; an abort gives everything back.
  ASSERT_TRUE(port.reserve(3000, reservation));
  EXPECT_EQ(reservation.pieces[0].data, rx.host(kData + 2 * 0x1000) + kHeader);
  // A frame meanwhile would use buffers behind those that are lent.
  const unsigned rooms = peer.rooms;
  EXPECT_EQ(peer.give(frame(500, 2)), net::Sent::busy);
  port.abort(reservation);
  driver.settle();
  EXPECT_EQ(peer.rooms, rooms + 1);
  EXPECT_EQ(peer.give(frame(500, 2)), net::Sent::taken);
  EXPECT_EQ(peer.give(frame(2500, 3)), net::Sent::taken);
  EXPECT_FALSE(port.reserve(3000, reservation));
}

TEST_F(Net, ControlQueueSetsTheFilter) {
  start();
  EXPECT_EQ(command(0, 0, {0}), 0) << "not promiscuous";
  for (u64 i = 0; i < 8; ++i) rx.add({{kData + i * 0x1000, 2048, true}});
  u32 head, length;
  auto other = frame(60, 0);
  other[0] = 0x02;
  peer.give(other);
  EXPECT_FALSE(rx.take_used(head, length));
  peer.give(frame(60, 0));
  EXPECT_TRUE(rx.take_used(head, length));
  std::vector<u8> table = {1, 0, 0, 0};
  table.insert(table.end(), other.begin(), other.begin() + 6);
  table.insert(table.end(), {0, 0, 0, 0});
  EXPECT_EQ(command(1, 0, table), 0);
  peer.give(other);
  EXPECT_TRUE(rx.take_used(head, length));
  EXPECT_EQ(command(1, 0, {9, 0, 0, 0}), 1) << "a table that is cut";
  EXPECT_EQ(command(1, 1, {2, 2, 3, 4, 5, 6}), 0);
  EXPECT_EQ(driver.get(0x105, 1), 6u);
  auto tagged = frame(60, 0);
  std::copy_n(std::vector<u8>{2, 2, 3, 4, 5, 6}.begin(), 6, tagged.begin());
  tagged[12] = 0x81, tagged[13] = 0, tagged[14] = 0, tagged[15] = 7;
  peer.give(tagged);
  EXPECT_FALSE(rx.take_used(head, length));
  EXPECT_EQ(command(2, 0, {7, 0}), 0);
  peer.give(tagged);
  EXPECT_TRUE(rx.take_used(head, length));
  EXPECT_EQ(command(9, 0, {1}), 1) << "no such class";
}

TEST_F(Net, OffloadsCanBeTurnedOff) {
  start();
  net::Port& port = *dynamic_cast<HasPort&>(*driver.device).port();
  EXPECT_TRUE(port.caps().tso4);
  EXPECT_FALSE(port.caps().tso6);
  EXPECT_EQ(command(5, 0, std::vector<u8>(8, 0)), 0);
  EXPECT_FALSE(port.caps().tso4 || port.caps().checksum);
}

TEST_F(Net, LinkStateInterrupts) {
  start();
  dynamic_cast<HasPort&>(*driver.device).port()->on_link(false);
  EXPECT_EQ(driver.get(0x60), 2u);
  EXPECT_EQ(driver.get(0x106, 2), 0u);
}

TEST_F(Net, HostileRingsBreakOnlyTheDevice) {
  start();
  rx.offer(300);
  EXPECT_EQ(peer.give(frame(60, 0)), net::Sent::dropped);
  EXPECT_TRUE(driver.get(0x70) & virtio::kNeedsReset);
  EXPECT_EQ(peer.give(frame(60, 0)), net::Sent::dropped);
}

TEST_F(Net, RestoresWithBuffersInHand) {
  start();
  net::Port& port = *dynamic_cast<HasPort&>(*driver.device).port();
  for (u64 i = 0; i < 4; ++i) rx.add({{kData + i * 0x1000, 2048, true}});
  net::Reservation reservation;
  ASSERT_TRUE(port.reserve(3000, reservation));
  port.abort(reservation);
  testing::FieldStore store;
  store.save(*driver.device);
  driver.device->reset(ResetKind::warm);
  store.restore(*driver.device);
  EXPECT_EQ(peer.give(frame(100, 9)), net::Sent::taken);
  u32 head, length;
  ASSERT_TRUE(rx.take_used(head, length));
  EXPECT_EQ(head, 0u);
}

TEST(NetLegacy, ShortHeaderAndAddress) {
  DriverSide driver("virtio-net-device", true, {{"mac", "52:54:00:12:34:56"}});
  driver.put(0x24, 0);
  driver.put(0x20, static_cast<u32>(kMac | kStatus));
  driver.put(0x28, 4096);
  u8* ram = driver.bench.ram->data();
  for (u32 queue = 0; queue < 2; ++queue) {
    driver.put(0x30, queue);
    driver.put(0x38, 16);
    driver.put(0x3c, 4096);
    driver.put(0x40, static_cast<u32>((kRings >> 12) + queue * 4));
  }
  driver.put(0x70, 7);
  driver.settle();
  u8* ring = ram + (kRings - Bench::kRamBase);
  store_le<u64>(ring, kData);
  store_le<u32>(ring + 8, 2048);
  store_le<u16>(ring + 12, 2);
  store_le<u16>(ring + 16 * 16 + 2, 1);
  const auto bytes = Net::frame(80, 5);
  EXPECT_EQ(driver.bench.peer.give(bytes), net::Sent::taken);
  EXPECT_EQ(load_le<u32>(ring + 4096 + 8), 90u);
  EXPECT_EQ(std::memcmp(ram + (kData - Bench::kRamBase) + 10, bytes.data(), 80), 0);
  driver.put(0x100, 0x99, 1);
  EXPECT_EQ(driver.get(0x100, 1), 0x99u);
}

TEST(NetProperties, WhatIsNotThereIsRefused) {
  Bench bench;
  EXPECT_FALSE(bench.make<Device>("virtio-net-device", {{"mq", "on"}}));
  EXPECT_FALSE(bench.make<Device>("virtio-net-device", {{"rx_queue_size", "300"}}));
  EXPECT_TRUE(bench.make<Device>("virtio-net-device", {{"rx_queue_size", "1024"}, {"mrg_rxbuf", "off"}}));
}

}  // namespace
}  // namespace rhea::devices
