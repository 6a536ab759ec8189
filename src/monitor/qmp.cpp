// SPDX-License-Identifier: MIT
// One connection: greeting, negotiation, commands one after the other. A client that sends without reading
// the answers is not read from until it has. Events are dropped whole when it stays away for long.
#include "monitor/qmp.h"

#include <algorithm>

#include "core/events.h"
#include "monitor/qmp_schema.h"
#include "sys/poller.h"

namespace rhea::monitor {

namespace {

constexpr QmpCommand kCommands[] = {
#define QMP(name, arguments, returns, oob, run) {name, arguments, returns, oob, run},
#define EVENT(name, data, interval)
#include "monitor/qmp.inc"
#undef QMP
#undef EVENT
};

constexpr QmpEvent kEvents[] = {
#define QMP(name, arguments, returns, oob, run)
#define EVENT(name, data, interval) {name, data, interval},
#include "monitor/qmp.inc"
#undef QMP
#undef EVENT
};

constexpr usize kUnread = usize{1} << 20;        // bytes of answers that a client may leave unread
constexpr usize kUnreadEvents = usize{2} << 20;  // and beyond which events are dropped
constexpr s64 kLookAgain = 50 * kMillisecond;

Error not_found(std::string text) { return Error::from_text(std::move(text)).with_hint("CommandNotFound"); }

}  // namespace

std::span<const QmpCommand> qmp_commands() { return kCommands; }
std::span<const QmpEvent> qmp_events() { return kEvents; }

const QmpCommand* find_qmp_command(std::string_view name) {
  for (const QmpCommand& command : kCommands)
    if (command.name == name) return &command;
  return nullptr;
}

std::string QmpCall::text(std::string_view name, std::string_view absent) const {
  return has(name) ? arguments[std::string(name)].get<std::string>() : std::string(absent);
}
s64 QmpCall::number(std::string_view name, s64 absent) const {
  return has(name) ? arguments[std::string(name)].get<s64>() : absent;
}
bool QmpCall::flag(std::string_view name, bool absent) const {
  return has(name) ? arguments[std::string(name)].get<bool>() : absent;
}

QmpMonitor::QmpMonitor(chardev::Backend& backend, Context& context, bool pretty)
    : backend_(backend), context_(context), pretty_(pretty) {
  listener_ = context_.machine.events().listen(
      [this](const std::string& name, const std::string& data) { on_event(name, data); });
  limit_timer_ = context_.machine.loop().real_clock().timer([this] { send_waiting(); });
  backend_.set_frontend(this);
}

QmpMonitor::~QmpMonitor() {
  context_.machine.events().forget(listener_);
  backend_.set_frontend(nullptr);
}

void QmpMonitor::start() {
  started_ = true;
  if (backend_.is_open()) greet();
}

void QmpMonitor::event(chardev::Event event) {
  if (event == chardev::Event::opened && started_) greet();
  if (event == chardev::Event::closed) {
    connected_ = negotiated_ = oob_ = false;
    stream_.reset();
  }
}

void QmpMonitor::greet() {
  connected_ = true;
  negotiated_ = oob_ = false;
  stream_.reset();
  QmpCall call{context_, *this, {}};
  send({{"QMP", {{"version", *qmp_query_version(call)}, {"capabilities", Json::array({"oob"})}}}});
  backend_.accept_input();
}

void QmpMonitor::send(const Json& value) {
  const std::string text = config::json_text(value, pretty_) + "\r\n";
  backend_.write({reinterpret_cast<const u8*>(text.data()), text.size()});
}

void QmpMonitor::send_error(const Error& error, const Json* id) {
  Json answer = Json::object();
  if (id) answer["id"] = *id;
  // Other hints are for people.
  constexpr std::string_view kClasses[] = {"CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap"};
  const bool has_class = std::find(std::begin(kClasses), std::end(kClasses), error.hint()) != std::end(kClasses);
  answer["error"] = {{"class", has_class ? error.hint() : "GenericError"}, {"desc", error.message()}};
  send(answer);
}

usize QmpMonitor::can_receive() {
  if (!started_) return 0;
  if (backend_.queued() <= kUnread) return 4096;
  limit_timer_->arm(context_.machine.loop().real_clock().now() + kLookAgain);
  return 0;
}

void QmpMonitor::receive(std::span<const u8> data) {
  stream_.feed({reinterpret_cast<const char*>(data.data()), data.size()},
               [this](Result<Json> request) { handle(std::move(request)); });
}

void QmpMonitor::handle(Result<Json> request) {
  if (!request.ok()) return send_error(request.error(), nullptr);
  Json& object = *request;
  Json id;
  const bool has_id = object.is_object() && object.contains("id");
  if (has_id) id = object["id"];
  const bool out_of_band = object.is_object() && object.contains("exec-oob");
  Result<Json> result = run(object, out_of_band);
  if (!result.ok()) return send_error(result.error(), has_id ? &id : nullptr);
  Json answer = {{"return", result.take()}};
  if (has_id) answer["id"] = std::move(id);
  send(answer);
}

Result<void> QmpMonitor::check_request(const Json& request) const {
  if (!request.is_object()) return Error("QMP input must be a JSON object");
  for (auto item = request.begin(); item != request.end(); ++item) {
    const std::string& key = item.key();
    if (key == "id") continue;
    if (key == "execute" || (key == "exec-oob" && oob_)) {
      if (!item->is_string()) return Error("QMP input member '{}' must be a string", key);
    } else if (key == "arguments") {
      if (!item->is_object()) return Error("QMP input member 'arguments' must be an object");
    } else {
      return Error("QMP input member '{}' is unexpected", key);
    }
  }
  if (request.contains("execute") && request.contains("exec-oob"))
    return Error("QMP input members 'execute' and 'exec-oob' clash");
  if (!request.contains("execute") && !request.contains("exec-oob")) return Error("QMP input lacks member 'execute'");
  return {};
}

Result<Json> QmpMonitor::run(Json& request, bool out_of_band) {
  RHEA_TRY(check_request(request));
  const std::string name = request[out_of_band ? "exec-oob" : "execute"];
  const QmpCommand* command = find_qmp_command(name);
  if (!negotiated_ && name != "qmp_capabilities")
    return not_found("Expecting capabilities negotiation with 'qmp_capabilities'");
  if (negotiated_ && name == "qmp_capabilities")
    return not_found("Capabilities negotiation is already complete, command ignored");
  if (!command) return not_found(fmt::format("The command {} has not been found", name));
  if (out_of_band && !command->out_of_band) return Error("The command {} does not support OOB", name);
  Json arguments = request.contains("arguments") ? std::move(request["arguments"]) : Json::object();
  RHEA_TRY(check_arguments(arguments, command->arguments));
  if (name == "qmp_capabilities") return negotiate(arguments);
  QmpCall call{context_, *this, std::move(arguments)};
  return command->run(call);
}

Result<Json> QmpMonitor::negotiate(const Json& arguments) {
  negotiated_ = true;
  oob_ = arguments.contains("enable") && !arguments["enable"].empty();
  return Json::object();
}

// In the table for the schema; the handshake is the connection's own.
Result<Json> qmp_capabilities(QmpCall&) { return Json::object(); }

void QmpMonitor::on_event(const std::string& name, const std::string& data) {
  if (!connected_ || !negotiated_) return;
  const auto row =
      std::find_if(std::begin(kEvents), std::end(kEvents), [&](const QmpEvent& e) { return e.name == name; });
  if (row == std::end(kEvents) || row->interval == 0) return send_event(name, data);
  const s64 now = context_.machine.loop().real_clock().now();
  // Each serial port has a limit of its own.
  const Json parsed = Json::parse(data, nullptr, false);
  const bool has_id = parsed.is_object() && parsed.contains("id");
  Limited& limited = limited_[has_id ? fmt::format("{} {}", name, parsed["id"].get<std::string>()) : name];
  limited.name = name;
  if (now >= limited.next) {
    limited.next = now + row->interval;
    return send_event(name, data);
  }
  limited.waiting = data;
  limited.has_waiting = true;
  limit_timer_->arm(std::min(limit_timer_->deadline(), limited.next));
}

void QmpMonitor::send_event(const std::string& name, const std::string& data) {
  if (backend_.queued() > kUnreadEvents) return;
  const s64 now = sys::wall_now();
  Json event = {{"timestamp", {{"seconds", now / kSecond}, {"microseconds", now % kSecond / 1000}}}, {"event", name}};
  if (!data.empty()) event["data"] = Json::parse(data, nullptr, false);
  send(event);
}

void QmpMonitor::send_waiting() {
  const s64 now = context_.machine.loop().real_clock().now();
  s64 next = kNever;
  for (auto& [key, limited] : limited_) {
    if (!limited.has_waiting) continue;
    if (limited.next > now) {
      next = std::min(next, limited.next);
      continue;
    }
    limited.has_waiting = false;
    const std::string data = std::move(limited.waiting);
    on_event(limited.name, data);
  }
  if (next != kNever) limit_timer_->arm(next);
  if (backend_.queued() <= kUnread) backend_.accept_input();
  else limit_timer_->arm(std::min(next, now + kLookAgain));
}

}  // namespace rhea::monitor
