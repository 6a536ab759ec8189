// SPDX-License-Identifier: MIT
// What both monitors tell of virtio devices.
#pragma once

#include <string>
#include <vector>

#include "config/json.h"
#include "core/insight.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

struct VirtioPlace {
  VirtioInsight* device;
  std::string path;  // "/machine/peripheral/n0"
  std::string name;  // "virtio-net"
};

// In the order that QEMU tells them: the last one that was made is the first.
std::vector<VirtioPlace> virtio_places(Context& context);
// Errors: there is no such device.
Result<VirtioPlace> find_virtio(Context& context, const std::string& path);

// The bits of a word by name and meaning; those without a name are returned in `unknown`.
struct NamedBits {
  std::vector<std::string> transport, device;
  u64 unknown = 0;
};
NamedBits feature_names(u32 device_id, u64 features);
NamedBits status_names(u8 status);

// As x-query-virtio-* answer. Errors: there is no such device or queue; the chain makes no sense.
Result<config::Json> virtio_status(Context& context, const std::string& path);
Result<config::Json> virtio_queue_status(Context& context, const std::string& path, u64 queue);
// `index`: the place in the available ring; negative: the next one that the device takes.
Result<config::Json> virtio_queue_element(Context& context, const std::string& path, u64 queue, s64 index);

}  // namespace rhea::monitor
