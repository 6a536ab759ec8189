// SPDX-License-Identifier: MIT
// QMP: character devices. A backend's description ({"type": "socket", "data": {"addr": ...}}) becomes the
// same Spec that the command line makes.
#include <algorithm>

#include "chardev/registry.h"
#include "monitor/qmp.h"
#include "monitor/qmp_schema.h"
#include "util/base64.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

constexpr std::string_view kCommon = "*logfile:str,*logappend:bool";

std::string text_of(const Json& object, const char* name) {
  return object.contains(name) ? object[name].get<std::string>() : std::string();
}
bool flag_of(const Json& object, const char* name, bool absent) {
  return object.contains(name) ? object[name].get<bool>() : absent;
}

Result<void> check_data(const Json& data, std::string_view type) {
  std::string whole(type);
  if (!whole.empty()) whole += ',';
  Result<void> good = check_arguments(data, whole + std::string(kCommon));
  if (!good.ok()) return Error("backend.data: {}", good.error().message());
  return {};
}

// {"type": "inet", "data": {...}}, or flat: {"type": "inet", "host": ...}.
Result<sys::SocketName> read_address(const Json& address) {
  if (!address.is_object() || !address.contains("type") || !address["type"].is_string())
    return Error("Parameter 'backend.data.addr.type' is missing");
  const std::string type = address["type"];
  Json data = address.contains("data") ? address["data"] : address;
  if (!data.is_object()) return Error("Invalid parameter type for 'backend.data.addr.data', expected: object");
  if (!address.contains("data")) data.erase("type");
  sys::SocketName name;
  if (type == "inet") {
    RHEA_TRY(check_arguments(
        data, "host:str,port:str,*numeric:bool,*to:int,*ipv4:bool,*ipv6:bool,*keep-alive:bool,*mptcp:bool"));
    name.host = text_of(data, "host");
    name.port = text_of(data, "port");
    name.numeric = flag_of(data, "numeric", false);
    if (data.contains("to")) name.to = static_cast<u64>(data["to"].get<s64>());
    if (data.contains("ipv4")) name.ipv4 = data["ipv4"].get<bool>();
    if (data.contains("ipv6")) name.ipv6 = data["ipv6"].get<bool>();
  } else if (type == "unix") {
    RHEA_TRY(check_arguments(data, "path:str,*abstract:bool,*tight:bool"));
    name.family = sys::SocketName::Family::unix_path;
    name.path = text_of(data, "path");
    name.abstract = flag_of(data, "abstract", false);
    name.tight = flag_of(data, "tight", true);
  } else if (type == "fd") {
    RHEA_TRY(check_arguments(data, "str:str"));
    name.family = sys::SocketName::Family::descriptor;
    name.descriptor = text_of(data, "str");
  } else {
    return Error("Parameter 'backend.data.addr.type' does not accept value '{}'{}", type,
                 did_you_mean(type, std::vector<std::string>{"inet", "unix", "fd"}));
  }
  return name;
}

Result<void> read_socket(const Json& data, chardev::Spec& spec) {
  RHEA_TRY(check_data(data,
                      "addr:any,*server:bool,*wait:bool,*nodelay:bool,*telnet:bool,*tn3270:bool,*websocket:bool,"
                      "*reconnect:int,*reconnect-ms:int,*tls-creds:str,*tls-authz:str"));
  chardev::SocketSpec& socket = spec.socket;
  socket.name = RHEA_TRY(read_address(data["addr"]));
  socket.server = flag_of(data, "server", true);
  socket.wait = flag_of(data, "wait", false);
  socket.no_delay = flag_of(data, "nodelay", false);
  socket.telnet = flag_of(data, "telnet", false);
  socket.websocket = flag_of(data, "websocket", false);
  if (flag_of(data, "tn3270", false) || data.contains("tls-creds") || data.contains("tls-authz"))
    return Error("tn3270 and TLS are known to QEMU, but Rhea does not have them");
  if (data.contains("reconnect")) socket.reconnect_ms = data["reconnect"].get<s64>() * 1000;
  if (data.contains("reconnect-ms")) socket.reconnect_ms = data["reconnect-ms"].get<s64>();
  constexpr s64 kLongest = s64{1} << 40;
  if (socket.reconnect_ms < 0 || socket.reconnect_ms > kLongest) return Error("Parameter 'reconnect' is out of range");
  return {};
}

Result<void> read_path(const Json& data, chardev::Spec& spec) {
  RHEA_TRY(check_data(data, "device:str"));
  spec.path = text_of(data, "device");
  return {};
}

Result<chardev::Spec> read_backend(const Json& backend) {
  using chardev::BackendKind;
  const std::string type = backend["type"];
  const Json& data = backend["data"];
  if (!data.is_object()) return Error("Invalid parameter type for 'backend.data', expected: object");
  chardev::Spec spec;
  if (type == "null") {
    spec.kind = BackendKind::null;
    RHEA_TRY(check_data(data, ""));
  } else if (type == "file") {
    spec.kind = BackendKind::file;
    RHEA_TRY(check_data(data, "*in:str,out:str,*append:bool"));
    spec.path = text_of(data, "out");
    spec.input_path = text_of(data, "in");
    spec.append = flag_of(data, "append", false);
  } else if (type == "pty") {
    spec.kind = BackendKind::pty;
    RHEA_TRY(check_data(data, "*path:str"));
    spec.path = text_of(data, "path");
  } else if (type == "pipe" || type == "serial") {
    spec.kind = type == "pipe" ? BackendKind::pipe : BackendKind::serial;
    RHEA_TRY(read_path(data, spec));
  } else if (type == "socket") {
    spec.kind = BackendKind::socket;
    RHEA_TRY(read_socket(data, spec));
  } else if (type == "udp") {
    spec.kind = BackendKind::udp;
    RHEA_TRY(check_data(data, "remote:any,*local:any"));
    spec.udp.remote = RHEA_TRY(read_address(data["remote"]));
    if (data.contains("local")) spec.udp.local = RHEA_TRY(read_address(data["local"]));
  } else if (type == "ringbuf" || type == "memory") {
    spec.kind = BackendKind::ringbuf;
    RHEA_TRY(check_data(data, "*size:int"));
    if (data.contains("size")) spec.ring_size = static_cast<u64>(data["size"].get<s64>());
  } else if (type == "stdio") {
    spec.kind = BackendKind::stdio;
    RHEA_TRY(check_data(data, "*signal:bool"));
    spec.signals = flag_of(data, "signal", true);
  } else if (type == "vc") {
    spec.kind = BackendKind::vc;
    RHEA_TRY(check_data(data, "*width:int,*height:int,*cols:int,*rows:int"));
    const auto size = [&](const char* name) -> unsigned {
      return data.contains(name) ? static_cast<unsigned>(std::clamp<s64>(data[name].get<s64>(), 0, 16384)) : 0;
    };
    spec.console = {size("width"), size("height"), size("cols"), size("rows")};
  } else {
    return Error("Parameter 'backend.type' does not accept value '{}'{}", type,
                 did_you_mean(type, chardev::backend_names()));
  }
  spec.log_file = text_of(data, "logfile");
  spec.log_append = flag_of(data, "logappend", false);
  return spec;
}

Json answer_of(chardev::Registry& chardevs, const std::string& id) {
  Json answer = Json::object();
  const std::string name = chardevs.filename(id);
  if (name.starts_with("pty:")) answer["pty"] = name.substr(4);
  return answer;
}

}  // namespace

Result<Json> qmp_query_chardev(QmpCall& call) {
  Json list = Json::array();
  for (const chardev::Registry::Row& row : call.context.machine.chardevs().rows())
    list.push_back({{"frontend-open", row.attached}, {"filename", row.filename}, {"label", row.id}});
  return list;
}

Result<Json> qmp_query_chardev_backends(QmpCall&) {
  Json list = Json::array();
  for (const std::string& name : chardev::backend_names())
    if (name != "tty") list.push_back({{"name", name}});
  return list;
}

Result<Json> qmp_chardev_add(QmpCall& call) {
  chardev::Registry& chardevs = call.context.machine.chardevs();
  const std::string id = call.text("id");
  RHEA_TRY(config::check_identifier("id", id));
  const chardev::Spec spec = RHEA_TRY(read_backend(call.arguments["backend"]));
  auto redirect = std::exchange(chardevs.surroundings.redirect, nullptr);
  Result<void> added = chardevs.add(spec, id);
  chardevs.surroundings.redirect = std::move(redirect);
  if (!added.ok()) return std::move(added.error());
  return answer_of(chardevs, id);
}

Result<Json> qmp_chardev_change(QmpCall& call) {
  chardev::Registry& chardevs = call.context.machine.chardevs();
  const chardev::Spec spec = RHEA_TRY(read_backend(call.arguments["backend"]));
  RHEA_TRY(chardevs.change(call.text("id"), spec));
  return answer_of(chardevs, call.text("id"));
}

Result<Json> qmp_chardev_remove(QmpCall& call) {
  RHEA_TRY(call.context.machine.chardevs().remove(call.text("id")));
  return Json::object();
}

Result<Json> qmp_chardev_send_break(QmpCall& call) {
  RHEA_TRY(call.context.machine.chardevs().send_break(call.text("id")));
  return Json::object();
}

Result<Json> qmp_ringbuf_read(QmpCall& call) {
  if (call.number("size") <= 0) return Error("size must be greater than zero");
  chardev::RingBuffer* ring = RHEA_TRY(call.context.machine.chardevs().ring_buffer(call.text("device")));
  const std::vector<u8> bytes = ring->read(static_cast<usize>(call.number("size")));
  if (call.text("format") == "base64") return Json(to_base64(bytes));
  return Json(std::string(bytes.begin(), bytes.end()));
}

Result<Json> qmp_ringbuf_write(QmpCall& call) {
  chardev::RingBuffer* ring = RHEA_TRY(call.context.machine.chardevs().ring_buffer(call.text("device")));
  const std::string data = call.text("data");
  if (call.text("format") == "base64") {
    const auto bytes = from_base64(data);
    if (!bytes) return Error("Invalid base64 data in 'data'");
    ring->write(*bytes);
  } else {
    ring->write({reinterpret_cast<const u8*>(data.data()), data.size()});
  }
  return Json::object();
}

}  // namespace rhea::monitor
