// SPDX-License-Identifier: MIT
#include "monitor/commands.h"

#include "util/text.h"

namespace rhea::monitor {

void info_network(Monitor& monitor, const Arguments&) { monitor.print(monitor.context().network.info_network()); }
void info_usernet(Monitor& monitor, const Arguments&) { monitor.print(monitor.context().network.info_usernet()); }

void info_usernet_flows(Monitor& monitor, const Arguments&) {
  monitor.print(monitor.context().network.info_usernet_flows());
}
void info_usernet_blocked(Monitor& monitor, const Arguments&) {
  monitor.print(monitor.context().network.info_usernet_blocked());
}

void run_hostfwd_add(Monitor& monitor, const Arguments& arguments) {
  const bool with_id = arguments.texts.size() == 2;
  monitor.print(
      monitor.context().network.hostfwd_add(with_id ? arguments.texts[0] : std::string(), arguments.texts.back()));
}

void run_hostfwd_remove(Monitor& monitor, const Arguments& arguments) {
  const bool with_id = arguments.texts.size() == 2;
  monitor.print(
      monitor.context().network.hostfwd_remove(with_id ? arguments.texts[0] : std::string(), arguments.texts.back()));
}

// A NIC's link ends at both sides; a backend's only at the NIC (or the hub) it is joined with.
Result<void> set_link(Context& context, const std::string& name, bool up) {
  std::lock_guard lock(context.machine.net_loop().lock());
  std::vector<std::string> names;
  for (net::Port* port : context.machine.nic_ports()) {
    names.push_back(port->name());
    if (port->name() != name) continue;
    port->on_link(up);
    if (port->peer()) port->peer()->on_link(up);
    return {};
  }
  net::Port* backend = context.network.find(name);
  if (!backend) return Error("Device '{}' not found{}", name, did_you_mean(name, names)).with_hint("DeviceNotFound");
  if (backend->peer()) backend->peer()->on_link(up);
  return {};
}

void run_set_link(Monitor& monitor, const Arguments& arguments) {
  monitor.report(set_link(monitor.context(), arguments.texts[0], arguments.on));
}

}  // namespace rhea::monitor
