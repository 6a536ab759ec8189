// SPDX-License-Identifier: MIT
// The virtio devices besides the network: serial ports, balloon, input, 9p's transport.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/balloon.h"
#include "devices/virtio/fake_driver.h"
#include "devices/virtio/virtio_serial.h"

namespace rhea::devices {
namespace {

using testing::Bench;
using testing::DriverQueue;
using testing::DriverSide;
using testing::FieldStore;

constexpr u64 kRings = Bench::kRamBase + 0x10000, kBuffers = Bench::kRamBase + 0x100000;

// A driver with its queues at kRings, 0x4000 apart.
struct Driver : DriverSide {
  Driver(const std::string& type, std::vector<std::pair<std::string, std::string>> properties = {})
      : DriverSide(type, false, std::move(properties)) {}
  void begin(unsigned count) {
    negotiate(offered() & ~virtio::kEventIdx & ~virtio::kRingReset);
    for (unsigned i = 0; i < count; ++i) {
      queues.emplace_back(bench, kRings + i * 0x4000);
      start_queue(i, queues.back());
    }
    ready();
  }
  std::string text(u64 at, u32 size) { return {reinterpret_cast<char*>(queues[0].host(at)), size}; }
  void fill(u64 at, std::string_view bytes) { std::copy(bytes.begin(), bytes.end(), queues[0].host(at)); }
  std::vector<DriverQueue> queues;
};

// --- serial -------------------------------------------------------------------------------------------------------

struct Serial : ::testing::Test {
  Driver driver{"virtio-serial-device"};
  std::unique_ptr<Device> console = driver.bench.make<Device>("virtconsole");
  testing::FakeChardev port_chardev;
  std::unique_ptr<Device> port;

  void SetUp() override {
    ASSERT_TRUE(driver.plugged);
    const DeviceType* type = find_device_type("virtserialport");
    DeviceContext context = driver.bench.context("port");
    context.chardev = &port_chardev;
    VirtioSerialPortConfig config{.chardev = {}, .name = "agent"};
    port = type->create(context, &config).take();
    ASSERT_TRUE(owner().plug_in(*console).ok());
    ASSERT_TRUE(owner().plug_in(*port).ok());
    driver.begin(6);
  }
  BusOwner& owner() { return dynamic_cast<BusOwner&>(*driver.device); }
  // Control messages are given buffers of 64 bytes; returns what came.
  void offer_control(unsigned count) {
    for (unsigned i = 0; i < count; ++i) driver.queues[2].add({{kBuffers + i * 64, 64, true}});
    driver.notify(2);
  }
  std::vector<std::string> control_messages() {
    std::vector<std::string> list;
    u32 head = 0, length = 0;
    for (unsigned i = 0; driver.queues[2].take_used(head, length); ++i) {
      const u64 at = kBuffers + (seen_++ % 8) * 64;
      list.push_back(fmt::format("{} {} {} {}", driver.queues[0].get32(at), driver.queues[0].get16(at + 4),
                                 driver.queues[0].get16(at + 6), driver.text(at + 8, length - 8)));
    }
    return list;
  }
  void send_control(u32 id, u16 event, u16 value) {
    const u64 at = kBuffers + 0x1000;
    driver.queues[3].put32(at, id);
    driver.queues[3].put16(at + 4, event);
    driver.queues[3].put16(at + 6, value);
    const u16 given = driver.queues[3].add({{at, 8, false}});
    driver.notify(3);
    u32 head = 0, length = 0;
    ASSERT_TRUE(driver.queues[3].take_used(head, length));
    EXPECT_EQ(head, given) << "whatever was answered meanwhile";
    EXPECT_EQ(length, 0u);
  }
  unsigned seen_ = 0;
};

TEST_F(Serial, PortsAreAnnounced) {
  offer_control(8);
  send_control(~0u, 0, 1);
  EXPECT_EQ(control_messages(), (std::vector<std::string>{"0 1 1 ", "1 1 1 "}));
  send_control(0, 3, 1);
  send_control(1, 3, 1);
  EXPECT_EQ(control_messages(), (std::vector<std::string>{"0 4 1 ", "0 6 1 ", "1 7 1 agent", "1 6 1 "}));
  port_chardev.frontend->event(chardev::Event::closed);
  EXPECT_EQ(control_messages(), (std::vector<std::string>{"1 6 0 "}));
}

TEST_F(Serial, OpeningIsTold) {
  offer_control(8);
  for (const u16 open : {1, 1, 0}) send_control(1, 6, open);
  send_control(0, 6, 1);  // the console has no ID of its own here
  EXPECT_EQ(driver.bench.machine.told,
            (std::vector<std::string>{"VSERPORT_CHANGE {\"open\": true, \"id\": \"port\"}",
                                      "VSERPORT_CHANGE {\"open\": false, \"id\": \"port\"}"}));
}

TEST_F(Serial, MessagesWaitForBuffers) {
  send_control(~0u, 0, 1);
  EXPECT_TRUE(control_messages().empty());
  offer_control(2);
  EXPECT_EQ(control_messages().size(), 2u);
  for (int i = 0; i < 2000; ++i) send_control(~0u, 0, 1);
}

TEST_F(Serial, BytesGoBothWays) {
  driver.fill(kBuffers, "hello");
  driver.queues[1].add({{kBuffers, 3, false}, {kBuffers + 3, 2, false}});
  driver.notify(1);
  EXPECT_EQ(driver.bench.chardev.output, "hello");
  driver.bench.chardev.type("abcdef");
  EXPECT_EQ(driver.bench.chardev.waiting, "abcdef") << "there is no buffer yet";
  driver.queues[0].add({{kBuffers + 0x100, 4, true}});
  driver.notify(0);
  u32 head = 0, length = 0;
  ASSERT_TRUE(driver.queues[0].take_used(head, length));
  EXPECT_EQ(driver.text(kBuffers + 0x100, length), "abcd");
  EXPECT_EQ(driver.bench.chardev.waiting, "ef");
}

TEST_F(Serial, APortThatNobodyOpenedTakesNothing) {
  driver.queues[4].add({{kBuffers, 16, true}});
  driver.notify(4);
  port_chardev.type("x");
  EXPECT_EQ(port_chardev.waiting, "x");
  send_control(1, 6, 1);
  EXPECT_EQ(port_chardev.waiting, "");
  u32 head = 0, length = 0;
  ASSERT_TRUE(driver.queues[4].take_used(head, length));
  EXPECT_EQ(driver.text(kBuffers, length), "x");
}

TEST_F(Serial, PlacesAndNamesAreUnique) {
  Bench& bench = driver.bench;
  auto same = bench.make<Device>("virtserialport", {{"name", "agent"}});
  EXPECT_NE(owner().plug_in(*same).error().message().find("by name agent"), std::string::npos);
  auto taken = bench.make<Device>("virtserialport", {{"nr", "1"}});
  EXPECT_FALSE(owner().plug_in(*taken).ok());
  auto zero = bench.make<Device>("virtserialport", {{"nr", "0"}});
  EXPECT_FALSE(owner().plug_in(*zero).ok());
  auto far = bench.make<Device>("virtserialport", {{"nr", "31"}});
  EXPECT_FALSE(owner().plug_in(*far).ok());
}

TEST_F(Serial, EmergencyWrite) {
  driver.put(0x108, '!');
  EXPECT_EQ(driver.bench.chardev.output, "!");
}

TEST_F(Serial, KeepsABufferInHandOverASnapshot) {
  driver.queues[0].add({{kBuffers, 16, true}});
  driver.notify(0);
  FieldStore device_state, port_state;
  device_state.save(*driver.device);
  port_state.save(*console);
  device_state.restore(*driver.device);
  port_state.restore(*console);
  driver.bench.chardev.type("again");
  u32 head = 0, length = 0;
  ASSERT_TRUE(driver.queues[0].take_used(head, length));
  EXPECT_EQ(driver.text(kBuffers, length), "again");
}

// --- balloon ------------------------------------------------------------------------------------------------------

TEST(VirtioBalloon, GivesPagesBack) {
  Driver driver("virtio-balloon-device");
  ASSERT_TRUE(driver.plugged);
  auto& balloon = dynamic_cast<Balloon&>(*driver.device);
  driver.begin(3);
  EXPECT_EQ(balloon.actual(), Bench::kRamSize);
  balloon.set_target(Bench::kRamSize - 0x2000);
  EXPECT_EQ(driver.get(0x100), 2u);
  EXPECT_EQ(driver.get(0x60) & 2, 2u) << "a configuration interrupt";
  const u64 page = Bench::kRamBase + 0x200000;
  for (u64 at = page; at < page + 0x3000; at += 0x1000) driver.queues[0].put32(at, 0x55aa55aa);
  driver.queues[0].put32(kBuffers, static_cast<u32>(page >> 12));
  driver.queues[0].put32(kBuffers + 4, static_cast<u32>((page >> 12) + 1));
  driver.queues[0].put32(kBuffers + 8, 0x12345);  // no RAM there
  driver.queues[0].add({{kBuffers, 12, false}});
  driver.notify(0);
  u32 head = 0, length = 0;
  EXPECT_TRUE(driver.queues[0].take_used(head, length));
  EXPECT_EQ(driver.queues[0].get32(page), 0u);
  EXPECT_EQ(driver.queues[0].get32(page + 0x1000), 0u);
  EXPECT_EQ(driver.queues[0].get32(page + 0x2000), 0x55aa55aau);
  driver.put(0x104, 2);
  EXPECT_EQ(balloon.actual(), Bench::kRamSize - 0x2000);
  driver.put(0x105, 1, 1);
  EXPECT_EQ(balloon.actual(), Bench::kRamSize - 0x102000) << "byte by byte, as legacy drivers do";
  EXPECT_EQ(driver.bench.machine.told,
            (std::vector<std::string>{fmt::format("BALLOON_CHANGE {{\"actual\": {}}}", Bench::kRamSize - 0x2000),
                                      fmt::format("BALLOON_CHANGE {{\"actual\": {}}}", Bench::kRamSize - 0x102000)}));
}

TEST(VirtioBalloon, AsksForStatistics) {
  Driver driver("virtio-balloon-device", {{"guest-stats-polling-interval", "2"}});
  auto& balloon = dynamic_cast<Balloon&>(*driver.device);
  driver.begin(3);
  driver.queues[2].put16(kBuffers, 4);
  driver.queues[2].put64(kBuffers + 2, 1234567);
  driver.queues[2].put16(kBuffers + 10, 99);
  driver.queues[2].add({{kBuffers, 20, false}});
  driver.notify(2);
  ASSERT_EQ(balloon.statistics().size(), 1u);
  EXPECT_EQ(balloon.statistics()[0], (std::pair<std::string, u64>{"stat-free-memory", 1234567}));
  u32 head = 0, length = 0;
  EXPECT_FALSE(driver.queues[2].take_used(head, length));
  driver.bench.clock.advance(2 * kSecond);
  EXPECT_TRUE(driver.queues[2].take_used(head, length)) << "the buffer comes back as the question";
}

TEST(VirtioBalloon, ReportedPagesAreDiscarded) {
  Driver driver("virtio-balloon-device", {{"free-page-reporting", "on"}});
  driver.begin(4);
  const u64 page = Bench::kRamBase + 0x200000;
  driver.queues[3].put32(page, 7);
  driver.queues[3].add({{page, 0x4000, true}});
  driver.notify(3);
  EXPECT_EQ(driver.queues[3].get32(page), 0u);
}

// --- input --------------------------------------------------------------------------------------------------------

std::vector<std::array<u32, 3>> take_events(Driver& driver, unsigned& seen) {
  std::vector<std::array<u32, 3>> events;
  u32 head = 0, length = 0;
  while (driver.queues[0].take_used(head, length)) {
    const u64 at = kBuffers + seen++ % 8 * 8;
    events.push_back({driver.queues[0].get16(at), driver.queues[0].get16(at + 2), driver.queues[0].get32(at + 4)});
  }
  return events;
}

TEST(VirtioInput, KeyboardEvents) {
  Driver driver("virtio-keyboard-device", {{"serial", "abc"}});
  ASSERT_TRUE(driver.plugged);
  driver.begin(2);
  driver.put(0x100, 1, 1);
  EXPECT_EQ(driver.get(0x102, 1), 20u);
  EXPECT_EQ(driver.get(0x108, 1), u32{'Q'});
  driver.put(0x100, 0x11, 1);
  driver.put(0x101, 1, 1);
  EXPECT_GT(driver.get(0x102, 1), 10u) << "the keys it has";
  for (u64 i = 0; i < 8; ++i) driver.queues[0].add({{kBuffers + i * 8, 8, true}});
  driver.notify(0);
  unsigned seen = 0;
  driver.bench.inputs.key(*display::find_key("a"), true);
  EXPECT_EQ(take_events(driver, seen), (std::vector<std::array<u32, 3>>{{1, 30, 1}, {0, 0, 0}}));
  driver.bench.inputs.key(*display::find_key("a"), false);
  EXPECT_EQ(take_events(driver, seen), (std::vector<std::array<u32, 3>>{{1, 30, 0}, {0, 0, 0}}));
}

TEST(VirtioInput, TabletPositions) {
  Driver driver("virtio-tablet-device");
  driver.begin(2);
  driver.put(0x100, 0x12, 1);
  driver.put(0x101, 1, 1);
  EXPECT_EQ(driver.get(0x10c), 32767u);
  for (u64 i = 0; i < 8; ++i) driver.queues[0].add({{kBuffers + i * 8, 8, true}});
  unsigned seen = 0;
  driver.bench.inputs.move_to(100, 200);
  driver.bench.inputs.move(5, 5, 1);
  driver.bench.inputs.set_buttons(2);
  driver.notify(0);
  EXPECT_EQ(take_events(driver, seen),
            (std::vector<std::array<u32, 3>>{
                {3, 0, 100}, {3, 1, 200}, {0, 0, 0}, {2, 8, 1}, {0, 0, 0}, {1, 0x112, 1}, {0, 0, 0}}));
}

TEST(VirtioInput, WithoutBuffersEventsWait) {
  Driver driver("virtio-mouse-device", {{"wheel-axis", "off"}});
  driver.begin(2);
  for (int i = 0; i < 5000; ++i) driver.bench.inputs.move(1, 0, 0);
  driver.bench.inputs.move(0, 0, 1);
  unsigned seen = 0;
  EXPECT_TRUE(take_events(driver, seen).empty());
  for (u64 i = 0; i < 8; ++i) driver.queues[0].add({{kBuffers + i * 8, 8, true}});
  driver.notify(0);
  EXPECT_EQ(take_events(driver, seen).size(), 8u);
}

}  // namespace
}  // namespace rhea::devices
