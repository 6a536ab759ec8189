// SPDX-License-Identifier: MIT
// Virtio devices and interrupts, for people and for programs.
#include <algorithm>

#include "monitor/commands.h"
#include "monitor/objects.h"
#include "monitor/qmp.h"
#include "monitor/virtio.h"
#include "net/port.h"

namespace rhea::monitor {

namespace {

std::string yes_no(const Json& value) { return value.get<bool>() ? "true" : "false"; }

// "\tA,\n\tB\n".
void list_lines(const Json& names, std::string& text) {
  for (usize i = 0; i < names.size(); ++i)
    text += fmt::format("\t{}{}\n", names[i].get<std::string>(), i + 1 < names.size() ? "," : "");
}

void features_text(const char* title, const Json& features, std::string& text) {
  text += fmt::format("  {}:\n", title);
  list_lines(features["transports"], text);
  list_lines(features["dev-features"], text);
  if (features.contains("unknown-dev-features"))
    text += fmt::format("  unknown-features(0x{:016x})\n", features["unknown-dev-features"].get<u64>());
}

// "  name:        value\n", the values one below the other.
void row(std::string& text, unsigned indent, const char* name, unsigned width, const std::string& value) {
  text += fmt::format("{:{}}{:{}}{}\n", "", indent, fmt::format("{}:", name), width, value);
}

std::string status_text(const std::string& path, const Json& status) {
  std::string text = path + ":\n";
  const auto line = [&](const char* name, const std::string& value) { row(text, 2, name, 25, value); };
  line("device_name", status["name"].get<std::string>());
  line("device_id", status["device-id"].dump());
  line("vhost_started", "false");
  line("bus_name", "(null)");
  line("broken", yes_no(status["broken"]));
  line("disabled", "false");
  line("disable_legacy_check", "false");
  line("started", yes_no(status["started"]));
  line("use_started", "true");
  line("start_on_kick", "false");
  line("use_guest_notifier_mask", "true");
  line("vm_running", yes_no(status["vm-running"]));
  line("num_vqs", status["num-vqs"].dump());
  line("queue_sel", status["queue-sel"].dump());
  line("isr", status["isr"].dump());
  line("endianness", "little");
  text += "  status:\n";
  list_lines(status["status"]["statuses"], text);
  if (status["status"].contains("unknown-statuses"))
    text += fmt::format("  unknown-statuses(0x{:02x})\n", status["status"]["unknown-statuses"].get<u64>());
  features_text("Guest features", status["guest-features"], text);
  features_text("Host features", status["host-features"], text);
  features_text("Backend features", status["backend-features"], text);
  return text;
}

std::string queue_text(const std::string& path, const Json& queue) {
  std::string text = path + ":\n";
  const auto line = [&](const char* name, const std::string& value) { row(text, 2, name, 22, value); };
  const auto ring = [&](const char* name, const std::string& value) { row(text, 4, name, 14, value); };
  const auto address = [&](const char* name) { return fmt::format("0x{:016x}", queue[name].get<u64>()); };
  line("device_name", queue["name"].get<std::string>());
  line("queue_index", queue["queue-index"].dump());
  line("inuse", queue["inuse"].dump());
  line("used_idx", queue["used-idx"].dump());
  line("signalled_used", queue["signalled-used"].dump());
  line("signalled_used_valid", yes_no(queue["signalled-used-valid"]));
  line("last_avail_idx", queue["last-avail-idx"].dump());
  line("shadow_avail_idx", queue["shadow-avail-idx"].dump());
  text += "  VRing:\n";
  ring("num", queue["vring-num"].dump());
  ring("num_default", queue["vring-num-default"].dump());
  ring("align", queue["vring-align"].dump());
  ring("desc", address("vring-desc"));
  ring("avail", address("vring-avail"));
  ring("used", address("vring-used"));
  return text;
}

std::string element_text(const std::string& path, const Json& element) {
  std::string text = fmt::format("{}:\n  device_name: {}\n  index:   {}\n  desc:\n    descs:\n", path,
                                 element["name"].get<std::string>(), element["index"].dump());
  for (const Json& descriptor : element["descs"]) {
    std::string flags;
    for (const Json& flag : descriptor["flags"]) flags += (flags.empty() ? "" : ", ") + flag.get<std::string>();
    text += fmt::format("        addr 0x{:x} len {}{}\n", descriptor["addr"].get<u64>(), descriptor["len"].dump(),
                        flags.empty() ? "" : " (" + flags + ")");
  }
  return text +
         fmt::format("  avail:\n    flags: {}\n    idx:   {}\n    ring:  {}\n  used:\n    flags: {}\n    idx:   {}\n",
                     element["avail"]["flags"].dump(), element["avail"]["idx"].dump(), element["avail"]["ring"].dump(),
                     element["used"]["flags"].dump(), element["used"]["idx"].dump());
}

void print(Monitor& monitor, const std::string& path, const Result<Json>& answer,
           std::string (*text)(const std::string&, const Json&)) {
  if (!answer.ok()) return monitor.report(Error(answer.error()));
  monitor.print(text(path, *answer));
}

std::string irq_text(Context& context) {
  std::string text;
  for (const auto& node : context.machine.devices()) {
    auto* counter = dynamic_cast<IrqCounter*>(node->device.get());
    if (!counter) continue;
    text += fmt::format("IRQ statistics for {}:\n", node->type->name);
    const std::vector<u64> counts = counter->irq_counts();
    for (usize id = 0; id < counts.size(); ++id)
      if (counts[id]) text += fmt::format("{:2}: {}\n", id, counts[id]);
  }
  return text;
}

const char* mode_name(RxFilterView::Mode mode) {
  switch (mode) {
    case RxFilterView::Mode::none: return "none";
    case RxFilterView::Mode::normal: return "normal";
    case RxFilterView::Mode::all: return "all";
  }
  return "normal";
}

Json filter_row(const std::string& name, const RxFilterView& view) {
  return {{"name", name},
          {"promiscuous", view.promiscuous},
          {"multicast", mode_name(view.multicast)},
          {"unicast", mode_name(view.unicast)},
          {"vlan", mode_name(view.vlan)},
          {"broadcast-allowed", view.broadcast_allowed},
          {"multicast-overflow", view.multicast_overflow},
          {"unicast-overflow", view.unicast_overflow},
          {"main-mac", view.main_mac},
          {"vlan-table", view.vlan_table},
          {"unicast-table", view.unicast_table},
          {"multicast-table", view.multicast_table}};
}

}  // namespace

void info_virtio(Monitor& monitor, const Arguments&) {
  const std::vector<VirtioPlace> places = virtio_places(monitor.context());
  if (places.empty()) return monitor.print("No VirtIO devices\n");
  for (const VirtioPlace& place : places) monitor.print(fmt::format("{} [{}]\n", place.path, place.name));
}

void info_virtio_status(Monitor& monitor, const Arguments& arguments) {
  const std::string& path = arguments.texts[0];
  print(monitor, path, virtio_status(monitor.context(), path), status_text);
}

void info_virtio_queue_status(Monitor& monitor, const Arguments& arguments) {
  const std::string& path = arguments.texts[0];
  print(monitor, path, virtio_queue_status(monitor.context(), path, arguments.numbers[0]), queue_text);
}

void info_virtio_queue_element(Monitor& monitor, const Arguments& arguments) {
  const std::string& path = arguments.texts[0];
  const s64 index =
      arguments.numbers.size() > 1 ? static_cast<s64>(std::min<u64>(arguments.numbers[1], u64{1} << 32)) : -1;
  print(monitor, path, virtio_queue_element(monitor.context(), path, arguments.numbers[0], index), element_text);
}

// No device here leaves its queues to the host's kernel or another process.
void info_virtio_vhost_queue_status(Monitor& monitor, const Arguments& arguments) {
  const auto place = find_virtio(monitor.context(), arguments.texts[0]);
  if (!place.ok()) return monitor.report(Error(place.error()));
  monitor.report(Error("Error: vhost device has not started yet"));
}

void info_irq(Monitor& monitor, const Arguments&) { monitor.print(irq_text(monitor.context())); }

Result<Json> qmp_query_virtio(QmpCall& call) {
  Json list = Json::array();
  for (const VirtioPlace& place : virtio_places(call.context))
    list.push_back({{"path", place.path}, {"name", place.name}});
  return list;
}

Result<Json> qmp_query_virtio_status(QmpCall& call) { return virtio_status(call.context, call.text("path")); }

Result<Json> qmp_query_virtio_queue_status(QmpCall& call) {
  return virtio_queue_status(call.context, call.text("path"), static_cast<u64>(call.number("queue")));
}

Result<Json> qmp_query_virtio_queue_element(QmpCall& call) {
  if (call.has("index") && call.number("index") < 0) return Error("Parameter 'index' expects uint16");
  return virtio_queue_element(call.context, call.text("path"), static_cast<u64>(call.number("queue")),
                              call.number("index", -1));
}

Result<Json> qmp_query_virtio_vhost_queue_status(QmpCall& call) {
  RHEA_TRY(find_virtio(call.context, call.text("path")));
  return Error("Error: vhost device has not started yet");
}

Result<Json> qmp_query_irq(QmpCall& call) { return Json{{"human-readable-text", irq_text(call.context)}}; }

Result<Json> qmp_query_rx_filter(QmpCall& call) {
  const std::string wanted = call.text("name");
  Json list = Json::array();
  bool is_nic = false;
  for (const auto& node : call.context.machine.devices()) {
    const net::Port* port = devices::port_of(*node->device);
    if (!port || (call.has("name") && port->name() != wanted)) continue;
    is_nic = true;
    if (auto* insight = dynamic_cast<RxFilterInsight*>(node->device.get()))
      list.push_back(filter_row(port->name(), insight->rx_filter_view()));
  }
  if (!call.has("name") || !list.empty()) return list;
  if (is_nic) return Error("net client({}) doesn't support rx-filter querying", wanted);
  if (call.context.network.find(wanted)) return Error("net client({}) isn't a NIC", wanted);
  return Error("invalid net client name: {}", wanted);
}

}  // namespace rhea::monitor
