// SPDX-License-Identifier: MIT
// The queues between threads, with real loops: nothing is lost, doubled or out of order in either direction, and a
// port that goes away while work is posted leaves nothing behind.
#include "devices/net/queued_port.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "core/loop.h"
#include "core/state_codec.h"

namespace rhea::devices {
namespace {

constexpr u32 kFrames = 20'000;

// Sends numbered frames as fast as it may, and checks those that come.
class Counter : public net::Port {
 public:
  Counter() : Port("counter") {}
  net::Caps caps() const override { return {}; }
  net::Sent send(const net::Frame& frame) override {
    if (received % 997 == 3 && !refused_) {  // now and then there is no room
      refused_ = true;
      return net::Sent::busy;
    }
    refused_ = false;
    u32 number = 0;
    frame.copy(20, reinterpret_cast<u8*>(&number), 4);
    if (number != received) ++wrong;
    ++received;
    return net::Sent::taken;
  }
  void on_room() override { give(); }
  std::string type() const override { return "counter"; }
  std::string info() const override { return ""; }
  void give() {
    while (sent < kFrames) {
      std::array<u8, 100> bytes{};
      std::memcpy(&bytes[20], &sent, 4);
      const net::Piece piece{bytes.data(), bytes.size()};
      if (peer()->send({{&piece, 1}, {}}) != net::Sent::taken) return;
      ++sent;
    }
  }
  bool refused() const { return refused_; }
  u32 sent = 0;
  std::atomic<u32> received{0}, wrong{0};

 private:
  bool refused_ = false;
};

TEST(QueuedPort, NothingIsLostBetweenThreads) {
  // The loops end first: their work uses what stands before them.
  Counter counter;
  std::atomic<u32> taken{0}, wrong{0};
  QueuedPort* port = nullptr;
  u32 transmitted = 0;
  core::LoopThread device("device"), network("network");
  const auto pull = [&] {
    do {
      while (!port->next().empty()) {
        u32 number;
        std::memcpy(&number, port->next().data() + 20, 4);
        if (number != taken) ++wrong;
        port->pop();
        ++taken;
      }
    } while (!port->arm());
  };
  const auto transmit = [&] {
    while (transmitted < kFrames) {
      std::array<u8, 100> bytes{};
      std::memcpy(&bytes[20], &transmitted, 4);
      if (!port->transmit(bytes)) return;
      ++transmitted;
    }
  };
  auto owned = std::make_unique<QueuedPort>("nic", "", net::Caps{}, QueuedPort::Loops{device.loop(), network.loop()},
                                            QueuedPort::Hooks{pull, transmit, [](bool) {}});
  port = owned.get();
  port->connect_to(counter);
  {
    std::lock_guard lock(device.loop().lock());
    port->set_intake(QueuedPort::Intake::flow);
    pull();
    transmit();
  }
  network.loop().post([&] { counter.give(); });
  for (int i = 0; i < 3000 && (taken < kFrames || counter.received < kFrames); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    network.loop().post([&] {
      if (counter.refused()) port->on_room();
    });
    std::lock_guard lock(device.loop().lock());  // a CPU that touches the device
    pull();
  }
  EXPECT_EQ(taken, kFrames);
  EXPECT_EQ(counter.received, kFrames);
  EXPECT_EQ(wrong + counter.wrong, 0u);
  std::lock_guard lock(network.loop().lock());
  EXPECT_EQ(port->counters().dropped, 0u);
}

// Frames that the device has no room for yet go along with its state; older ones of the machine that takes it do not.
TEST(QueuedPort, FramesAreStateUntilTheDeviceHasThem) {
  core::LoopThread device("device"), net("net");
  Counter from, to;
  const auto make = [&] {
    return std::make_unique<QueuedPort>("nic", "model=test", net::Caps{.max_frame = 1518},
                                        QueuedPort::Loops{device.loop(), net.loop()},
                                        QueuedPort::Hooks{[] {}, [] {}, [](bool) {}});
  };
  auto first = make(), second = make();
  const auto send = [&](QueuedPort& port, usize size, u8 value) {
    std::vector<u8> bytes(size, value);
    const net::Piece piece{bytes.data(), bytes.size()};
    return port.send({{&piece, 1}, {}});
  };
  for (QueuedPort* port : {first.get(), second.get()}) port->set_intake(QueuedPort::Intake::flow);
  for (u8 i = 1; i <= 5; ++i) ASSERT_EQ(send(*first, 60u * i, i), net::Sent::taken);
  ASSERT_EQ(first->next()[0], 1);  // 2 to 5 are the device's, 6 and 7 still the network's
  first->pop();
  for (u8 i = 6; i <= 7; ++i) ASSERT_EQ(send(*first, 60u * i, i), net::Sent::taken);
  ASSERT_EQ(send(*second, 100, 99), net::Sent::taken);
  const std::vector<u8> state = core::save_state(*first);
  const auto tree = core::StateTree::parse(state);
  ASSERT_TRUE(tree.ok());
  ASSERT_TRUE(core::load_state(*second, *tree).ok());
  EXPECT_EQ(core::save_state(*second), state);
  for (u8 i = 2; i <= 7; ++i) {
    const std::span<const u8> frame = second->next();
    ASSERT_EQ(frame.size(), 60u * i);
    EXPECT_EQ(frame.back(), i);
    second->pop();
  }
  EXPECT_TRUE(second->next().empty());
  EXPECT_TRUE(second->arm());
  ASSERT_EQ(send(*second, 64, 8), net::Sent::taken);
  EXPECT_EQ(second->next()[0], 8);
}

TEST(QueuedPort, GoesAwayWhileWorkIsPosted) {
  Counter counter;
  core::LoopThread device("device"), network("network");
  for (int i = 0; i < 200; ++i) {
    QueuedPort port("nic", "", {}, {device.loop(), network.loop()}, {[] {}, [] {}, [](bool) {}});
    port.connect_to(counter);
    port.set_intake(QueuedPort::Intake::flow);
    {
      std::lock_guard lock(device.loop().lock());
      port.arm();
      port.transmit(std::array<u8, 60>{});
    }
    network.loop().post([&counter] {
      if (counter.peer()) counter.peer()->on_link(true);
    });
  }
}

}  // namespace
}  // namespace rhea::devices
