// SPDX-License-Identifier: MIT
// A router that leads nowhere makes a guest wait for connections that cannot come about: when the host has no
// route to the IPv6 internet, the router's lifetime is 0. The prefix is advertised all the same, for the host
// itself.
#include "net/user/ipv6.h"

#include "net/checksum.h"
#include "net/user/encode_names.h"

namespace rhea::net::user {

namespace {

constexpr u8 kRouterSolicitation = 133, kRouterAdvertisement = 134;
constexpr u8 kNeighbourSolicitation = 135, kNeighbourAdvertisement = 136, kRedirect = 137;
constexpr u8 kSourceAddress = 1, kTargetAddress = 2, kPrefix = 3, kMtuOption = 5, kNameServer = 25, kSearchList = 31;
constexpr u32 kValidSeconds = 86400, kPreferredSeconds = 14400, kRouterSeconds = 1800;
// Unasked advertisements are rare (RFC 4861 allows up to half an hour): an idle guest is left alone.
constexpr s64 kInterval = 600 * kSecond;

IpAddress solicited_node(const IpAddress& address) {
  IpAddress group;
  group.bytes = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, address.bytes[13], address.bytes[14], address.bytes[15]};
  return group;
}

IpAddress all_nodes() {
  IpAddress group;
  group.bytes[0] = 0xff;
  group.bytes[1] = 2;
  group.bytes[15] = 1;
  return group;
}

Mac multicast_mac(const IpAddress& group) {
  return {0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]};
}

void add_link_address(std::vector<u8>& message, u8 option, const Mac& mac) {
  message.push_back(option);
  message.push_back(1);
  message.insert(message.end(), mac.begin(), mac.end());
}

void add_u32(std::vector<u8>& message, u32 value) {
  message.resize(message.size() + 4);
  store_be<u32>(message.data() + message.size() - 4, value);
}

// RFC 8106, section 5.2: names padded to units of 8 bytes.
void add_search_list(std::vector<u8>& message, const UserConfig& config) {
  std::vector<u8> names = encode_names(config.search, false);
  if (names.empty() || names.size() > 512) return;
  names.resize((names.size() + 7) / 8 * 8);
  message.insert(message.end(), {kSearchList, static_cast<u8>(1 + names.size() / 8), 0, 0});
  add_u32(message, kRouterSeconds);
  message.insert(message.end(), names.begin(), names.end());
}

// The link-layer address option of a message whose options begin at `at`.
bool find_link_address(const u8* message, usize size, usize at, u8 option, Mac& mac) {
  while (at + 8 <= size) {
    const usize length = message[at + 1] * 8u;
    if (length == 0 || at + length > size) return false;
    if (message[at] == option) {
      std::memcpy(mac.data(), message + at + 2, 6);
      return true;
    }
    at += length;
  }
  return false;
}

}  // namespace

Ipv6::Ipv6(Context& context) : Timeout(context.timeouts), context_(context) {}

bool Ipv6::input(const Packet& packet) {
  const u8* message = packet.transport_header();
  const u8 type = packet.transport_size() ? message[0] : 0;
  if (type < kRouterSolicitation || type > kRedirect) return false;
  const usize size = std::min(packet.transport_in_head(), packet.transport_size());
  if (packet.ttl != 255 || size < 8) return true;  // RFC 4861, section 6.1.1: not from beyond a router
  Mac mac;
  if (type == kRouterSolicitation) {
    if (find_link_address(message, size, 8, kSourceAddress, mac) && !packet.from.is_unspecified())
      context_.link.learn(packet.from, mac);
    advertise_router();
  } else if (type == kNeighbourSolicitation && size >= 24) {
    if (find_link_address(message, size, 24, kSourceAddress, mac) && !packet.from.is_unspecified())
      context_.link.learn(packet.from, mac);
    answer_solicitation(packet);
  } else if (type == kNeighbourAdvertisement && size >= 24) {
    const IpAddress target = IpAddress::from_wire(message + 8, false);
    if (!context_.is_own(target) && find_link_address(message, size, 24, kTargetAddress, mac))
      context_.link.learn(target, mac);
  }
  return true;
}

void Ipv6::send(const Mac& mac, const IpAddress& from, const IpAddress& to, std::vector<u8> message) {
  ChecksumSum sum;
  sum.add_pseudo_header(from, to, kIcmpv6, message.size());
  sum.add(message.data(), message.size());
  store_be<u16>(message.data() + 2, sum.checksum());
  const Piece piece{message.data(), message.size()};
  context_.link.send_ip_to(mac, {.from = from, .to = to, .protocol = kIcmpv6, .ttl = 255}, std::span(&piece, 1));
}

void Ipv6::advertise_router() {
  const UserConfig& config = context_.config;
  const bool leads_out = !config.restricted && context_.sockets.has_ipv6_route();
  // Addresses come from the prefix, the rest also by DHCPv6 (flag O).
  constexpr u8 kOtherConfiguration = 0x40;
  std::vector<u8> message{kRouterAdvertisement, 0, 0, 0, 64, kOtherConfiguration, 0, 0};
  if (leads_out) store_be<u16>(message.data() + 6, kRouterSeconds);
  add_u32(message, 0);
  add_u32(message, 0);
  add_link_address(message, kSourceAddress, context_.link.mac_of(config.router6));
  message.insert(message.end(), {kPrefix, 4, static_cast<u8>(config.prefix6_length), 0xc0});
  add_u32(message, kValidSeconds);
  add_u32(message, kPreferredSeconds);
  add_u32(message, 0);
  message.insert(message.end(), config.prefix6.bytes.begin(), config.prefix6.bytes.end());
  if (config.mtu) {
    message.insert(message.end(), {kMtuOption, 1, 0, 0});
    add_u32(message, config.mtu);
  }
  // The name server is here, wherever the host's resolvers are: a guest without IPv4 needs it.
  if (!config.restricted) {
    message.insert(message.end(), {kNameServer, 3, 0, 0});
    add_u32(message, kRouterSeconds);
    message.insert(message.end(), config.dns6.bytes.begin(), config.dns6.bytes.end());
    add_search_list(message, config);
  }
  send(multicast_mac(all_nodes()), config.router6, all_nodes(), std::move(message));
  set_timeout(context_.now() + kInterval);
}

void Ipv6::answer_solicitation(const Packet& packet) {
  const IpAddress target = IpAddress::from_wire(packet.transport_header() + 8, false);
  if (!context_.is_own(target)) return;
  const bool probe = packet.from.is_unspecified();  // duplicate address detection: answered to all
  const IpAddress to = probe ? all_nodes() : packet.from;
  std::vector<u8> message{kNeighbourAdvertisement, 0, 0, 0, static_cast<u8>(probe ? 0xa0 : 0xe0), 0, 0, 0};
  message.insert(message.end(), target.bytes.begin(), target.bytes.end());
  add_link_address(message, kTargetAddress, context_.link.mac_of(target));
  send(probe ? multicast_mac(to) : packet.source_mac, target, to, std::move(message));
}

void Ipv6::solicit(const IpAddress& address) {
  const IpAddress group = solicited_node(address);
  const IpAddress from = address.is_link_local() ? context_.config.router6 : context_.config.host6;
  std::vector<u8> message{kNeighbourSolicitation, 0, 0, 0, 0, 0, 0, 0};
  message.insert(message.end(), address.bytes.begin(), address.bytes.end());
  add_link_address(message, kSourceAddress, context_.link.mac_of(from));
  send(multicast_mac(group), from, group, std::move(message));
}

}  // namespace rhea::net::user
