// SPDX-License-Identifier: MIT
// ARP, DHCP, DNS, ICMP, UDP, IPv4 fragments and IPv6 of the user-mode stack.
#include <gtest/gtest.h>

#include <map>

#include "net/user/testing.h"

namespace rhea::net::user::testing {
namespace {

Bytes arp_request(const IpAddress& target, const IpAddress& sender = IpAddress::v4(0x0a00020f)) {
  Bytes frame(60);
  std::fill_n(frame.begin(), 6, 0xff);
  const Mac mac{0x52, 0x54, 0, 0x12, 0x34, 0x56};
  std::copy(mac.begin(), mac.end(), frame.begin() + 6);
  store_be<u16>(&frame[12], kTypeArp);
  const Bytes head{0, 1, 8, 0, 6, 4, 0, 1};
  std::copy(head.begin(), head.end(), frame.begin() + 14);
  std::copy(mac.begin(), mac.end(), frame.begin() + 22);
  std::memcpy(&frame[28], sender.wire(), 4);
  std::memcpy(&frame[38], target.wire(), 4);
  return frame;
}

TEST(Arp, AnswersForItsOwnAddressesOnly) {
  Net net;
  for (const IpAddress& own : {kGateway, kNameServer}) {
    net.send(arp_request(own));
    const Seen reply = net.guest.take();
    EXPECT_EQ(reply.type, kTypeArp);
    EXPECT_EQ(reply.to_mac, net.mac);
    EXPECT_EQ(reply.from_mac, (Mac{0x52, 0x55, 10, 0, 2, own.bytes[15]}));
    EXPECT_EQ(load_be<u16>(&reply.payload[6]), 2);
    EXPECT_EQ(IpAddress::from_wire(&reply.payload[14], true), own);
    EXPECT_EQ(IpAddress::from_wire(&reply.payload[24], true), net.address);
  }
  net.send(arp_request(IpAddress::v4(0x0a000204)));
  net.send(arp_request(net.address));
  EXPECT_TRUE(net.guest.empty());
  net.send(arp_request(kGateway, IpAddress::v4(0)));  // is the address free? It is not.
  EXPECT_FALSE(net.guest.empty());
}

class DhcpTest : public ::testing::Test {
 protected:
  using Options = std::vector<std::pair<u8, Bytes>>;
  Bytes message(u8 type, const Options& options = {}, const IpAddress& client = IpAddress::v4(0)) {
    Bytes bytes(240);
    bytes[0] = 1;
    bytes[1] = 1;
    bytes[2] = 6;
    store_be<u32>(&bytes[4], 0xdeadbeef);
    std::memcpy(&bytes[12], client.wire(), 4);
    std::copy(mac_.begin(), mac_.end(), bytes.begin() + 28);
    store_be<u32>(&bytes[236], 0x63825363);
    if (type) bytes.insert(bytes.end(), {53, 1, type});
    for (const auto& [number, data] : options) {
      bytes.push_back(number);
      bytes.push_back(static_cast<u8>(data.size()));
      bytes.insert(bytes.end(), data.begin(), data.end());
    }
    bytes.push_back(255);
    return bytes;
  }
  void send(Net& net, const Bytes& bytes) {
    net.address = IpAddress::v4(0);
    net.send_udp(IpAddress::v4(0xffffffff), 68, 67, bytes);
  }
  static Bytes address(u32 value) { return {u8(value >> 24), u8(value >> 16), u8(value >> 8), u8(value)}; }
  static Options options_of(const Seen& seen) {
    Options options;
    for (usize at = 240; at < seen.payload.size() && seen.payload[at] != 255;) {
      const u8 length = seen.payload[at + 1];
      options.push_back({seen.payload[at], Bytes(&seen.payload[at + 2], &seen.payload[at + 2] + length)});
      at += 2u + length;
    }
    return options;
  }
  static std::vector<int> numbers(const Options& options) {
    std::vector<int> result;
    for (const auto& [number, data] : options) result.push_back(number);
    return result;
  }
  static IpAddress given(const Seen& seen) { return IpAddress::from_wire(&seen.payload[16], true); }
  Mac mac_{0x52, 0x54, 0, 0x12, 0x34, 0x56};
};

TEST_F(DhcpTest, OffersAndAcknowledges) {
  Net net(std::vector<OptionText>{
      {"hostname", "vm"}, {"domainname", "lab.test"}, {"dnssearch", "a.lab.test"}, {"dnssearch", "lab.test"}});
  send(net, message(1));
  Seen offer = net.guest.take();
  EXPECT_EQ(offer.to_mac, (Mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_EQ(offer.from_mac, (Mac{0x52, 0x55, 10, 0, 2, 2}));
  EXPECT_EQ(offer.frame.size(), 590u);
  EXPECT_EQ(offer.from, kGateway);
  EXPECT_EQ(offer.to, IpAddress::v4(0xffffffff));
  EXPECT_EQ(given(offer), IpAddress::v4(0x0a00020f));
  EXPECT_EQ(load_be<u32>(&offer.payload[4]), 0xdeadbeefu);
  const Options options = options_of(offer);
  EXPECT_EQ(numbers(options), (std::vector<int>{53, 54, 1, 3, 6, 51, 12, 15, 119}));
  EXPECT_EQ(options[0].second, Bytes{2});
  EXPECT_EQ(options[2].second, (Bytes{255, 255, 255, 0}));
  EXPECT_EQ(options[3].second, (Bytes{10, 0, 2, 2}));
  EXPECT_EQ(options[4].second, (Bytes{10, 0, 2, 3}));
  EXPECT_EQ(options[5].second, (Bytes{0, 1, 0x51, 0x80}));
  EXPECT_EQ(options[6].second, bytes_of("vm"));
  EXPECT_EQ(options[8].second, (Bytes{1, 'a', 3, 'l', 'a', 'b', 4, 't', 'e', 's', 't', 0, 0xc0, 2}));
  send(net, message(3, {{50, address(0x0a00020f)}, {54, address(0x0a000202)}}));
  const Seen ack = net.guest.take();
  EXPECT_EQ(options_of(ack)[0].second, Bytes{5});
  EXPECT_EQ(given(ack), IpAddress::v4(0x0a00020f));
}

TEST_F(DhcpTest, LeasesAreByMacAndSixteen) {
  Net net;
  for (unsigned i = 0; i < 18; ++i) {
    mac_[5] = static_cast<u8>(i);
    send(net, message(1));
    if (i >= 16) {
      EXPECT_TRUE(net.guest.empty());
    } else {
      EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a00020f + i));
    }
  }
  mac_[5] = 3;
  send(net, message(3));
  EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a000212));
  send(net, message(7));  // given back
  mac_[5] = 99;
  send(net, message(1));
  EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a000212));
}

TEST_F(DhcpTest, RefusesWhatIsNotItsOwn) {
  Net net;
  for (const u32 wrong : {0xc0a80005u, 0x0a000202u, 0x0a000263u}) {
    send(net, message(3, {{50, address(wrong)}}));
    const Seen nak = net.guest.take();
    EXPECT_EQ(options_of(nak)[0].second, Bytes{6});
    EXPECT_EQ(options_of(nak)[2].second, bytes_of("requested address not available"));
  }
  send(net, message(3, {{50, address(0x0a00020f)}, {54, address(0x0a000209)}}));  // to another server
  EXPECT_TRUE(net.guest.empty());
}

TEST_F(DhcpTest, AnswersInformAndBootp) {
  Net net;
  send(net, message(8, {}, IpAddress::v4(0x0a000242)));
  Seen answer = net.guest.take();
  EXPECT_EQ(options_of(answer)[0].second, Bytes{5});
  EXPECT_EQ(given(answer), IpAddress::v4(0));
  EXPECT_EQ(numbers(options_of(answer)), (std::vector<int>{53, 54, 1, 3, 6}));
  send(net, message(0));
  EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a00020f));
}

TEST_F(DhcpTest, RestrictedGuestsGetNoRouter) {
  Net net(std::vector<OptionText>{{"restrict", "on"}});
  send(net, message(1));
  EXPECT_EQ(numbers(options_of(net.guest.take())), (std::vector<int>{53, 54, 1, 51}));
}

TEST_F(DhcpTest, TellsWhatOptionsSay) {
  Net net(std::vector<OptionText>{{"bootfile", "http://10.0.2.2/boot.ipxe"},
                                  {"tftp-server-name", "boot.test"},
                                  {"mtu", "1400"},
                                  {"ntp", "10.0.2.2"},
                                  {"ntp", "192.0.2.1"}});
  send(net, message(1, {{55, {1, 3, 67}}}));
  const Seen offer = net.guest.take();
  const Options options = options_of(offer);
  EXPECT_EQ(numbers(options), (std::vector<int>{53, 54, 1, 3, 6, 51, 66, 60, 26, 42, 67}));
  EXPECT_EQ(options[6].second, bytes_of("boot.test"));
  EXPECT_EQ(options[7].second, bytes_of("HTTPClient"));
  EXPECT_EQ(options[8].second, (Bytes{0x05, 0x78}));
  EXPECT_EQ(options[9].second, (Bytes{10, 0, 2, 2, 192, 0, 2, 1}));
  EXPECT_STREQ(reinterpret_cast<const char*>(&offer.payload[108]), "http://10.0.2.2/boot.ipxe");
}

TEST_F(DhcpTest, RapidCommitIsOneRoundTrip) {
  Net net;
  send(net, message(1, {{80, {}}}));
  const Seen ack = net.guest.take();
  EXPECT_EQ(options_of(ack)[0].second, Bytes{5});
  EXPECT_EQ(options_of(ack).back().first, 80);
  EXPECT_EQ(given(ack), IpAddress::v4(0x0a00020f));
}

TEST_F(DhcpTest, LeasesKeptForOneGuest) {
  Net net(std::vector<OptionText>{{"dhcp-lease", "52:54:00:12:34:56=10.0.2.77=web"},
                                  {"dhcp-lease", "52:54:00:12:34:99=10.0.2.15"}});
  send(net, message(1));
  const Seen offer = net.guest.take();
  EXPECT_EQ(given(offer), IpAddress::v4(0x0a00024d));
  mac_[5] = 0x57;
  send(net, message(1, {{50, address(0x0a00024d)}}));
  EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a000210));  // neither of those
  send(net, message(3, {{50, address(0x0a00020f)}}));
  EXPECT_EQ(options_of(net.guest.take())[0].second, Bytes{6});
  mac_[5] = 0x99;
  send(net, message(3, {{50, address(0x0a00020f)}}));
  EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a00020f));
}

TEST_F(DhcpTest, ADeclinedAddressIsNotGivenAgain) {
  Net net;
  send(net, message(1));
  net.guest.take();
  send(net, message(4, {{50, address(0x0a00020f)}}));
  send(net, message(1));
  EXPECT_EQ(given(net.guest.take()), IpAddress::v4(0x0a000210));
}

Bytes echo(u16 id, u16 sequence, const Bytes& data, u8 type = 8) {
  Bytes bytes(8);
  bytes[0] = type;
  store_be<u16>(&bytes[4], id);
  store_be<u16>(&bytes[6], sequence);
  bytes.insert(bytes.end(), data.begin(), data.end());
  store_be<u16>(&bytes[2], checksum(bytes.data(), bytes.size()));
  return bytes;
}

TEST(Icmp, EchoOfTheGatewayIsAnsweredHere) {
  Net net;
  for (const IpAddress& own : {kGateway, kNameServer}) {
    net.send_ip(own, kIcmp, echo(5, 6, pattern(1400)));
    const Seen reply = net.guest.take();
    EXPECT_EQ(reply.from, own);
    EXPECT_EQ(reply.ttl, 255);
    EXPECT_EQ(reply.payload, echo(5, 6, pattern(1400), 0));
  }
  EXPECT_TRUE(net.sockets->wires.empty());
}

TEST(Icmp, EchoToTheWorldUsesAPingSocket) {
  Net net;
  net.send_ip(kOutside, kIcmp, echo(5, 6, bytes_of("data")));
  Wire& wire = net.last();
  EXPECT_EQ(wire.kind, SocketKind::ping);
  EXPECT_EQ(wire.ttl, 63u);
  ASSERT_EQ(wire.sent_to.size(), 1u);
  EXPECT_EQ(wire.sent_to[0].first.address, kOutside);
  wire.datagrams.push_back({{kOutside, 0, 0}, echo(1234, 6, bytes_of("data"), 0)});
  net.event(wire, kSocketReadable);
  const Seen reply = net.guest.take();
  EXPECT_EQ(reply.from, kOutside);
  EXPECT_EQ(reply.payload, echo(5, 6, bytes_of("data"), 0));
  net.loop.advance(60 * kSecond);
  EXPECT_EQ(wire.socket, nullptr);
}

TEST(Icmp, RawSocketWhereThereAreNoPingSockets) {
  Net net;
  net.sockets->refuse[static_cast<usize>(SocketKind::ping)] = EACCES;
  net.send_ip(kOutside, kIcmp, echo(5, 6, {}));
  Wire& wire = net.last();
  EXPECT_EQ(wire.kind, SocketKind::raw_icmp);
  const u16 id = load_be<u16>(&wire.sent_to.at(0).second[4]);
  Bytes packet(20);
  packet[0] = 0x45;
  const Bytes wrong = echo(static_cast<u16>(id + 1), 6, {}, 0), right = echo(id, 6, {}, 0);
  Bytes other = packet;
  other.insert(other.end(), wrong.begin(), wrong.end());
  packet.insert(packet.end(), right.begin(), right.end());
  wire.datagrams.push_back({{kOutside, 0, 0}, other});  // somebody else's
  wire.datagrams.push_back({{kOutside, 0, 0}, packet});
  net.event(wire, kSocketReadable);
  EXPECT_EQ(net.guest.take().payload, echo(5, 6, {}, 0));
  EXPECT_TRUE(net.guest.empty());
}

TEST(Icmp, SilenceIsExplainedOnce) {
  Net net;
  net.sockets->refuse[static_cast<usize>(SocketKind::ping)] = EACCES;
  net.sockets->refuse[static_cast<usize>(SocketKind::raw_icmp)] = EPERM;
  net.send_ip(kOutside, kIcmp, echo(5, 6, {}));
  net.send_ip(kOutside, kIcmp, echo(5, 7, {}));
  EXPECT_TRUE(net.guest.empty());
  ASSERT_EQ(net.warnings.size(), 1u);
  EXPECT_NE(net.warnings[0].find("net.ipv4.ping_group_range"), std::string::npos);
}

TEST(Icmp, AProbeStandsInOnlyForATargetThatAnswersIt) {
  Net net;
  net.sockets->refuse[static_cast<usize>(SocketKind::ping)] = EACCES;
  net.sockets->refuse[static_cast<usize>(SocketKind::raw_icmp)] = EPERM;
  net.send_ip(kOutside, kIcmp, echo(5, 6, bytes_of("data")));
  net.send_ip(kOutside, kIcmp, echo(5, 7, bytes_of("data")));
  Wire& wire = net.last();
  EXPECT_EQ(wire.kind, SocketKind::datagram);
  ASSERT_EQ(wire.sent_to.size(), 2u);
  const auto told = [&](usize index, const IpAddress& by, u8 type, u8 code) {
    SocketError error;
    error.error = ECONNREFUSED;
    error.from_icmp = true;
    error.type = type;
    error.code = code;
    error.offender = by;
    error.to = wire.sent_to[index].first;
    wire.errors.push_back(error);
    net.event(wire, kSocketError);
  };
  told(1, IpAddress::v4(0xc0000201), 11, 0);  // a router on the way
  const Seen hop = net.guest.take();
  EXPECT_EQ(hop.payload.at(0), 11);
  EXPECT_EQ(load_be<u16>(&hop.payload[8 + 20 + 6]), 7);
  told(0, kOutside, 3, 3);
  EXPECT_EQ(net.guest.take().payload, echo(5, 6, bytes_of("data"), 0));
  told(0, kOutside, 3, 3);  // once
  EXPECT_TRUE(net.guest.empty());
}

TEST(Icmp, TracerouteSeesTheGatewayAndTheHops) {
  Net net;
  net.send_ip(kOutside, kIcmp, echo(5, 1, bytes_of("x")), 1);
  Seen first = net.guest.take();
  EXPECT_EQ(first.from, kGateway);
  EXPECT_EQ(first.payload.at(0), 11);
  net.send_ip(kOutside, kIcmp, echo(5, 2, bytes_of("x")), 2);
  Wire& wire = net.last();
  EXPECT_EQ(wire.ttl, 1u);
  SocketError error;
  error.error = EHOSTUNREACH;
  error.from_icmp = true;
  error.type = 11;
  error.offender = IpAddress::v4(0xc0000201);
  error.to = {kOutside, 0, 0};
  error.payload = echo(777, 2, bytes_of("x"));
  wire.errors.push_back(error);
  net.event(wire, kSocketError);
  const Seen hop = net.guest.take();
  EXPECT_EQ(hop.from, IpAddress::v4(0xc0000201));
  EXPECT_EQ(hop.payload.at(0), 11);
  EXPECT_EQ(IpAddress::from_wire(&hop.payload[8 + 16], true), kOutside);
  EXPECT_EQ(load_be<u16>(&hop.payload[8 + 20 + 4]), 5);  // the guest's identifier
  EXPECT_EQ(load_be<u16>(&hop.payload[8 + 20 + 6]), 2);
}

TEST(Udp, OneSocketForAPortOfTheGuest) {
  Net net;
  net.send_udp(kOutside, 5000, 6000, bytes_of("hello"));
  net.send_udp(kGateway, 5000, 7000, bytes_of("host"));
  ASSERT_EQ(net.sockets->wires.size(), 1u);
  Wire& wire = net.last();
  ASSERT_EQ(wire.sent_to.size(), 2u);
  EXPECT_EQ(wire.sent_to[0].first, (Endpoint{kOutside, 6000, 0}));
  EXPECT_EQ(wire.sent_to[1].first, (Endpoint{IpAddress::v4(0x7f000001), 7000, 0}));
  EXPECT_EQ(wire.sent_to[1].second, bytes_of("host"));
  // Anybody may answer (endpoint-independent filtering).
  wire.datagrams.push_back({{IpAddress::v4(0x01020304), 99, 0}, bytes_of("new")});
  wire.datagrams.push_back({{IpAddress::v4(0x7f000001), 7000, 0}, bytes_of("back")});
  net.event(wire, kSocketReadable);
  Seen seen = net.guest.take();
  EXPECT_EQ(seen.from, IpAddress::v4(0x01020304));
  EXPECT_EQ(seen.from_port, 99);
  EXPECT_EQ(seen.to_port, 5000);
  EXPECT_EQ(seen.payload, bytes_of("new"));
  seen = net.guest.take();
  EXPECT_EQ(seen.from, kGateway);
  EXPECT_EQ(seen.payload, bytes_of("back"));
  net.loop.advance(241 * kSecond);
  EXPECT_EQ(net.stack().udp_flows(), 0u);
  EXPECT_EQ(wire.socket, nullptr);
}

TEST(Udp, RefusalsAreTold) {
  Net net;
  net.send_udp(kGateway, 5000, 7000, bytes_of("x"));
  SocketError error;
  error.error = ECONNREFUSED;
  error.from_icmp = true;
  error.type = 3;
  error.code = 3;
  error.offender = IpAddress::v4(0x7f000001);
  error.to = {IpAddress::v4(0x7f000001), 7000, 0};
  error.payload = bytes_of("x");
  net.last().errors.push_back(error);
  net.event(net.last(), kSocketError);
  const Seen seen = net.guest.take();
  EXPECT_EQ(seen.from, kGateway);
  EXPECT_EQ(seen.payload.at(0), 3);
  EXPECT_EQ(seen.payload.at(1), 3);
  EXPECT_EQ(load_be<u16>(&seen.payload[8 + 20]), 5000);
  EXPECT_EQ(load_be<u16>(&seen.payload[8 + 22]), 7000);
  net.send_udp(kNameServer, 5000, 99, bytes_of("x"));
  EXPECT_EQ(net.guest.take().payload.at(1), 3);
  net.send_udp(IpAddress::v4(0x0a000263), 5000, 99, bytes_of("x"));
  EXPECT_EQ(net.guest.take().payload.at(1), 1);
}

TEST(Udp, APathThatIsTooNarrowIsTold) {
  Net net;
  Bytes udp = Net::udp(4000, 9, pattern(1400));
  net.send_ip(kOutside, kUdp, udp, 64, 0x4000);  // do not fragment
  Wire& wire = net.last();
  EXPECT_TRUE(wire.whole);
  ASSERT_EQ(wire.sent_to.size(), 1u);
  // The next one meets a route of 1280 bytes.
  wire.send_error = EMSGSIZE;
  wire.errors.push_back({.error = EMSGSIZE, .info = 1280, .to = {kOutside, 0, 0}, .payload = pattern(64)});
  net.send_ip(kOutside, kUdp, udp, 64, 0x4000);
  const Seen told = net.guest.take();
  EXPECT_EQ(told.protocol, kIcmp);
  EXPECT_EQ(told.from, kGateway);
  EXPECT_EQ(told.payload.at(0), 3);
  EXPECT_EQ(told.payload.at(1), 4);
  EXPECT_EQ(load_be<u32>(&told.payload[4]), 1280u);
  EXPECT_EQ(load_be<u16>(&told.payload[28]), 4000);
  EXPECT_EQ(load_be<u16>(&told.payload[30]), 9);
  // What may be fragmented is.
  wire.send_error = 0;
  net.send_ip(kOutside, kUdp, udp, 64, 0);
  EXPECT_FALSE(wire.whole);
  EXPECT_EQ(wire.sent_to.size(), 2u);
}

TEST(Udp, LargeDatagramsInFragments) {
  Net net;
  const Bytes data = pattern(4000);
  const Bytes datagram = Net::udp(5000, 6000, data);
  const auto part = [&](usize from, usize to) {
    return Bytes(datagram.begin() + static_cast<std::ptrdiff_t>(from),
                 datagram.begin() + static_cast<std::ptrdiff_t>(to));
  };
  net.send_ip(kOutside, kUdp, part(2960, 4008), 64, 2960 / 8);
  net.send_ip(kOutside, kUdp, part(0, 1480), 64, 0x2000);
  EXPECT_TRUE(net.sockets->wires.empty());
  net.send_ip(kOutside, kUdp, part(1480, 2960), 64, 0x2000 | 1480 / 8);
  ASSERT_EQ(net.sockets->wires.size(), 1u);
  EXPECT_EQ(net.last().sent_to.at(0).second, data);
  net.last().datagrams.push_back({{kOutside, 6000, 0}, data});
  net.event(net.last(), kSocketReadable);
  Bytes back;
  for (int i = 0; i < 3; ++i) {
    const Seen seen = net.guest.take();
    EXPECT_LE(seen.frame.size(), 1514u);
    EXPECT_EQ((load_be<u16>(&seen.frame[20]) & 0x1fffu) * 8, back.size());
    back.insert(back.end(), seen.payload.begin(), seen.payload.end());
  }
  EXPECT_EQ(Bytes(back.begin() + 8, back.end()), data);
}

TEST(Udp, OverlappingFragmentsAreDropped) {
  Net net;
  const Bytes datagram = Net::udp(5000, 6000, pattern(2000));
  net.send_ip(kOutside, kUdp, Bytes(datagram.begin(), datagram.begin() + 1480), 64, 0x2000);
  net.send_ip(kOutside, kUdp, Bytes(datagram.begin() + 1472, datagram.end()), 64, 1472 / 8);
  EXPECT_TRUE(net.sockets->wires.empty());
}

TEST(Udp, ABurstIsOneCall) {
  Net net;
  const auto frame = [&](usize size, u32 start) {
    const Bytes datagram = Net::udp(5000, 6000, pattern(size, start));
    Bytes bytes(kEthernetHeader + kIpv4Header);
    const Mac gateway{0x52, 0x55, 10, 0, 2, 2};
    std::copy(gateway.begin(), gateway.end(), bytes.begin());
    std::copy(net.mac.begin(), net.mac.end(), bytes.begin() + 6);
    store_be<u16>(&bytes[12], kTypeIpv4);
    bytes[14] = 0x45;
    store_be<u16>(&bytes[16], static_cast<u16>(kIpv4Header + datagram.size()));
    bytes[22] = 64;
    bytes[23] = kUdp;
    std::memcpy(&bytes[26], net.address.wire(), 4);
    std::memcpy(&bytes[30], kOutside.wire(), 4);
    bytes.insert(bytes.end(), datagram.begin(), datagram.end());
    return bytes;
  };
  // 100 datagrams of 1400 bytes and one of 7 within a turn: the first at once, the others in bursts.
  for (u32 i = 0; i <= 100; ++i) {
    const Bytes bytes = frame(i == 100 ? 7 : 1400, i);
    const Piece piece{const_cast<u8*>(bytes.data()), bytes.size()};
    send_to_peer(net.guest, Frame{std::span(&piece, 1), {}});
  }
  net.loop.advance(kMillisecond);
  ASSERT_EQ(net.last().sent_to.size(), 101u);
  EXPECT_LE(net.last().send_calls, 5u);
  for (u32 i = 0; i <= 100; ++i) EXPECT_EQ(net.last().sent_to[i].second, pattern(i == 100 ? 7 : 1400, i));
  // What a turn has gathered is not kept for the next one.
  net.loop.advance(kMillisecond);
  net.send(frame(10, 1));
  net.send(frame(10, 2));
  EXPECT_EQ(net.last().sent_to.size(), 103u);
}

TEST(Udp, AStreamIsGatheredOverTurnsForAMillisecond) {
  Net net;
  const u32 stream = 40;
  for (u32 i = 0; i < stream; ++i) net.send_udp(kOutside, 5000, 6000, pattern(1000, i));
  const usize calls = net.last().send_calls;
  EXPECT_LT(calls, stream);
  EXPECT_LT(net.last().sent_to.size(), stream);
  net.loop.advance(kMillisecond);
  ASSERT_EQ(net.last().sent_to.size(), stream);
  EXPECT_EQ(net.last().send_calls, calls + 1);
  for (u32 i = 0; i < stream; ++i) EXPECT_EQ(net.last().sent_to[i].second, pattern(1000, i));
  // A pause ends it.
  net.loop.advance(kMillisecond);
  net.send_udp(kOutside, 5000, 6000, pattern(1000, 1));
  EXPECT_EQ(net.last().sent_to.size(), stream + 1);
}

TEST(Udp, DatagramsThatTheKernelJoinedArePartedForANicWithoutLargeOnes) {
  for (const bool large : {false, true}) {
    Net net;
    if (large) net.guest.caps_ = {.checksum = true, .uso = true};
    net.send_udp(kOutside, 5000, 6000, bytes_of("x"));
    Wire& wire = net.last();
    EXPECT_TRUE(wire.joins);
    wire.segment = 1000;
    wire.datagrams.push_back({{kOutside, 6000, 0}, pattern(2500)});
    net.event(wire, kSocketReadable);
    Bytes got;
    usize frames = 0;
    while (!net.guest.empty()) {
      const Offload offload = net.guest.offloads.front();
      EXPECT_EQ(offload.gso, large ? Offload::udp_l4 : Offload::none);
      EXPECT_EQ(offload.gso_size, large ? 1000 : 0);
      const Seen seen = net.guest.take();
      got.insert(got.end(), seen.payload.begin(), seen.payload.end());
      ++frames;
    }
    EXPECT_EQ(got, pattern(2500));
    EXPECT_EQ(frames, large ? 1u : 3u);
  }
}

TEST(Udp, ForwardedPortAnswersGoBackToTheClient) {
  Net net;
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("udp:127.0.0.1:5353-:53")).ok());
  Wire& wire = net.wire(0);
  net.send(arp_request(kGateway));
  net.guest.take();
  wire.datagrams.push_back({{IpAddress::v4(0x7f000001), 4444, 0}, bytes_of("question")});
  net.event(wire, kSocketReadable);
  const Seen seen = net.guest.take();
  EXPECT_EQ(seen.from, kGateway);
  EXPECT_EQ(seen.from_port, 4444);
  EXPECT_EQ(seen.to_port, 53);
  net.send_udp(kGateway, 53, 4444, bytes_of("answer"));
  ASSERT_EQ(wire.sent_to.size(), 1u);
  EXPECT_EQ(wire.sent_to[0].first, (Endpoint{IpAddress::v4(0x7f000001), 4444, 0}));
  EXPECT_EQ(wire.sent_to[0].second, bytes_of("answer"));
}

TEST(Udp, ARestrictedGuestAnswersOnlyForwardedClients) {
  Net net(std::vector<OptionText>{{"restrict", "on"}});
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("udp:127.0.0.1:5353-:53")).ok());
  Wire& wire = net.wire(0);
  net.send(arp_request(kGateway));
  net.guest.take();
  wire.datagrams.push_back({{IpAddress::v4(0x7f000001), 4444, 0}, bytes_of("question")});
  net.event(wire, kSocketReadable);
  net.guest.take();
  net.send_udp(kGateway, 53, 4444, bytes_of("answer"));
  EXPECT_EQ(wire.sent_to.size(), 1u);
  net.send_udp(kGateway, 53, 4445, bytes_of("leak"));
  net.send_udp(kOutside, 53, 4444, bytes_of("leak"));
  net.send_udp(kNameServer, 53, 53, bytes_of("leak"));
  net.send_udp(IpAddress::v4(0xffffffff), 53, 4444, bytes_of("leak"));
  EXPECT_EQ(wire.sent_to.size(), 1u);
  EXPECT_EQ(net.sockets->wires.size(), 1u);
}

TEST(Udp, ABusyNicHoldsReadingBack) {
  Net net;
  net.send_udp(kOutside, 5000, 6000, bytes_of("x"));
  Wire& wire = net.last();
  for (unsigned i = 0; i < 100; ++i) wire.datagrams.push_back({{kOutside, 6000, 0}, pattern(100, i)});
  net.guest.room = 10;
  net.event(wire, kSocketReadable);
  EXPECT_GE(wire.datagrams.size(), 80u);  // they wait in the host's queue
  unsigned got = 0;
  for (unsigned turn = 0; turn < 50; ++turn) {
    while (!net.guest.empty()) EXPECT_EQ(net.guest.take().payload, pattern(100, got++));
    net.guest.room = 10;
    net.backend->on_room();
    net.loop.settle();
  }
  EXPECT_EQ(got, 100u);
}

TEST(Udp, FlowsAreLimited) {
  Net net;
  for (unsigned port = 1; port < 3000; ++port) net.send_udp(kOutside, static_cast<u16>(port), 6000, {});
  EXPECT_LE(net.stack().udp_flows(), 256u);
}

Bytes query(u16 id) {
  Bytes bytes{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1};
  store_be<u16>(bytes.data(), id);
  return bytes;
}

class DnsTest : public ::testing::Test {
 protected:
  void ask(u16 id = 0x1234) { net_.send_udp(kNameServer, 3333, 53, query(id)); }
  void answer(Wire& wire, usize index, u8 code = 0) {
    const auto [server, question] = wire.sent_to.at(index);
    Bytes bytes = question;
    bytes[2] |= 0x80;
    bytes[3] = static_cast<u8>(0x80 | code);
    wire.datagrams.push_back({server, bytes});
    net_.event(wire, kSocketReadable);
  }
  Net net_;
};

TEST_F(DnsTest, QueriesGoOnAndAnswersComeBack) {
  ask();
  Wire& wire = net_.last();
  ASSERT_EQ(wire.sent_to.size(), 1u);
  EXPECT_EQ(wire.sent_to[0].first, (Endpoint{IpAddress::v4(0x08080808), 53, 0}));
  // Forged answers: another sender, another identifier.
  Bytes forged = wire.sent_to[0].second;
  forged[2] |= 0x80;
  wire.datagrams.push_back({{IpAddress::v4(0x01010101), 53, 0}, forged});
  forged[0] ^= 1;
  wire.datagrams.push_back({wire.sent_to[0].first, forged});
  net_.event(wire, kSocketReadable);
  EXPECT_TRUE(net_.guest.empty());
  answer(wire, 0);
  const Seen seen = net_.guest.take();
  EXPECT_EQ(seen.from, kNameServer);
  EXPECT_EQ(seen.from_port, 53);
  EXPECT_EQ(seen.to_port, 3333);
  EXPECT_EQ(load_be<u16>(seen.payload.data()), 0x1234);
  EXPECT_EQ(wire.socket, nullptr);
}

TEST_F(DnsTest, ASilentServerIsPassedBy) {
  ask();
  Wire& wire = net_.last();
  net_.loop.advance(1100 * kMillisecond);
  ASSERT_EQ(wire.sent_to.size(), 2u);
  EXPECT_EQ(wire.sent_to[1].first.address, IpAddress::v4(0x09090909));
  answer(wire, 1);
  EXPECT_EQ(net_.guest.take().payload.at(3) & 15, 0);
}

TEST_F(DnsTest, AServerThatFailsIsPassedBy) {
  ask();
  Wire& wire = net_.last();
  answer(wire, 0, 2);
  EXPECT_TRUE(net_.guest.empty());
  ASSERT_EQ(wire.sent_to.size(), 2u);
  answer(wire, 1, 3);  // no such name is an answer
  EXPECT_EQ(net_.guest.take().payload.at(3) & 15, 3);
}

TEST_F(DnsTest, NobodyToAskIsAFailure) {
  net_.sockets->servers.clear();
  ask();
  const Seen seen = net_.guest.take();
  EXPECT_EQ(seen.payload.at(2) & 0x80, 0x80);
  EXPECT_EQ(seen.payload.at(3) & 15, 2);
  EXPECT_EQ(load_be<u16>(seen.payload.data()), 0x1234);
}

TEST_F(DnsTest, ManyQueriesAreBounded) {
  for (u16 id = 0; id < 1000; ++id) ask(id);
  usize open = 0;
  for (const auto& wire : net_.sockets->wires) open += wire->socket != nullptr;
  EXPECT_LE(open, 256u);
  net_.loop.advance(60 * kSecond);
  open = 0;
  for (const auto& wire : net_.sockets->wires) open += wire->socket != nullptr;
  EXPECT_EQ(open, 0u);
}

Bytes question(const std::string& name, u16 type) {
  Bytes bytes{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  usize start = 0;
  while (start <= name.size() && !name.empty()) {
    const usize dot = std::min(name.find('.', start), name.size());
    bytes.push_back(static_cast<u8>(dot - start));
    bytes.insert(bytes.end(), name.begin() + static_cast<std::ptrdiff_t>(start),
                 name.begin() + static_cast<std::ptrdiff_t>(dot));
    start = dot + 1;
  }
  bytes.insert(bytes.end(), {0, u8(type >> 8), u8(type), 0, 1});
  return bytes;
}

class NamesTest : public DhcpTest {
 protected:
  NamesTest()
      : net_(std::vector<OptionText>{{"domainname", "lab.test"},
                                     {"dns-record", "srv.x.test=192.0.2.1"},
                                     {"dns-record", "srv.x.test=2001:db8::1"},
                                     {"dns-record", "*.x.test=192.0.2.9"},
                                     {"dns-record", "www.y.test=cname:srv.x.test"},
                                     {"dns-record", "t.y.test=txt:hello"},
                                     {"dns-server", "192.0.2.53:5353"}}) {}
  // The records of the answer: type and data each.
  std::vector<std::pair<u16, Bytes>> ask(const std::string& name, u16 type) {
    const Bytes query = question(name, type);
    net_.address = IpAddress::v4(0x0a00020f);
    net_.send_udp(kNameServer, 3333, 53, query);
    std::vector<std::pair<u16, Bytes>> records;
    if (net_.guest.empty()) return {{0xffff, {}}};
    const Bytes answer = net_.guest.take().payload;
    EXPECT_EQ(answer[3] & 15, 0);
    usize at = query.size();
    for (unsigned left = load_be<u16>(&answer[6]); left; --left) {
      const bool pointer = answer[at] & 0xc0;
      while (!pointer && answer[at]) at += 1u + answer[at];
      at += pointer ? 2 : 1;
      const usize size = load_be<u16>(&answer[at + 8]);
      const auto data = answer.begin() + static_cast<std::ptrdiff_t>(at + 10);
      records.push_back({load_be<u16>(&answer[at]), Bytes(data, data + static_cast<std::ptrdiff_t>(size))});
      at += 10 + size;
    }
    return records;
  }
  using Records = std::vector<std::pair<u16, Bytes>>;
  Net net_;
};

TEST_F(NamesTest, OfTheNetworkItself) {
  for (const char* name : {"host", "GATEWAY", "host.lab.test"}) {
    EXPECT_EQ(ask(name, 1), (Records{{1, {10, 0, 2, 2}}})) << name;
    EXPECT_EQ(ask(name, 28).at(0).second.size(), 16u);
    EXPECT_EQ(ask(name, 15), Records{}) << name;  // it is there, and has no such record
  }
  EXPECT_EQ(ask("dns", 1), (Records{{1, {10, 0, 2, 3}}}));
  Bytes pointer{7};
  for (const char c : std::string("gateway")) pointer.push_back(static_cast<u8>(c));
  const Bytes domain{3, 'l', 'a', 'b', 4, 't', 'e', 's', 't', 0};
  pointer.insert(pointer.end(), domain.begin(), domain.end());
  EXPECT_EQ(ask("2.2.0.10.in-addr.arpa", 12), (Records{{12, pointer}}));
  EXPECT_TRUE(net_.sockets->wires.empty());
}

TEST_F(NamesTest, OfGuestsAsTheyToldDhcp) {
  EXPECT_EQ(ask("zebra", 1).at(0).first, 0xffff);  // goes on to the host's
  send(net_, message(3, {{12, bytes_of("Zebra")}}));
  net_.guest.take();
  EXPECT_EQ(ask("zebra", 1), (Records{{1, {10, 0, 2, 15}}}));
  EXPECT_EQ(ask("zebra.lab.test", 28), Records{});
  EXPECT_EQ(ask("15.2.0.10.in-addr.arpa", 12).at(0).second.at(0), 5);
}

TEST_F(NamesTest, OfOptions) {
  EXPECT_EQ(ask("srv.x.test", 1), (Records{{1, {192, 0, 2, 1}}}));
  EXPECT_EQ(ask("srv.x.test", 28).at(0).first, 28);
  EXPECT_EQ(ask("any.deep.x.test", 1), (Records{{1, {192, 0, 2, 9}}}));
  EXPECT_EQ(ask("t.y.test", 16), (Records{{16, {5, 'h', 'e', 'l', 'l', 'o'}}}));
  const Records alias = ask("www.y.test", 1);
  ASSERT_EQ(alias.size(), 2u);
  EXPECT_EQ(alias[0].first, 5);
  EXPECT_EQ(alias[1], (Records::value_type{1, {192, 0, 2, 1}}));
  EXPECT_EQ(ask("other.test", 1).at(0).first, 0xffff);
  EXPECT_EQ(net_.last().sent_to.at(0).first, (Endpoint{IpAddress::v4(0xc0000235), 5353, 0}));
}

TEST(ResolvConf, ReadsServers) {
  const auto servers =
      parse_resolv_conf("# c\nsearch x\nnameserver 1.2.3.4\n nameserver\t::1 # x\nnameserver bad\noptions a\n");
  ASSERT_EQ(servers.size(), 2u);
  EXPECT_EQ(servers[0], (Endpoint{IpAddress::v4(0x01020304), 53, 0}));
  EXPECT_EQ(servers[1].address, *parse_ipv6("::1"));
  EXPECT_EQ(parse_resolv_conf("").at(0).address, IpAddress::v4(0x7f000001));
}

class Ipv6Test : public ::testing::Test {
 protected:
  void send(const IpAddress& from, const IpAddress& to, u8 protocol, Bytes data, u8 ttl = 255) {
    if (protocol == kIcmpv6) {
      ChecksumSum sum;
      sum.add_pseudo_header(from, to, kIcmpv6, data.size());
      sum.add(data.data(), data.size());
      store_be<u16>(&data[2], sum.checksum());
    }
    Bytes frame(54);
    const Mac router{0x52, 0x56, 0, 0, 0, 2};
    std::copy(router.begin(), router.end(), frame.begin());
    std::copy(net_.mac.begin(), net_.mac.end(), frame.begin() + 6);
    store_be<u16>(&frame[12], kTypeIpv6);
    frame[14] = 0x60;
    store_be<u16>(&frame[18], static_cast<u16>(data.size()));
    frame[20] = protocol;
    frame[21] = ttl;
    std::memcpy(&frame[22], from.bytes.data(), 16);
    std::memcpy(&frame[38], to.bytes.data(), 16);
    frame.insert(frame.end(), data.begin(), data.end());
    net_.send(frame);
  }
  Net net_;
  const IpAddress link_ = *parse_ipv6("fe80::5054:ff:fe12:3456");
  const IpAddress global_ = *parse_ipv6("fec0::5054:ff:fe12:3456");
  const IpAddress router_ = *parse_ipv6("fe80::2"), host_ = *parse_ipv6("fec0::2");
};

TEST_F(Ipv6Test, AdvertisesARouterThatLeadsOutOnlyIfTheHostDoes) {
  for (const bool route : {false, true}) {
    net_.sockets->ipv6 = route;
    send(link_, *parse_ipv6("ff02::2"), kIcmpv6, {133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56});
    const Seen seen = net_.guest.take();
    EXPECT_EQ(seen.payload.at(0), 134);
    EXPECT_EQ(seen.from, router_);
    EXPECT_EQ(seen.ttl, 255);
    EXPECT_EQ(load_be<u16>(&seen.payload[6]), route ? 1800 : 0);
  }
}

TEST_F(Ipv6Test, AnswersNeighbourSolicitationsAndEcho) {
  Bytes solicitation{135, 0, 0, 0, 0, 0, 0, 0};
  solicitation.insert(solicitation.end(), host_.bytes.begin(), host_.bytes.end());
  solicitation.insert(solicitation.end(), {1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56});
  send(global_, *parse_ipv6("ff02::1:ff00:2"), kIcmpv6, solicitation);
  const Seen seen = net_.guest.take();
  EXPECT_EQ(seen.payload.at(0), 136);
  EXPECT_EQ(seen.payload.at(4), 0xe0);
  EXPECT_EQ(seen.from_mac, (Mac{0x52, 0x56, 0, 0, 0, 2}));
  send(global_, host_, kIcmpv6, {128, 0, 0, 0, 0, 5, 0, 6, 'x'}, 64);
  const Seen reply = net_.guest.take();
  EXPECT_EQ(reply.payload.at(0), 129);
  EXPECT_EQ(reply.from, host_);
  solicitation[23] = 9;  // not ours
  send(global_, *parse_ipv6("ff02::1:ff00:9"), kIcmpv6, solicitation);
  EXPECT_TRUE(net_.guest.empty());
}

TEST_F(Ipv6Test, UdpAndTcpGoToTheHostsLoopback) {
  send(global_, host_, kUdp, Net::udp(5000, 6000, bytes_of("six")), 64);
  EXPECT_TRUE(net_.last().v6);
  EXPECT_EQ(net_.last().sent_to.at(0).first, (Endpoint{*parse_ipv6("::1"), 6000, 0}));
  net_.last().datagrams.push_back({{*parse_ipv6("::1"), 6000, 0}, bytes_of("back")});
  net_.event(net_.last(), kSocketReadable);
  const Seen seen = net_.guest.take();
  EXPECT_EQ(seen.from, host_);
  EXPECT_EQ(seen.payload, bytes_of("back"));
  Bytes syn(kTcpHeader);
  store_be<u16>(&syn[0], 4000);
  store_be<u16>(&syn[2], 80);
  syn[12] = 0x50;
  syn[13] = kSyn;
  send(global_, host_, kTcp, syn, 64);
  net_.event(net_.last(), kSocketWritable);
  EXPECT_EQ(net_.guest.take().flags, kSyn | kAck);
}

TEST_F(Ipv6Test, ExtensionHeadersArePassedOver) {
  // Destination options, then UDP.
  Bytes packet{kUdp, 0, 1, 4, 0, 0, 0, 0};
  const Bytes datagram = Net::udp(5000, 6000, bytes_of("six"));
  packet.insert(packet.end(), datagram.begin(), datagram.end());
  send(global_, host_, 60, packet, 64);
  ASSERT_EQ(net_.sockets->wires.size(), 1u);
  EXPECT_EQ(net_.last().sent_to.at(0).second, bytes_of("six"));
  packet[1] = 200;  // longer than the packet
  send(global_, host_, 60, packet, 64);
  EXPECT_EQ(net_.last().sent_to.size(), 1u);
}

TEST_F(Ipv6Test, LargeDatagramsInFragments) {
  const Bytes data = pattern(4000);
  const Bytes datagram = Net::udp(5000, 6000, data);
  const auto part = [&](u16 from, u16 to) {
    Bytes bytes{kUdp, 0, 0, 0, 0, 0, 0, 7};
    store_be<u16>(&bytes[2], static_cast<u16>(from | (to < datagram.size() ? 1 : 0)));
    bytes.insert(bytes.end(), datagram.begin() + from, datagram.begin() + to);
    return bytes;
  };
  send(global_, host_, 44, part(2896, 4008), 64);
  send(global_, host_, 44, part(0, 1448), 64);
  EXPECT_TRUE(net_.sockets->wires.empty());
  send(global_, host_, 44, part(1448, 2896), 64);
  ASSERT_EQ(net_.sockets->wires.size(), 1u);
  EXPECT_EQ(net_.last().sent_to.at(0).second, data);
  net_.last().datagrams.push_back({{*parse_ipv6("::1"), 6000, 0}, data});
  net_.event(net_.last(), kSocketReadable);
  Bytes back;
  for (int i = 0; i < 3; ++i) {
    const Bytes frame = net_.guest.frames.front();
    net_.guest.frames.pop_front();
    net_.guest.offloads.pop_front();
    ASSERT_LE(frame.size(), 1514u);
    EXPECT_EQ(frame[20], 44);
    EXPECT_EQ(load_be<u16>(&frame[56]) & 0xfff8u, back.size());
    back.insert(back.end(), frame.begin() + 62, frame.begin() + 54 + load_be<u16>(&frame[18]));
  }
  EXPECT_EQ(Bytes(back.begin() + 8, back.end()), data);
}

class Dhcpv6Test : public Ipv6Test {
 protected:
  Bytes option(u16 code, const Bytes& data) {
    Bytes bytes(4);
    store_be<u16>(&bytes[0], code);
    store_be<u16>(&bytes[2], static_cast<u16>(data.size()));
    bytes.insert(bytes.end(), data.begin(), data.end());
    return bytes;
  }
  const Bytes client_{0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56};
  const Bytes server_{0, 3, 0, 1, 0x52, 0x56, 0, 0, 0, 2};
  // Sends a message and gives the options of the answer, by number; type is [0].
  std::map<u16, Bytes> ask(u8 type, const std::vector<Bytes>& options, u8 expected) {
    Bytes message{type, 1, 2, 3};
    for (const Bytes& part : options) message.insert(message.end(), part.begin(), part.end());
    send(link_, *parse_ipv6("ff02::1:2"), kUdp, Net::udp(546, 547, message), 1);
    std::map<u16, Bytes> result;
    if (net_.guest.empty()) return result;
    const Seen seen = net_.guest.take();
    EXPECT_EQ(seen.from, router_);
    EXPECT_EQ(seen.to_port, 546);
    EXPECT_EQ(seen.payload.at(0), expected);
    EXPECT_EQ(seen.payload.at(3), 3);
    for (usize at = 4; at + 4 <= seen.payload.size();) {
      const usize size = load_be<u16>(&seen.payload[at + 2]);
      const auto data = seen.payload.begin() + static_cast<std::ptrdiff_t>(at + 4);
      result[load_be<u16>(&seen.payload[at])] = Bytes(data, data + static_cast<std::ptrdiff_t>(size));
      at += 4 + size;
    }
    return result;
  }
  const Bytes association_ = option(3, {0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0});
};

TEST_F(Dhcpv6Test, GivesAndTakesBackAddresses) {
  auto advertised = ask(1, {option(1, client_), association_}, 2);
  EXPECT_EQ(advertised[1], client_);
  EXPECT_EQ(advertised[2], server_);
  EXPECT_EQ(advertised[23], Bytes(net_.stack().config().dns6.bytes.begin(), net_.stack().config().dns6.bytes.end()));
  ASSERT_GE(advertised[3].size(), 12u + 4 + 24);
  const IpAddress given = IpAddress::from_wire(&advertised[3][16], false);
  EXPECT_EQ(given, *parse_ipv6("fec0::1000"));
  auto replied = ask(3, {option(1, client_), option(2, server_), association_}, 7);
  EXPECT_EQ(IpAddress::from_wire(&replied[3][16], false), given);
  replied = ask(5, {option(1, client_), option(2, server_), association_}, 7);
  EXPECT_EQ(IpAddress::from_wire(&replied[3][16], false), given);
  Bytes other = client_;
  other[9] = 0x57;
  auto second = ask(1, {option(1, other), association_, option(14, {})}, 7);  // rapid commit
  EXPECT_EQ(IpAddress::from_wire(&second[3][16], false), *parse_ipv6("fec0::1001"));
  EXPECT_TRUE(second.contains(14));
  replied = ask(8, {option(1, client_), option(2, server_), association_}, 7);
  EXPECT_EQ(load_be<u16>(replied[13].data()), 0);
  replied = ask(5, {option(1, client_), option(2, server_), association_}, 7);
  EXPECT_EQ(load_be<u16>(&replied[3][16]), 3);  // no binding
  // To another server, and without who asks: nothing.
  EXPECT_TRUE(ask(3, {option(1, client_), option(2, other), association_}, 7).empty());
  EXPECT_TRUE(ask(1, {association_}, 7).empty());
}

TEST_F(Dhcpv6Test, TellsWithoutGiving) {
  auto told = ask(11, {option(6, {0, 23, 0, 59})}, 7);
  EXPECT_EQ(told[23].size(), 16u);
  EXPECT_FALSE(told.contains(3));
  EXPECT_FALSE(told.contains(59));  // nothing to boot
}

TEST_F(Ipv6Test, AddressesInDisguiseAreDropped) {
  Bytes mapped(16);
  mapped[10] = mapped[11] = 0xff;
  mapped[12] = 127;
  mapped[15] = 1;
  IpAddress disguised;
  std::copy(mapped.begin(), mapped.end(), disguised.bytes.begin());
  send(global_, disguised, kUdp, Net::udp(1, 2, {}), 64);
  EXPECT_TRUE(net_.sockets->wires.empty());
}

TEST(Info, ShowsFlowsAsQemuDoes) {
  Net net;
  EXPECT_EQ(net.backend->info(), "net=10.0.2.0,restrict=off");
  ASSERT_TRUE(net.backend->hostfwd_add("udp::5599-:22").empty());
  net.send_udp(kOutside, 68, 123, {});
  net.loop.advance(4 * kSecond);
  EXPECT_EQ(net.backend->info_usernet(-1),
            "Hub -1 (n0):\n"
            "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n"
            "  UDP[236 sec]        7       10.0.2.15    68   93.184.216.34   123     0     0\n"
            "  UDP[HOST_FORWARD]   7               *  5599       10.0.2.15    22     0     0\n");
  EXPECT_EQ(net.backend->hostfwd_remove("udp::5599"), "host forwarding rule for udp::5599 removed\n");
  EXPECT_EQ(net.backend->hostfwd_remove("udp::5599"), "host forwarding rule for udp::5599 not found\n");
  EXPECT_EQ(net.backend->hostfwd_remove("tcp:"), "invalid format\n");
  EXPECT_EQ(net.backend->hostfwd_remove("foo"), "invalid format\n");
  EXPECT_EQ(net.backend->hostfwd_add("tcp:x"), "Invalid host forwarding rule 'tcp:x' (Missing : separator)\n");
}

}  // namespace
}  // namespace rhea::net::user::testing
