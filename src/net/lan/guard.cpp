// SPDX-License-Identifier: MIT
#include "net/lan/guard.h"

#include <algorithm>

#include "net/frame.h"
#include "util/bits.h"

namespace rhea::net::lan {

namespace {

constexpr u16 kArp = 0x0806, kIpv4 = 0x0800, kIpv6 = 0x86dd;
constexpr u8 kUdp = 17, kIcmpv6 = 58, kAdvertisement = 134, kRedirect = 137;

// The servers' ports of DHCP and DHCPv6.
bool is_server_port(u16 port) { return port == 67 || port == 547; }

bool is_forged_ipv4(std::span<const u8> ip) {
  if (ip.size() < 20 || ip[9] != kUdp) return false;
  const usize header = (ip[0] & 15u) * 4;
  // A later part of a datagram has no ports; without its first part it comes to nothing.
  if (load_be<u16>(&ip[6]) & 0x1fff) return false;
  return ip.size() >= header + 2 && is_server_port(load_be<u16>(&ip[header]));
}

bool is_forged_ipv6(std::span<const u8> ip) {
  if (ip.size() < 42) return false;
  // Hosts take such messages in whole packets without other headers before them (RFC 6980, RFC 4861 section 6.1.2).
  if (ip[6] == kIcmpv6) return ip[40] == kAdvertisement || ip[40] == kRedirect;
  return ip[6] == kUdp && is_server_port(load_be<u16>(&ip[40]));
}

}  // namespace

bool is_router_mac(const u8* mac) { return mac[0] == 0x52 && (mac[1] == 0x55 || mac[1] == 0x56); }

bool is_forgery(std::span<const u8> frame, std::span<const IpAddress> own) {
  if (frame.size() < kEthernetHeader) return true;
  if ((frame[6] & 1) || is_router_mac(&frame[6])) return true;
  const std::span<const u8> inner = frame.subspan(kEthernetHeader);
  switch (load_be<u16>(&frame[12])) {
    case kArp: {
      if (inner.size() < 28) return false;
      const IpAddress sender = IpAddress::from_wire(&inner[14], true);
      return is_router_mac(&inner[8]) || std::find(own.begin(), own.end(), sender) != own.end();
    }
    case kIpv4: return is_forged_ipv4(inner);
    case kIpv6: return is_forged_ipv6(inner);
    default: return false;
  }
}

}  // namespace rhea::net::lan
