// SPDX-License-Identifier: MIT
#include "monitor/block.h"

#include <algorithm>

#include "block/describe.h"
#include "block/node.h"
#include "block/open.h"
#include "monitor/objects.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

using config::Json;

// One layer of an image: its own description, whatever is below it.
struct Layer {
  block::Node* node = nullptr;
  block::ImageInfo info;
};

std::vector<Layer> layers_of(const block::Drive& drive) {
  std::vector<Layer> layers;
  block::Image* image = drive.image();
  for (block::Node* node = image ? &image->node() : nullptr; node; node = node->backing()) {
    Layer layer{.node = node, .info = {}};
    node->describe(layer.info);
    layers.push_back(std::move(layer));
  }
  return layers;
}

std::vector<block::Snapshot> snapshots_of(const Layer& layer) {
  auto list = layer.node->snapshots();
  return list.ok() ? list.take() : std::vector<block::Snapshot>();
}

const char* detect_zeroes_name(block::DetectZeroes mode) {
  switch (mode) {
    case block::DetectZeroes::off: return "off";
    case block::DetectZeroes::on: return "on";
    case block::DetectZeroes::unmap: return "unmap";
  }
  return "off";
}

struct CacheFlags {
  bool writeback, direct, no_flush;
};
CacheFlags cache_flags(block::CacheMode mode) {
  using block::CacheMode;
  return {.writeback = mode != CacheMode::writethrough && mode != CacheMode::directsync,
          .direct = mode == CacheMode::none || mode == CacheMode::directsync,
          .no_flush = mode == CacheMode::unsafe};
}

std::string cache_text(block::CacheMode mode) {
  const CacheFlags flags = cache_flags(mode);
  return fmt::format("{}{}{}", flags.writeback ? "writeback" : "writethrough", flags.direct ? ", direct" : "",
                     flags.no_flush ? ", ignore flushes" : "");
}

const char* io_status_name(block::Drive::IoStatus status) {
  switch (status) {
    case block::Drive::IoStatus::ok: return "ok";
    case block::Drive::IoStatus::failed: return "failed";
    case block::Drive::IoStatus::no_space: return "nospace";
  }
  return "ok";
}

// Names are kept for media; layers below have them made from theirs.
std::string layer_name(const block::Drive& drive, usize depth) {
  return depth ? fmt::format("{}.backing{}", drive.node_name(), depth) : drive.node_name();
}

// The images from layer `first` down, one in the other.
Json image_chain(const std::vector<Layer>& layers, usize first) {
  Json row = block::image_json(layers[first].info, snapshots_of(layers[first]));
  if (first + 1 < layers.size()) row["backing-image"] = image_chain(layers, first + 1);
  return row;
}

// Of query-block: what is limited, and bursts that may be longer than a second.
void add_limits(const block::Drive& drive, Json& row) {
  using Limits = block::ThrottleLimits;
  const Limits limits = drive.throttle() ? drive.throttle()->limits() : Limits{};
  constexpr const char* kNames[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
  for (usize i = 0; i < Limits::kCount; ++i) {
    const Limits::Limit& limit = limits.limits[i];
    const std::string name = kNames[i];
    row[name] = limit.average;
    if (!limit.max) continue;
    row[name + "_max"] = limit.max;
    row[name + "_max_length"] = limit.length;
  }
  if (limits.iops_size) row["iops_size"] = limits.iops_size;
  if (drive.throttle()) row["group"] = drive.throttle()->name();
}

std::string limits_text(const block::ThrottleGroup* group) {
  if (!group) return {};
  const auto& l = group->limits().limits;
  return fmt::format(
      "    I/O throttling:   bps={} bps_rd={} bps_wr={} bps_max={} bps_rd_max={} bps_wr_max={} iops={} iops_rd={} "
      "iops_wr={} iops_max={} iops_rd_max={} iops_wr_max={} iops_size={} group={}\n",
      l[0].average, l[1].average, l[2].average, l[0].max, l[1].max, l[2].max, l[3].average, l[4].average, l[5].average,
      l[3].max, l[4].max, l[5].max, group->limits().iops_size, group->name());
}

Json node_row(const block::Drive& drive, const std::vector<Layer>& layers, usize depth, bool whole) {
  const Layer& layer = layers[depth];
  const block::ImageSpec& spec = drive.medium_spec();
  const CacheFlags cache = cache_flags(spec.cache);
  Json row = {{"detect_zeroes", depth ? "off" : detect_zeroes_name(spec.detect_zeroes)},
              {"image", whole ? image_chain(layers, depth) : block::image_json(layer.info, snapshots_of(layer))},
              {"ro", layer.node->read_only()},
              {"node-name", layer_name(drive, depth)},
              {"backing_file_depth", layers.size() - depth - 1},
              {"drv", layer.info.format},
              {"write_threshold", 0}};
  // Limits are the device's: they show at the layer that it sees.
  for (const char* name : {"iops", "iops_rd", "iops_wr", "bps", "bps_rd", "bps_wr"}) row[name] = 0;
  if (depth == 0) add_limits(drive, row);
  if (depth + 1 < layers.size()) row["backing_file"] = layers[depth + 1].info.filename;
  row["encrypted"] = false;
  row["cache"] = {{"no-flush", cache.no_flush}, {"direct", cache.direct}, {"writeback", cache.writeback}};
  row["file"] = layer.info.filename;
  return row;
}

}  // namespace

block::Drive* find_drive(Context& context, const std::string& device) {
  if (device.empty()) return nullptr;
  if (block::Drive* drive = context.machine.drives().find(device)) return drive;
  for (const auto& drive : context.machine.drives().all())
    if (drive->client() && (holder_of(context, *drive) == device || drive->attached_path() == device))
      return drive.get();
  return nullptr;
}

std::vector<block::Drive*> shown_drives(Context& context) {
  std::vector<block::Drive*> list;
  for (const auto& drive : context.machine.drives().all()) {
    const bool is_node = !drive->config().node_name.empty() && drive->config().node_name == drive->id();
    if (!is_node || drive->client() || drive->has_medium()) list.push_back(drive.get());
  }
  return list;
}

Error no_such_drive(Context& context, const std::string& device) {
  std::vector<std::string> names;
  for (const auto& drive : context.machine.drives().all()) names.push_back(drive->id());
  return device_not_found(fmt::format("Device '{}' not found{}", device, did_you_mean(device, names)));
}

std::string holder_of(Context& context, const block::Drive& drive) {
  if (!drive.client()) return {};
  const machine::ObjectTree tree = object_tree(context);
  for (const auto& node : context.machine.devices()) {
    if (dynamic_cast<block::DriveClient*>(node->device.get()) != drive.client()) continue;
    const std::string path = tree.path_of(*node);
    return path.starts_with("/machine/peripheral/") ? node->id : path.empty() ? drive.attached_path() : path;
  }
  return drive.attached_path();
}

bool is_removable(const block::Drive& drive) { return !drive.client() || drive.removable(); }

Result<std::optional<bool>> parse_read_only_mode(const std::string& word) {
  if (word == "retain") return std::optional<bool>();
  if (word == "read-only") return std::optional(true);
  if (word == "read-write") return std::optional(false);
  return Error("invalid parameter value: {}{}", word,
               did_you_mean(word, std::vector<std::string>{"retain", "read-only", "read-write"}));
}

void take_out_medium(Context& context, block::Drive& drive) {
  const std::string name = drive.node_name();
  std::unique_ptr<block::Image> image = drive.remove();
  if (!image) return;
  for (const auto& node : context.machine.drives().all())
    if (node.get() != &drive && !node->client() && !node->has_medium() && node->config().node_name == name)
      return node->insert(std::move(image), name);
}

Result<void> change_medium(Context& context, block::Drive& drive, const NewMedium& medium) {
  RHEA_TRY(drive.may_eject(medium.force));
  block::ImageSpec spec = drive.medium_spec();
  const block::ImageSpec fresh;
  spec.filename = medium.filename;
  spec.format = medium.format;
  spec.read_only = medium.read_only.value_or(spec.read_only);
  spec.offset = spec.size = 0;
  spec.backing_file = spec.backing_format = spec.load_snapshot = fresh.load_snapshot;
  spec.with_backing = true;
  spec.null_disk.reset();
  spec.throttle.reset();
  if (!spec.format.empty() && !block::is_known_format(spec.format)) return block::unknown_format(spec.format);
  auto image = RHEA_TRY(block::open_image(spec));
  for (const std::string& line : image->warnings()) context.log.write_text(line);
  take_out_medium(context, drive);
  drive.insert(std::move(image), context.machine.drives().new_node_name());
  return {};
}

Result<void> commit_drive(Context& context, const std::string& device) {
  block::DriveTable& drives = context.machine.drives();
  if (device == "all") return drives.commit_all();
  block::Drive* drive = find_drive(context, device);
  if (!drive) return no_such_drive(context, device);
  if (!drive->has_medium()) return Error("Device '{}' has no medium", device);
  RHEA_TRY(drive->busy());
  drive->drain();
  Result<void> committed = drive->image()->commit();
  if (!committed.ok()) return Error("'commit' error for '{}': {}", device, committed.error().message());
  return {};
}

Result<void> resize_drive(block::Drive& drive, u64 bytes) {
  if (!drive.has_medium()) return Error("Device '{}' has no medium", drive.id());
  if (bytes == 0 || bytes > u64{1} << 62) return Error("Parameter 'size' expects a >0 size");
  Result<void> done = drive.resize((bytes + 511) / 512 * 512);
  if (!done.ok()) return std::move(done.error()).in(fmt::format("Device '{}' cannot be resized", drive.id()));
  return done;
}

Result<void> throttle_drive(Context& context, block::Drive& drive, const std::string& group,
                            const block::ThrottleLimits& limits) {
  RHEA_TRY(limits.check());
  if (limits.any() && drive.synchronous()) return Error("with -icount a disk takes no time: it has no limits");
  if (!drive.has_medium()) return Error("Device '{}' has no medium", drive.id());
  context.machine.drives().set_throttle(drive, group, limits);
  return {};
}

Result<void> delete_drive(Context& context, const std::string& id) {
  block::DriveTable& drives = context.machine.drives();
  block::Drive* drive = drives.find(id);
  if (!drive) return no_such_drive(context, id);
  if (drive->id() != id || (!drive->config().node_name.empty() && drive->config().node_name == drive->config().id))
    return Error("Deleting device added with blockdev-add is not supported");
  RHEA_TRY(drive->busy());
  if (!drive->client()) return drives.remove(drive->id());
  take_out_medium(context, *drive);
  return {};
}

namespace {

// Of a drive whose image is writable and keeps snapshots.
Result<block::Image*> snapshot_image(Context& context, const std::string& device) {
  block::Drive* drive = find_drive(context, device);
  if (!drive) return no_such_drive(context, device);
  if (!drive->has_medium()) return Error("Device '{}' has no medium", device);
  if (drive->read_only()) return Error("Device '{}' is read only", device);
  if (!drive->image()->can_snapshot())
    return Error("Block format '{}' used by device '{}' does not support internal snapshots",
                 drive->image()->info().format, device);
  RHEA_TRY(drive->busy());
  drive->drain();
  return drive->image();
}

}  // namespace

Result<void> take_disk_snapshot(Context& context, const std::string& device, const std::string& name) {
  block::Image* image = RHEA_TRY(snapshot_image(context, device));
  if (name.empty()) return Error("Name is empty");
  for (const block::Snapshot& old : RHEA_TRY(image->snapshots()))
    if (old.name == name) return Error("Snapshot with name '{}' already exists on device '{}'", name, device);
  const s64 now = context.machine.wall_time();
  block::Snapshot snapshot;
  snapshot.name = name;
  snapshot.date_seconds = static_cast<u32>(now / kSecond);
  snapshot.date_nanoseconds = static_cast<u32>(now % kSecond);
  RHEA_TRY(image->create_snapshot(snapshot));
  return image->flush();
}

Result<block::Snapshot> delete_disk_snapshot(Context& context, const std::string& device, const std::string& id,
                                             const std::string& name) {
  block::Image* image = RHEA_TRY(snapshot_image(context, device));
  if (id.empty() && name.empty()) return Error("Name or id must be provided");
  for (const block::Snapshot& snapshot : RHEA_TRY(image->snapshots())) {
    if ((!id.empty() && snapshot.id != id) || (!name.empty() && snapshot.name != name)) continue;
    RHEA_TRY(image->delete_snapshot(snapshot.id));
    RHEA_TRY(image->flush());
    return snapshot;
  }
  return Error("Snapshot with id '{}' and name '{}' does not exist on device '{}'", id.empty() ? "null" : id,
               name.empty() ? "null" : name, device);
}

config::Json drive_row(Context& context, block::Drive& drive) {
  Json row = Json::object();
  if (drive.has_io_status()) row["io-status"] = io_status_name(drive.io_status());
  row["device"] = drive.id();
  row["locked"] = false;
  row["removable"] = is_removable(drive);
  const std::vector<Layer> layers = layers_of(drive);
  if (!layers.empty()) row["inserted"] = node_row(drive, layers, 0, true);
  if (drive.client()) row["qdev"] = holder_of(context, drive);
  row["type"] = "unknown";
  return row;
}

config::Json statistics_row(Context& context, block::Drive& drive) {
  const block::DriveStatistics& s = drive.statistics();
  Json row = {{"device", drive.id()},
              {"stats",
               {{"unmap_operations", s.discard.operations},
                {"unmap_merged", 0},
                {"flush_total_time_ns", s.flush.nanoseconds},
                {"wr_highest_offset", s.highest_written},
                {"wr_total_time_ns", s.write.nanoseconds},
                {"failed_wr_operations", s.write.failed},
                {"failed_rd_operations", s.read.failed},
                {"wr_merged", 0},
                {"wr_bytes", s.write.bytes},
                {"timed_stats", Json::array()},
                {"failed_unmap_operations", s.discard.failed},
                {"failed_flush_operations", s.flush.failed},
                {"account_invalid", true},
                {"rd_total_time_ns", s.read.nanoseconds},
                {"invalid_unmap_operations", 0},
                {"flush_operations", s.flush.operations},
                {"wr_operations", s.write.operations},
                {"unmap_bytes", s.discard.bytes},
                {"rd_merged", 0},
                {"rd_bytes", s.read.bytes},
                {"unmap_total_time_ns", s.discard.nanoseconds},
                {"invalid_flush_operations", 0},
                {"account_failed", true},
                {"rd_operations", s.read.operations},
                {"invalid_wr_operations", 0},
                {"invalid_rd_operations", 0}}}};
  if (s.last_ended >= 0) row["stats"]["idle_time_ns"] = drive.loop().real_clock().now() - s.last_ended;
  if (drive.has_medium()) row["node-name"] = drive.node_name();
  if (drive.client()) row["qdev"] = holder_of(context, drive);
  return row;
}

config::Json node_rows(Context& context, bool flat) {
  Json rows = Json::array();
  for (const auto& drive : context.machine.drives().all()) {
    const std::vector<Layer> layers = layers_of(*drive);
    for (usize depth = layers.size(); depth-- > 0;) rows.push_back(node_row(*drive, layers, depth, !flat));
  }
  return rows;
}

namespace {

// "Images:" and each layer's description.
std::string images_text(const std::vector<Layer>& layers, usize first) {
  std::string text = "\nImages:\n";
  for (usize i = first; i < layers.size(); ++i) text += block::image_text(layers[i].info, snapshots_of(layers[i]));
  return text;
}

std::string layer_text(const block::Drive& drive, const std::vector<Layer>& layers, usize depth) {
  const Layer& layer = layers[depth];
  std::string text = fmt::format("    Cache mode:       {}\n", cache_text(drive.medium_spec().cache));
  if (depth + 1 < layers.size())
    text += fmt::format("    Backing file:     {} (chain depth: {})\n", layers[depth + 1].info.filename,
                        layers.size() - depth - 1);
  if (depth == 0 && drive.medium_spec().detect_zeroes != block::DetectZeroes::off)
    text += fmt::format("    Detect zeroes:    {}\n", detect_zeroes_name(drive.medium_spec().detect_zeroes));
  if (depth == 0) text += limits_text(drive.throttle().get()) + limits_text(drive.image()->spec().throttle.get());
  if (layer.info.corrupt) text += "    The image is marked corrupt: it is read-only\n";
  return text;
}

std::string layer_head(const Layer& layer) {
  return fmt::format("{} ({}{})", layer.info.filename, layer.info.format, layer.node->read_only() ? ", read-only" : "");
}

}  // namespace

std::string drive_text(Context& context, block::Drive& drive, bool verbose) {
  const std::vector<Layer> layers = layers_of(drive);
  std::string text = drive.id();
  if (layers.empty()) text += ": [not inserted]\n";
  else text += fmt::format(" ({}): {}\n", drive.node_name(), layer_head(layers[0]));
  if (drive.client()) text += fmt::format("    Attached to:      {}\n", holder_of(context, drive));
  if (is_removable(drive)) text += "    Removable device: not locked, tray closed\n";
  if (drive.io_status() != block::Drive::IoStatus::ok)
    text += fmt::format("    I/O status:       {}\n", io_status_name(drive.io_status()));
  if (layers.empty()) return text;
  text += layer_text(drive, layers, 0);
  if (verbose) text += images_text(layers, 0);
  return text;
}

std::string nodes_text(Context& context, bool verbose) {
  std::string text;
  for (const auto& drive : context.machine.drives().all()) {
    const std::vector<Layer> layers = layers_of(*drive);
    for (usize depth = layers.size(); depth-- > 0;) {
      if (!text.empty()) text += "\n";
      text += fmt::format("{}: {}\n", layer_name(*drive, depth), layer_head(layers[depth]));
      text += layer_text(*drive, layers, depth);
      if (verbose) text += images_text(layers, depth);
    }
  }
  return text;
}

std::string statistics_text(const block::Drive& drive) {
  const block::DriveStatistics& s = drive.statistics();
  const s64 idle = s.last_ended < 0 ? 0 : drive.loop().real_clock().now() - s.last_ended;
  return fmt::format(
      "{}: rd_bytes={} wr_bytes={} rd_operations={} wr_operations={} flush_operations={} wr_total_time_ns={} "
      "rd_total_time_ns={} flush_total_time_ns={} rd_merged=0 wr_merged=0 idle_time_ns={}\n",
      drive.id(), s.read.bytes, s.write.bytes, s.read.operations, s.write.operations, s.flush.operations,
      s.write.nanoseconds, s.read.nanoseconds, s.flush.nanoseconds, idle);
}

}  // namespace rhea::monitor
