// SPDX-License-Identifier: MIT
// A NIC whose peer serves the rings: when they are lent, when they come back, and where they go on.
#include <gtest/gtest.h>

#include "devices/virtio/fake_driver.h"
#include "devices/virtio/virtio_net_features.h"
#include "net/ring_server.h"

namespace rhea::devices {
namespace {

using namespace virtio_net;
using testing::Bench;
using testing::DriverQueue;
using testing::DriverSide;

constexpr u64 kRings = Bench::kRamBase + 0x10000;
constexpr u64 kData = Bench::kRamBase + 0x100000;
constexpr usize kHeader = 12;

class FakeServer final : public net::Port, public net::RingServer {
 public:
  FakeServer() : Port("server") {}
  net::Caps caps() const override { return {}; }
  net::Sent send(const net::Frame&) override {
    ++frames;
    return net::Sent::dropped;
  }
  std::string type() const override { return "fake"; }
  std::string info() const override { return ""; }

  u64 limit(u64 offered) const override { return offered; }
  bool is_ready() const override { return ready; }
  Result<void> lend(const net::Lending& lending) override {
    if (refuses) return Error("no");
    last = lending;
    lent = true;
    ++lendings;
    return {};
  }
  void take_back() override { lent = false; }
  void kick(unsigned ring) override { ++kicks[ring]; }

  bool ready = true, refuses = false, lent = false;
  unsigned lendings = 0, frames = 0;
  std::array<unsigned, net::kRings> kicks{};
  net::Lending last;
};

struct LentRings : ::testing::Test {
  LentRings() {
    port = dynamic_cast<HasPort&>(*driver.device).port();
    net::Port::disconnect(*port);
    net::Port::connect(*port, server);
    port->on_link(true);
  }
  ~LentRings() override { net::Port::disconnect(*port); }
  void start(bool running = true) {
    driver.negotiate(virtio::kVersion1 | kMrgRxbuf | kStatus);
    driver.start_queue(0, rx);
    driver.start_queue(1, tx);
    if (running) driver.device->set_running(true);
    driver.ready();
    driver.settle();
  }
  net::RingOwner& owner() { return dynamic_cast<net::RingOwner&>(*driver.device); }
  void server_is(bool ready) {
    server.ready = ready;
    if (!ready) server.lent = false;
    owner().server_changed();
    driver.settle();
  }
  bool has_link() { return driver.get(0x106, 2) & 1; }
  void used(DriverQueue& queue, u16 index) { queue.put16(queue.used() + 2, index); }
  void transmit() {
    std::fill_n(tx.host(kData), kHeader + 60, u8{0});
    tx.add({{kData, kHeader + 60, false}});
    driver.notify(1);
  }

  FakeServer server;
  DriverSide driver{"virtio-net-device", false, {{"mac", "52:54:00:12:34:56"}}};
  net::Port* port = nullptr;
  DriverQueue rx{driver.bench, kRings}, tx{driver.bench, kRings + 0x4000};
};

TEST_F(LentRings, ArePlacedAndKicked) {
  start();
  ASSERT_TRUE(server.lent);
  EXPECT_EQ(server.last.features, virtio::kVersion1 | kMrgRxbuf | kStatus);
  EXPECT_EQ(server.last.rings[0].descriptors, rx.descriptors());
  EXPECT_EQ(server.last.rings[1].used, tx.used());
  EXPECT_EQ(server.last.rings[1].size, DriverQueue::kSize);
  EXPECT_EQ(server.last.rings[0].next, 0);
  ASSERT_EQ(server.last.memory.size(), 1u);
  EXPECT_EQ(server.last.memory[0].address, Bench::kRamBase);
  EXPECT_EQ(server.last.memory[0].size, Bench::kRamSize);
  EXPECT_EQ(server.last.memory[0].file, driver.bench.ram->fd());
  transmit();
  driver.notify(0);
  EXPECT_EQ(server.kicks[1], 1u);
  EXPECT_EQ(server.kicks[0], 1u);
  EXPECT_EQ(server.frames, 0u) << "the NIC's own hands are off";
  u32 head, length;
  EXPECT_FALSE(tx.take_used(head, length));
  driver.put(0x64, 3);
  owner().ring_used(0);
  EXPECT_TRUE(driver.bench.irqs.levels[0]);
  EXPECT_EQ(driver.get(0x60), 1u);
}

TEST_F(LentRings, OnlyWhileTheMachineRuns) {
  start(false);
  EXPECT_FALSE(server.lent);
  EXPECT_TRUE(has_link());
  transmit();
  EXPECT_EQ(server.frames, 0u) << "what is in the ring is for the server";
  driver.device->set_running(true);
  EXPECT_TRUE(server.lent);
  for (u16 round = 1; round < 6; ++round) {
    rx.add({{kData, 64, true}});
    used(rx, round);
    used(tx, 1);
    driver.put(0x64, 3);
    driver.device->set_running(false);
    EXPECT_FALSE(server.lent);
    EXPECT_EQ(driver.get(0x60), 1u) << "buffers may have come back that nobody told of";
    driver.device->set_running(true);
    ASSERT_TRUE(server.lent);
    EXPECT_EQ(server.last.rings[0].next, round);
    EXPECT_EQ(server.last.rings[1].next, 1);
  }
}

TEST_F(LentRings, StatesGoOnWhereTheyWere) {
  start();
  for (int i = 0; i < 3; ++i) rx.add({{kData, 64, true}});
  used(rx, 2);
  driver.device->set_running(false);
  testing::FieldStore saved, transport;
  saved.save(*driver.device);
  transport.save(*driver.slot);
  driver.device->set_running(true);
  used(rx, 3);
  driver.device->set_running(false);
  used(rx, 2);  // the memory of then
  transport.restore(*driver.slot);
  saved.restore(*driver.device);
  driver.device->set_running(true);
  ASSERT_TRUE(server.lent);
  EXPECT_EQ(server.last.rings[0].next, 2);
}

TEST_F(LentRings, ServersComeAndGo) {
  start();
  rx.add({{kData, 64, true}});
  used(rx, 1);
  server_is(false);
  EXPECT_FALSE(has_link());
  EXPECT_EQ(driver.get(0x60) & 2, 2u) << "the guest hears of it";
  transmit();
  u32 head, length;
  EXPECT_TRUE(tx.take_used(head, length)) << "lost, as with a cable that is out";
  EXPECT_EQ(server.frames, 0u);
  server_is(true);
  EXPECT_TRUE(has_link());
  ASSERT_TRUE(server.lent);
  EXPECT_EQ(server.lendings, 2u);
  EXPECT_EQ(server.last.rings[0].next, 1);
  EXPECT_EQ(server.last.rings[1].next, 1);
}

TEST_F(LentRings, OneThatRefusesIsNoLink) {
  server.refuses = true;
  start();
  EXPECT_FALSE(has_link());
  server.refuses = false;
  driver.device->set_running(false);
  driver.device->set_running(true);
  EXPECT_FALSE(server.lent) << "not again and again";
  server_is(true);
  EXPECT_TRUE(server.lent);
  EXPECT_TRUE(has_link());
}

TEST_F(LentRings, LinksAndDrivers) {
  start();
  port->on_link(false);
  EXPECT_FALSE(server.lent);
  port->on_link(true);
  EXPECT_TRUE(server.lent);
  driver.put(0x70, 0);
  EXPECT_FALSE(server.lent);
  rx = DriverQueue(driver.bench, kRings);
  tx = DriverQueue(driver.bench, kRings + 0x4000);
  std::fill_n(rx.host(kRings), 0x8000, u8{0});
  start();
  ASSERT_TRUE(server.lent);
  EXPECT_EQ(server.last.rings[0].next, 0);
  // A peer of another kind in its place: frames again.
  port->on_link(false);
  net::Port::disconnect(*port);
  EXPECT_FALSE(server.lent);
  net::Port::connect(*port, driver.bench.peer);
  port->on_link(true);
  transmit();
  EXPECT_EQ(driver.bench.peer.frames.size(), 1u);
}

TEST_F(LentRings, UsedIndicesThatRunOff) {
  start();
  used(rx, 1000);
  driver.device->set_running(false);
  EXPECT_EQ(driver.get(0x70) & virtio::kNeedsReset, virtio::kNeedsReset);
  driver.device->set_running(true);
  EXPECT_FALSE(server.lent) << "until the driver has reset the device";
}

}  // namespace
}  // namespace rhea::devices
