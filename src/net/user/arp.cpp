// SPDX-License-Identifier: MIT
#include "net/user/arp.h"

namespace rhea::net::user {

namespace {

constexpr usize kArpSize = 28;
constexpr u16 kRequest = 1, kReply = 2;

void build(u8* arp, u16 operation, const Mac& from_mac, const IpAddress& from, const Mac& to_mac, const IpAddress& to) {
  store_be<u16>(arp, 1);  // Ethernet
  store_be<u16>(arp + 2, kTypeIpv4);
  arp[4] = 6;
  arp[5] = 4;
  store_be<u16>(arp + 6, operation);
  std::memcpy(arp + 8, from_mac.data(), 6);
  std::memcpy(arp + 14, from.wire(), 4);
  std::memcpy(arp + 18, to_mac.data(), 6);
  std::memcpy(arp + 24, to.wire(), 4);
}

}  // namespace

void Arp::input(const u8* frame, usize size) {
  if (!context_.config.ipv4 || size < kEthernetHeader + kArpSize) return;
  const u8* arp = frame + kEthernetHeader;
  if (load_be<u16>(arp) != 1 || load_be<u16>(arp + 2) != kTypeIpv4 || arp[4] != 6 || arp[5] != 4) return;
  const IpAddress from = IpAddress::from_wire(arp + 14, true);
  const IpAddress target = IpAddress::from_wire(arp + 24, true);
  Mac mac;
  std::memcpy(mac.data(), arp + 8, 6);
  if (context_.is_own(from)) return;  // a guest that claims the gateway's address
  if (from.in_prefix(context_.config.network, context_.config.prefix_length)) context_.link.learn(from, mac);
  if (load_be<u16>(arp + 6) != kRequest || !context_.is_own(target)) return;
  u8 reply[kArpSize];
  build(reply, kReply, context_.link.mac_of(target), target, mac, from);
  context_.link.send_arp(mac, reply, sizeof reply);
}

void Arp::request(const IpAddress& address) {
  u8 request[kArpSize];
  build(request, kRequest, context_.link.mac_of(context_.config.host), context_.config.host, Mac{}, address);
  context_.link.send_arp({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, request, sizeof request);
}

}  // namespace rhea::net::user
