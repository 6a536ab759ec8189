// SPDX-License-Identifier: MIT
// What people trip over when they wire guests to a host's networks, looked for on this host. Looking and judging are
// apart, so that judging can be tested.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sys/firewall.h"
#include "sys/links.h"
#include "util/result.h"

namespace rhea::tool {

struct HostFacts {
  std::vector<sys::Link> links;
  std::vector<sys::LinkAddress> addresses;
  u32 default_route = 0;                         // an interface's number
  std::optional<std::string> bridge_nf;          // net.bridge.bridge-nf-call-iptables
  std::optional<std::string> forwarding;         // net.ipv4.ip_forward
  std::map<std::string, std::string> rp_filter;  // by interface, and "all"
  std::vector<sys::FirewallChain> chains;
  std::vector<std::string> wireless;       // names of interfaces
  std::optional<std::string> access_list;  // of rhea-bridge-helper; nothing: there is none
  std::string manager;                     // who looks after the NICs; empty: nobody known
};

struct Finding {
  std::string what, fix;
};

// Empty: nobody known.
std::string manager_of_nics();
Result<HostFacts> look_at_host();
std::vector<Finding> diagnose(const HostFacts& facts);

}  // namespace rhea::tool
