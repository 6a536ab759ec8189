// SPDX-License-Identifier: MIT
// What QEMU's JSON monitor has not: the flows of user networks as values, what their rules blocked, and
// forwards edited while the machine runs.
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
