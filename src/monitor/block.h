// SPDX-License-Identifier: MIT
// What both monitors do with drives, their media and nodes. Errors' hints are QMP classes.
#pragma once

#include <optional>
#include <string>

#include "block/drive.h"
#include "config/json.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

// By its name, or the ID or path of the device that holds it; nullptr: there is none.
block::Drive* find_drive(Context& context, const std::string& device);
// "Device 'x' not found", and what was probably meant.
Error no_such_drive(Context& context, const std::string& device);
// The device that holds a drive as QMP names it: its ID, or its path; empty: none does.
std::string holder_of(Context& context, const block::Drive& drive);
bool is_removable(const block::Drive& drive);

// A medium for a drive, in place of what is in it. What is not said is as it was.
struct NewMedium {
  std::string filename;
  std::string format;             // empty: by its content
  std::optional<bool> read_only;  // nothing: as the last medium was
  bool force = false;
};
Result<void> change_medium(Context& context, block::Drive& drive, const NewMedium& medium);
// Takes the medium out; one that has a node of its own (blockdev-add) goes back there.
void take_out_medium(Context& context, block::Drive& drive);
// "retain", "read-only", "read-write".
Result<std::optional<bool>> parse_read_only_mode(const std::string& word);

// Writes a drive's changes into its backing image; "all": those of every drive that has one.
Result<void> commit_drive(Context& context, const std::string& device);

// In bytes; rounded up to sectors of 512.
Result<void> resize_drive(block::Drive& drive, u64 bytes);
// block_set_io_throttle. `group`: empty: as it was, or the drive's own.
Result<void> throttle_drive(Context& context, block::Drive& drive, const std::string& group,
                            const block::ThrottleLimits& limits);
// drive_del: takes the medium away from whatever device has it, which then fails its requests.
Result<void> delete_drive(Context& context, const std::string& id);

// A snapshot of one drive's disk, without the machine's state; the one that was deleted.
Result<void> take_disk_snapshot(Context& context, const std::string& device, const std::string& name);
Result<block::Snapshot> delete_disk_snapshot(Context& context, const std::string& device, const std::string& id,
                                             const std::string& name);

// An external snapshot: the drive goes on in a new file over its image.
struct LayerRequest {
  std::string device;  // a drive's name
  std::string node;    // or a node's
  std::string filename;
  std::string format = "qcow2";
  std::string layer_name;  // of the new node; empty: one is made, for a device
  bool existing = false;   // the file is there, and is not made
};
Result<void> snapshot_to_file(Context& context, const LayerRequest& request);
// The same in a node of blockdev-add that has no backing image yet.
Result<void> snapshot_to_node(Context& context, const std::string& node, const std::string& overlay);

// The drives that lists show: all but those that stand for a node whose image another one has (blockdev-insert-medium,
// blockdev-mirror, blockdev-snapshot).
std::vector<block::Drive*> shown_drives(Context& context);
// Rows of query-block and query-blockstats.
config::Json drive_row(Context& context, block::Drive& drive);
config::Json statistics_row(Context& context, block::Drive& drive);
// Rows of query-named-block-nodes: a drive's medium and, unless `flat`, within it those below; else after it.
config::Json node_rows(Context& context, bool flat);
// As `info block [-v]` shows it.
std::string drive_text(Context& context, block::Drive& drive, bool verbose);
std::string nodes_text(Context& context, bool verbose);
std::string statistics_text(const block::Drive& drive);

}  // namespace rhea::monitor
