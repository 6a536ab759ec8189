// SPDX-License-Identifier: MIT
// QMP: displays, keys, mice, the balloon.
#include <algorithm>

#include "monitor/display.h"
#include "monitor/qmp.h"
#include "monitor/qmp_schema.h"
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

namespace {

// One call's movements, made when all of it was found good.
struct Movement {
  s32 dx = 0, dy = 0, wheel = 0;
  std::optional<s32> x, y;
  std::vector<std::pair<const display::Key*, bool>> keys;
  u32 pressed = 0, released = 0;
};

constexpr std::pair<std::string_view, u32> kButtons[] = {{"left", display::kButtonLeft},
                                                         {"middle", display::kButtonMiddle},
                                                         {"right", display::kButtonRight},
                                                         {"side", display::kButtonSide},
                                                         {"extra", display::kButtonExtra}};

Result<void> read_button(const Json& data, Movement& movement) {
  RHEA_TRY(check_arguments(
      data, "down:bool,button:<left|middle|right|wheel-up|wheel-down|side|extra|wheel-left|wheel-right>"));
  const std::string name = data["button"];
  const bool down = data["down"];
  if (name == "wheel-left" || name == "wheel-right") return Error("no mouse here has a wheel for '{}'", name);
  if (name == "wheel-up" || name == "wheel-down") movement.wheel += down ? (name == "wheel-up" ? 1 : -1) : 0;
  for (const auto& [word, button] : kButtons)
    if (word == name) (down ? movement.pressed : movement.released) |= button;
  return {};
}

Result<void> read_axis(const Json& data, bool absolute, Movement& movement) {
  RHEA_TRY(check_arguments(data, "axis:<x|y>,value:int"));
  constexpr s64 kFar = 1'000'000;
  const s64 value = data["value"].get<s64>();
  if (absolute && (value < 0 || value > display::Inputs::kPointerRange))
    return Error("Parameter 'value' is {}: a position is from 0 to {}", value, display::Inputs::kPointerRange);
  const s32 distance = static_cast<s32>(std::clamp(value, -kFar, kFar));
  const bool is_x = data["axis"] == "x";
  if (absolute) (is_x ? movement.x : movement.y) = distance;
  else (is_x ? movement.dx : movement.dy) += distance;
  return {};
}

Result<void> read_event(const Json& event, Movement& movement) {
  const std::string type = event["type"];
  const Json& data = event["data"];
  if (!data.is_object()) return Error("Invalid parameter type for 'events[].data', expected: object");
  if (type == "btn") return read_button(data, movement);
  if (type == "rel" || type == "abs") return read_axis(data, type == "abs", movement);
  RHEA_TRY(check_arguments(data, "down:bool,key:{type:<number|qcode>,data:any}"));
  movement.keys.emplace_back(RHEA_TRY(read_key(data["key"])), data["down"].get<bool>());
  return {};
}

}  // namespace

Result<Json> qmp_input_send_event(QmpCall& call) {
  display::Inputs& inputs = call.context.machine.inputs();
  if (call.has("device") && !call.context.machine.screens().find(call.text("device")))
    return device_not_found(fmt::format("Device '{}' not found", call.text("device")));
  Movement movement;
  for (const Json& event : call.arguments["events"]) RHEA_TRY(read_event(event, movement));
  for (const auto& [key, down] : movement.keys) inputs.key(*key, down);
  if (movement.x || movement.y) inputs.move_to(movement.x.value_or(inputs.x()), movement.y.value_or(inputs.y()));
  if (movement.dx || movement.dy || movement.wheel) inputs.move(movement.dx, movement.dy, movement.wheel);
  if (movement.pressed || movement.released)
    inputs.set_buttons((inputs.buttons() | movement.pressed) & ~movement.released);
  return nothing();
}

Result<Json> qmp_query_mice(QmpCall& call) {
  Json list = Json::array();
  for (const auto& row : call.context.machine.inputs().pointers())
    list.push_back({{"name", row.name}, {"index", row.index}, {"current", row.current}, {"absolute", row.absolute}});
  return list;
}

Result<Json> qmp_balloon(QmpCall& call) {
  RHEA_TRY(find_balloon(call));
  if (call.number("value") <= 0) return Error("Parameter 'target' expects a size");
  call.context.machine.set_balloon(static_cast<u64>(call.number("value")));
  return nothing();
}

Result<Json> qmp_query_balloon(QmpCall& call) {
  Balloon* balloon = RHEA_TRY(find_balloon(call));
  return Json{{"actual", balloon->actual()}};
}

}  // namespace rhea::monitor
