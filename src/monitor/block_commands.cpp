// SPDX-License-Identifier: MIT
// Drives and their media for people.
#include "monitor/block.h"
#include "monitor/commands.h"
#include "util/text.h"

namespace rhea::monitor {

void info_block(Monitor& monitor, const Arguments& arguments) {
  Context& context = monitor.context();
  const bool verbose = arguments.has_flag('v');
  if (arguments.has_flag('n')) return monitor.print(nodes_text(context, verbose));
  if (!arguments.texts.empty()) {
    block::Drive* drive = find_drive(context, arguments.texts[0]);
    if (!drive) return monitor.report(no_such_drive(context, arguments.texts[0]));
    return monitor.print(drive_text(context, *drive, verbose));
  }
  std::string text;
  for (block::Drive* drive : shown_drives(context))
    text += (text.empty() ? "" : "\n") + drive_text(context, *drive, verbose);
  monitor.print(text);
}

void info_blockstats(Monitor& monitor, const Arguments&) {
  for (const block::Drive* drive : shown_drives(monitor.context())) monitor.print(statistics_text(*drive));
}

void run_eject(Monitor& monitor, const Arguments& arguments) {
  block::Drive* drive = find_drive(monitor.context(), arguments.texts[0]);
  if (!drive) return monitor.report(no_such_drive(monitor.context(), arguments.texts[0]));
  const Result<void> allowed = drive->may_eject(arguments.has_flag('f'));
  if (!allowed.ok()) return monitor.report(allowed);
  take_out_medium(monitor.context(), *drive);
}

// change DEVICE [-f] FILE [FORMAT [retain|read-only|read-write]]
void run_change(Monitor& monitor, const Arguments& arguments) {
  const std::vector<std::string>& texts = arguments.texts;
  if (texts[0] == "vnc") return monitor.print("Error: 'change vnc' sets a password of a VNC server: there is none\n");
  block::Drive* drive = find_drive(monitor.context(), texts[0]);
  if (!drive) return monitor.report(no_such_drive(monitor.context(), texts[0]));
  NewMedium medium{.filename = texts[1], .format = texts.size() > 2 ? texts[2] : "", .read_only = {}};
  medium.force = arguments.has_flag('f');
  if (texts.size() > 3) {
    const auto mode = parse_read_only_mode(texts[3]);
    if (!mode.ok()) return monitor.report(Error(mode.error()));
    medium.read_only = *mode;
  }
  monitor.report(change_medium(monitor.context(), *drive, medium));
}

void run_block_resize(Monitor& monitor, const Arguments& arguments) {
  block::Drive* drive = find_drive(monitor.context(), arguments.texts[0]);
  if (!drive)
    return monitor.print(fmt::format("Error: Cannot find device='{}' nor node-name=''\n", arguments.texts[0]));
  monitor.report(resize_drive(*drive, arguments.numbers[0]));
}

void run_block_set_io_throttle(Monitor& monitor, const Arguments& arguments) {
  block::Drive* drive = find_drive(monitor.context(), arguments.texts[0]);
  if (!drive) return monitor.report(no_such_drive(monitor.context(), arguments.texts[0]));
  block::ThrottleLimits limits;
  for (usize i = 0; i < limits.limits.size(); ++i) limits.limits[i].average = arguments.numbers[i];
  monitor.report(throttle_drive(monitor.context(), *drive, "", limits));
}

void run_commit(Monitor& monitor, const Arguments& arguments) {
  const Result<void> done = commit_drive(monitor.context(), arguments.texts[0]);
  if (!done.ok()) monitor.print(done.error().message() + "\n");
}

// drive_add [-n] SLOT OPTIONS: the slot is for PCI controllers, and none is here.
void run_drive_add(Monitor& monitor, const Arguments& arguments) {
  const std::string& options = arguments.texts[1];
  const auto& add = arguments.has_flag('n') ? monitor.context().add_node : monitor.context().add_drive;
  const Result<void> added = add ? add(options) : Error("drives cannot be added here");
  if (!added.ok()) return monitor.report(added);
  if (!arguments.has_flag('n')) monitor.print("OK\n");
}

void run_drive_del(Monitor& monitor, const Arguments& arguments) {
  monitor.report(delete_drive(monitor.context(), arguments.texts[0]));
}

}  // namespace rhea::monitor
