// SPDX-License-Identifier: MIT
// The three spellings of a network: -netdev (a backend for a device to name), -nic (backend and NIC in one),
// -net (NICs and backends on a shared hub); and what there is when none of them is given: a NIC and user mode
// on hub 0.
#include "cli/net_options.h"

#include <algorithm>

#include "cli/device_options.h"
#include "cli/mac_plan.h"
#include "config/json.h"
#include "core/property.h"
#include "net/backends/tap_backend.h"
#include "net/ring_server.h"
#include "sys/claim.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

constexpr usize kMostNics = 8;
constexpr unsigned kHub = 0;

std::vector<net::OptionText> options_without(const config::ParsedText& parsed,
                                             std::initializer_list<std::string_view> names) {
  std::vector<net::OptionText> options;
  for (const config::Part& part : parsed.parts)
    if (std::find(names.begin(), names.end(), part.key) == names.end()) options.emplace_back(part.key, part.value);
  return options;
}

std::string netdev_list() {
  std::string text = "Available netdev backend types:\n";
  for (const net::BackendType* type : net::backend_types())
    if (type->create) text += fmt::format("{}\n", type->name);
  return text;
}

std::string netdev_help(const net::BackendType& type) {
  std::string text = fmt::format("{} options:\n", type.name);
  std::vector<std::string> lines;
  for (const net::OptionRow& row : type.options) {
    const char* kind = row.kind == net::OptionRow::boolean  ? "bool (on/off)"
                       : row.kind == net::OptionRow::number ? "num"
                                                            : "str";
    lines.push_back(fmt::format("{:<24} - {}\n", fmt::format("  {}=<{}>", row.name, kind), row.summary));
  }
  std::sort(lines.begin(), lines.end());
  return text + join(lines, "");
}

// The members of a JSON object as the parts that type,key=value,... would have: {"addr": {"type": "unix"}} is
// addr.type=unix, a list gives its key again and again, and {"str": "x"} in a list is x.
Result<void> flatten(const std::string& name, const config::Json& value, config::ParsedText& parsed) {
  if (value.is_object()) {
    for (auto item = value.begin(); item != value.end(); ++item)
      RHEA_TRY(flatten(name.empty() ? item.key() : name + "." + item.key(), *item, parsed));
  } else if (value.is_array()) {
    for (const config::Json& item : value)
      RHEA_TRY(flatten(name, item.is_object() && item.contains("str") ? item["str"] : item, parsed));
  } else if (value.is_string()) {
    parsed.parts.push_back({name, value.get<std::string>()});
  } else if (value.is_boolean()) {
    parsed.parts.push_back({name, value.get<bool>() ? "on" : "off"});
  } else if (value.is_number()) {
    parsed.parts.push_back({name, value.dump()});
  } else {
    return Error("Invalid parameter type for '{}', expected: string", name);
  }
  return {};
}

// Of -netdev: type,key=value,... or a JSON object.
Result<config::ParsedText> parse_netdev(const std::string& text) {
  if (!text.starts_with('{')) return config::parse_options(text, "type");
  const config::Json value = RHEA_TRY(config::parse_json(text));
  config::ParsedText parsed;
  RHEA_TRY(flatten("", value, parsed));
  return parsed;
}

// "type,help" or "help".
bool answer_help(Settings& settings, const config::ParsedText& parsed) {
  if (!parsed.help) return false;
  const std::string* type = parsed.find("type");
  const net::BackendType* row = type ? net::find_backend_type(*type) : nullptr;
  settings.exit = Exit{0, row && row->create ? netdev_help(*row) : netdev_list()};
  return true;
}

}  // namespace

Result<void> read_netdev_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(parse_netdev(typed.argument));
  if (!answer_help(settings, parsed)) settings.netdevs.push_back(typed);
  return {};
}

Result<void> read_nic_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "type"));
  const std::string* model = parsed.find("model");
  if (model && (*model == "help" || *model == "?")) {
    settings.wants_nic_models = true;
    return {};
  }
  if (!answer_help(settings, parsed)) settings.nics.push_back(typed);
  return {};
}

Result<void> read_net_option(Settings& settings, const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "type"));
  const std::string* model = parsed.find("model");
  if (model && (*model == "help" || *model == "?")) {
    settings.wants_nic_models = true;
    return {};
  }
  if (!answer_help(settings, parsed)) settings.nets.push_back(typed);
  return {};
}

Result<void> NetworkPlan::make() {
  const bool defaults =
      settings_.nets.empty() && settings_.nics.empty() && settings_.netdevs.empty() && !settings_.no_defaults;
  std::vector<Typed> nets = settings_.nets;
  if (defaults && !settings_.machine.board->nic_models.empty()) nets = {{"-net", "nic"}, {"-net", "user"}};
  const auto each = [this](const std::vector<Typed>& list,
                           Result<void> (NetworkPlan::*make)(const Typed&)) -> Result<void> {
    for (const Typed& typed : list) {
      Result<void> made = (this->*make)(typed);
      if (!made.ok()) return std::move(made.error());
    }
    return {};
  };
  RHEA_TRY(each(settings_.netdevs, &NetworkPlan::make_netdev));
  RHEA_TRY(each(settings_.nics, &NetworkPlan::make_nic));
  RHEA_TRY(each(nets, &NetworkPlan::make_net));
  RHEA_TRY(each(settings_.devices, &NetworkPlan::make_device));
  RHEA_TRY(each(settings_.objects, &NetworkPlan::make_filter));
  RHEA_TRY(follow_stations());
  assign_macs();
  // Filters stand between a backend and its NIC: so NICs are joined last.
  for (machine::NicConfig& nic : settings_.machine.nics)
    if (nic.netdev) nic.netdev = network_.attach_point(nic.netdev);
  for (machine::DeviceConfig& device : settings_.machine.devices)
    if (device.netdev) device.netdev = network_.attach_point(device.netdev);
  return {};
}

// A macvtap takes frames for its own address alone.
Result<void> NetworkPlan::follow_stations() {
  const auto differs = [](u64 given, u64 station) {
    return Error("mac={}: the macvtap takes frames for {} only; without mac= the NIC has that", format_mac(given),
                 format_mac(station));
  };
  for (machine::NicConfig& nic : settings_.machine.nics) {
    const u64 station = nic.netdev ? net::station_of(*nic.netdev) : 0;
    if (station && nic.mac && nic.mac != station) return differs(nic.mac, station);
    if (station) nic.mac = station;
  }
  for (machine::DeviceConfig& device : settings_.machine.devices) {
    const u64 station = device.netdev ? net::station_of(*device.netdev) : 0;
    if (!station) continue;
    const auto given = std::find_if(device.properties.begin(), device.properties.end(),
                                    [](const auto& property) { return property.first == "mac"; });
    if (given == device.properties.end()) device.properties.emplace_back("mac", format_mac(station));
    else if (const auto mac = parse_mac(given->second); mac.ok() && *mac != station) return differs(*mac, station);
  }
  return {};
}

// A run that is recorded or replayed has to have the same addresses whoever else runs.
void NetworkPlan::assign_macs() {
  if (settings_.machine.replay != machine::ReplayMode{}) return;
  const MacOwner owner{sys::machine_identity(), settings_.machine.name, sys::user_id()};
  unsigned slot = 0;
  for (machine::NicConfig& nic : settings_.machine.nics) {
    if (nic.mac == 0 && nic.netdev && network_.is_shared(nic.netdev))
      nic.mac = claim_mac(owner, slot, settings_.mac_claims);
    ++slot;
  }
  for (machine::DeviceConfig& device : settings_.machine.devices) {
    if (!device.netdev) continue;
    const bool given = std::any_of(device.properties.begin(), device.properties.end(),
                                   [](const auto& property) { return property.first == "mac"; });
    if (!given && network_.is_shared(device.netdev))
      device.properties.emplace_back("mac", format_mac(claim_mac(owner, slot, settings_.mac_claims)));
    ++slot;
  }
}

Result<void> NetworkPlan::make_netdev(const Typed& typed) {
  const auto parsed = parse_netdev(typed.argument);
  if (!parsed.ok()) return at(typed, Error(parsed.error()));
  const std::string* type = parsed->find("type");
  const std::string* id = parsed->find("id");
  if (!type) return at(typed, Error("Parameter 'type' is missing"));
  if (!net::find_backend_type(*type)) {
    auto refused = network_.add(*type, id ? *id : "", {});
    if (!refused.ok()) return at(typed, std::move(refused.error()));
  }
  if (!id) return at(typed, Error("Parameter 'id' is missing"));
  if (Result<void> good = config::check_identifier("id", *id); !good.ok()) return at(typed, std::move(good.error()));
  auto made = network_.add(*type, *id, options_without(*parsed, {"type", "id"}));
  if (!made.ok()) return at(typed, std::move(made.error()));
  return {};
}

Result<void> NetworkPlan::check_model(const std::string& model) const {
  const auto& models = settings_.machine.board->nic_models;
  if (model.empty() || std::find(models.begin(), models.end(), model) != models.end()) return {};
  const devices::DeviceType* type = devices::find_device_type(model);
  if (type && type->category == Category::network && type->bus == Bus::virtio) return {};
  std::vector<std::string> names(models.begin(), models.end());
  return Error("Unsupported NIC model: {}{}", model, did_you_mean(model, names));
}

// A backend that serves rings needs a NIC that has some.
Result<void> NetworkPlan::check_rings(const net::Port* netdev, std::string_view driver) const {
  if (!dynamic_cast<const net::RingServer*>(netdev) || driver == "virtio-net-device") return {};
  return Error("vhost-user requires frontend driver virtio-net-*, and this NIC is {}", driver)
      .with_hint(
          "-device virtio-net-device,netdev=..., -net nic,model=virtio-net-device,netdev=... and -nic "
          "vhost-user,model=virtio-net-device,chardev=... have one");
}

Result<void> NetworkPlan::add_nic(const Typed& typed, machine::NicConfig nic) {
  if (settings_.machine.nics.size() == kMostNics)
    return at(typed, Error("no more on-board/default NIC slots available"));
  RHEA_TRY(check_model(nic.model));
  if (const devices::DeviceType* type = devices::find_device_type(nic.model)) nic.model = std::string(type->name);
  const auto& models = settings_.machine.board->nic_models;
  const std::string_view driver = !nic.model.empty() ? std::string_view(nic.model)
                                  : models.empty()   ? std::string_view("none")
                                                     : std::string_view(models[0]);
  if (Result<void> good = check_rings(nic.netdev, driver); !good.ok()) return at(typed, std::move(good.error()));
  settings_.machine.nics.push_back(std::move(nic));
  return {};
}

Result<void> NetworkPlan::make_nic(const Typed& typed) {
  const auto parsed = config::parse_options(typed.argument, "type");
  if (!parsed.ok()) return at(typed, Error(parsed.error()));
  const std::string* type = parsed->find("type");
  if (type && *type == "none") return {};
  const std::string* id = parsed->find("id");
  const std::string* model = parsed->find("model");
  const std::string* mac = parsed->find("mac");
  machine::NicConfig nic{.model = model ? *model : "", .id = {}};
  if (mac) {
    const auto number = check_mac(*mac);
    if (!number.ok()) return at(typed, Error(number.error()));
    nic.mac = *number;
  }
  if (id)
    if (Result<void> good = config::check_identifier("id", *id); !good.ok()) return at(typed, std::move(good.error()));
  auto made =
      network_.add(type ? *type : "user", id ? *id : "", options_without(*parsed, {"type", "id", "model", "mac"}));
  if (!made.ok()) return at(typed, std::move(made.error()));
  nic.netdev = *made;
  return add_nic(typed, std::move(nic));
}

Result<void> NetworkPlan::make_net_nic(const Typed& typed, const config::ParsedText& parsed) {
  constexpr config::Parameter kTable[] = {{"type", config::Kind::text},      {"netdev", config::Kind::text},
                                          {"name", config::Kind::text},      {"model", config::Kind::text},
                                          {"macaddr", config::Kind::text},   {"addr", config::Kind::text},
                                          {"vectors", config::Kind::number}, {"id", config::Kind::identifier}};
  const auto values = config::read_values(parsed, kTable);
  if (!values.ok()) return at(typed, Error(values.error()));
  for (const char* name : {"addr", "vectors"})
    if (values->has(name)) return at(typed, Error("Parameter '{}' is for PCI, which this board does not have", name));
  machine::NicConfig nic{.model = values->text("model"), .id = values->text("name", values->text("id"))};
  if (values->has("macaddr")) {
    const auto number = check_mac(values->text("macaddr"));
    if (!number.ok()) return at(typed, Error(number.error()));
    nic.mac = *number;
  }
  if (values->has("netdev")) {
    const std::string id = values->text("netdev");
    if (!network_.find(id)) return at(typed, Error("netdev '{}' not found", id));
    if (!taken_.insert(id).second) return at(typed, Error("netdev '{}' is already in use", id));
    nic.netdev = network_.find(id);
  } else {
    nic.netdev = network_.add_hub_port(kHub);
  }
  return add_nic(typed, std::move(nic));
}

Result<void> NetworkPlan::make_net(const Typed& typed) {
  const auto parsed = config::parse_options(typed.argument, "type");
  if (!parsed.ok()) return at(typed, Error(parsed.error()));
  const std::string* type = parsed->find("type");
  if (!type) return at(typed, Error("Parameter 'type' is missing"));
  if (*type == "none") return {};
  if (*type == "nic") return make_net_nic(typed, *parsed);
  if (*type == "hubport") return at(typed, Error("network backend 'hubport' is only supported with -netdev/-nic"));
  const std::string* id = parsed->find("id");
  auto made = network_.add_on_hub(kHub, *type, id ? *id : "", options_without(*parsed, {"type", "id"}));
  if (!made.ok()) return at(typed, std::move(made.error()));
  return {};
}

Result<void> NetworkPlan::make_device(const Typed& typed) {
  auto planned = plan_device(typed);
  if (!planned.ok()) return at(typed, std::move(planned.error()));
  DevicePlan plan = planned.take();
  if (!plan.device.id.empty() && !device_ids_.insert(plan.device.id).second)
    return at(typed, Error("Duplicate ID '{}' for device", plan.device.id));
  if (!plan.netdev.empty()) {
    net::Port* port = network_.find(plan.netdev);
    if (!port) return at(typed, Error("Property '{}.netdev' can't find value '{}'", plan.type->name, plan.netdev));
    if (!taken_.insert(plan.netdev).second)
      return at(typed, Error("Property '{}.netdev' can't take value '{}', it's in use", plan.type->name, plan.netdev));
    if (Result<void> good = check_rings(port, plan.type->name); !good.ok()) return at(typed, std::move(good.error()));
    plan.device.netdev = port;
  }
  if (!plan.chardev.empty()) {
    auto port = chardevs_.attach(plan.chardev);
    if (!port.ok())
      return at(typed,
                chardevs_.has(plan.chardev)
                    ? Error("Property '{}.chardev' can't take value '{}', it's in use", plan.type->name, plan.chardev)
                    : Error("Property '{}.chardev' can't find value '{}'", plan.type->name, plan.chardev));
    plan.device.chardev = *port;
  }
  settings_.machine.devices.push_back(std::move(plan.device));
  return {};
}

Result<void> NetworkPlan::make_filter(const Typed& typed) {
  const auto parsed = config::parse_options(typed.argument, "qom-type", config::Style::strict);
  if (!parsed.ok()) return at(typed, Error(parsed.error()));
  Result<void> added =
      objects_.add(*parsed->find("qom-type"), *parsed->find("id"), options_without(*parsed, {"qom-type", "id"}));
  if (!added.ok()) return at(typed, std::move(added.error()));
  return {};
}

}  // namespace rhea::cli
