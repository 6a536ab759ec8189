// SPDX-License-Identifier: MIT
// The host's nftables (nf_tables over netlink(7)): a table of our own that translates addresses. It stands beside
// others' rules (firewall.h): a packet has to pass both.
#pragma once

#include <string>
#include <vector>

#include "util/ip_address.h"
#include "util/result.h"

namespace rhea::sys {

struct NatForward {
  bool udp = false;
  u16 port = 0;  // of the host
  IpAddress guest;
  u16 guest_port = 0;
};

struct NatTable {
  std::string name;
  IpAddress network;  // what leaves it for elsewhere gets the host's address
  unsigned length = 0;
  std::vector<NatForward> forwards;  // of what comes to an address of the host
};

// All of it, or nothing. Errors: errno's text ("File exists", "Operation not permitted"), or that the kernel has no
// nf_tables.
Result<void> add_nat_table(const NatTable& table);
// No error when there is none of the name.
Result<void> remove_nat_table(const std::string& name);
Result<bool> has_nat_table(const std::string& name);

}  // namespace rhea::sys
