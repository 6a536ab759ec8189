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

void run_set_link(Monitor& monitor, const Arguments& arguments) {
  monitor.report(monitor.context().network.set_link(arguments.texts[0], arguments.on));
}

void run_netdev_del(Monitor& monitor, const Arguments& arguments) {
  monitor.report(monitor.context().network.remove(arguments.texts[0]));
}

// "announce_self [INTERFACE[,INTERFACE...]] [ID]": of the second QEMU makes a timer's name; there is one here.
void run_announce_self(Monitor& monitor, const Arguments& arguments) {
  net::AnnouncePlan plan;
  if (!arguments.texts.empty()) plan.interfaces = split(arguments.texts[0], ',');
  monitor.report(monitor.context().network.announce(plan));
}

}  // namespace rhea::monitor
