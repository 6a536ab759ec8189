// SPDX-License-Identifier: MIT
// QMP: displays, keys, mice, the balloon.
#include <algorithm>

#include "monitor/display.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

Json nothing() { return Json::object(); }

// {"type": "qcode", "data": "ctrl"} or {"type": "number", "data": 28}.
Result<const display::Key*> read_key(const Json& item) {
  const std::string type = item["type"];
  const Json& data = item["data"];
  std::string word;
  if (type == "qcode" && data.is_string()) word = data.get<std::string>();
  else if (type == "number" && data.is_number_integer()) word = fmt::format("{:#x}", data.get<u64>());
  else return Error("Invalid parameter type for 'keys[].data', expected: {}", type == "qcode" ? "string" : "integer");
  const auto keys = RHEA_TRY(display::parse_keys(word));
  if (keys.size() != 1) return Error("Parameter 'data' does not accept value '{}'", word);
  return keys.front();
}

Result<Balloon*> find_balloon(QmpCall& call) {
  Balloon* balloon = call.context.machine.balloon();
  if (!balloon) return Error("No balloon device has been activated").with_hint("DeviceNotActive");
  return balloon;
}

}  // namespace

Result<Json> qmp_screendump(QmpCall& call) {
  if (call.has("head") && !call.has("device")) return Error("'head' must be specified together with 'device'");
  RHEA_TRY(save_screen(call.context, call.text("filename"), call.text("format", "ppm"), call.text("device"),
                       static_cast<u64>(call.number("head"))));
  return nothing();
}

Result<Json> qmp_send_key(QmpCall& call) {
  constexpr s64 kMostHold = 3'600'000;
  std::vector<const display::Key*> keys;
  for (const Json& item : call.arguments["keys"]) keys.push_back(RHEA_TRY(read_key(item)));
  const s64 hold = std::clamp<s64>(call.number("hold-time", 100), 0, kMostHold);
  call.context.machine.inputs().type(std::move(keys), hold * kMillisecond);
  return nothing();
}

Result<Json> qmp_query_mice(QmpCall& call) {
  Json list = Json::array();
  for (const auto& row : call.context.machine.inputs().pointers())
    list.push_back({{"name", row.name}, {"index", row.index}, {"current", row.current}, {"absolute", row.absolute}});
  return list;
}

Result<Json> qmp_balloon(QmpCall& call) {
  Balloon* balloon = RHEA_TRY(find_balloon(call));
  if (call.number("value") <= 0) return Error("Parameter 'target' expects a size");
  balloon->set_target(static_cast<u64>(call.number("value")));
  return nothing();
}

Result<Json> qmp_query_balloon(QmpCall& call) {
  Balloon* balloon = RHEA_TRY(find_balloon(call));
  return Json{{"actual", balloon->actual()}};
}

}  // namespace rhea::monitor
