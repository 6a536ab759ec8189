// SPDX-License-Identifier: MIT
#include "sys/routes.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sys/poller.h"
#include "util/bits.h"

namespace rhea::sys {

namespace {

constexpr unsigned kAskAgain = 200;  // ms
constexpr usize kArpSize = 28;       // of Ethernet and IPv4

bool is_ip(u8 family) { return family == AF_INET || family == AF_INET6; }

IpAddress address_of(const NetlinkAttribute& attribute, u8 family) {
  const usize size = family == AF_INET ? 4 : 16;
  return attribute.value.size() >= size ? IpAddress::from_wire(attribute.value.data(), family == AF_INET)
                                        : IpAddress::v4(0);
}

std::optional<StoredAddress> read_address(std::span<const u8> body, u32 index) {
  const auto fixed = netlink_fixed<ifaddrmsg>(body);
  if (!fixed || fixed->ifa_index != index || !is_ip(fixed->ifa_family)) return std::nullopt;
  StoredAddress result{.body = {body.begin(), body.end()}, .address = IpAddress::v4(0), .length = fixed->ifa_prefixlen};
  u32 flags = fixed->ifa_flags;
  for (const NetlinkAttribute& each : netlink_attributes_behind<ifaddrmsg>(body)) {
    if (each.type == IFA_FLAGS) flags = each.number();
    const bool v4 = fixed->ifa_family == AF_INET;
    if (each.type == (v4 ? IFA_LOCAL : IFA_ADDRESS)) result.address = address_of(each, fixed->ifa_family);
  }
  result.for_ever = flags & IFA_F_PERMANENT;
  if (fixed->ifa_family == AF_INET6 && (!result.for_ever || result.address.is_link_local())) return std::nullopt;
  return result;
}

struct ReadRoute {
  StoredRoute route;
  u32 index = 0, table = 0;
  bool several = false;
  std::vector<u32> hops;
};

std::vector<u32> hops_of(std::span<const u8> data) {
  std::vector<u32> list;
  while (const auto hop = netlink_fixed<rtnexthop>(data)) {
    list.push_back(static_cast<u32>(hop->rtnh_ifindex));
    if (hop->rtnh_len < sizeof *hop || hop->rtnh_len > data.size()) break;
    data = data.subspan(std::min<usize>((hop->rtnh_len + 3) / 4 * 4, data.size()));
  }
  return list;
}

std::optional<ReadRoute> read_route(std::span<const u8> body) {
  const auto fixed = netlink_fixed<rtmsg>(body);
  if (!fixed || !is_ip(fixed->rtm_family) || (fixed->rtm_flags & RTM_F_CLONED)) return std::nullopt;
  if (fixed->rtm_protocol == RTPROT_KERNEL || fixed->rtm_protocol == RTPROT_RA) return std::nullopt;
  ReadRoute result;
  result.table = fixed->rtm_table;
  result.route.body.assign(body.begin(), body.end());
  IpAddress to = IpAddress::v4(0);
  for (const NetlinkAttribute& each : netlink_attributes_behind<rtmsg>(body)) {
    if (each.type == RTA_OIF) result.index = each.number();
    if (each.type == RTA_TABLE) result.table = each.number();
    if (each.type == RTA_DST) to = address_of(each, fixed->rtm_family);
    if (each.type == RTA_GATEWAY) result.route.gateway = address_of(each, fixed->rtm_family);
    if (each.type == RTA_VIA) result.route.gateway = IpAddress{};  // of the other family
    if (each.type == RTA_MULTIPATH) result.several = true, result.hops = hops_of(each.value);
  }
  if (result.table == RT_TABLE_LOCAL) return std::nullopt;
  result.route.is_default = fixed->rtm_dst_len == 0;
  result.route.text = result.route.is_default ? "default" : fmt::format("{}/{}", to.text(), fixed->rtm_dst_len);
  if (result.route.gateway) result.route.text += " via " + result.route.gateway->text();
  return result;
}

// A message of a stored body for another interface.
template <typename T>
NetlinkMessage message_of(u16 type, u16 flags, const std::vector<u8>& body, const T& fixed,
                          std::initializer_list<u16> without) {
  NetlinkMessage message(type, static_cast<u16>(flags | NLM_F_ACK));
  message.put_struct(fixed);
  for (const NetlinkAttribute& each : netlink_attributes_behind<T>(body))
    if (std::find(without.begin(), without.end(), each.type) == without.end()) message.bytes(each.type, each.value);
  return message;
}

}  // namespace

Result<Routes> Routes::open() { return Routes(RHEA_TRY(Netlink::open(NETLINK_ROUTE))); }

Result<std::vector<StoredAddress>> Routes::addresses(u32 index) {
  std::vector<StoredAddress> list;
  RHEA_TRY(socket_.dump(RTM_GETADDR, ifaddrmsg{}, RTM_NEWADDR, [&](std::span<const u8> body) {
    if (auto address = read_address(body, index)) list.push_back(std::move(*address));
  }));
  return list;
}

Result<std::vector<StoredRoute>> Routes::routes(u32 index) {
  std::vector<StoredRoute> list;
  std::optional<std::string> shared;
  for (const u8 family : {u8{AF_INET}, u8{AF_INET6}}) {
    rtmsg wanted{};
    wanted.rtm_family = family;
    RHEA_TRY(socket_.dump(RTM_GETROUTE, wanted, RTM_NEWROUTE, [&](std::span<const u8> body) {
      auto route = read_route(body);
      if (route && route->several && std::count(route->hops.begin(), route->hops.end(), index))
        shared = route->route.text;
      if (route && !route->several && route->index == index) list.push_back(std::move(route->route));
    }));
  }
  if (shared) return Error("the route {} goes over several interfaces", *shared);
  // A gateway is only taken when there is a route to it.
  std::stable_partition(list.begin(), list.end(), [](const StoredRoute& route) { return !route.gateway; });
  return list;
}

Result<void> Routes::put_address(const std::vector<u8>& body, u32 index, bool at_home) {
  auto fixed = netlink_fixed<ifaddrmsg>(body);
  if (!fixed) return Error("is no address");
  fixed->ifa_index = index;
  // Nobody else has it: it was ours a moment ago.
  if (fixed->ifa_family == AF_INET6) fixed->ifa_flags |= IFA_F_NODAD;
  return socket_.run(message_of(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, *fixed,
                                at_home ? std::initializer_list<u16>{} : std::initializer_list<u16>{IFA_LABEL}));
}

Result<void> Routes::drop_address(const std::vector<u8>& body, u32 index) {
  auto fixed = netlink_fixed<ifaddrmsg>(body);
  if (!fixed) return Error("is no address");
  fixed->ifa_index = index;
  const Result<void> done = socket_.run(message_of(RTM_DELADDR, 0, body, *fixed, {IFA_LABEL}));
  if (!done.ok() && done.error().hint() == std::to_string(EADDRNOTAVAIL)) return {};
  return done;
}

Result<void> Routes::put_route(const std::vector<u8>& body, u32 index) {
  auto fixed = netlink_fixed<rtmsg>(body);
  if (!fixed) return Error("is no route");
  fixed->rtm_flags &= RTNH_F_ONLINK;  // the others say how it is just now
  NetlinkMessage message =
      message_of(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body, *fixed, {RTA_OIF, RTA_CACHEINFO});
  message.number(RTA_OIF, index);
  return socket_.run(std::move(message));
}

bool is_address_body(const std::vector<u8>& body) {
  const auto fixed = netlink_fixed<ifaddrmsg>(body);
  return fixed && is_ip(fixed->ifa_family);
}

bool is_route_body(const std::vector<u8>& body) {
  const auto fixed = netlink_fixed<rtmsg>(body);
  return fixed && is_ip(fixed->rtm_family);
}

namespace {

struct ArpSocket {
  Fd fd;
  sockaddr_ll to{};
  std::array<u8, 6> mac{};
};

Result<ArpSocket> open_arp(u32 index) {
  ArpSocket arp;
  arp.fd = Fd(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ARP)));
  if (!arp.fd) return Error("a socket for ARP: {}", errno_text());
  sockaddr_ll own{};
  own.sll_family = AF_PACKET;
  own.sll_protocol = htons(ETH_P_ARP);
  own.sll_ifindex = static_cast<int>(index);
  socklen_t size = sizeof own;
  if (::bind(arp.fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::getsockname(arp.fd.get(), reinterpret_cast<sockaddr*>(&own), &size) != 0)
    return Error("a socket for ARP: {}", errno_text());
  std::copy_n(own.sll_addr, 6, arp.mac.begin());
  arp.to = own;
  arp.to.sll_halen = 6;
  std::fill_n(arp.to.sll_addr, 6, u8{0xff});
  return arp;
}

bool take_answer(int fd, const IpAddress& asked) {
  std::array<u8, 128> data;
  for (ssize_t count; (count = ::recv(fd, data.data(), data.size(), 0)) >= 0;)
    if (count >= static_cast<ssize_t>(kArpSize) && load_be<u16>(&data[6]) == ARPOP_REPLY &&
        std::memcmp(&data[14], asked.wire(), 4) == 0)
      return true;
  return false;
}

}  // namespace

Result<bool> answers_arp(u32 index, const IpAddress& own, const IpAddress& asked, unsigned milliseconds) {
  const ArpSocket arp = RHEA_TRY(open_arp(index));
  std::array<u8, kArpSize> request{};
  store_be<u16>(&request[0], ARPHRD_ETHER);
  store_be<u16>(&request[2], ETH_P_IP);
  request[4] = 6;
  request[5] = 4;
  store_be<u16>(&request[6], ARPOP_REQUEST);
  std::copy(arp.mac.begin(), arp.mac.end(), &request[8]);
  std::memcpy(&request[14], own.wire(), 4);
  std::memcpy(&request[24], asked.wire(), 4);
  const s64 end = monotonic_now() + s64{milliseconds} * 1'000'000;
  do {
    // A link that is not up yet refuses: then it is asked again.
    ::sendto(arp.fd.get(), request.data(), request.size(), 0, reinterpret_cast<const sockaddr*>(&arp.to),
             sizeof arp.to);
    pollfd waiting{arp.fd.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kAskAgain) > 0 && take_answer(arp.fd.get(), asked)) return true;
  } while (monotonic_now() < end);
  return false;
}

}  // namespace rhea::sys
