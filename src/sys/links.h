// SPDX-License-Identifier: MIT
// The host's interfaces, addresses and routes over rtnetlink(7), in this process's network namespace. (/sys may show
// another's.)
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "sys/netlink.h"
#include "util/ip_address.h"

namespace rhea::sys {

struct Link {
  u32 index = 0;
  std::string name;
  std::string kind;  // "bridge", "tun", "veth"; empty: hardware or loopback
  u32 master = 0;    // the bridge that it is a port of
  bool up = false;
  bool loopback = false;
  std::array<u8, 6> mac{};
  u32 mtu = 0;
  // Of a bridge.
  bool stp = false;
  u32 forward_delay = 0;  // in hundredths of a second
};

struct LinkAddress {
  u32 index = 0;
  IpAddress address;
  unsigned length = 0;
};

struct BridgeOptions {
  std::array<u8, 6> mac{};
  bool stp = false;
  u32 forward_delay = 200, hello = 200;  // hundredths of a second; the delay counts with stp only
};

class Links {
 public:
  static Result<Links> open();
  Result<std::vector<Link>> links();
  Result<std::optional<Link>> find(const std::string& name);
  Result<std::vector<LinkAddress>> addresses();  // IPv4
  // The interface of the IPv4 default route; 0 when there is none.
  Result<u32> default_route();

  // Errors are errno's texts: "Operation not permitted", "File exists".
  Result<void> add_bridge(const std::string& name, const BridgeOptions& options);
  // An interface beside the NIC `over`, with an address of its own. `mode`: 1 private (not to others beside that NIC),
  // 2 vepa (to those by way of the switch), 4 bridge (<linux/if_link.h>, MACVLAN_MODE_*).
  Result<void> add_macvtap(const std::string& name, u32 over, const std::array<u8, 6>& mac, u32 mode);
  Result<void> remove(u32 index);
  Result<void> set_up(u32 index);
  Result<void> add_address(const LinkAddress& address);
  Result<void> add_default_route(u32 index, const IpAddress& gateway);  // IPv4
  // A port of a bridge; 0: of none.
  Result<void> set_master(u32 index, u32 master);
  Result<void> set_mac(u32 index, const std::array<u8, 6>& mac);

 private:
  explicit Links(Netlink socket) : socket_(std::move(socket)) {}
  Netlink socket_;
};

// Of the numbers below /proc/sys ("net/ipv4/ip_forward"). Nothing: there is none of this name.
std::optional<std::string> read_sysctl(const std::string& name);
Result<void> write_sysctl(const std::string& name, const std::string& value);
// Whether an interface is a radio's (SIOCGIWNAME, wireless extensions, or a phy80211).
bool is_wireless(const std::string& interface);

}  // namespace rhea::sys
