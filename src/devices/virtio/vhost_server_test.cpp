// SPDX-License-Identifier: MIT
// The back end against a front end that the test is: messages by hand, rings in memory that both have.
#include <gtest/gtest.h>

#include "core/loop.h"
#include "devices/virtio/fake_driver.h"
#include "devices/virtio/vhost_server.h"
#include "devices/virtio/virtio_net_features.h"
#include "net/vhost/message.h"
#include "sys/memory_map.h"
#include "sys/named_socket.h"
#include "sys/pass_descriptor.h"

namespace rhea::devices {
namespace {

using namespace net::vhost;
using namespace virtio_net;
using testing::Bench;
using testing::DriverQueue;

constexpr u64 kUser = u64{0x7f} << 32;  // where the front end says to have its memory
constexpr u64 kFrames = Bench::kRamBase + 0x100000;
constexpr usize kHeader = 12;

struct VhostBackEnd : ::testing::Test {
  VhostBackEnd() { connect(); }
  void connect() {
    server.reset();
    auto ends = sys::descriptor_channel().take();
    front.emplace(std::move(ends.ours));
    server = std::make_unique<VhostServer>(
        loop, loop.real_clock(), bench.log, peer, std::move(ends.theirs),
        VhostServer::Hooks{.say = {}, .ended = [this](const std::string& why) { ends_.push_back(why); }});
  }
  void run() {
    for (int i = 0; i < 20; ++i) loop.run_once();
  }
  void say(Request request, std::vector<u8> payload = {}, const std::vector<int>& descriptors = {}) {
    Message message;
    message.request = request;
    message.payload = std::move(payload);
    message.needs_reply = wants_replies;
    front->send(message, descriptors);
    run();
    Message answer;
    if (wants_replies && front->receive(answer) == Connection::Got::message)
      statuses.push_back(decode_number(answer.payload).value_or(~u64{0}));
  }
  // A request with an answer; empty: there was none.
  std::vector<u8> ask(Request request, std::vector<u8> payload = {}) {
    Message message;
    message.request = request;
    message.payload = std::move(payload);
    front->send(message);
    run();
    Message answer;
    if (front->receive(answer) != Connection::Got::message || !answer.is_reply) return {};
    return answer.payload;
  }
  void share_memory(u64 user = kUser) {
    say(Request::set_mem_table, encode_regions(std::vector<Region>{{Bench::kRamBase, Bench::kRamSize, user, 0}}),
        {bench.ram->fd()});
  }
  void negotiate(u64 features) {
    say(Request::set_owner);
    say(Request::set_features, encode_number(features | kFeatureProtocol | virtio::kVersion1));
  }
  void start(unsigned ring, u16 next, u64 user = kUser) {
    DriverQueue& queue = ring ? transmit : receive;
    const auto at = [&](u64 address) { return address - Bench::kRamBase + user; };
    say(Request::set_vring_num, encode_ring(RingNumber{ring, DriverQueue::kSize}));
    say(Request::set_vring_base, encode_ring(RingNumber{ring, next}));
    say(Request::set_vring_addr, encode_ring(RingAddress{.ring = ring,
                                                         .descriptors = at(queue.descriptors()),
                                                         .used = at(queue.used()),
                                                         .available = at(queue.available())}));
    say(Request::set_vring_call, encode_ring(RingDescriptor{u8(ring)}), {call[ring].fd()});
    say(Request::set_vring_kick, encode_ring(RingDescriptor{u8(ring)}), {kick[ring].fd()});
    say(Request::set_vring_enable, encode_ring(RingNumber{ring, 1}));
  }
  void start_both() {
    share_memory();
    start(0, 0);
    start(1, 0);
  }
  u16 stop(unsigned ring) {
    const auto answer = decode_ring_number(ask(Request::get_vring_base, encode_ring(RingNumber{ring, 0})));
    EXPECT_TRUE(answer && answer->ring == ring);
    return answer ? static_cast<u16>(answer->value) : 0;
  }
  void offer_buffers(unsigned count) {
    for (unsigned i = 0; i < count; ++i) receive.add({{kFrames + 0x10000 + i * 0x1000, 2048, true}});
    kick[0].signal();
    run();
  }
  // A frame of the guest, whose bytes are all `byte`.
  void transmit_frame(u8 byte, usize size = 60) {
    std::fill_n(transmit.host(kFrames), kHeader, u8{0});
    std::fill_n(transmit.host(kFrames + kHeader), size, byte);
    transmit.add({{kFrames, static_cast<u32>(kHeader + size), false}});
    kick[1].signal();
    run();
  }
  // The bytes of what came into the receive ring.
  std::vector<u8> received() {
    std::vector<u8> firsts;
    u32 head = 0, length = 0;
    while (receive.take_used(head, length)) {
      const u64 at = receive.get32(receive.descriptors() + head * 16);
      EXPECT_GT(length, kHeader);
      firsts.push_back(*receive.host(at + kHeader));
    }
    return firsts;
  }
  std::vector<u8> frame(u8 byte) { return std::vector<u8>(60, byte); }

  Bench bench;
  core::Loop loop{"test"};
  testing::FakePeer peer;
  DriverQueue receive{bench, Bench::kRamBase + 0x10000}, transmit{bench, Bench::kRamBase + 0x20000};
  std::array<sys::EventFd, 2> kick, call;
  std::optional<Connection> front;
  std::unique_ptr<VhostServer> server;
  std::vector<std::string> ends_;
  bool wants_replies = false;
  u16 used_count = 0;
  std::vector<u64> statuses;
};

TEST_F(VhostBackEnd, OffersWhatTheDevicePlaneHas) {
  const auto features = decode_number(ask(Request::get_features));
  ASSERT_TRUE(features);
  for (const u64 bit : {kMrgRxbuf, kCsum, kGuestTso4, kHostTso6, virtio::kVersion1, virtio::kEventIdx,
                        virtio::kIndirectDesc, kFeatureProtocol, kMtu})
    EXPECT_TRUE(*features & bit) << bit;
  // Of the front end alone.
  for (const u64 bit : {kMac, kStatus, kCtrlVq, kCtrlRx, kGuestAnnounce, kCtrlGuestOffloads, kFeatureLogAll})
    EXPECT_FALSE(*features & bit) << bit;
  EXPECT_EQ(decode_number(ask(Request::get_queue_num)), 1u);
  const auto protocol = decode_number(ask(Request::get_protocol_features));
  EXPECT_EQ(protocol, kProtocolReplyAck | kProtocolMtu | kProtocolRarp);
}

TEST_F(VhostBackEnd, FramesBothWays) {
  negotiate(kMrgRxbuf);
  start_both();
  call[0].clear();
  call[1].clear();
  transmit_frame(0x11, 100);
  ASSERT_EQ(peer.frames.size(), 1u);
  EXPECT_EQ(peer.frames[0], std::vector<u8>(100, 0x11));
  EXPECT_TRUE(call[1].clear());
  offer_buffers(2);
  EXPECT_EQ(peer.give(frame(0x22)), net::Sent::taken);
  EXPECT_TRUE(call[0].clear());
  EXPECT_EQ(received(), std::vector<u8>{0x22});
  EXPECT_EQ(receive.get16(kFrames + 0x10000 + 10), 1);  // one buffer
  EXPECT_TRUE(ends_.empty());
}

TEST_F(VhostBackEnd, AnswersWhereThatWasAgreedOn) {
  say(Request::set_protocol_features, encode_number(kProtocolReplyAck));
  wants_replies = true;
  negotiate(kMrgRxbuf);
  start_both();
  EXPECT_EQ(statuses.size(), 2u + 1u + 12u);
  for (const u64 status : statuses) EXPECT_EQ(status, 0u);
}

// Rings are lent again: stop and cont, a saved state, a front end that comes back.
TEST_F(VhostBackEnd, GoesOnWhereItWas) {
  negotiate(kMrgRxbuf);
  start_both();
  offer_buffers(5);
  for (u8 round = 0; round < 40; ++round) {
    EXPECT_EQ(peer.give(frame(round)), net::Sent::taken);
    transmit_frame(round);
    EXPECT_EQ(peer.frames.back()[0], round);
    EXPECT_EQ(received(), std::vector<u8>{round});
    const u16 next_receive = stop(0), next_transmit = stop(1);
    // A chain that was taken for a frame that did not come is no loss.
    EXPECT_EQ(next_receive, round + 1);
    EXPECT_EQ(next_transmit, round + 1);
    if (round % 2) connect(), negotiate(kMrgRxbuf), share_memory();
    start(0, next_receive);
    start(1, next_transmit);
    offer_buffers(1);
  }
  EXPECT_TRUE(ends_.empty());
}

// What comes while the ring is stopped waits, and its sender is told when it is started: by copies and in place.
TEST_F(VhostBackEnd, SendersWaitForAStoppedRing) {
  negotiate(kMrgRxbuf);
  start_both();
  offer_buffers(4);
  net::Port& nic = *peer.peer();
  for (u8 round = 0; round < 6; ++round) {
    const u16 next = stop(0);
    const unsigned rooms = peer.rooms;
    net::Reservation reservation;
    ASSERT_TRUE(nic.can_reserve());
    if (round % 2) {
      EXPECT_FALSE(nic.reserve(60, reservation));
    } else {
      EXPECT_EQ(peer.give(frame(round)), net::Sent::busy);
    }
    run();
    EXPECT_EQ(nic.counters().dropped, 0u);
    start(0, next);
    EXPECT_GT(peer.rooms, rooms) << "nobody told the sender that it may go on";
    ASSERT_TRUE(nic.reserve(60, reservation));
    std::fill_n(reservation.pieces[0].data, 60, round);
    nic.commit(reservation, 60, {});
    EXPECT_EQ(received(), std::vector<u8>{round});
    offer_buffers(1);
  }
}

// A sender finds out that it has something else to say while it has buffers, and then does not use them.
TEST_F(VhostBackEnd, BuffersGoBackInTheirOrder) {
  negotiate(kMrgRxbuf);
  start_both();
  offer_buffers(6);
  net::Port& nic = *peer.peer();
  for (u8 round = 0; round < 8; ++round) {
    net::Reservation reservation;
    ASSERT_TRUE(nic.reserve(4000, reservation));
    const unsigned rooms = peer.rooms;
    EXPECT_EQ(peer.give(frame(round)), net::Sent::busy);
    if (round % 2) nic.abort(reservation);
    else nic.commit(reservation, 60, {});
    run();
    EXPECT_GT(peer.rooms, rooms);
    EXPECT_EQ(peer.give(frame(round)), net::Sent::taken);
    run();
    u32 head = 0, length = 0;
    for (unsigned i = round % 2; i < 2; ++i) {
      ASSERT_TRUE(receive.take_used(head, length));
      EXPECT_EQ(head, receive.get16(receive.available() + 4 + used_count++ % DriverQueue::kSize * 2u));
      offer_buffers(1);
    }
    const u16 next = stop(0);
    EXPECT_EQ(next, used_count);
    start(0, next);
  }
}

// A frame was refused for want of buffers, and the ring stops and starts before there are some.
TEST_F(VhostBackEnd, HungerOutlivesAStop) {
  negotiate(kMrgRxbuf);
  start_both();
  EXPECT_EQ(peer.give(frame(1)), net::Sent::busy);
  start(0, stop(0));
  EXPECT_EQ(peer.give(frame(1)), net::Sent::busy);
  const unsigned rooms = peer.rooms;
  offer_buffers(1);
  EXPECT_GT(peer.rooms, rooms);
  EXPECT_EQ(peer.give(frame(1)), net::Sent::taken);
  EXPECT_EQ(received(), std::vector<u8>{1});
}

TEST_F(VhostBackEnd, MemoryIsExchangedUnderRunningRings) {
  negotiate(kMrgRxbuf);
  start_both();
  offer_buffers(3);
  EXPECT_EQ(peer.give(frame(1)), net::Sent::taken);
  // The same file again, for the front end at another place: the rings' addresses are still the old ones.
  share_memory();
  EXPECT_EQ(peer.give(frame(2)), net::Sent::taken);
  EXPECT_EQ(received(), (std::vector<u8>{1, 2}));
  share_memory(kUser + (u64{1} << 40));
  run();
  ASSERT_EQ(ends_.size(), 1u);
  EXPECT_NE(ends_[0].find("where it shares no memory"), std::string::npos) << ends_[0];
}

TEST_F(VhostBackEnd, DisabledRingsRest) {
  negotiate(kMrgRxbuf);
  start_both();
  say(Request::set_vring_enable, encode_ring(RingNumber{1, 0}));
  transmit_frame(5);
  EXPECT_TRUE(peer.frames.empty());
  say(Request::set_vring_enable, encode_ring(RingNumber{1, 1}));
  EXPECT_EQ(peer.frames.size(), 1u);
}

TEST_F(VhostBackEnd, AnnouncesTheGuest) {
  std::vector<u8> payload{0x52, 0x54, 0, 1, 2, 3, 0, 0};
  say(Request::send_rarp, payload);
  ASSERT_EQ(peer.frames.size(), 1u);
  EXPECT_EQ(peer.frames[0].size(), net::kMinFrame);
  EXPECT_EQ(load_be<u16>(&peer.frames[0][12]), 0x8035);
  EXPECT_TRUE(std::equal(payload.begin(), payload.begin() + 6, peer.frames[0].begin() + 6));
}

// What ends it: no crash, and a reason.
struct VhostHostile : VhostBackEnd {
  void expect_end(const std::string& part) {
    run();
    ASSERT_EQ(ends_.size(), 1u) << part;
    EXPECT_NE(ends_[0].find(part), std::string::npos) << ends_[0];
    ends_.clear();
    Message message;
    EXPECT_EQ(front->receive(message), Connection::Got::ended);
    connect();
  }
};

TEST_F(VhostHostile, Messages) {
  say(static_cast<Request>(99));
  expect_end("request 99");
  say(Request::set_log_base, encode_number(0));
  expect_end("SET_LOG_BASE");
  say(Request::set_features, encode_number(~u64{0}));
  expect_end("not offered");
  say(Request::set_features, {1, 2, 3});
  expect_end("3 bytes");
  say(Request::set_protocol_features, encode_number(1));
  expect_end("not offered: 0x1");
  say(Request::net_set_mtu, encode_number(10));
  expect_end("NET_SET_MTU");
  say(Request::get_features, {}, {kick[0].fd()});
  expect_end("with descriptors");
  const u8 noise[] = {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  sys::send_with_descriptors(front->fd(), noise, {});
  expect_end("no vhost-user message");
}

TEST_F(VhostHostile, Rings) {
  for (const Request request : {Request::set_vring_num, Request::set_vring_base, Request::set_vring_enable}) {
    say(request, encode_ring(RingNumber{2, 1}));
    expect_end(name_of(request));
  }
  for (const u32 size : {0u, 3u, 2048u, ~0u}) {
    say(Request::set_vring_num, encode_ring(RingNumber{0, size}));
    expect_end("a power of two up to 1024");
  }
  say(Request::set_vring_base, encode_ring(RingNumber{0, 0x10000}));
  expect_end("SET_VRING_BASE");
  say(Request::set_vring_addr, encode_ring(RingAddress{.ring = 2}));
  expect_end("SET_VRING_ADDR");
  say(Request::set_vring_addr, encode_ring(RingAddress{.ring = 0, .flags = kRingIsLogged}));
  expect_end("logged");
  say(Request::get_vring_base, encode_ring(RingNumber{7, 0}));
  expect_end("GET_VRING_BASE");
  say(Request::set_vring_kick, encode_ring(RingDescriptor{0, true}));
  expect_end("polled");
  say(Request::set_vring_kick, encode_ring(RingDescriptor{0}));
  expect_end("SET_VRING_KICK");
  say(Request::set_vring_kick, encode_ring(RingDescriptor{0}), {bench.ram->fd()});
  expect_end("no eventfd");
  say(Request::set_vring_call, encode_ring(RingDescriptor{0}), {call[0].fd(), call[1].fd()});
  expect_end("SET_VRING_CALL");
}

TEST_F(VhostHostile, Memory) {
  const auto share = [&](Region region, std::vector<int> files) {
    say(Request::set_mem_table, encode_regions(std::vector<Region>{region}), files);
  };
  share({0, 0x1000, kUser, 0}, {});
  expect_end("SET_MEM_TABLE");
  share({0, 0x1000, kUser, 0}, {bench.ram->fd(), bench.ram->fd()});
  expect_end("SET_MEM_TABLE");
  share({0, 0x1000, kUser, 0}, {kick[0].fd()});
  expect_end("no file");
  share({0, Bench::kRamSize + 0x1000, kUser, 0}, {bench.ram->fd()});
  expect_end("a file of");
  share({0, 0x1000, kUser, Bench::kRamSize}, {bench.ram->fd()});
  expect_end("a file of");
  share({0, 0x1000, kUser, ~u64{0} - 0x1000}, {bench.ram->fd()});
  expect_end("SET_MEM_TABLE");
}

TEST_F(VhostHostile, RingsOutsideTheMemory) {
  for (const u64 user : {kUser - 0x100000, kUser + Bench::kRamSize, ~u64{0} - 0x40000}) {
    negotiate(kMrgRxbuf);
    share_memory();
    start(0, 0, user);
    expect_end("where it shares no memory");
  }
}

TEST_F(VhostHostile, RingIndicesThatJump) {
  negotiate(kMrgRxbuf);
  share_memory();
  start(1, 100);  // the available index is 0
  expect_end("makes no sense");
  negotiate(kMrgRxbuf);
  start_both();
  // While it runs: the guest's own fault, which its driver mends.
  transmit.put16(transmit.available() + 2, 500);
  kick[1].signal();
  run();
  EXPECT_TRUE(ends_.empty());
  EXPECT_TRUE(peer.frames.empty());
}

}  // namespace
}  // namespace rhea::devices
