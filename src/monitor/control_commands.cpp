// SPDX-License-Identifier: MIT
// Commands that run and stop the machine, and those of the log.
#include <cerrno>
#include <cstring>

#include "config/log_items.h"
#include "monitor/commands.h"

namespace rhea::monitor {

void run_cont(Monitor& monitor, const Arguments&) { monitor.context().machine.cont(); }
void run_stop(Monitor& monitor, const Arguments&) { monitor.context().machine.stop(); }
void run_quit(Monitor& monitor, const Arguments&) {
  monitor.set_quit();
  monitor.context().machine.request_quit(0, "host-qmp-quit");
}
void run_system_reset(Monitor& monitor, const Arguments&) {
  monitor.context().machine.request_reset(false, "host-qmp-system-reset");
}
// The boards there are have no power button: the guest notices nothing, as in QEMU.
void run_system_powerdown(Monitor& monitor, const Arguments&) { monitor.context().machine.events().emit("POWERDOWN"); }

void run_cpu(Monitor& monitor, const Arguments& arguments) {
  if (arguments.numbers[0] >= monitor.context().machine.cpu_count()) {
    monitor.print("invalid CPU index\n");
    return;
  }
  monitor.cpu = static_cast<unsigned>(arguments.numbers[0]);
}

void run_gdbserver(Monitor& monitor, const Arguments& arguments) {
  const std::string device = arguments.texts.empty() ? "tcp::1234" : arguments.texts[0];
  const Result<void> opened = monitor.context().open_gdb(device);
  if (!opened.ok())
    monitor.print(fmt::format("Could not open gdbserver on device '{}': {}\n", device, opened.error().message()));
  else if (device == "none") monitor.print("Disabled gdbserver\n");
  else monitor.print(fmt::format("Waiting for gdb connection on device '{}'\n", device));
}

void run_log(Monitor& monitor, const Arguments& arguments) {
  const std::string& items = arguments.texts[0];
  if (items == "help" || items == "?") {
    monitor.print(config::log_items_help(true));
    return;
  }
  const auto mask = config::parse_log_items(items);
  if (!mask.ok()) {
    monitor.print(config::log_items_help(true) + "\n" + mask.error().message() + "\n");
    return;
  }
  monitor.context().log.set_mask(*mask);
}

void run_logfile(Monitor& monitor, const Arguments& arguments) {
  std::FILE* file = monitor.context().open_log(arguments.texts[0]);
  if (!file) {
    monitor.print(fmt::format("Error opening logfile {}: {}\n", arguments.texts[0], std::strerror(errno)));
    return;
  }
  monitor.context().log.redirect(file);
}

}  // namespace rhea::monitor
