// SPDX-License-Identifier: MIT
// savevm, loadvm, delvm, migrate and what shows them.
#include <ctime>

#include "machine/snapshots.h"
#include "monitor/commands.h"
#include "monitor/descriptors.h"
#include "monitor/migration.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

using machine::Snapshots;

void print_error(Monitor& monitor, const Result<void>& result) {
  if (!result.ok()) monitor.print(fmt::format("Error: {}\n", result.error().message()));
}

// "136 MiB": three digits at least.
std::string size_text(u64 bytes) {
  constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  usize unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, kUnits[unit]);
}

std::string date_text(s64 seconds) {
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char text[32];
  if (!localtime_r(&time, &parts) || !std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts)) return "-";
  return text;
}

std::string clock_text(s64 nanoseconds) {
  const s64 milliseconds = nanoseconds / kMillisecond;
  return fmt::format("{:02}:{:02}:{:02}.{:03}", milliseconds / 3'600'000, milliseconds / 60'000 % 60,
                     milliseconds / 1000 % 60, milliseconds % 1000);
}

}  // namespace

void run_savevm(Monitor& monitor, const Arguments& arguments) {
  print_error(monitor,
              monitor.context().machine.snapshots().save(arguments.texts.empty() ? std::string() : arguments.texts[0]));
}

void run_loadvm(Monitor& monitor, const Arguments& arguments) {
  print_error(monitor, monitor.context().machine.snapshots().load(arguments.texts[0]));
}

void run_delvm(Monitor& monitor, const Arguments& arguments) {
  print_error(monitor, monitor.context().machine.snapshots().remove(arguments.texts[0]));
}

void info_snapshots(Monitor& monitor, const Arguments&) {
  const auto rows = monitor.context().machine.snapshots().list();
  if (!rows.ok()) {
    monitor.print(fmt::format("Error: {}\n", rows.error().message()));
    return;
  }
  if (rows->empty()) {
    monitor.print("There is no snapshot available.\n");
    return;
  }
  std::string text = "List of snapshots present on all disks:\n";
  text += fmt::format("{:<10}{:<17}{:>8}{:>20}{:>13}{:>11}\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
  for (const machine::SnapshotRow& row : *rows) {
    text += fmt::format("{:<9} {:<16} {:>8}{:>20} {:>12} {:>10}\n", "--", row.tag, size_text(row.bytes),
                        date_text(row.info.date), clock_text(row.info.clock),
                        row.info.icount < 0 ? "" : fmt::format("{}", row.info.icount));
  }
  monitor.print(text);
}

// Without -d the prompt comes back when it has ended.
void run_migrate(Monitor& monitor, const Arguments& arguments) {
  for (const char flag : {'b', 'i', 'r'})
    if (arguments.has_flag(flag))
      return monitor.print(fmt::format("Error: -{}: {}\n", flag,
                                       flag == 'r' ? "there is no postcopy that could be resumed"
                                                   : "disks are not sent along: both sides use the same images"));
  Snapshots& snapshots = monitor.context().machine.snapshots();
  const auto uri = migration_uri(monitor.context(), arguments.texts[0]);
  if (!uri.ok()) return monitor.report(Error(uri.error()));
  const Result<void> begun = snapshots.migrate(*uri);
  if (!begun.ok() || arguments.has_flag('d')) return print_error(monitor, begun);
  if (!monitor.suspend()) return monitor.print("terminal does not allow synchronous migration, continuing detached\n");
  snapshots.when_ended([&snapshots, &monitor, alive = monitor.alive()] {
    if (alive.expired()) return;
    const Snapshots::Migration how = snapshots.migration();
    if (how.status == Snapshots::Status::failed) monitor.print(fmt::format("Error: {}\n", how.error));
    monitor.resume();
  });
}

void run_migrate_cancel(Monitor& monitor, const Arguments&) { monitor.context().machine.snapshots().cancel(); }

void run_migrate_incoming(Monitor& monitor, const Arguments& arguments) {
  machine::Machine& machine = monitor.context().machine;
  if (machine.config().incoming.empty()) {
    monitor.print("Error: '-incoming' was not specified on the command line\n");
    return;
  }
  if (machine.config().incoming != "defer") {
    monitor.print("Error: The incoming migration has already been started\n");
    return;
  }
  if (machine.state() != machine::RunState::inmigrate) {
    monitor.print("Error: The incoming migration has already been started\n");
    return;
  }
  const auto uri = migration_uri(monitor.context(), arguments.texts[0]);
  if (!uri.ok()) return monitor.report(Error(uri.error()));
  print_error(monitor, machine.take_incoming(*uri));
}

void run_migrate_set_capability(Monitor& monitor, const Arguments& arguments) {
  print_error(monitor, set_migration_capability(monitor.context(), arguments.texts[0], arguments.on));
}

void info_migrate_capabilities(Monitor& monitor, const Arguments&) {
  for (const auto& [name, on] : migration_capabilities(monitor.context()))
    monitor.print(fmt::format("{}: {}\n", name, *on ? "on" : "off"));
}

// A machine stands still while it is sent, as fast as the other side takes it.
void run_migrate_set_parameter(Monitor& monitor, const Arguments& arguments) {
  print_error(monitor, Error("Invalid parameter '{}': this migration has none", arguments.texts[0]));
}
void info_migrate_parameters(Monitor&, const Arguments&) {}

void info_migrate(Monitor& monitor, const Arguments&) {
  const Snapshots::Migration now = monitor.context().machine.snapshots().migration();
  if (const machine::Arriving* coming = monitor.context().machine.snapshots().arriving())
    monitor.print(fmt::format("Migration status: setup\nsocket address: [\n\t{}\n]\ntransferred ram: {} kbytes\n",
                              coming->name().text(), coming->received() >> 10));
  if (now.status == Snapshots::Status::none) return;
  std::string text = fmt::format("Migration status: {}{}\n", Snapshots::status_name(now.status),
                                 now.status == Snapshots::Status::failed ? fmt::format(" ({})", now.error) : "");
  const s64 milliseconds = now.nanoseconds / kMillisecond;
  text += fmt::format("total time: {} ms\n", milliseconds);
  if (now.status == Snapshots::Status::completed) text += fmt::format("downtime: {} ms\n", milliseconds);
  const machine::StateProgress& progress = now.progress;
  text += fmt::format("transferred ram: {} kbytes\nremaining ram: {} kbytes\ntotal ram: {} kbytes\n",
                      progress.bytes >> 10, (progress.ram_total - progress.ram_done) >> 10, progress.ram_total >> 10);
  text += fmt::format("duplicate: {} pages\nskipped: 0 pages\nnormal: {} pages\nnormal bytes: {} kbytes\n",
                      progress.zero_pages, progress.normal_pages, progress.normal_pages << 2);
  monitor.print(text);
}

}  // namespace rhea::monitor
