// SPDX-License-Identifier: MIT
// For tests: a guest that makes and reads frames, and a stack for it on fake sockets.
#pragma once

#include <gtest/gtest.h>

#include "net/checksum.h"
#include "net/user/fakes.h"
#include "net/user/tcp_flow.h"
#include "net/user/user_backend.h"

namespace rhea::net::user::testing {

// A frame that the guest got, taken apart. Every checksum was looked at.
struct Seen {
  Bytes frame;
  Mac to_mac{}, from_mac{};
  u16 type = 0;
  IpAddress from, to;
  u8 protocol = 0, ttl = 0;
  u16 from_port = 0, to_port = 0;
  u32 seq = 0, ack = 0;
  u8 flags = 0;
  u16 window = 0;
  Segment options;
  Bytes payload;  // of TCP, UDP; the whole message of ICMP; what follows the Ethernet header of others
};

class Guest final : public Port {
 public:
  Guest() : Port("nic") {}
  Caps caps() const override { return caps_; }
  Sent send(const Frame& frame) override {
    if (room == 0) return Sent::busy;
    --room;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    offloads.push_back(frame.offload);
    frames.push_back(std::move(bytes));
    return Sent::taken;
  }
  std::string type() const override { return "nic"; }
  std::string info() const override { return "model=test"; }

  bool empty() const { return frames.empty(); }
  Seen take();

  Caps caps_;
  usize room = ~usize{0};
  std::deque<Bytes> frames;
  std::deque<Offload> offloads;
};

inline Seen Guest::take() {
  Seen seen;
  if (frames.empty()) {
    ADD_FAILURE() << "the guest got no frame";
    return seen;
  }
  seen.frame = std::move(frames.front());
  const Offload offload = offloads.front();
  frames.pop_front();
  offloads.pop_front();
  EXPECT_GE(seen.frame.size(), kMinFrame);
  std::memcpy(seen.to_mac.data(), seen.frame.data(), 6);
  std::memcpy(seen.from_mac.data(), seen.frame.data() + 6, 6);
  seen.type = load_be<u16>(seen.frame.data() + 12);
  const u8* ip = seen.frame.data() + kEthernetHeader;
  seen.payload.assign(seen.frame.begin() + kEthernetHeader, seen.frame.end());
  if (seen.type != kTypeIpv4 && seen.type != kTypeIpv6) return seen;
  const bool v4 = seen.type == kTypeIpv4;
  const usize header = v4 ? (ip[0] & 15u) * 4 : kIpv6Header;
  const usize size = v4 ? load_be<u16>(ip + 2) - header : load_be<u16>(ip + 4);
  EXPECT_LE(kEthernetHeader + header + size, seen.frame.size());
  if (v4) { EXPECT_EQ(checksum(ip, header), 0); }
  seen.from = IpAddress::from_wire(ip + (v4 ? 12 : 8), v4);
  seen.to = IpAddress::from_wire(ip + (v4 ? 16 : 24), v4);
  seen.protocol = ip[v4 ? 9 : 6];
  seen.ttl = ip[v4 ? 8 : 7];
  const u8* data = ip + header;
  seen.payload.assign(data, data + size);
  if (v4 && load_be<u16>(ip + 6) & 0x3fff) return seen;
  ChecksumSum sum;
  if (seen.protocol != kIcmp) sum.add_pseudo_header(seen.from, seen.to, seen.protocol, size);
  sum.add(data, size);
  if (!offload.needs_checksum) { EXPECT_EQ(sum.checksum(), 0) << "protocol " << int{seen.protocol}; }
  if (seen.protocol == kTcp) {
    const Piece piece{seen.frame.data(), seen.frame.size()};
    const Frame frame{std::span(&piece, 1), {}};
    Packet packet;
    packet.frame = &frame;
    packet.head_size = frame.copy(0, packet.head.data(), packet.head.size());
    packet.transport = kEthernetHeader + header;
    packet.end = packet.transport + size;
    EXPECT_TRUE(parse_segment(packet, seen.options));
    seen.seq = seen.options.seq;
    seen.ack = seen.options.ack;
    seen.flags = seen.options.flags;
    seen.window = seen.options.window;
    seen.payload.erase(seen.payload.begin(), seen.payload.begin() + static_cast<std::ptrdiff_t>(seen.options.header));
  }
  if (seen.protocol == kTcp || seen.protocol == kUdp) {
    seen.from_port = load_be<u16>(data);
    seen.to_port = load_be<u16>(data + 2);
  }
  if (seen.protocol == kUdp) seen.payload.erase(seen.payload.begin(), seen.payload.begin() + kUdpHeader);
  return seen;
}

// A stack with a guest on it.
class Net {
 public:
  explicit Net(std::vector<OptionText> options = {}) {
    auto config = parse_user_options(options, warnings);
    EXPECT_TRUE(config.ok()) << config.error().message();
    backend = std::make_unique<UserBackend>(
        "n0", config.take(), Stack::Services{loop, log, [this](std::string line) { warnings.push_back(line); }},
        [this](std::function<void()> after) {
          after_events = std::move(after);
          auto made = std::make_unique<FakeSockets>();
          sockets = made.get();
          return made;
        });
    Port::connect(guest, *backend);
  }
  ~Net() { Port::disconnect(guest); }

  Stack& stack() { return backend->stack(); }
  Wire& wire(usize index) { return *sockets->wires.at(index); }
  Wire& last() { return *sockets->wires.back(); }
  void event(Wire& wire, u32 events) {
    wire.notify(events);
    after_events();
    loop.settle();
  }

  void send(const Bytes& frame) {
    const Piece piece{const_cast<u8*>(frame.data()), frame.size()};
    send_to_peer(guest, Frame{std::span(&piece, 1), {}});
    loop.settle();
  }
  void send_ip(const IpAddress& to, u8 protocol, const Bytes& transport, u8 ttl = 64, u16 fragment = 0, u16 id = 77) {
    Bytes frame(kEthernetHeader + kIpv4Header);
    const Mac gateway{0x52, 0x55, 10, 0, 2, 2};
    std::memcpy(frame.data(), gateway.data(), 6);
    std::memcpy(frame.data() + 6, mac.data(), 6);
    store_be<u16>(frame.data() + 12, kTypeIpv4);
    u8* ip = frame.data() + kEthernetHeader;
    ip[0] = 0x45;
    store_be<u16>(ip + 2, static_cast<u16>(kIpv4Header + transport.size()));
    store_be<u16>(ip + 4, id);
    store_be<u16>(ip + 6, fragment);
    ip[8] = ttl;
    ip[9] = protocol;
    std::memcpy(ip + 12, address.wire(), 4);
    std::memcpy(ip + 16, to.wire(), 4);
    store_be<u16>(ip + 10, checksum(ip, kIpv4Header));
    frame.insert(frame.end(), transport.begin(), transport.end());
    send(frame);
  }
  void send_udp(const IpAddress& to, u16 from_port, u16 to_port, const Bytes& payload, u8 ttl = 64) {
    send_ip(to, kUdp, udp(from_port, to_port, payload), ttl);
  }
  static Bytes udp(u16 from_port, u16 to_port, const Bytes& payload) {
    Bytes data(kUdpHeader);
    store_be<u16>(data.data(), from_port);
    store_be<u16>(data.data() + 2, to_port);
    store_be<u16>(data.data() + 4, static_cast<u16>(kUdpHeader + payload.size()));
    data.insert(data.end(), payload.begin(), payload.end());
    return data;
  }

  FakeLoop loop;
  Log log;
  FakeSockets* sockets = nullptr;
  std::function<void()> after_events;
  std::vector<std::string> warnings;
  Guest guest;
  std::unique_ptr<UserBackend> backend;
  Mac mac{0x52, 0x54, 0, 0x12, 0x34, 0x56};
  IpAddress address = IpAddress::v4(0x0a00020f);
};

inline Bytes bytes_of(std::string_view text) { return Bytes(text.begin(), text.end()); }
inline Bytes pattern(usize size, u32 start = 0) {
  Bytes bytes(size);
  for (usize i = 0; i < size; ++i) bytes[i] = static_cast<u8>((start + i) * 2654435761u >> 24);
  return bytes;
}

const IpAddress kGateway = IpAddress::v4(0x0a000202), kNameServer = IpAddress::v4(0x0a000203);
const IpAddress kOutside = IpAddress::v4(0x5db8d822);  // 93.184.216.34

}  // namespace rhea::net::user::testing
