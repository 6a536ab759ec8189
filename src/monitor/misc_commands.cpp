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

// ---- sound ----
void run_wavcapture(Monitor& monitor, const Arguments& arguments) {
  const auto number = [&](usize i, u64 absent) { return i < arguments.numbers.size() ? arguments.numbers[i] : absent; };
  const u64 frequency = number(0, 44100), bits = number(1, 16), channels = number(2, 2);
  if (frequency < 1000 || frequency > 384'000)
    return monitor.print(fmt::format("incorrect frequency {}, must be 1000 to 384000\n", frequency));
  if (bits != 16) return monitor.print(fmt::format("incorrect bit count {}, must be 16\n", bits));
  if (channels != 1 && channels != 2)
    return monitor.print(fmt::format("incorrect channel count {}, must be 1 or 2\n", channels));
  audio::Spec spec{.driver = "wav", .id = "capture", .path = arguments.texts[0]};
  spec.frequency = static_cast<u32>(frequency);
  spec.channels = static_cast<u32>(channels);
  audio::Backends* audio = monitor.context().audio;
  const Result<void> begun =
      audio ? audio->capture(arguments.texts[1], spec) : Error("Audiodev '{}' not found", arguments.texts[1]);
  if (begun.ok()) return;
  monitor.print(begun.error().message() + "\n");
  if (audio && audio->find(arguments.texts[1])) monitor.print("Failed to add wave capture\n");
}

void run_stopcapture(Monitor& monitor, const Arguments& arguments) {
  audio::Backends* audio = monitor.context().audio;
  if (!audio || !audio->stop_capture(arguments.numbers[0]))
    monitor.print(
        fmt::format("Error: there is no capture of number {}: 'info capture' shows them\n", arguments.numbers[0]));
}

void info_capture(Monitor& monitor, const Arguments&) {
  if (!monitor.context().audio) return;
  unsigned number = 0;
  for (const auto& row : monitor.context().audio->captures())
    monitor.print(fmt::format("[{}]: Capturing audio({},16,{}) to {}: {} bytes\n", number++, row.frequency,
                              row.channels, row.path, row.bytes));
}

// ---- addresses, the device tree ----
void run_gva2gpa(Monitor& monitor, const Arguments& arguments) {
  accel::Engine& engine = monitor.context().machine.engine();
  if (monitor.cpu >= monitor.context().machine.cpu_count()) return monitor.print("No CPU available\n");
  bool found = false;
  u64 physical = 0;
  engine.at_safe_point([&] { found = engine.cpu(monitor.cpu).physical_address(arguments.numbers[0], physical); });
  monitor.print(found ? fmt::format("gpa: {:#x}\n", physical) : "Unmapped\n");
}

// What the guest's memory has now where the tree was put at the last start: a guest may have changed it, or used the
// room.
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

}  // namespace rhea::monitor
