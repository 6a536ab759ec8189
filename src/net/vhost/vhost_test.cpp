// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <thread>

#include "core/loop.h"
#include "net/vhost/client.h"
#include "sys/memory_map.h"
#include "sys/named_socket.h"
#include "sys/pass_descriptor.h"
#include "util/bits.h"

namespace rhea::net::vhost {
namespace {

using Got = Connection::Got;
constexpr u64 kVersion1 = u64{1} << 32;

Message with(Request request, std::vector<u8> payload = {}) {
  Message message;
  message.request = request;
  message.payload = std::move(payload);
  return message;
}

// --- messages -------------------------------------------------------------------------------------------------------

TEST(VhostMessage, HeadsAreReadAsTheyWereWritten) {
  Message message = with(Request::set_vring_num, encode_ring(RingNumber{1, 256}));
  message.needs_reply = true;
  const std::vector<u8> bytes = encode(message);
  ASSERT_EQ(bytes.size(), kHeadSize + 8);
  EXPECT_EQ(load_le<u32>(&bytes[0]), 8u);
  EXPECT_EQ(load_le<u32>(&bytes[4]), 9u);  // version 1, an answer is wanted
  EXPECT_EQ(load_le<u32>(&bytes[8]), 8u);
  const auto head = decode_head(std::span<const u8, kHeadSize>(bytes.data(), kHeadSize));
  ASSERT_TRUE(head);
  EXPECT_EQ(head->message.request, Request::set_vring_num);
  EXPECT_TRUE(head->message.needs_reply);
  EXPECT_FALSE(head->message.is_reply);
  EXPECT_EQ(head->payload_size, 8u);
}

TEST(VhostMessage, HeadsThatAreNone) {
  const auto refused = [](u32 flags, u32 size) {
    std::array<u8, kHeadSize> head{};
    store_le<u32>(&head[0], 1);
    store_le<u32>(&head[4], flags);
    store_le<u32>(&head[8], size);
    return !decode_head(head);
  };
  EXPECT_FALSE(refused(1, 0));
  EXPECT_FALSE(refused(5, kLargestPayload));
  EXPECT_TRUE(refused(0, 0));
  EXPECT_TRUE(refused(2, 0));
  EXPECT_TRUE(refused(1, kLargestPayload + 1));
  EXPECT_TRUE(refused(1, ~0u));
}

TEST(VhostMessage, PayloadsOfAnotherSizeAreNone) {
  for (usize size = 0; size < 64; ++size) {
    const std::vector<u8> bytes(size);
    EXPECT_EQ(decode_number(bytes).has_value(), size == 8) << size;
    EXPECT_EQ(decode_ring_number(bytes).has_value(), size == 8) << size;
    EXPECT_EQ(decode_ring_descriptor(bytes).has_value(), size == 8) << size;
    EXPECT_EQ(decode_ring_address(bytes).has_value(), size == 40) << size;
  }
  const auto ring = decode_ring_descriptor(encode_ring(RingDescriptor{1, true}));
  ASSERT_TRUE(ring);
  EXPECT_EQ(ring->ring, 1);
  EXPECT_TRUE(ring->none);
  const auto address = decode_ring_address(encode_ring(RingAddress{1, 0, 10, 20, 30, 40}));
  ASSERT_TRUE(address);
  EXPECT_EQ(address->descriptors, 10u);
  EXPECT_EQ(address->used, 20u);
  EXPECT_EQ(address->available, 30u);
  EXPECT_EQ(address->log, 40u);
}

TEST(VhostMessage, MemoryTablesThatMakeNoSense) {
  const Region good{0x1000, 0x1000, 0x50000, 0};
  const auto read = [](std::vector<Region> regions) { return decode_regions(encode_regions(regions)); };
  ASSERT_TRUE(read({good, {0x2000, 0x1000, 0x60000, 0x1000}}));
  EXPECT_EQ(read({good, {0x2000, 0x1000, 0x60000, 0x1000}})->at(1).user, 0x60000u);
  EXPECT_TRUE(read({}));
  EXPECT_FALSE(read({{0x1000, 0, 0x50000, 0}}));                  // empty
  EXPECT_FALSE(read({{~u64{0} - 10, 0x1000, 0x50000, 0}}));       // round the end of guest addresses
  EXPECT_FALSE(read({{0x1000, 0x1000, ~u64{0} - 10, 0}}));        // of user addresses
  EXPECT_FALSE(read({{0x1000, 0x1000, 0x50000, ~u64{0} - 10}}));  // of the file
  EXPECT_FALSE(read({good, {0x1800, 0x1000, 0x90000, 0}}));       // over another in the guest
  EXPECT_FALSE(read({good, {0x9000, 0x1000, 0x50fff, 0}}));       // over another for the front end
  std::vector<Region> many;
  for (u64 i = 0; i < kMostRegions + 1; ++i) many.push_back({i << 20, 0x1000, i << 20, 0});
  EXPECT_FALSE(read(many));
  many.pop_back();
  EXPECT_TRUE(read(many));
  std::vector<u8> cut = encode_regions(many);
  cut.pop_back();
  EXPECT_FALSE(decode_regions(cut));
  EXPECT_FALSE(decode_regions({}));
}

// --- connections ----------------------------------------------------------------------------------------------------

struct VhostConnection : ::testing::Test {
  VhostConnection() {
    auto made = sys::descriptor_channel();
    ends = made.take();
    ours.emplace(std::move(ends.ours));
    theirs.emplace(std::move(ends.theirs));
  }
  sys::DescriptorChannel ends;
  std::optional<Connection> ours, theirs;
};

TEST_F(VhostConnection, DescriptorsStayWithTheirMessage) {
  const sys::EventFd a, b;
  EXPECT_TRUE(ours->send(with(Request::set_vring_kick, encode_ring(RingDescriptor{0})), std::array{a.fd()}));
  EXPECT_TRUE(ours->send(with(Request::set_owner)));
  EXPECT_TRUE(ours->send(with(Request::set_mem_table, encode_regions({})), std::array{a.fd(), b.fd()}));
  Message message;
  ASSERT_EQ(theirs->receive(message), Got::message);
  EXPECT_EQ(message.request, Request::set_vring_kick);
  EXPECT_EQ(message.descriptors.size(), 1u);
  ASSERT_EQ(theirs->receive(message), Got::message);
  EXPECT_EQ(message.request, Request::set_owner);
  EXPECT_TRUE(message.descriptors.empty());
  ASSERT_EQ(theirs->receive(message), Got::message);
  EXPECT_EQ(message.descriptors.size(), 2u);
  EXPECT_EQ(theirs->receive(message), Got::nothing);
  ours->shut();
  EXPECT_EQ(theirs->receive(message), Got::ended);
}

TEST_F(VhostConnection, TooManyDescriptors) {
  const sys::EventFd event;
  const std::vector<int> many(kMostRegions + 1, event.fd());
  EXPECT_TRUE(ours->send(with(Request::set_mem_table, encode_regions({})), many));
  Message message;
  EXPECT_EQ(theirs->receive(message), Got::broken);
  EXPECT_FALSE(theirs->why().empty());
}

TEST_F(VhostConnection, BytesThatComeOneByOne) {
  const std::vector<u8> bytes = encode(with(Request::set_features, encode_number(0x1234)));
  Message message;
  for (const u8& byte : bytes) {
    EXPECT_EQ(theirs->receive(message), Got::nothing);
    ASSERT_EQ(sys::send_with_descriptors(ours->fd(), {&byte, 1}, {}).count, 1u);
  }
  ASSERT_EQ(theirs->receive(message), Got::message);
  EXPECT_EQ(decode_number(message.payload), 0x1234u);
}

// --- the front end against a back end of the test -----------------------------------------------------------------

// Answers in a thread of its own, as it was told to. What it got is looked at when it has ended.
class BackEnd {
 public:
  struct Plan {
    u64 features = kFeatureProtocol | kVersion1 | 1;
    u64 protocol = kProtocolReplyAck | kProtocolMtu | kProtocolRarp;
    u64 pairs = 1;
    std::optional<Request> silent_at, refuses, wrong_at, closes_at;
  };
  BackEnd(sys::Fd socket, Plan plan) : connection_(std::move(socket)), plan_(plan), thread_([this] { serve(); }) {}
  ~BackEnd() { wait(); }
  void wait() {
    connection_.shut();
    if (thread_.joinable()) thread_.join();
  }
  std::vector<Request> got;
  std::vector<Region> regions;
  std::array<u32, kRings> next{}, size{};
  unsigned files = 0;

 private:
  void serve() {
    for (Message message;;) {
      const Got outcome = connection_.receive_within(message, 20);
      if (outcome == Got::nothing) continue;
      if (outcome != Got::message) return;
      got.push_back(message.request);
      if (plan_.closes_at == message.request) return connection_.shut();
      note(message);
      answer(message);
    }
  }
  void note(const Message& message) {
    const auto ring = decode_ring_number(message.payload);
    if (message.request == Request::set_mem_table) {
      regions = decode_regions(message.payload).value_or(std::vector<Region>{});
      files = static_cast<unsigned>(message.descriptors.size());
    }
    if (message.request == Request::set_vring_num) size.at(ring->ring) = ring->value;
    if (message.request == Request::set_vring_base) next.at(ring->ring) = ring->value;
  }
  void answer(const Message& message) {
    if (plan_.silent_at == message.request) return;
    Message reply = with(message.request);
    reply.is_reply = true;
    switch (message.request) {
      case Request::get_features: reply.payload = encode_number(plan_.features); break;
      case Request::get_protocol_features: reply.payload = encode_number(plan_.protocol); break;
      case Request::get_queue_num: reply.payload = encode_number(plan_.pairs); break;
      case Request::get_vring_base:
        reply.payload = encode_ring(RingNumber{decode_ring_number(message.payload)->ring, 7});
        break;
      default:
        if (!message.needs_reply) return;
        reply.payload = encode_number(plan_.refuses == message.request);
    }
    if (plan_.wrong_at == message.request) reply.payload.push_back(0);
    connection_.send(reply);
  }
  Connection connection_;
  Plan plan_;
  std::thread thread_;
};

struct VhostClient : ::testing::Test {
  void begin(BackEnd::Plan plan = {}, unsigned pairs = 1) {
    auto ends = sys::descriptor_channel().take();
    back = std::make_unique<BackEnd>(std::move(ends.theirs), plan);
    client = std::make_unique<Client>(loop, std::move(ends.ours), pairs,
                                      Client::Hooks{.ready = [this] { ++readies; },
                                                    .ended = [this](const std::string& text) { ends_.push_back(text); },
                                                    .used = [this](unsigned ring) { used.push_back(ring); },
                                                    .say = {}});
  }
  Lending lending() {
    Lending result{
        .features = kVersion1 | 1, .mtu = 1500, .rings = {}, .memory = {{0x60000000, 0x1000, memory.get(), 0}}};
    for (unsigned i = 0; i < kRings; ++i) result.rings[i] = {8, 0x60000000, 0x60000100, 0x60000200, u16(3 + i)};
    return result;
  }
  void run() {
    for (int i = 0; i < 4; ++i) loop.run_once();
  }
  core::Loop loop{"test"};
  sys::Fd memory = sys::create_memory_file("test", 0x1000).take();
  std::unique_ptr<BackEnd> back;
  std::unique_ptr<Client> client;
  unsigned readies = 0;
  std::vector<std::string> ends_;
  std::vector<unsigned> used;
};

TEST_F(VhostClient, BeginsLendsAndTakesBack) {
  begin();
  ASSERT_TRUE(client->wait_until_ready().ok());
  EXPECT_EQ(readies, 1u);
  EXPECT_EQ(client->features(), kFeatureProtocol | kVersion1 | 1);
  const Result<void> lent = client->lend(lending());
  ASSERT_TRUE(lent.ok()) << lent.error().message();
  client->take_back();
  EXPECT_TRUE(client->is_ready());
  // Again, and where the rings are now.
  Lending again = lending();
  again.rings[0].next = 0xfffe;
  ASSERT_TRUE(client->lend(again).ok());
  client->take_back();
  back->wait();
  EXPECT_EQ(back->next[0], 0xfffeu);
  EXPECT_EQ(back->next[1], 4u);
  EXPECT_EQ(back->size[1], 8u);
  EXPECT_EQ(back->files, 1u);
  ASSERT_EQ(back->regions.size(), 1u);
  EXPECT_EQ(back->regions[0].guest, 0x60000000u);
  EXPECT_NE(back->regions[0].user, 0u);
  EXPECT_EQ(std::count(back->got.begin(), back->got.end(), Request::set_vring_enable), 4);
  EXPECT_EQ(std::count(back->got.begin(), back->got.end(), Request::net_set_mtu), 2);
  EXPECT_EQ(std::count(back->got.begin(), back->got.end(), Request::get_vring_base), 4);
}

TEST_F(VhostClient, OldBackEndsHaveNoProtocolFeatures) {
  begin({.features = kVersion1 | 1});
  ASSERT_TRUE(client->wait_until_ready().ok());
  ASSERT_TRUE(client->lend(lending()).ok());
  client->take_back();
  back->wait();
  EXPECT_EQ(std::count(back->got.begin(), back->got.end(), Request::set_vring_enable), 0);
  EXPECT_EQ(std::count(back->got.begin(), back->got.end(), Request::set_protocol_features), 0);
}

TEST_F(VhostClient, QueuePairsAreCounted) {
  begin({.protocol = kProtocolMq, .pairs = 2}, 2);
  EXPECT_TRUE(client->wait_until_ready().ok());
  begin({.protocol = kProtocolMq, .pairs = 2}, 3);
  Result<void> failed = client->wait_until_ready();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message(), "queues=3 asks for more than the back end has: 2");
  begin({.features = 1}, 2);
  EXPECT_FALSE(client->wait_until_ready().ok());
}

TEST_F(VhostClient, AnswersThatAreNone) {
  for (const Request request : {Request::get_features, Request::get_protocol_features}) {
    begin({.wrong_at = request});
    const Result<void> failed = client->wait_until_ready();
    ASSERT_FALSE(failed.ok());
    EXPECT_NE(failed.error().message().find("nobody asked for"), std::string::npos) << failed.error().message();
  }
  begin({.closes_at = Request::get_protocol_features});
  EXPECT_FALSE(client->wait_until_ready().ok());
}

TEST_F(VhostClient, FeaturesThatAreMissing) {
  begin();
  ASSERT_TRUE(client->wait_until_ready().ok());
  Lending more = lending();
  more.features |= 2;
  const Result<void> failed = client->lend(more);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().message().find("0x2"), std::string::npos) << failed.error().message();
  EXPECT_TRUE(client->is_ready());  // another driver may do with what there is
}

TEST_F(VhostClient, RefusedMemoryEndsIt) {
  begin({.refuses = Request::set_mem_table});
  ASSERT_TRUE(client->wait_until_ready().ok());
  const Result<void> failed = client->lend(lending());
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message(), "the back end refused SET_MEM_TABLE");
  EXPECT_TRUE(ends_.empty());  // not within the call
  run();
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_EQ(ends_[0], "the back end refused SET_MEM_TABLE");
}

TEST_F(VhostClient, SilenceEndsIt) {
  begin({.silent_at = Request::get_vring_base});
  ASSERT_TRUE(client->wait_until_ready().ok());
  ASSERT_TRUE(client->lend(lending()).ok());
  client->take_back();
  EXPECT_FALSE(client->is_ready());
  run();
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_NE(ends_[0].find("GET_VRING_BASE"), std::string::npos) << ends_[0];
  begin({.silent_at = Request::set_mem_table});
  ASSERT_TRUE(client->wait_until_ready().ok());
  EXPECT_FALSE(client->lend(lending()).ok());
  EXPECT_FALSE(client->is_ready());
}

// What libraries for VIRTIO 1 alone do.
TEST_F(VhostClient, ClosingOnALegacyDriverIsExplained) {
  begin({.closes_at = Request::set_features});
  ASSERT_TRUE(client->wait_until_ready().ok());
  Lending legacy = lending();
  legacy.features = 1;
  EXPECT_FALSE(client->lend(legacy).ok());
  run();
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_NE(ends_[0].find("virtio-mmio.force-legacy=off"), std::string::npos) << ends_[0];
}

TEST_F(VhostClient, ABackEndThatGoesIsNoticed) {
  begin();
  ASSERT_TRUE(client->wait_until_ready().ok());
  ASSERT_TRUE(client->lend(lending()).ok());
  back->wait();
  for (int i = 0; i < 1000 && ends_.empty(); ++i) {
    loop.run_once();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(ends_, std::vector<std::string>{""});
  client->take_back();
  EXPECT_FALSE(client->lend(lending()).ok());
}

}  // namespace
}  // namespace rhea::net::vhost
