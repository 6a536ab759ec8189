// SPDX-License-Identifier: MIT
#include "sys/links.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "util/text.h"

namespace rhea::sys {

namespace {

constexpr unsigned long kGetWirelessName = 0x8b01;  // SIOCGIWNAME

void read_bridge(std::span<const u8> data, Link& link) {
  for (const NetlinkAttribute& each : netlink_attributes(data)) {
    if (each.type == IFLA_BR_STP_STATE) link.stp = each.number() != 0;
    if (each.type == IFLA_BR_FORWARD_DELAY) link.forward_delay = each.number();
  }
}

void read_info(std::span<const u8> data, Link& link) {
  std::span<const u8> own;
  for (const NetlinkAttribute& each : netlink_attributes(data)) {
    if (each.type == IFLA_INFO_KIND) link.kind = each.text();
    if (each.type == IFLA_INFO_DATA) own = each.value;
  }
  if (link.kind == "bridge") read_bridge(own, link);
}

std::optional<Link> read_link(std::span<const u8> body) {
  const auto fixed = netlink_fixed<ifinfomsg>(body);
  if (!fixed) return std::nullopt;
  Link link;
  link.index = static_cast<u32>(fixed->ifi_index);
  link.up = fixed->ifi_flags & IFF_UP;
  link.loopback = fixed->ifi_flags & IFF_LOOPBACK;
  for (const NetlinkAttribute& each : netlink_attributes_behind<ifinfomsg>(body)) {
    if (each.type == IFLA_IFNAME) link.name = each.text();
    if (each.type == IFLA_MTU) link.mtu = each.number();
    if (each.type == IFLA_MASTER) link.master = each.number();
    if (each.type == IFLA_ADDRESS && each.value.size() == 6) std::copy_n(each.value.begin(), 6, link.mac.begin());
    if (each.type == IFLA_LINKINFO) read_info(each.value, link);
  }
  return link;
}

}  // namespace

Result<Links> Links::open() { return Links(RHEA_TRY(Netlink::open(NETLINK_ROUTE))); }

Result<std::vector<Link>> Links::links() {
  std::vector<Link> list;
  RHEA_TRY(socket_.dump(RTM_GETLINK, ifinfomsg{}, RTM_NEWLINK, [&](std::span<const u8> body) {
    if (auto link = read_link(body)) list.push_back(std::move(*link));
  }));
  return list;
}

Result<std::optional<Link>> Links::find(const std::string& name) {
  for (Link& link : RHEA_TRY(links()))
    if (link.name == name) return std::optional<Link>(std::move(link));
  return std::optional<Link>();
}

Result<std::vector<LinkAddress>> Links::addresses() {
  std::vector<LinkAddress> list;
  ifaddrmsg wanted{};
  wanted.ifa_family = AF_INET;
  RHEA_TRY(socket_.dump(RTM_GETADDR, wanted, RTM_NEWADDR, [&](std::span<const u8> body) {
    const auto fixed = netlink_fixed<ifaddrmsg>(body);
    if (!fixed || fixed->ifa_family != AF_INET) return;
    for (const NetlinkAttribute& each : netlink_attributes_behind<ifaddrmsg>(body))
      if (each.type == IFA_LOCAL && each.value.size() == 4)
        list.push_back({fixed->ifa_index, IpAddress::from_wire(each.value.data(), true), fixed->ifa_prefixlen});
  }));
  return list;
}

Result<u32> Links::default_route() {
  u32 index = 0;
  rtmsg wanted{};
  wanted.rtm_family = AF_INET;
  RHEA_TRY(socket_.dump(RTM_GETROUTE, wanted, RTM_NEWROUTE, [&](std::span<const u8> body) {
    const auto fixed = netlink_fixed<rtmsg>(body);
    if (!fixed || fixed->rtm_dst_len || fixed->rtm_table != RT_TABLE_MAIN || fixed->rtm_type != RTN_UNICAST || index)
      return;
    for (const NetlinkAttribute& each : netlink_attributes_behind<rtmsg>(body))
      if (each.type == RTA_OIF) index = each.number();
  }));
  return index;
}

Result<void> Links::add_bridge(const std::string& name, const BridgeOptions& options) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.put_struct(ifinfomsg{}).text(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, options.mac);
  message.nested(IFLA_LINKINFO, [&](NetlinkMessage& info) {
    info.text(IFLA_INFO_KIND, "bridge").nested(IFLA_INFO_DATA, [&](NetlinkMessage& data) {
      data.number(IFLA_BR_FORWARD_DELAY, options.forward_delay).number(IFLA_BR_HELLO_TIME, options.hello);
      data.number(IFLA_BR_STP_STATE, options.stp);
    });
  });
  return socket_.run(std::move(message));
}

namespace {

NetlinkMessage message_to(u32 index, u16 type, unsigned flags = 0) {
  ifinfomsg fixed{};
  fixed.ifi_index = static_cast<int>(index);
  fixed.ifi_flags = fixed.ifi_change = flags;
  NetlinkMessage message(type, NLM_F_ACK);
  message.put_struct(fixed);
  return message;
}

}  // namespace

Result<void> Links::add_macvtap(const std::string& name, u32 over, const std::array<u8, 6>& mac, u32 mode) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.put_struct(ifinfomsg{}).text(IFLA_IFNAME, name).number(IFLA_LINK, over).bytes(IFLA_ADDRESS, mac);
  message.nested(IFLA_LINKINFO, [&](NetlinkMessage& info) {
    info.text(IFLA_INFO_KIND, "macvtap").nested(IFLA_INFO_DATA, [&](NetlinkMessage& data) {
      data.number(IFLA_MACVLAN_MODE, mode);
    });
  });
  return socket_.run(std::move(message));
}

Result<void> Links::remove(u32 index) { return socket_.run(message_to(index, RTM_DELLINK)); }

Result<void> Links::set_up(u32 index) { return socket_.run(message_to(index, RTM_NEWLINK, IFF_UP)); }

Result<void> Links::set_master(u32 index, u32 master) {
  NetlinkMessage message = message_to(index, RTM_NEWLINK);
  message.number(IFLA_MASTER, master);
  return socket_.run(std::move(message));
}

Result<void> Links::set_mac(u32 index, const std::array<u8, 6>& mac) {
  NetlinkMessage message = message_to(index, RTM_NEWLINK);
  message.bytes(IFLA_ADDRESS, mac);
  return socket_.run(std::move(message));
}

Result<void> Links::add_address(const LinkAddress& address) {
  ifaddrmsg fixed{};
  fixed.ifa_family = AF_INET;
  fixed.ifa_prefixlen = static_cast<u8>(address.length);
  fixed.ifa_index = address.index;
  const std::span<const u8> bytes(address.address.wire(), 4);
  const IpAddress broadcast = IpAddress::v4(address.address.to_v4() | ~netmask(address.length));
  NetlinkMessage message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.put_struct(fixed).bytes(IFA_LOCAL, bytes).bytes(IFA_ADDRESS, bytes);
  message.bytes(IFA_BROADCAST, {broadcast.wire(), 4});
  return socket_.run(std::move(message));
}

Result<void> Links::add_default_route(u32 index, const IpAddress& gateway) {
  rtmsg fixed{};
  fixed.rtm_family = AF_INET;
  fixed.rtm_table = RT_TABLE_MAIN;
  fixed.rtm_protocol = RTPROT_BOOT;
  fixed.rtm_scope = RT_SCOPE_UNIVERSE;
  fixed.rtm_type = RTN_UNICAST;
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  message.put_struct(fixed).bytes(RTA_GATEWAY, {gateway.wire(), 4}).number(RTA_OIF, index);
  return socket_.run(std::move(message));
}

std::optional<std::string> read_sysctl(const std::string& name) {
  const Fd fd(::open(("/proc/sys/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text;
  const ssize_t count = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  if (count < 0) return std::nullopt;
  return std::string(trim(std::string_view(text.data(), static_cast<usize>(count))));
}

Result<void> write_sysctl(const std::string& name, const std::string& value) {
  const Fd fd(::open(("/proc/sys/" + name).c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), value.data(), value.size()) < 0)
    return Error("/proc/sys/{} = {}: {}", name, value, errno_text());
  return {};
}

bool is_wireless(const std::string& interface) {
  const Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, interface.c_str(), sizeof request.ifr_name - 1);
  if (::ioctl(fd.get(), kGetWirelessName, &request) == 0) return true;
  return ::access(("/sys/class/net/" + interface + "/phy80211").c_str(), F_OK) == 0;
}

}  // namespace rhea::sys
