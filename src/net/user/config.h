// SPDX-License-Identifier: MIT
// The options of `-netdev user`: the virtual network's addresses and the forwarded ports.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/backend.h"
#include "util/ip_address.h"
#include "util/result.h"

namespace rhea::net::user {

// "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT", or without a protocol
// "HOSTADDR:HOSTPORT-GUESTADDR:GUESTPORT".
struct ForwardRule {
  bool udp = false;
  IpAddress host_address;   // unspecified: all interfaces
  bool host_given = false;  // an address was typed
  u16 host_port = 0;        // 0: the host's kernel chooses
  IpAddress guest_address;  // unspecified: the first DHCP address
  u16 guest_port = 0;
  std::string text;  // as typed
};

struct UserConfig {
  bool ipv4 = true;
  bool ipv6 = true;
  bool restricted = false;  // restrict=on
  IpAddress network = IpAddress::v4(0x0a000200);
  unsigned prefix_length = 24;
  IpAddress host = IpAddress::v4(0x0a000202);
  IpAddress dns = IpAddress::v4(0x0a000203);
  IpAddress dhcp_start = IpAddress::v4(0x0a00020f);
  IpAddress prefix6;  // fec0::
  unsigned prefix6_length = 64;
  IpAddress host6;                  // fec0::2
  IpAddress dns6;                   // fec0::3
  IpAddress router6;                // fe80::2, the link-local address of the gateway
  std::string hostname;             // DHCP option 12
  std::string domain;               // DHCP option 15
  std::vector<std::string> search;  // DHCP option 119
  std::vector<ForwardRule> forwards;

  UserConfig();
  u32 netmask() const { return prefix_length ? ~u32{0} << (32 - prefix_length) : 0; }
  IpAddress broadcast() const { return IpAddress::v4(network.to_v4() | ~netmask()); }
};

// The table of options, for help and for refusing what comes later.
std::span<const OptionRow> user_options();

// From key=value pairs in order. Messages are QEMU's. `warnings` gets lines for the user.
Result<UserConfig> parse_user_options(std::span<const OptionText> options,
                                      std::vector<std::string>& warnings);

// The frame of its errors: "Invalid host forwarding rule 'foo' (No : separators)".
Result<ForwardRule> parse_forward(const std::string& text);
// "[tcp|udp]:[HOSTADDR]:HOSTPORT" of hostfwd_remove; nothing: "invalid format".
std::optional<ForwardRule> parse_forward_removal(const std::string& text);

}  // namespace rhea::net::user
