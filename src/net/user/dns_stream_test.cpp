// SPDX-License-Identifier: MIT
// DNS over TCP: the guest's connection to the name server, and the resolver's end.
#include <gtest/gtest.h>

#include "net/user/tcp_fixture.h"

namespace rhea::net::user::testing {
namespace {

constexpr u8 kRefused = 5, kServerFailure = 2;

Bytes question(u16 id, const std::string& label) {
  Bytes bytes{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  bytes.push_back(static_cast<u8>(label.size()));
  store_be<u16>(bytes.data(), id);
  bytes.insert(bytes.end(), label.begin(), label.end());
  bytes.insert(bytes.end(), {0, 0, 1, 0, 1});
  return bytes;
}

Bytes framed(const Bytes& message) {
  Bytes bytes(2);
  store_be<u16>(bytes.data(), static_cast<u16>(message.size()));
  bytes.insert(bytes.end(), message.begin(), message.end());
  return bytes;
}

class DnsStreamTest : public TcpTest {
 protected:
  explicit DnsStreamTest(std::vector<OptionText> options = {}) : TcpTest(std::move(options)) {}
  void connect() {
    to_ = kNameServer;
    port_ = 53;
    send_syn();
    const Seen answer = take();
    ASSERT_EQ(answer.flags, kSyn | kAck);
    ASSERT_EQ(answer.from, kNameServer);
    host_seq_ = answer.seq + 1;
    guest_seq_ = kGuestSeq + 1;
    send({.seq = guest_seq_, .ack = host_seq_, .window = 512});
    wire_ = net_.sockets->wires.at(0);
    server_ = net_.sockets->wires.at(1);
  }
  void guest_asks(const Bytes& bytes) {
    guest_sends(bytes);
    net_.event(*server_, kSocketReadable | kSocketWritable);
    net_.event(*wire_, kSocketReadable);
  }
  // Messages that the guest got since it was last asked.
  std::vector<Bytes> answers() {
    while (!quiet()) {
      const Seen segment = take();
      stream_.insert(stream_.end(), segment.payload.begin(), segment.payload.end());
      host_seq_ += static_cast<u32>(segment.payload.size());
    }
    std::vector<Bytes> messages;
    while (stream_.size() >= 2 && stream_.size() >= 2u + load_be<u16>(stream_.data())) {
      const auto end = stream_.begin() + 2 + load_be<u16>(stream_.data());
      messages.emplace_back(stream_.begin() + 2, end);
      stream_.erase(stream_.begin(), end);
    }
    return messages;
  }
  std::shared_ptr<Wire> resolver(usize number = 0) {
    return net_.sockets->wires.size() > 2 + number ? net_.sockets->wires[2 + number] : nullptr;
  }
  void resolver_answers(const std::shared_ptr<Wire>& wire, Bytes message) {
    message[2] |= 0x80;
    const Bytes bytes = framed(message);
    wire->receive_queue.insert(wire->receive_queue.end(), bytes.begin(), bytes.end());
    net_.event(*wire, kSocketReadable);
    net_.event(*wire_, kSocketReadable);
  }
  std::shared_ptr<Wire> server_;  // the name server's end
  Bytes stream_;
};

TEST_F(DnsStreamTest, OwnNamesAreAnsweredHere) {
  connect();
  guest_asks(framed(question(7, "gateway")));
  const auto got = answers();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(load_be<u16>(got[0].data()), 7);
  EXPECT_EQ(Bytes(got[0].end() - 4, got[0].end()), (Bytes{10, 0, 2, 2}));
  EXPECT_EQ(resolver(), nullptr);
}

TEST_F(DnsStreamTest, OthersGoToTheResolverAndAnswersComeBackInAnyOrder) {
  connect();
  Bytes both = framed(question(1, "one"));
  const Bytes two = framed(question(2, "two"));
  both.insert(both.end(), two.begin(), two.end());
  // In pieces, one of them in the middle of a length.
  guest_asks(Bytes(both.begin(), both.begin() + 1));
  guest_asks(Bytes(both.begin() + 1, both.begin() + 30));
  guest_asks(Bytes(both.begin() + 30, both.end()));
  ASSERT_NE(resolver(), nullptr);
  EXPECT_EQ(resolver()->to, (Endpoint{IpAddress::v4(0x08080808), 53, 0}));
  net_.event(*resolver(), kSocketWritable);
  EXPECT_EQ(resolver()->sent, both);
  resolver_answers(resolver(), question(2, "two"));
  resolver_answers(resolver(), question(1, "one"));
  const auto got = answers();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(load_be<u16>(got[0].data()), 2);
  EXPECT_EQ(load_be<u16>(got[1].data()), 1);
}

TEST_F(DnsStreamTest, TheNextResolverIsAskedAndThenNobody) {
  connect();
  guest_asks(framed(question(9, "far")));
  resolver()->error = ECONNREFUSED;
  net_.event(*resolver(), kSocketError | kSocketHangup);
  ASSERT_NE(resolver(1), nullptr);
  EXPECT_EQ(resolver(1)->to.address, IpAddress::v4(0x09090909));
  net_.event(*resolver(1), kSocketWritable);
  EXPECT_EQ(resolver(1)->sent, framed(question(9, "far")));
  resolver(1)->end = true;  // closes without an answer
  net_.event(*resolver(1), kSocketReadable | kSocketHangup);
  net_.event(*wire_, kSocketReadable);
  const auto got = answers();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0][3] & 15, kServerFailure);
}

TEST_F(DnsStreamTest, ASilentResolverIsPassedByAndSilenceEnds) {
  connect();
  guest_asks(framed(question(9, "far")));
  net_.event(*resolver(), kSocketWritable);
  net_.loop.advance(6 * kSecond);
  EXPECT_EQ(resolver()->socket, nullptr);
  ASSERT_NE(resolver(1), nullptr);
  net_.loop.advance(60 * kSecond);
  net_.event(*wire_, kSocketReadable);
  const auto got = answers();
  ASSERT_FALSE(got.empty());
  EXPECT_EQ(got[0][3] & 15, kServerFailure);
}

TEST_F(DnsStreamTest, AnswersAreSentBeforeTheEndThatTheGuestAskedFor) {
  connect();
  guest_asks(framed(question(3, "far")));
  guest_sends({}, kFin | kAck);
  net_.event(*server_, kSocketReadable | kSocketHangup);
  net_.event(*resolver(), kSocketWritable);
  resolver_answers(resolver(), question(3, "far"));
  net_.event(*wire_, kSocketReadable | kSocketHangup);
  bool fin = false;
  usize bytes = 0;
  while (!quiet()) {
    const Seen segment = take();
    bytes += segment.payload.size();
    fin |= segment.flags & kFin;
  }
  EXPECT_EQ(bytes, framed(question(3, "far")).size());
  EXPECT_TRUE(fin);
  guest_acks(host_seq_ + static_cast<u32>(bytes) + 1);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  for (const auto& wire : net_.sockets->wires) EXPECT_EQ(wire->socket, nullptr);
}

TEST_F(DnsStreamTest, WhatIsNoQueryEndsIt) {
  for (const Bytes& bytes : {framed({}), framed(Bytes(5)), framed(Bytes(40, 0xff))}) {
    net_.sockets->wires.clear();
    connect();
    guest_asks(bytes);
    net_.event(*wire_, kSocketReadable | kSocketHangup);
    bool fin = false;
    while (!quiet()) fin |= take().flags & kFin;
    EXPECT_TRUE(fin);
    send({.flags = kRst, .seq = guest_seq_});
  }
}

TEST_F(DnsStreamTest, ConnectionsAreLimited) {
  to_ = kNameServer;
  port_ = 53;
  unsigned refused = 0;
  for (unsigned i = 0; i < 100; ++i) {
    net_.address = IpAddress::v4(0x0a000210 + i);
    send_syn();
    while (!quiet()) {
      const Seen answer = take();
      refused += answer.protocol == kTcp && answer.flags & kRst;
    }
  }
  EXPECT_EQ(refused, 100u - 64);
}

class ForbiddenNames : public DnsStreamTest {
 protected:
  ForbiddenNames() : DnsStreamTest({{"deny", "example"}}) {}
};

TEST_F(ForbiddenNames, AreRefusedOverTcpToo) {
  connect();
  guest_asks(framed(question(4, "example")));
  const auto got = answers();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0][3] & 15, kRefused);
  EXPECT_EQ(resolver(), nullptr);
}

}  // namespace
}  // namespace rhea::net::user::testing
