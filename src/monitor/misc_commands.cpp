// SPDX-License-Identifier: MIT
// Commands of sound, addresses, the device tree and snapshots of one disk; and what says that something is not there.
#include <algorithm>

#include "monitor/block.h"
#include "monitor/commands.h"
#include "monitor/guest_memory.h"
#include "monitor/qmp.h"
#include "sys/file.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::monitor {

// ---- the device tree ----
// As it was given to the guest at the last start: its place in memory is known.
void run_dumpdtb(Monitor& monitor, const Arguments& arguments) {
  machine::Machine& machine = monitor.context().machine;
  const auto& roms = machine.roms();
  const auto tree =
      std::find_if(roms.begin(), roms.end(), [](const machine::RomInfo& rom) { return rom.name == "dtb"; });
  if (tree == roms.end()) return monitor.print("Error: This machine doesn't have a FDT\n");
  monitor.report(save_memory(machine, 0, tree->address, tree->size, arguments.texts[0], true));
}

// ---- snapshots of one disk ----
void run_snapshot_blkdev_internal(Monitor& monitor, const Arguments& arguments) {
  monitor.report(take_disk_snapshot(monitor.context(), arguments.texts[0], arguments.texts[1]));
}

void run_snapshot_delete_blkdev_internal(Monitor& monitor, const Arguments& arguments) {
  const std::vector<std::string>& texts = arguments.texts;
  const auto deleted = delete_disk_snapshot(monitor.context(), texts[0], texts.size() > 2 ? texts[2] : "", texts[1]);
  if (!deleted.ok()) monitor.report(Error(deleted.error()));
}

// ---- what there is and is not ----
void info_qdm(Monitor& monitor, const Arguments&) {
  for (const devices::DeviceType* type : devices::all_device_types()) {
    const bool plugs = type->bus != Bus::sysbus && type->bus != Bus::none;
    monitor.print(fmt::format(
        "name \"{}\"{}{}{}\n", type->name, plugs ? fmt::format(", bus {}", bus_name(type->bus)) : std::string(),
        type->summary.empty() ? "" : fmt::format(", desc \"{}\"", type->summary), plugs ? "" : ", no-user"));
  }
}

void info_vnc(Monitor& monitor, const Arguments&) { monitor.print("None\n"); }
void info_spice(Monitor& monitor, const Arguments&) { monitor.print("Server: disabled\n"); }
void info_dump(Monitor& monitor, const Arguments&) { monitor.print("Status: none\n"); }

}  // namespace rhea::monitor
