// SPDX-License-Identifier: MIT
// Backends that go, NICs that announce themselves; and what QEMU's JSON monitor has not: all ports with counters,
// the flows of user networks as values, what their rules blocked, and forwards edited while the machine runs.
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

Result<Json> qmp_query_usernet_flows(QmpCall& call) {
  Json list = Json::array();
  for (const net::UserFlow& flow : call.context.network.usernet_flows()) {
    Json item{{"netdev", flow.netdev}, {"protocol", flow.protocol}, {"guest", flow.guest}, {"remote", flow.remote}};
    if (flow.protocol == "tcp") {
      item["state"] = flow.state;
      item["bytes-to-guest"] = flow.to_guest;
      item["bytes-to-host"] = flow.to_host;
      item["segments-to-guest"] = flow.segments_to_guest;
      item["segments-to-host"] = flow.segments_to_host;
      item["retransmissions"] = flow.retransmissions;
      if (flow.round_trip) item["round-trip-ns"] = flow.round_trip;
      if (!flow.last_drop.empty()) item["last-drop"] = flow.last_drop;
    } else {
      item["expires-ns"] = flow.expires;
    }
    list.push_back(std::move(item));
  }
  return list;
}

Result<Json> qmp_query_usernet_blocked(QmpCall& call) {
  Json list = Json::array();
  for (const net::UserBlocked& item : call.context.network.usernet_blocked())
    list.push_back({{"netdev", item.netdev}, {"what", item.what}, {"rule", item.rule}, {"times", item.times}});
  return list;
}

Result<Json> qmp_query_netdevs(QmpCall& call) {
  Json list = Json::array();
  for (const net::PortState& port : call.context.network.states())
    list.push_back({{"name", port.name},
                    {"type", port.type},
                    {"info", port.info},
                    {"link-up", port.up},
                    {"frames-in", port.counters.frames_in},
                    {"bytes-in", port.counters.bytes_in},
                    {"frames-out", port.counters.frames_out},
                    {"bytes-out", port.counters.bytes_out},
                    {"dropped", port.counters.dropped}});
  return list;
}

Result<Json> qmp_netdev_del(QmpCall& call) {
  RHEA_TRY(call.context.network.remove(call.text("id")));
  return Json::object();
}

Result<Json> qmp_announce_self(QmpCall& call) {
  net::AnnouncePlan plan;
  const struct {
    const char* name;
    u64& value;
    s64 lowest, highest;
  } numbers[] = {{"initial", plan.initial, 1, 100000},
                 {"max", plan.max, 1, 100000},
                 {"rounds", plan.rounds, 1, 1000},
                 {"step", plan.step, 0, 10000}};
  for (const auto& [name, value, lowest, highest] : numbers) {
    const s64 given = call.arguments[name].get<s64>();
    if (given < lowest || given > highest)
      return Error("Parameter '{}' expects a value in the range of {} to {}", name, lowest, highest);
    value = static_cast<u64>(given);
  }
  if (call.has("interfaces"))
    for (const Json& name : call.arguments["interfaces"]) plan.interfaces.push_back(name.get<std::string>());
  RHEA_TRY(call.context.network.announce(plan));
  return Json::object();
}

// The text monitor's commands say what is wrong, or nothing.
Result<Json> qmp_hostfwd_add(QmpCall& call) {
  const std::string said = call.context.network.hostfwd_add(call.text("netdev"), call.text("rule"));
  if (!said.empty()) return Error("{}", trim(said));
  return Json::object();
}

Result<Json> qmp_hostfwd_remove(QmpCall& call) {
  const std::string said = call.context.network.hostfwd_remove(call.text("netdev"), call.text("rule"));
  if (!said.ends_with(" removed\n")) return Error("{}", trim(said));
  return Json::object();
}

}  // namespace rhea::monitor
