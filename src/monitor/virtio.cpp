// SPDX-License-Identifier: MIT
#include "monitor/virtio.h"

#include <algorithm>

#include "monitor/objects.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

using config::Json;

struct BitName {
  u32 device;  // 0: of every device
  unsigned bit;
  const char* name;
  const char* meaning;
};
constexpr BitName kFeatures[] = {
#define FEATURE(device, bit, name, meaning) {device, bit, name, meaning},
#define STATUS(bit, name, meaning)
#include "monitor/virtio_names.inc"
#undef FEATURE
#undef STATUS
};
constexpr BitName kStatuses[] = {
#define FEATURE(device, bit, name, meaning)
#define STATUS(bit, name, meaning) {0, bit, name, meaning},
#include "monitor/virtio_names.inc"
#undef FEATURE
#undef STATUS
};

std::string bit_text(const BitName& row) { return fmt::format("{}: {}", row.name, row.meaning); }

Json features_json(u32 device_id, u64 features) {
  const NamedBits bits = feature_names(device_id, features);
  Json value = {{"transports", bits.transport}, {"dev-features", bits.device}};
  if (bits.unknown) value["unknown-dev-features"] = bits.unknown;
  return value;
}

Result<void> check_queue(VirtioInsight& device, u64 queue) {
  const u32 count = device.virtio_view().queues;
  if (queue < count) return {};
  return Error("Invalid virtqueue number {}", queue);
}

Json flag_names(u16 flags) {
  Json names = Json::array();
  constexpr const char* kNames[] = {"next", "write", "indirect"};
  for (unsigned bit = 0; bit < std::size(kNames); ++bit)
    if (flags >> bit & 1) names.push_back(kNames[bit]);
  return names;
}

}  // namespace

NamedBits feature_names(u32 device_id, u64 features) {
  NamedBits bits;
  for (const BitName& row : kFeatures) {
    if ((row.device && row.device != device_id) || !(features >> row.bit & 1)) continue;
    (row.device ? bits.device : bits.transport).push_back(bit_text(row));
    features &= ~(u64{1} << row.bit);
  }
  bits.unknown = features;
  return bits;
}

NamedBits status_names(u8 status) {
  NamedBits bits;
  bits.unknown = status;
  for (const BitName& row : kStatuses) {
    if (!(status >> row.bit & 1)) continue;
    bits.device.push_back(bit_text(row));
    bits.unknown &= ~(u64{1} << row.bit);
  }
  return bits;
}

std::vector<VirtioPlace> virtio_places(Context& context) {
  const machine::ObjectTree tree = object_tree(context);
  std::vector<VirtioPlace> places;
  for (const auto& node : context.machine.devices()) {
    auto* insight = dynamic_cast<VirtioInsight*>(node->device.get());
    if (!insight) continue;
    std::string name(node->type->name);
    if (name.ends_with("-device")) name.resize(name.size() - 7);
    places.push_back({insight, tree.path_of(*node), name});
  }
  std::reverse(places.begin(), places.end());
  return places;
}

Result<VirtioPlace> find_virtio(Context& context, const std::string& path) {
  for (VirtioPlace& place : virtio_places(context))
    if (place.path == path) return std::move(place);
  return Error("Path {} is not a VirtIODevice", path);
}

Result<Json> virtio_status(Context& context, const std::string& path) {
  const VirtioPlace place = RHEA_TRY(find_virtio(context, path));
  const VirtioView view = place.device->virtio_view();
  const NamedBits status = status_names(view.status);
  Json statuses = {{"statuses", status.device}};
  if (status.unknown) statuses["unknown-statuses"] = status.unknown;
  const bool running = context.machine.state() == machine::RunState::running;
  return Json{{"name", place.name},
              {"device-id", view.device_id},
              {"vhost-started", false},
              {"guest-features", features_json(view.device_id, view.negotiated)},
              {"host-features", features_json(view.device_id, view.offered)},
              {"backend-features", features_json(view.device_id, view.backend)},
              {"device-endian", "little"},
              {"num-vqs", view.queues},
              {"status", statuses},
              {"isr", view.isr},
              {"queue-sel", view.queue_select},
              {"vm-running", running},
              {"broken", view.broken},
              {"disabled", false},
              {"use-started", true},
              {"started", view.started},
              {"start-on-kick", false},
              {"disable-legacy-check", false},
              {"bus-name", ""},
              {"use-guest-notifier-mask", true}};
}

Result<Json> virtio_queue_status(Context& context, const std::string& path, u64 queue) {
  const VirtioPlace place = RHEA_TRY(find_virtio(context, path));
  RHEA_TRY(check_queue(*place.device, queue));
  const VirtqueueView view = place.device->virtqueue_view(static_cast<unsigned>(queue));
  return Json{{"name", place.name},
              {"queue-index", queue},
              {"inuse", view.in_use},
              {"vring-num", view.size},
              {"vring-num-default", view.limit},
              {"vring-align", view.align},
              {"vring-desc", view.descriptors},
              {"vring-avail", view.available},
              {"vring-used", view.used},
              {"last-avail-idx", view.next_available},
              {"shadow-avail-idx", view.next_available},
              {"used-idx", view.next_used},
              {"signalled-used", view.signalled},
              {"signalled-used-valid", view.signalled_valid}};
}

Result<Json> virtio_queue_element(Context& context, const std::string& path, u64 queue, s64 index) {
  const VirtioPlace place = RHEA_TRY(find_virtio(context, path));
  RHEA_TRY(check_queue(*place.device, queue));
  if (index > 0xffff) return Error("Parameter 'index' is at most 65535");
  const unsigned number = static_cast<unsigned>(queue);
  const u16 at = index < 0 ? place.device->virtqueue_view(number).next_available : static_cast<u16>(index);
  const VirtqueueElement element = RHEA_TRY(place.device->virtqueue_element(number, at));
  Json descriptors = Json::array();
  for (const VirtqueueElement::Descriptor& descriptor : element.descriptors)
    descriptors.push_back(
        {{"addr", descriptor.address}, {"len", descriptor.length}, {"flags", flag_names(descriptor.flags)}});
  return Json{
      {"name", place.name},
      {"index", element.head},
      {"descs", descriptors},
      {"avail",
       {{"flags", element.available_flags}, {"idx", element.available_index}, {"ring", element.available_entry}}},
      {"used", {{"flags", element.used_flags}, {"idx", element.used_index}}}};
}

}  // namespace rhea::monitor
