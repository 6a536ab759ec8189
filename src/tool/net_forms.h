// SPDX-License-Identifier: MIT
// A plan in the form of the program that looks after a host's networks, for one that is to be there after a restart.
#pragma once

#include <string>

#include "tool/net_plan.h"

namespace rhea::tool {

// `form`: netplan, ifupdown, networkmanager, or host for what this one has. Errors: there is no such form, what the
// NIC has cannot be found.
Result<std::string> net_form(const NetPlan& plan, const std::string& form);

// What the NIC of a bridged plan has.
struct NicFacts {
  std::string mac;
  bool leased = false;                                      // its address is from DHCP
  std::vector<std::string> addresses;                       // "192.0.2.5/24"
  std::vector<std::pair<std::string, std::string>> routes;  // to ("default"), via (may be empty)
  std::vector<std::string> name_servers;
};
std::string netplan_form(const NetPlan& plan, const NicFacts& nic);
std::string ifupdown_form(const NetPlan& plan, const NicFacts& nic);
std::string network_manager_form(const NetPlan& plan, const NicFacts& nic);

}  // namespace rhea::tool
