// SPDX-License-Identifier: MIT
// QMP: drives, media, nodes.
#include <algorithm>

#include "monitor/block.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

Json nothing() { return Json::object(); }

// By `device` (a drive's name) or `id` (a device's): one of them.
Result<block::Drive*> drive_of(QmpCall& call) {
  if (call.has("device") == call.has("id")) return Error("Need exactly one of 'device' and 'id'");
  const std::string name = call.text(call.has("id") ? "id" : "device");
  block::Drive* drive = find_drive(call.context, name);
  if (!drive) return no_such_drive(call.context, name);
  return drive;
}

Result<block::Drive*> removable_drive_of(QmpCall& call) {
  block::Drive* drive = RHEA_TRY(drive_of(call));
  if (!is_removable(*drive)) return Error("Device '{}' is not removable", call.text(call.has("id") ? "id" : "device"));
  return drive;
}

Json snapshot_row(const block::Snapshot& snapshot) {
  Json row = {{"vm-clock-nsec", snapshot.vm_clock_nanoseconds % kSecond},
              {"name", snapshot.name},
              {"date-sec", snapshot.date_seconds},
              {"date-nsec", snapshot.date_nanoseconds},
              {"vm-clock-sec", snapshot.vm_clock_nanoseconds / kSecond},
              {"id", snapshot.id},
              {"vm-state-size", snapshot.vm_state_size}};
  if (snapshot.icount != ~u64{0}) row["icount"] = snapshot.icount;
  return row;
}

}  // namespace

Result<Json> qmp_query_block(QmpCall& call) {
  Json list = Json::array();
  for (block::Drive* drive : shown_drives(call.context)) list.push_back(drive_row(call.context, *drive));
  return list;
}

Result<Json> qmp_query_blockstats(QmpCall& call) {
  Json list = Json::array();
  for (block::Drive* drive : shown_drives(call.context))
    if (!call.flag("query-nodes") || drive->has_medium()) list.push_back(statistics_row(call.context, *drive));
  return list;
}

Result<Json> qmp_query_named_block_nodes(QmpCall& call) { return node_rows(call.context, call.flag("flat")); }

Result<Json> qmp_block_resize(QmpCall& call) {
  const std::string device = call.text("device"), node = call.text("node-name");
  block::Drive* drive = find_drive(call.context, device.empty() ? node : device);
  if (!drive) return Error("Cannot find device='{}' nor node-name='{}'", device, node);
  if (call.number("size") < 0) return Error("Parameter 'size' expects a >0 size");
  RHEA_TRY(resize_drive(*drive, static_cast<u64>(call.number("size"))));
  return nothing();
}

Result<Json> qmp_block_set_io_throttle(QmpCall& call) {
  block::Drive* drive = RHEA_TRY(drive_of(call));
  block::ThrottleLimits limits;
  constexpr const char* kNames[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
  const auto number = [&](const std::string& name, u64 absent) {
    return static_cast<u64>(call.number(name, static_cast<s64>(absent)));  // a negative one is beyond all limits
  };
  for (usize i = 0; i < std::size(kNames); ++i) {
    const std::string name = kNames[i];
    limits.limits[i] = {number(name, 0), number(name + "_max", 0), number(name + "_max_length", 1)};
  }
  limits.iops_size = number("iops_size", 0);
  RHEA_TRY(throttle_drive(call.context, *drive, call.text("group"), limits));
  return nothing();
}

Result<Json> qmp_eject(QmpCall& call) {
  block::Drive* drive = RHEA_TRY(drive_of(call));
  RHEA_TRY(drive->may_eject(call.flag("force")));
  take_out_medium(call.context, *drive);
  return nothing();
}

// A card has no tray: opening and closing it is nothing, as in QEMU.
Result<Json> qmp_blockdev_open_tray(QmpCall& call) {
  RHEA_TRY(removable_drive_of(call));
  return nothing();
}
Result<Json> qmp_blockdev_close_tray(QmpCall& call) {
  RHEA_TRY(removable_drive_of(call));
  return nothing();
}

Result<Json> qmp_blockdev_remove_medium(QmpCall& call) {
  block::Drive* drive = RHEA_TRY(removable_drive_of(call));
  RHEA_TRY(drive->busy());
  take_out_medium(call.context, *drive);
  return nothing();
}

Result<Json> qmp_blockdev_insert_medium(QmpCall& call) {
  block::Drive* drive = RHEA_TRY(removable_drive_of(call));
  if (drive->has_medium()) return Error("There already is a medium in device '{}'", call.text("id"));
  const std::string name = call.text("node-name");
  block::Drive* node = call.context.machine.drives().find(name);
  if (!node || node->node_name() != name) return Error("Node '{}' not found", name);
  if (node->client()) return Error("Node '{}' is already in use", name);
  if (drive->synchronous() && node->has_medium() && node->image()->spec().throttle)
    return Error("with -icount a disk takes no time: it has no limits");
  drive->insert(node->remove(), name);
  return nothing();
}

Result<Json> qmp_blockdev_change_medium(QmpCall& call) {
  block::Drive* drive = RHEA_TRY(removable_drive_of(call));
  RHEA_TRY(change_medium(call.context, *drive,
                         {.filename = call.text("filename"),
                          .format = call.text("format"),
                          .read_only = RHEA_TRY(parse_read_only_mode(call.text("read-only-mode", "retain"))),
                          .force = call.flag("force")}));
  return nothing();
}

Result<Json> qmp_blockdev_add(QmpCall& call) {
  if (!call.context.add_node) return Error("nodes cannot be added here");
  RHEA_TRY(call.context.add_node(config::json_text(call.arguments)));
  return nothing();
}

Result<Json> qmp_blockdev_del(QmpCall& call) {
  if (!call.context.delete_node) return Error("Failed to find node with node-name='{}'", call.text("node-name"));
  RHEA_TRY(call.context.delete_node(call.text("node-name")));
  return nothing();
}

Result<Json> qmp_snapshot_internal(QmpCall& call) {
  RHEA_TRY(take_disk_snapshot(call.context, call.text("device"), call.text("name")));
  return nothing();
}

Result<Json> qmp_snapshot_delete_internal(QmpCall& call) {
  return snapshot_row(
      RHEA_TRY(delete_disk_snapshot(call.context, call.text("device"), call.text("id"), call.text("name"))));
}

}  // namespace rhea::monitor
