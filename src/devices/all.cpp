// SPDX-License-Identifier: MIT
#include "devices/device_type.h"

namespace rhea::devices {

#define DEVICE(record) extern const DeviceType record;
#include "devices/devices.inc"
#undef DEVICE

std::span<const DeviceType* const> all_device_types() {
  static constexpr const DeviceType* types[] = {
#define DEVICE(record) &record,
#include "devices/devices.inc"
#undef DEVICE
  };
  return types;
}

const DeviceType* find_device_type(std::string_view name) {
  for (const DeviceType* type : all_device_types())
    if (type->name == name || (!type->alias.empty() && type->alias == name)) return type;
  return nullptr;
}

}  // namespace rhea::devices
