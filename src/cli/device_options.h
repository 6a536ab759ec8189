// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "cli/settings.h"
#include "devices/device_type.h"

namespace rhea::cli {

// A -device, checked against its type's table; the netdev it names is looked up when backends are there.
struct DevicePlan {
  const devices::DeviceType* type = nullptr;
  machine::DeviceConfig device;
  std::string netdev;
  std::string chardev;
};
Result<DevicePlan> plan_device(const Typed& typed);
// What `-device X,help` prints.
std::string device_help(const devices::DeviceType& type);
// "invalid syntax for ethernet address", "NIC cannot have multicast MAC address".
Result<u64> check_mac(std::string_view text);

}  // namespace rhea::cli
