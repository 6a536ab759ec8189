// SPDX-License-Identifier: MIT
#include "monitor/commands.h"

#include "util/text.h"

namespace rhea::monitor {

void info_network(Monitor& monitor, const Arguments&) {
  monitor.print(monitor.context().network.info_network());
}
void info_usernet(Monitor& monitor, const Arguments&) {
  monitor.print(monitor.context().network.info_usernet());
}

void run_hostfwd_add(Monitor& monitor, const Arguments& arguments) {
  const bool with_id = arguments.texts.size() == 2;
  monitor.print(monitor.context().network.hostfwd_add(with_id ? arguments.texts[0] : std::string(),
                                                      arguments.texts.back()));
}

void run_hostfwd_remove(Monitor& monitor, const Arguments& arguments) {
  const bool with_id = arguments.texts.size() == 2;
  monitor.print(monitor.context().network.hostfwd_remove(with_id ? arguments.texts[0] : std::string(),
                                                         arguments.texts.back()));
}

// A NIC's link ends at both sides; a backend's only at the NIC (or the hub) it is joined with.
void run_set_link(Monitor& monitor, const Arguments& arguments) {
  const std::string& name = arguments.texts[0];
  Context& context = monitor.context();
  std::lock_guard lock(context.machine.net_loop().lock());
  std::vector<std::string> names;
  for (net::Port* port : context.machine.nic_ports()) {
    names.push_back(port->name());
    if (port->name() != name) continue;
    port->on_link(arguments.on);
    if (port->peer()) port->peer()->on_link(arguments.on);
    return;
  }
  net::Port* backend = context.network.find(name);
  if (!backend) {
    monitor.print(fmt::format("Error: Device '{}' not found{}\n", name, did_you_mean(name, names)));
    return;
  }
  if (backend->peer()) backend->peer()->on_link(arguments.on);
}

}  // namespace rhea::monitor
