// SPDX-License-Identifier: MIT
// What `rhea net` is asked for: a network of the host, read from words.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "sys/links.h"
#include "sys/nat_table.h"
#include "tool/tool.h"

namespace rhea::tool {

struct NetLease {
  std::array<u8, 6> mac{};
  IpAddress address;
  std::string name;  // may be empty
};

struct NetPlan {
  enum class Kind : u8 { nat, host_only, bridged, macvtap } kind = Kind::nat;
  std::string name;  // of the bridge or tap
  // nat and host-only
  IpAddress network, host;
  unsigned length = 24;
  std::vector<sys::NatForward> forwards;
  std::string tap_owner;  // a user: a tap of that user's instead of a bridge
  unsigned tap_user = 0;
  enum class Server : u8 { any, dnsmasq, own, none } server = Server::any;  // of DHCP and DNS
  std::vector<NetLease> leases;
  IpAddress first, last;  // that DHCP gives
  // bridged and macvtap
  std::string nic;
  u32 mode = 4;          // of a macvtap (sys::Links::add_macvtap)
  unsigned confirm = 0;  // seconds in which `rhea net keep` has to come, or all is undone
  // bridges
  sys::BridgeOptions bridge;

  // With addresses of its own: nat and host-only.
  bool is_own() const { return kind == Kind::nat || kind == Kind::host_only; }
  bool is_tap() const { return !tap_owner.empty(); }
  u32 mask() const { return netmask(length); }
  // Of the server that is Rhea's own: an address that is nobody else's.
  IpAddress name_server() const;
};

// "nat NAME [key=value ...]". Errors say what is allowed.
Result<NetPlan> read_net_plan(const Words& words);

// "52:54:00:12:34:56", of one station. Errors: it is none.
Result<std::array<u8, 6>> read_station(const std::string& text);
std::string station_text(const std::array<u8, 6>& mac);

}  // namespace rhea::tool
