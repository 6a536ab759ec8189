// SPDX-License-Identifier: MIT
// TCP as the guest sees it, with both ends played by the test.
#include <gtest/gtest.h>

#include "net/user/tcp_fixture.h"
#include "net/user/verdict.h"

namespace rhea::net::user::testing {
namespace {

TEST_F(TcpTest, SynAckComesWhenTheHostIsConnected) {
  send_syn();
  EXPECT_TRUE(quiet());
  EXPECT_EQ(net_.last().to, (Endpoint{kOutside, 80, 0}));
  send_syn();  // again: still one connection
  EXPECT_EQ(net_.sockets->wires.size(), 1u);
  net_.event(net_.last(), kSocketWritable);
  const Seen answer = take();
  EXPECT_EQ(answer.flags, kSyn | kAck);
  EXPECT_EQ(answer.from, kOutside);
  EXPECT_EQ(answer.from_port, 80);
  EXPECT_EQ(answer.options.mss, 1460);
  EXPECT_GE(answer.options.scale, 0);
  EXPECT_TRUE(answer.options.sack_permitted);
  send_syn();
  EXPECT_EQ(take().flags, kSyn | kAck);
}

TEST_F(TcpTest, OffersOnlyWhatTheGuestOffered) {
  syn_options_ = {2, 4, 0x02, 0x18};
  send_syn();
  net_.event(net_.last(), kSocketWritable);
  const Seen answer = take();
  EXPECT_EQ(answer.options.scale, -1);
  EXPECT_FALSE(answer.options.sack_permitted);
}

TEST_F(TcpTest, GatewayIsTheHostsLoopback) {
  to_ = kGateway;
  send_syn();
  EXPECT_EQ(net_.last().to.address, IpAddress::v4(0x7f000001));
}

TEST_F(TcpTest, RefusedConnectionIsReset) {
  send_syn();
  net_.last().error = ECONNREFUSED;
  net_.event(net_.last(), kSocketError | kSocketHangup);
  const Seen answer = take();
  EXPECT_EQ(answer.flags, kRst | kAck);
  EXPECT_EQ(answer.seq, 0u);
  EXPECT_EQ(answer.ack, kGuestSeq + 1);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
}

TEST_F(TcpTest, UnreachableIsToldByIcmp) {
  struct Case {
    int error;
    u8 code;
  };
  for (const Case& item : {Case{ENETUNREACH, 0}, {EHOSTUNREACH, 1}, {EACCES, 13}}) {
    send_syn();
    net_.last().error = item.error;
    net_.event(net_.last(), kSocketError | kSocketHangup);
    const Seen answer = take();
    EXPECT_EQ(answer.protocol, kIcmp);
    EXPECT_EQ(answer.from, kGateway);
    EXPECT_EQ(answer.payload.at(0), 3);
    EXPECT_EQ(answer.payload.at(1), item.code);
    // The quote: the guest's IP header, then ports and sequence number.
    ASSERT_EQ(answer.payload.size(), 8u + 20 + 8);
    EXPECT_EQ(IpAddress::from_wire(&answer.payload[8 + 12], true), net_.address);
    EXPECT_EQ(IpAddress::from_wire(&answer.payload[8 + 16], true), kOutside);
    EXPECT_EQ(load_be<u16>(&answer.payload[28]), kGuestPort);
    EXPECT_EQ(load_be<u32>(&answer.payload[32]), kGuestSeq);
    EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  }
}

TEST_F(TcpTest, TimeoutOfConnectIsSilence) {
  send_syn();
  net_.last().error = ETIMEDOUT;
  net_.event(net_.last(), kSocketError | kSocketHangup);
  EXPECT_TRUE(quiet());
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
}

TEST_F(TcpTest, SegmentsToNoConnectionAreReset) {
  send({.flags = kAck, .seq = 5, .ack = 99});
  Seen answer = take();
  EXPECT_EQ(answer.flags, kRst);
  EXPECT_EQ(answer.seq, 99u);
  send({.flags = kFin, .seq = 5, .payload = bytes_of("abc")});
  answer = take();
  EXPECT_EQ(answer.flags, kRst | kAck);
  EXPECT_EQ(answer.ack, 9u);
  send({.flags = kRst, .seq = 5});
  EXPECT_TRUE(quiet());
}

TEST_F(TcpTest, DataGoesToTheHostAndIsAcknowledged) {
  open();
  guest_sends(bytes_of("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(wire_->sent, bytes_of("GET / HTTP/1.0\r\n\r\n"));
  const Seen answer = take();
  EXPECT_EQ(answer.flags, kAck);
  EXPECT_EQ(answer.ack, guest_seq_);
  EXPECT_EQ(answer.seq, host_seq_);
}

TEST_F(TcpTest, EverySecondSegmentIsAcknowledgedAndTheLastInTime) {
  open();
  guest_sends(pattern(1460), kAck);  // the first one, to open the window wide
  EXPECT_EQ(take().ack, guest_seq_);
  guest_sends(pattern(1460), kAck);
  EXPECT_TRUE(quiet());
  guest_sends(pattern(1460), kAck);
  EXPECT_EQ(take().ack, guest_seq_);
  guest_sends(pattern(1460), kAck);
  EXPECT_TRUE(quiet());
  net_.loop.advance(20 * kMillisecond);
  EXPECT_EQ(take().ack, guest_seq_);
}

TEST_F(TcpTest, AStreamOfSegmentsGoesToTheHostTogether) {
  open();
  Bytes all;
  usize calls = 0;
  for (u32 i = 0; i < 64; ++i) {
    const usize before = wire_->sent.size();
    const Bytes data = pattern(1460, i);
    all.insert(all.end(), data.begin(), data.end());
    guest_sends(data, kAck);
    calls += wire_->sent.size() != before;
    while (!quiet()) EXPECT_EQ(take().ack, guest_seq_);
  }
  EXPECT_LT(calls, 64u / 4);
  guest_sends(pattern(10), kAck | kPsh);  // the end of it waits for nothing
  const Bytes end = pattern(10);
  all.insert(all.end(), end.begin(), end.end());
  EXPECT_EQ(wire_->sent, all);
  EXPECT_EQ(take().ack, guest_seq_);
  // What does not go on goes after a millisecond, and what comes then as if nothing had been.
  guest_sends(pattern(1460), kAck);
  EXPECT_EQ(wire_->sent.size(), all.size());
  net_.loop.advance(kMillisecond);
  EXPECT_EQ(wire_->sent.size(), all.size() + 1460);
  guest_sends(pattern(1460), kAck);
  EXPECT_EQ(wire_->sent.size(), all.size() + 2 * 1460);
}

TEST_F(TcpTest, ARequestIsAcknowledgedByItsAnswer) {
  open();
  net_.loop.advance(kMillisecond);
  guest_sends(bytes_of("a"));
  EXPECT_EQ(take().payload.size(), 0u);  // the first one at once
  host_sends(bytes_of("A"));
  EXPECT_EQ(take().payload, bytes_of("A"));
  host_seq_ += 1;
  guest_sends(bytes_of("b"));
  EXPECT_TRUE(quiet());
  EXPECT_EQ(wire_->sent, bytes_of("ab"));
  host_sends(bytes_of("B"));
  const Seen answer = take();
  EXPECT_EQ(answer.payload, bytes_of("B"));
  EXPECT_EQ(answer.ack, guest_seq_);
  host_seq_ += 1;
  // No answer in time: by itself, and from then on at once again.
  guest_sends(bytes_of("c"));
  EXPECT_TRUE(quiet());
  net_.loop.advance(kMillisecond);
  EXPECT_EQ(take().ack, guest_seq_);
  guest_sends(bytes_of("d"));
  EXPECT_EQ(take().ack, guest_seq_);
}

TEST_F(TcpTest, DataFromTheHostComesInSegments) {
  open();
  const Bytes data = pattern(4000);
  host_sends(data);
  Bytes got;
  for (int i = 0; i < 3; ++i) {
    const Seen segment = take();
    EXPECT_EQ(segment.seq, host_seq_ + got.size());
    EXPECT_EQ(segment.ack, guest_seq_);
    EXPECT_EQ(bool(segment.flags & kPsh), i == 2);
    got.insert(got.end(), segment.payload.begin(), segment.payload.end());
  }
  EXPECT_TRUE(quiet());
  EXPECT_EQ(got, data);
  EXPECT_EQ(wire_->receive_queue.size(), 4000u);  // until it is acknowledged
  host_seq_ += 4000;
  guest_acks(host_seq_);
  EXPECT_TRUE(wire_->receive_queue.empty());
}

TEST_F(TcpTest, MoreDataIsSentBeforeTheFirstIsAcknowledged) {
  open();
  host_sends(bytes_of("one"));
  EXPECT_EQ(take().payload, bytes_of("one"));
  host_sends(bytes_of("two"));
  const Seen second = take();
  EXPECT_EQ(second.payload, bytes_of("two"));
  EXPECT_EQ(second.seq, host_seq_ + 3);
}

TEST_F(TcpTest, TheGuestsWindowIsKept) {
  open();
  guest_acks(host_seq_, 16);  // scale 7: 2048 bytes
  host_sends(pattern(10000));
  usize got = 0;
  while (!quiet()) got += take().payload.size();
  EXPECT_LE(got, 2048u);
  EXPECT_GT(got, 0u);
  guest_acks(host_seq_ + static_cast<u32>(got), 512);
  while (!quiet()) got += take().payload.size();
  EXPECT_EQ(got, 10000u);
}

TEST_F(TcpTest, AClosedWindowIsProbedAndOpensAgain) {
  open();
  guest_acks(host_seq_, 0);
  host_sends(bytes_of("data"));
  EXPECT_TRUE(quiet());
  net_.loop.advance(2 * kSecond);
  const Seen probe = take();
  EXPECT_EQ(probe.payload.size(), 0u);
  EXPECT_EQ(probe.seq, host_seq_ - 1);
  net_.loop.advance(200 * kSecond);  // it may stay closed for long
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
  while (!quiet()) take();
  guest_acks(host_seq_, 512);
  EXPECT_EQ(take().payload, bytes_of("data"));
}

TEST_F(TcpTest, WhatIsLostIsSentAgainAfterATime) {
  open();
  host_sends(bytes_of("lost"));
  EXPECT_EQ(take().payload, bytes_of("lost"));
  net_.loop.advance(1100 * kMillisecond);
  const Seen again = take();
  EXPECT_EQ(again.payload, bytes_of("lost"));
  EXPECT_EQ(again.seq, host_seq_);
  guest_acks(host_seq_ + 4);
  net_.loop.advance(100 * kSecond);
  EXPECT_TRUE(quiet());
}

TEST_F(TcpTest, ThreeDuplicatesResendTheHole) {
  open();
  host_sends(pattern(14600));
  for (int i = 0; i < 10; ++i) take();
  const u32 second = host_seq_ + 1460;
  guest_acks(second);
  // The second segment is lost; the guest has the third and later ones.
  for (unsigned i = 1; i <= 3; ++i) {
    Bytes sack{1, 1, 5, 10, 0, 0, 0, 0, 0, 0, 0, 0};
    store_be<u32>(&sack[4], second + 1460);
    store_be<u32>(&sack[8], second + 1460 + i * 1460);
    send({.seq = guest_seq_, .ack = second, .window = 512, .options = sack});
  }
  const Seen again = take();
  EXPECT_EQ(again.seq, second);
  EXPECT_EQ(again.payload.size(), 1460u);
  EXPECT_TRUE(quiet());
  guest_acks(host_seq_ + 14600);
  EXPECT_TRUE(wire_->receive_queue.empty());
}

TEST_F(TcpTest, AGuestThatNeverAcknowledgesIsGivenUp) {
  open();
  host_sends(bytes_of("x"));
  net_.loop.advance(1000 * kSecond);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_TRUE(wire_->reset);
  EXPECT_EQ(wire_->socket, nullptr);
}

TEST_F(TcpTest, ABusyNicLosesNothing) {
  open();
  net_.guest.room = 3;
  const Bytes data = pattern(100000);
  host_sends(data);
  Bytes got;
  for (unsigned turns = 0; got.size() < data.size() && turns < 1000; ++turns) {
    while (!quiet()) {
      const Seen segment = take();
      EXPECT_EQ(segment.seq, host_seq_ + got.size());
      got.insert(got.end(), segment.payload.begin(), segment.payload.end());
    }
    guest_acks(host_seq_ + static_cast<u32>(got.size()));
    net_.guest.room = 5;
    net_.backend->on_room();
    net_.loop.settle();
  }
  EXPECT_EQ(got, data);
  net_.guest.room = ~usize{0};
}

TEST_F(TcpTest, OutOfOrderDataIsHeldAndTold) {
  open();
  const Bytes data = pattern(3000);
  const auto part = [&](usize from, usize to) {
    return Bytes(data.begin() + static_cast<std::ptrdiff_t>(from), data.begin() + static_cast<std::ptrdiff_t>(to));
  };
  send({.seq = guest_seq_ + 1000, .ack = host_seq_, .payload = part(1000, 2000)});
  Seen answer = take();
  EXPECT_EQ(answer.ack, guest_seq_);
  ASSERT_EQ(answer.options.sack_count, 1u);
  EXPECT_EQ(answer.options.sack[0].left, guest_seq_ + 1000);
  EXPECT_EQ(answer.options.sack[0].right, guest_seq_ + 2000);
  EXPECT_TRUE(wire_->sent.empty());
  send({.seq = guest_seq_, .ack = host_seq_, .payload = part(0, 1500)});  // overlaps
  answer = take();
  EXPECT_EQ(answer.ack, guest_seq_ + 2000);
  send({.flags = kAck | kPsh, .seq = guest_seq_ + 2000, .ack = host_seq_, .payload = part(2000, 3000)});
  EXPECT_EQ(wire_->sent, data);
  EXPECT_EQ(take().ack, guest_seq_ + 3000);
}

TEST_F(TcpTest, AFullHostSocketClosesTheWindowAndOpensIt) {
  open();
  wire_->room = 1000;
  usize sent = 0;
  u32 window = 65535;
  // The guest sends as long as there is window.
  for (unsigned i = 0; i < 2000 && window >= 1460; ++i) {
    guest_sends(pattern(1460, static_cast<u32>(sent)));
    sent += 1460;
    while (!quiet()) {
      const Seen answer = take();
      EXPECT_EQ(answer.ack, guest_seq_);
      window = u32{answer.window} << 5;
    }
  }
  EXPECT_LT(sent, 600000u);
  EXPECT_EQ(wire_->sent.size(), 1000u);
  wire_->room = ~usize{0};
  net_.event(*wire_, kSocketWritable);
  EXPECT_EQ(wire_->sent, pattern(sent));
  const Seen update = take();
  EXPECT_GT(u32{update.window} << 5, 256u * 1024);
}

TEST_F(TcpTest, TheHostsEndIsAFin) {
  open();
  host_sends(bytes_of("bye"));
  host_ends();
  EXPECT_EQ(take().payload, bytes_of("bye"));
  const Seen fin = take();
  EXPECT_EQ(fin.flags, kFin | kAck);
  EXPECT_EQ(fin.seq, host_seq_ + 3);
  guest_acks(host_seq_ + 4);
  // Half closed: the guest goes on sending.
  host_seq_ += 4;
  guest_sends(bytes_of("more"));
  EXPECT_EQ(wire_->sent, bytes_of("more"));
  EXPECT_EQ(take().ack, guest_seq_);
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
  guest_sends({}, kFin | kAck);
  EXPECT_TRUE(wire_->shut_down);
  EXPECT_EQ(take().ack, guest_seq_);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_EQ(wire_->socket, nullptr);
  EXPECT_FALSE(wire_->reset);
}

TEST_F(TcpTest, TheGuestsEndIsAShutdown) {
  open();
  guest_sends(bytes_of("req"), kFin | kAck | kPsh);
  EXPECT_EQ(wire_->sent, bytes_of("req"));
  EXPECT_TRUE(wire_->shut_down);
  EXPECT_EQ(take().ack, guest_seq_);
  host_sends(bytes_of("answer"));
  EXPECT_EQ(take().payload, bytes_of("answer"));
  host_seq_ += 6;
  guest_acks(host_seq_);
  host_ends();
  EXPECT_EQ(take().flags, kFin | kAck);
  guest_acks(host_seq_ + 1);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_FALSE(wire_->reset);
}

TEST_F(TcpTest, ShutdownWaitsForWhatIsBuffered) {
  open();
  wire_->room = 2;
  guest_sends(bytes_of("12345"), kFin | kAck | kPsh);
  EXPECT_FALSE(wire_->shut_down);
  wire_->room = 100;
  net_.event(*wire_, kSocketWritable);
  EXPECT_EQ(wire_->sent, bytes_of("12345"));
  EXPECT_TRUE(wire_->shut_down);
}

TEST_F(TcpTest, ALostFinIsSentAgain) {
  open();
  host_ends();
  EXPECT_EQ(take().flags, kFin | kAck);
  net_.loop.advance(1100 * kMillisecond);
  const Seen fin = take();
  EXPECT_EQ(fin.flags, kFin | kAck);
  EXPECT_EQ(fin.seq, host_seq_);
}

TEST_F(TcpTest, TheGuestsResetResetsTheHost) {
  open();
  send({.flags = kRst, .seq = guest_seq_ + 100});  // in the window but not exact: asked again
  EXPECT_EQ(take().flags, kAck);
  EXPECT_FALSE(wire_->reset);
  send({.flags = kRst, .seq = guest_seq_});
  EXPECT_TRUE(wire_->reset);
  EXPECT_EQ(wire_->socket, nullptr);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_TRUE(quiet());
}

TEST_F(TcpTest, TheHostsResetComesAfterItsData) {
  open();
  wire_->receive_queue = bytes_of("last words");
  wire_->end = true;
  wire_->error = ECONNRESET;
  net_.event(*wire_, kSocketReadable | kSocketHangup | kSocketError);
  EXPECT_EQ(take().payload, bytes_of("last words"));
  const Seen reset = take();
  EXPECT_TRUE(reset.flags & kRst);
  EXPECT_EQ(reset.seq, host_seq_ + 10);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
}

TEST_F(TcpTest, SendingToABrokenHostResetsTheGuest) {
  open();
  wire_->send_error = EPIPE;
  wire_->end = true;
  guest_sends(bytes_of("x"));
  bool reset = false;
  while (!quiet()) reset |= (take().flags & kRst) != 0;
  EXPECT_TRUE(reset);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
}

TEST_F(TcpTest, KeepaliveProbesAreAnswered) {
  open();
  send({.seq = guest_seq_ - 1, .ack = host_seq_});
  Seen answer = take();
  EXPECT_EQ(answer.flags, kAck);
  EXPECT_EQ(answer.ack, guest_seq_);
  send({.seq = guest_seq_ - 1, .ack = host_seq_, .payload = {0}});
  answer = take();
  EXPECT_EQ(answer.ack, guest_seq_);
  EXPECT_TRUE(wire_->keepalive);
  EXPECT_TRUE(wire_->sent.empty());
}

TEST_F(TcpTest, ASynInAnOpenConnectionIsChallenged) {
  open();
  send({.flags = kSyn, .seq = guest_seq_ + 5000});
  const Seen answer = take();
  EXPECT_EQ(answer.flags, kAck);
  EXPECT_EQ(answer.ack, guest_seq_);
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
}

TEST_F(TcpTest, AnAcknowledgementOfWhatWasNotSentIsAnswered) {
  open();
  guest_acks(host_seq_ + 1000);
  EXPECT_EQ(take().flags, kAck);
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
}

TEST_F(TcpTest, AnIdleGuestThatIsGoneIsFoundOut) {
  open();
  net_.loop.advance(s64{3600} * kSecond);
  EXPECT_TRUE(quiet());  // an idle connection makes no frames
  net_.loop.advance(s64{4 * 3600} * kSecond);
  EXPECT_FALSE(quiet());
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_TRUE(wire_->reset);
}

TEST_F(TcpTest, AGuestThatIsPausedLosesNoConnection) {
  open();
  host_sends(bytes_of("x"));
  net_.stack().set_running(false);
  net_.loop.advance(3600 * kSecond);
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
  net_.stack().set_running(true);
  net_.loop.advance(3 * kSecond);
  take();
  EXPECT_EQ(take().payload, bytes_of("x"));
}

TEST_F(TcpTest, NothingLeaksAfterManyConnections) {
  for (unsigned i = 0; i < 2000; ++i) {
    open();
    guest_sends(bytes_of("q"), kFin | kAck | kPsh);
    take();
    host_sends(bytes_of("a"));
    host_ends();
    take();
    take();
    guest_acks(host_seq_ + 2);
    ASSERT_EQ(net_.stack().tcp_flows(), 0u);
    ASSERT_TRUE(quiet());
    ASSERT_EQ(wire_->socket, nullptr);
  }
}

TEST_F(TcpTest, FlowsAreLimited) {
  for (u32 i = 0; i < 3000; ++i) {
    to_ = IpAddress::v4(0x5db80000 + i);
    send_syn();
  }
  EXPECT_EQ(net_.stack().tcp_flows(), 1024u / 8 * 7);
  EXPECT_TRUE(take().flags & kRst);
}

TEST_F(TcpTest, LargeSegmentsGoWholeWhereTheNicTakesThem) {
  net_.guest.caps_ = {.checksum = true, .tso4 = true, .tso6 = true};
  open();
  guest_acks(host_seq_, 2000);
  host_sends(pattern(50000));
  const Offload offload = net_.guest.offloads.front();
  const Seen whole = take();
  EXPECT_EQ(whole.payload, pattern(50000));
  EXPECT_EQ(offload.gso, Offload::tcp4);
  EXPECT_EQ(offload.gso_size, 1460);
  EXPECT_TRUE(offload.needs_checksum);
  EXPECT_EQ(offload.checksum_start, 34);
}

TEST_F(TcpTest, LargeSegmentsFromTheGuestGoToTheSocketAtOnce) {
  open();
  guest_sends(pattern(30000));
  EXPECT_EQ(wire_->sent, pattern(30000));
  EXPECT_EQ(take().ack, guest_seq_);
}

TEST(TcpRestrict, EverythingFromTheGuestIsReset) {
  Net net(std::vector<OptionText>{{"restrict", "on"}});
  Bytes syn(kTcpHeader);
  store_be<u16>(syn.data(), 1);
  store_be<u16>(syn.data() + 2, 80);
  syn[12] = 0x50;
  syn[13] = kSyn;
  net.send_ip(kGateway, kTcp, syn);
  EXPECT_EQ(net.guest.take().flags, kRst | kAck);
  EXPECT_TRUE(net.sockets->wires.empty());
}

TEST_F(ForwardTest, AsksForTheGuestThenConnects) {
  client_connects();
  Seen arp = take();
  EXPECT_EQ(arp.type, kTypeArp);
  Bytes reply(42);
  store_be<u16>(&reply[12], kTypeArp);
  const Bytes body{0,  1, 8, 0,  6,    4,    0,  2, 0x52, 0x54, 0,  0x12, 0x34, 0x56,
                   10, 0, 2, 15, 0x52, 0x55, 10, 0, 2,    2,    10, 0,    2,    2};
  std::copy(body.begin(), body.end(), reply.begin() + 14);
  reply[0] = 0x52;
  reply[1] = 0x55;
  net_.send(reply);
  const Seen syn = take();
  EXPECT_EQ(syn.flags, kSyn);
  EXPECT_EQ(syn.from, kGateway);
  EXPECT_EQ(syn.to, net_.address);
  EXPECT_EQ(syn.from_port, 50000);
  EXPECT_EQ(syn.to_mac, net_.mac);
}

TEST_F(ForwardTest, NothingIsReadBeforeTheGuestAccepts) {
  meet_guest();
  client_connects(IpAddress::v4(0xc0a80105));
  const Seen syn = take();
  EXPECT_EQ(syn.from, IpAddress::v4(0xc0a80105));  // the client's own address
  to_ = syn.from;
  port_ = 50000;
  wire_->receive_queue = bytes_of("SSH-2.0");
  net_.event(*wire_, kSocketReadable);
  EXPECT_TRUE(quiet());
  Bytes answer(kTcpHeader);
  store_be<u16>(answer.data(), 22);
  store_be<u16>(answer.data() + 2, 50000);
  store_be<u32>(answer.data() + 4, 1000);
  store_be<u32>(answer.data() + 8, syn.seq + 1);
  answer[12] = 0x50;
  answer[13] = kSyn | kAck;
  store_be<u16>(answer.data() + 14, 65535);
  net_.send_ip(to_, kTcp, answer);
  const Seen ack = take();
  EXPECT_EQ(ack.flags, kAck);
  EXPECT_EQ(ack.ack, 1001u);
  EXPECT_EQ(take().payload, bytes_of("SSH-2.0"));
}

TEST_F(ForwardTest, AGuestThatRefusesResetsTheClient) {
  meet_guest();
  client_connects();
  const Seen syn = take();
  Bytes answer(kTcpHeader);
  store_be<u16>(answer.data(), 22);
  store_be<u16>(answer.data() + 2, 50000);
  store_be<u32>(answer.data() + 8, syn.seq + 1);
  answer[12] = 0x50;
  answer[13] = kRst | kAck;
  net_.send_ip(kGateway, kTcp, answer);
  EXPECT_TRUE(wire_->reset);
  EXPECT_EQ(wire_->socket, nullptr);
}

TEST_F(ForwardTest, AGuestThatIsSilentResetsTheClientInTheEnd) {
  meet_guest();
  client_connects();
  net_.loop.advance(30 * kSecond);
  EXPECT_FALSE(wire_->reset);
  net_.loop.advance(60 * kSecond);
  EXPECT_TRUE(wire_->reset);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
}

// A stream that another process passed: its first byte is what the guest said.
TEST_F(ForwardTest, AJoinedStreamIsToldTheVerdict) {
  meet_guest();
  const auto join = [&] {
    net_.stack().join({net_.address, 22, 0}, sys::Fd());
    wire_ = net_.sockets->wires.back();
    net_.loop.advance(0);
    return take();
  };
  const auto answers = [&](const Seen& syn, u8 flags) {
    Bytes answer(kTcpHeader);
    store_be<u16>(answer.data(), 22);
    store_be<u16>(answer.data() + 2, syn.from_port);
    store_be<u32>(answer.data() + 4, 1000);
    store_be<u32>(answer.data() + 8, syn.seq + 1);
    answer[12] = 0x50;
    answer[13] = flags;
    store_be<u16>(answer.data() + 14, 65535);
    net_.send_ip(kGateway, kTcp, answer);
  };
  const Seen syn = join();
  EXPECT_EQ(syn.flags, kSyn);
  EXPECT_EQ(syn.from, kGateway);
  EXPECT_TRUE(wire_->sent.empty());
  answers(syn, kSyn | kAck);
  EXPECT_EQ(wire_->sent, Bytes{static_cast<u8>(Verdict::open)});
  EXPECT_EQ(take().ack, 1001u);

  answers(join(), kRst | kAck);
  EXPECT_EQ(wire_->sent, Bytes{static_cast<u8>(Verdict::refused)});
  EXPECT_EQ(wire_->socket, nullptr);
  EXPECT_FALSE(wire_->reset);  // which might overtake it

  join();
  net_.loop.advance(90 * kSecond);
  EXPECT_EQ(wire_->sent, Bytes{static_cast<u8>(Verdict::silent)});
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);  // the first one
}

TEST_F(ForwardTest, TheSameClientPortTwiceGetsAnother) {
  meet_guest();
  client_connects();
  client_connects(IpAddress::v4(0x7f000002));
  EXPECT_EQ(take().from_port, 50000);
  EXPECT_EQ(take().from_port, 50001);
}

}  // namespace
}  // namespace rhea::net::user::testing
