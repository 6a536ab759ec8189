// SPDX-License-Identifier: MIT
// For tests of TCP: a connection with both ends played by the test.
#pragma once

#include <memory>

#include "net/user/testing.h"

namespace rhea::net::user::testing {

constexpr u32 kGuestSeq = 0xfffff000;  // wraps early
constexpr u16 kGuestPort = 40000;

class TcpTest : public ::testing::Test {
 protected:
  explicit TcpTest(std::vector<OptionText> options = {}) : net_(std::move(options)) {}
  struct Out {
    u8 flags = kAck;
    u32 seq = 0;
    u32 ack = 0;
    u16 window = 65535;
    Bytes options = {};
    Bytes payload = {};
    u16 urgent = 0;
  };
  void send(const Out& out) {
    Bytes data(kTcpHeader);
    store_be<u16>(data.data(), kGuestPort);
    store_be<u16>(data.data() + 2, port_);
    store_be<u32>(data.data() + 4, out.seq);
    store_be<u32>(data.data() + 8, out.ack);
    data.insert(data.end(), out.options.begin(), out.options.end());
    data[12] = static_cast<u8>(data.size() / 4 << 4);
    data[13] = out.flags;
    store_be<u16>(data.data() + 14, out.window);
    store_be<u16>(data.data() + 18, out.urgent);
    data.insert(data.end(), out.payload.begin(), out.payload.end());
    net_.send_ip(to_, kTcp, data);
  }
  // As Linux opens a connection: MSS 1460, SACK, scale 7.
  void send_syn() { send({.flags = kSyn, .seq = kGuestSeq, .window = 64240, .options = syn_options_}); }
  void open() {
    send_syn();
    wire_ = net_.sockets->wires.back();
    net_.event(*wire_, kSocketWritable);
    const Seen answer = net_.guest.take();
    ASSERT_EQ(answer.flags, kSyn | kAck);
    ASSERT_EQ(answer.ack, kGuestSeq + 1);
    host_seq_ = answer.seq + 1;
    guest_seq_ = kGuestSeq + 1;
    send({.seq = guest_seq_, .ack = host_seq_, .window = 512});
    ASSERT_TRUE(net_.guest.empty());
  }
  // Data from the host's peer.
  void host_sends(const Bytes& data) {
    wire_->receive_queue.insert(wire_->receive_queue.end(), data.begin(), data.end());
    net_.event(*wire_, kSocketReadable);
  }
  void host_ends() {
    wire_->end = true;
    net_.event(*wire_, kSocketReadable | kSocketHangup);
  }
  void guest_sends(const Bytes& data, u8 flags = kAck | kPsh) {
    send({.flags = flags, .seq = guest_seq_, .ack = host_seq_, .window = 512, .payload = data});
    guest_seq_ += static_cast<u32>(data.size()) + (flags & kFin ? 1 : 0);
  }
  void guest_acks(u32 ack, u16 window = 512) { send({.seq = guest_seq_, .ack = ack, .window = window}); }
  Seen take() { return net_.guest.take(); }
  bool quiet() { return net_.guest.empty(); }

  Net net_;
  IpAddress to_ = kOutside;
  u16 port_ = 80;
  Bytes syn_options_{2, 4, 0x05, 0xb4, 4, 2, 1, 1, 1, 3, 3, 7};
  std::shared_ptr<Wire> wire_;
  u32 guest_seq_ = 0, host_seq_ = 0;
};

class ForwardTest : public TcpTest {
 protected:
  ForwardTest() {
    auto rule = parse_forward("tcp:127.0.0.1:2222-:22");
    EXPECT_TRUE(net_.stack().add_forward(*rule).ok());
    listener_ = net_.sockets->wires.front();
    port_ = 22;
  }
  void client_connects(const IpAddress& from = IpAddress::v4(0x7f000001)) {
    wire_ = std::make_shared<Wire>();
    wire_->kind = SocketKind::stream;
    listener_->pending.push_back({wire_, Endpoint{from, 50000, 0}});
    net_.event(*listener_, kSocketReadable);
  }
  void meet_guest() { net_.send_udp(kGateway, 9, 9, {}); }  // so that its MAC is known
  std::shared_ptr<Wire> listener_;
};

}  // namespace rhea::net::user::testing
