// SPDX-License-Identifier: MIT
#pragma once

#include <set>
#include <string>
#include <vector>

#include "chardev/registry.h"
#include "cli/settings.h"
#include "cli/user_objects.h"
#include "net/backend.h"

namespace rhea::cli {

// Makes the backends of -netdev, -nic, -net (or of the default) in a Network, and fills in the NICs and
// devices of the machine's configuration.
class NetworkPlan {
 public:
  NetworkPlan(Settings& settings, net::Network& network, chardev::Registry& chardevs, UserObjects& objects)
      : settings_(settings), network_(network), chardevs_(chardevs), objects_(objects) {}
  Result<void> make();

 private:
  Result<void> make_netdev(const Typed& typed);
  Result<void> make_nic(const Typed& typed);  // -nic
  Result<void> make_net(const Typed& typed);  // -net
  Result<void> make_net_nic(const Typed& typed, const config::ParsedText& parsed);
  Result<void> make_device(const Typed& typed);
  Result<void> make_filter(const Typed& typed);
  Result<void> add_nic(const Typed& typed, machine::NicConfig nic);
  Result<void> follow_stations();
  void assign_macs();
  Result<void> check_rings(const net::Port* netdev, std::string_view driver) const;
  Result<void> check_model(const std::string& model) const;

  Settings& settings_;
  net::Network& network_;
  chardev::Registry& chardevs_;
  UserObjects& objects_;
  std::set<std::string> taken_;  // ids of netdevs that have a NIC
  std::set<std::string> device_ids_;
};

}  // namespace rhea::cli
