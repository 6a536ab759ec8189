// SPDX-License-Identifier: MIT
// External snapshots: a drive goes on in a new layer over its image, which stays as it is.
#include "block/create.h"
#include "block/node.h"
#include "block/open.h"
#include "monitor/block.h"
#include "monitor/commands.h"
#include "monitor/qmp.h"

namespace rhea::monitor {

namespace {

Error no_such_node(const std::string& device, const std::string& node) {
  return Error("Cannot find device='{}' nor node-name='{}'", device, node);
}

// The spec of the layer, with the ways of the disk that it goes on.
block::ImageSpec layer_spec(const block::Drive& drive, const std::string& filename, const std::string& format) {
  const block::ImageSpec& below = drive.medium_spec();
  block::ImageSpec spec;
  spec.filename = filename;
  spec.format = format;
  spec.read_only = drive.read_only();
  spec.cache = below.cache;
  spec.aio = below.aio;
  spec.discard = below.discard;
  spec.detect_zeroes = below.detect_zeroes;
  spec.locking = below.locking;
  spec.with_backing = false;
  return spec;
}

Result<void> make_layer(const block::Drive& drive, const std::string& filename, const std::string& format) {
  const block::ImageInfo info = drive.image()->info();
  if (filename == info.filename || sys::same_file(filename, info.filename))
    return Error("Error: Trying to create an image with the same filename as the backing file");
  const bool is_path = block::protocol_of(info.filename).empty();
  return block::create_image({.filename = filename,
                              .format = format,
                              .size = drive.size(),
                              .backing_file = is_path ? sys::absolute_path(info.filename) : info.filename,
                              .backing_format = info.format});
}

}  // namespace

Result<void> snapshot_to_file(Context& context, const LayerRequest& request) {
  const std::string& name = request.device.empty() ? request.node : request.device;
  block::Drive* drive = find_drive(context, name);
  if (!drive) return no_such_node(request.device, request.node);
  if (!drive->has_medium()) return Error("Device '{}' has no medium", name);
  if (drive->medium_spec().snapshot)
    return Error("'{}' is written to a temporary file (snapshot=on): no layer can lie on that", name);
  if (request.device.empty() && request.layer_name.empty()) return Error("New overlay node-name missing");
  if (!request.layer_name.empty() && context.machine.drives().find(request.layer_name))
    return Error("New overlay node-name already in use");
  if (!block::is_known_format(request.format)) return Error("Unknown file format '{}'", request.format);
  RHEA_TRY(drive->busy());
  if (!request.existing) RHEA_TRY(make_layer(*drive, request.filename, request.format));
  auto layer = RHEA_TRY(block::open_image(layer_spec(*drive, request.filename, request.format)));
  for (const std::string& line : layer->warnings()) context.log.write_text(line);
  return drive->add_layer(layer,
                          request.layer_name.empty() ? context.machine.drives().new_node_name() : request.layer_name);
}

Result<void> snapshot_to_node(Context& context, const std::string& node, const std::string& overlay) {
  block::DriveTable& drives = context.machine.drives();
  block::Drive* drive = drives.find(node);
  if (!drive || drive->node_name().empty()) return no_such_node(node, node);
  block::Drive* layer = drives.find(overlay);
  if (!layer || layer->node_name() != overlay) return no_such_node(overlay, overlay);
  if (layer == drive || layer->client()) return Error("The overlay is already in use");
  if (layer->image()->node().backing()) return Error("The overlay already has a backing image");
  RHEA_TRY(layer->busy());
  auto image = layer->remove();
  Result<void> added = drive->add_layer(image, overlay);
  if (image) layer->insert(std::move(image), overlay);
  return added;
}

Result<Json> qmp_snapshot_sync(QmpCall& call) {
  RHEA_TRY(snapshot_to_file(call.context, {.device = call.text("device"),
                                           .node = call.text("node-name"),
                                           .filename = call.text("snapshot-file"),
                                           .format = call.text("format", "qcow2"),
                                           .layer_name = call.text("snapshot-node-name"),
                                           .existing = call.text("mode", "absolute-paths") == "existing"}));
  return Json::object();
}

Result<Json> qmp_snapshot_overlay(QmpCall& call) {
  RHEA_TRY(snapshot_to_node(call.context, call.text("node"), call.text("overlay")));
  return Json::object();
}

// snapshot_blkdev [-n] DEVICE [FILE [FORMAT]]: without a file QEMU says what is missing, too.
void run_snapshot_blkdev(Monitor& monitor, const Arguments& arguments) {
  const std::vector<std::string>& texts = arguments.texts;
  if (texts.size() < 2) return monitor.report(Error("Parameter 'snapshot-file' is missing"));
  monitor.report(snapshot_to_file(monitor.context(), {.device = texts[0],
                                                      .filename = texts[1],
                                                      .format = texts.size() > 2 ? texts[2] : "qcow2",
                                                      .existing = arguments.has_flag('n')}));
}

}  // namespace rhea::monitor
