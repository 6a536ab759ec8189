// SPDX-License-Identifier: MIT
// The options of `-netdev user`: the virtual network's addresses and the forwarded ports.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/backend.h"
#include "util/ip_address.h"
#include "util/result.h"

namespace rhea::net::user {

// hostfwd: "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT", or without a protocol
// "HOSTADDR:HOSTPORT-GUESTADDR:GUESTPORT", or "unix:PATH-[GUESTADDR]:GUESTPORT". IPv6 addresses stand in
// brackets; HOSTADDR may be a name, which is looked up when the port is opened; a port may be a range
// "FIRST..LAST", one host port for one port of the guest.
struct ForwardRule {
  bool udp = false;
  IpAddress host_address;   // unspecified: all interfaces, or those of host_name
  std::string host_name;    // a name instead of an address
  bool host_given = false;  // an address or a name was typed
  std::string unix_path;    // not empty: a unix socket instead of address and port
  u16 host_port = 0;        // 0: the host's kernel chooses
  u16 ports = 1;            // how many, from host_port and guest_port on
  IpAddress guest_address;  // unspecified: the first DHCP address
  u16 guest_port = 0;
  std::string text;  // as typed
};

// guestfwd: "[tcp]:SERVER:PORT-TARGET": what the guest reaches there. TARGET is "cmd:COMMAND", a new process for each
// connection; "tcp:HOST:PORT", a new connection each time; or any other character device, as "chardev:ID" or in a short
// form, whose one stream all connections share.
struct GuestForward {
  IpAddress address;  // unspecified: the SMB server's place
  u16 port = 0;
  std::vector<std::string> command;
  std::string target_name;  // of tcp:
  Endpoint target;          // its address is looked up at the start, and unspecified when none is known
  std::string device;       // neither: a character device
  std::string text;         // as typed
};

// A record of the name server's own ("dns-record=NAME=VALUE").
struct NameRecord {
  std::string name;  // lower case; "*.x" stands for all names below x
  enum Type : u16 { a = 1, cname = 5, ptr = 12, txt = 16, aaaa = 28 } type = a;
  IpAddress address;
  std::string text;  // of a cname, ptr or txt
};

// An address that a guest always gets ("dhcp-lease=MAC=ADDRESS[=NAME]").
struct StaticLease {
  std::array<u8, 6> mac{};
  IpAddress address;
  std::string name;
};

// What the guest may reach: "[tcp:|udp:|icmp:]TARGET[:PORT[..LAST]]" of allow= and deny=, in their order.
struct AccessRule {
  bool allow = true;
  u8 protocol = 0;  // IP's number; 0: all
  enum Target : u8 { anything, host, network, domain } target = anything;
  IpAddress network_address;
  unsigned length = 0;
  std::string domain_name;            // lower case; "*.x" for names below x
  u16 first_port = 0, last_port = 0;  // 0: all
  std::string text;                   // as typed, with "allow=" or "deny="
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
  IpAddress prefix6;         // fec0::
  u16 dhcp6_start = 0x1000;  // host part of the first address of DHCPv6
  unsigned prefix6_length = 64;
  IpAddress host6;                  // fec0::2
  IpAddress dns6;                   // fec0::3
  IpAddress router6;                // fe80::2, the link-local address of the gateway
  std::string hostname;             // DHCP option 12
  std::string domain;               // DHCP option 15
  std::vector<std::string> search;  // DHCP option 119
  u16 mtu = 0;                      // DHCP option 26, RA option 5; 0: not told (1500 holds)
  std::vector<IpAddress> ntp;       // DHCP option 42, DHCPv6 option 56
  std::vector<StaticLease> leases;
  std::string tftp;         // folder of the TFTP server; empty: none
  std::string tftp_server;  // DHCP option 66
  IpAddress tftp_address;   // of it, when it is an address or could be looked up
  std::string boot_file;    // "file" of DHCP, boot URL of DHCPv6
  std::string smb;          // folder of the SMB server; empty: none
  IpAddress smb_server;     // 10.0.2.4
  std::vector<GuestForward> guest_forwards;
  std::vector<ForwardRule> forwards;
  enum class Listen : u8 { always, probe } listen = Listen::always;
  unsigned hold_seconds = 60;  // how long a forwarded connection waits for the guest to answer
  std::vector<AccessRule> access;
  u64 rate_in = 0, rate_out = 0;    // bits a second towards the guest and from it; 0: no limit
  std::string metrics;              // unix socket that tells counters; empty: none
  std::vector<Endpoint> resolvers;  // instead of the host's
  std::vector<NameRecord> records;

  UserConfig();
  u32 netmask() const { return rhea::netmask(prefix_length); }
  IpAddress broadcast() const { return IpAddress::v4(network.to_v4() | ~netmask()); }
};

// The table of options, for help and for refusing what comes later.
std::span<const OptionRow> user_options();

// From key=value pairs in order. Messages are QEMU's. `warnings` gets lines for the user.
Result<UserConfig> parse_user_options(std::span<const OptionText> options, std::vector<std::string>& warnings);

// An address in the network with this host part ("inside(0x0204)" is 10.0.2.4).
IpAddress address_inside(const UserConfig& config, u32 host_part);

// Words of a command as a shell would split them: blanks, quotes, backslashes. Nothing: a quote is open.
std::optional<std::vector<std::string>> split_command(std::string_view text);
// The rule of "allow=" or "deny=" (`name`).
Result<AccessRule> parse_access(const std::string& name, const std::string& text);
// "[tcp]:SERVER:PORT-cmd:COMMAND".
Result<GuestForward> parse_guest_forward(const std::string& text);
// The frame of its errors: "Invalid host forwarding rule 'foo' (No : separators)".
Result<ForwardRule> parse_forward(const std::string& text);
// "[tcp|udp]:[HOSTADDR]:HOSTPORT" of hostfwd_remove; nothing: "invalid format".
std::optional<ForwardRule> parse_forward_removal(const std::string& text);

}  // namespace rhea::net::user
