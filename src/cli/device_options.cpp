// SPDX-License-Identifier: MIT
// -device, -global and -object: what can be said of them before the machine is there, and their help.
#include <algorithm>

#include "cli/device_options.h"
#include "cli/drive_options.h"
#include "cli/known.h"
#include "cli/settings.h"
#include "cli/user_objects.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

using devices::DeviceType;

std::vector<std::string> pluggable_names() {
  std::vector<std::string> names;
  for (const DeviceType* type : devices::all_device_types()) {
    if (type->bus == Bus::sysbus || type->bus == Bus::none) continue;
    names.emplace_back(type->name);
    if (!type->alias.empty()) names.emplace_back(type->alias);
  }
  return names;
}

std::string device_line(const DeviceType& type) {
  std::string line = fmt::format("name \"{}\", bus {}", type.name, bus_name(type.bus));
  if (!type.alias.empty()) line += fmt::format(", alias \"{}\"", type.alias);
  if (type.bus != Bus::virtio && !type.summary.empty()) line += fmt::format(", desc \"{}\"", type.summary);
  return line + "\n";
}

std::string property_line(const Property& row, const void* defaults) {
  std::string head = fmt::format("  {}=<{}>", row.name, row.type_name);
  std::string text(row.summary);
  const bool has_default =
      row.kind == PropertyKind::boolean || row.kind == PropertyKind::number || row.kind == PropertyKind::size;
  if (row.kind == PropertyKind::boolean) text = "on/off";
  if (row.kind == PropertyKind::mac) text = "Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56";
  if (has_default && defaults) {
    std::string value = row.get(defaults, row.kind);
    value = value.substr(0, value.find(' '));  // "256 (0x100)"
    text += fmt::format("{}(default: {})", text.empty() ? " " : " ", value);
  }
  if (text.empty()) return head + "\n";
  return fmt::format("{:<24} - {}\n", head, text);
}

// Why there is no such device, in words.
Error no_such_device(const std::string& name) {
  const auto bus = qemu_device_bus(name);
  if (bus && (*bus == "virtio-bus" || bus->empty() || *bus == "System"))
    return Error("device '{}' is known to QEMU, but Rhea does not have it yet", name);
  if (bus) return Error("No '{}' bus found for device '{}'", *bus, name);
  std::vector<std::string> names = pluggable_names();
  for (std::string& other : qemu_devices()) names.push_back(std::move(other));
  return Error("'{}' is not a valid device model name{}", name, did_you_mean(name, names));
}

Result<const DeviceType*> find_type(const std::string& name) {
  const DeviceType* type = devices::find_device_type(name);
  if (!type) return no_such_device(name);
  return type;
}

}  // namespace

std::string device_list() {
  constexpr Category kOrder[] = {Category::controller, Category::bridge, Category::usb,     Category::storage,
                                 Category::network,    Category::input,  Category::display, Category::sound,
                                 Category::misc,       Category::cpu};
  std::string text;
  std::vector<std::string_view> done;
  for (const Category category : kOrder) {
    const std::string_view title = category_name(category);
    if (std::find(done.begin(), done.end(), title) != done.end()) continue;
    done.push_back(title);
    std::vector<std::string> lines;
    for (const DeviceType* type : devices::all_device_types())
      if (category_name(type->category) == title && type->bus != Bus::sysbus && type->bus != Bus::none)
        lines.push_back(device_line(*type));
    if (lines.empty()) continue;
    std::sort(lines.begin(), lines.end());
    text += fmt::format("{}{} devices:\n{}", text.empty() ? "" : "\n", title, join(lines, ""));
  }
  return text;
}

std::string device_help(const DeviceType& type) {
  std::vector<std::string> lines;
  const std::shared_ptr<void> defaults = type.make_config ? type.make_config() : nullptr;
  for (const Property& row : type.properties) lines.push_back(property_line(row, defaults.get()));
  if (type.category == Category::network && !find_property(type.properties, "netdev"))
    lines.push_back(fmt::format("{:<24} - {}\n", "  netdev=<str>", "ID of a netdev to use as a backend"));
  std::sort(lines.begin(), lines.end());
  if (lines.empty()) return fmt::format("There are no options for {}.\n", type.name);
  return fmt::format("{} options:\n{}", type.name, join(lines, ""));
}

Result<void> read_device_option(Settings& settings, const Typed& typed) {
  if (typed.argument.starts_with('{'))
    return Error("JSON is known to QEMU, but Rhea takes driver,property=value,... only");
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "driver"));
  const std::string* driver = parsed.find("driver");
  if (parsed.help && !driver) {
    settings.exit = Exit{0, device_list()};
    return {};
  }
  if (parsed.help) {
    const DeviceType* type = devices::find_device_type(*driver);
    if (!type && qemu_device_bus(*driver))
      return Error("device '{}' is known to QEMU, but Rhea does not have it yet", *driver);
    if (!type) return no_such_device(*driver);
    settings.exit = Exit{0, device_help(*type)};
    return {};
  }
  settings.devices.push_back(typed);
  return {};
}

Result<DevicePlan> plan_device(const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "driver"));
  const std::string* driver = parsed.find("driver");
  if (!driver) return Error("Parameter 'driver' is missing");
  const DeviceType* type = RHEA_TRY(find_type(*driver));
  if (type->bus == Bus::sysbus || type->bus == Bus::none)
    return Error("Parameter 'driver' expects a pluggable device type");
  DevicePlan plan{.type = type, .device = {.type = std::string(type->name)}, .netdev = {}, .chardev = {}};
  const std::shared_ptr<void> trial = type->make_config ? type->make_config() : nullptr;
  for (const config::Part& part : parsed.parts) {
    if (part.key == "driver") continue;
    if (part.key == "id") {
      RHEA_TRY(config::check_identifier("id", part.value));
      plan.device.id = part.value;
    } else if (part.key == "netdev" && type->category == Category::network) {
      plan.netdev = part.value;
    } else if (const Property* row = find_property(type->properties, part.key);
               row && row->kind == PropertyKind::chardev) {
      plan.chardev = part.value;
    } else if (part.key == "bus" || part.key == "addr") {
      return Error("'{}' is known to QEMU, but Rhea picks the place of a device itself", part.key);
    } else {
      RHEA_TRY(rhea::set_property(type->properties, type->name, trial.get(), part.key, part.value));
      if (part.key == "mac") RHEA_TRY(check_mac(part.value));
      plan.device.properties.emplace_back(part.key, part.value);
    }
  }
  return plan;
}

Result<u64> check_mac(std::string_view text) {
  const auto mac = parse_mac(text);
  if (!mac.ok()) return Error("invalid syntax for ethernet address");
  if (*mac >> 40 & 1) return Error("NIC cannot have multicast MAC address");
  return *mac;
}

Result<void> read_global_option(Settings& settings, const Typed& typed) {
  std::string driver, name, value;
  const usize equals = typed.argument.find('=');
  const usize dot = typed.argument.rfind('.', equals);
  if (equals != typed.argument.npos && dot != typed.argument.npos && dot < equals) {
    driver = typed.argument.substr(0, dot);
    name = typed.argument.substr(dot + 1, equals - dot - 1);
    value = typed.argument.substr(equals + 1);
  } else {
    constexpr config::Parameter kTable[] = {
        {"driver", config::Kind::text}, {"property", config::Kind::text}, {"value", config::Kind::text}};
    const auto values = RHEA_TRY(config::read_options(typed.argument, "", kTable));
    for (const config::Parameter& row : kTable)
      if (!values.has(row.name))
        return Error("Parameter '{}' is missing: it is written driver.property=value", row.name);
    driver = values.text("driver");
    name = values.text("property");
    value = values.text("value");
  }
  const DeviceType* type = devices::find_device_type(driver);
  if (!type) {
    const bool known = qemu_device_bus(driver).has_value();
    settings.warnings.push_back(
        known ? fmt::format("global {}.{}: device '{}' is known to QEMU, but Rhea does not have it yet", driver, name,
                            driver)
              : fmt::format("global {}.{} has invalid class name", driver, name));
    return {};
  }
  const std::shared_ptr<void> trial = type->make_config ? type->make_config() : nullptr;
  RHEA_TRY(rhea::set_property(type->properties, type->name, trial.get(), name, value));
  settings.machine.globals.push_back({std::string(type->name), {name, value}});
  return {};
}

Result<void> read_object_option(Settings& settings, const Typed& typed) {
  Typed object = typed;
  if (typed.argument.starts_with('{')) {
    object.argument.clear();
    const FlatOptions options = RHEA_TRY(flatten_json(typed.argument));
    for (const auto& [name, value] : options)
      object.argument += fmt::format("{}{}={}", object.argument.empty() ? "" : ",", name, config::quote_value(value));
  }
  const auto parsed = RHEA_TRY(config::parse_options(object.argument, "qom-type", config::Style::strict));
  const std::string* type = parsed.find("qom-type");
  if (parsed.help && !type) {
    std::string text = "List of user creatable objects:\n";
    for (const std::string& name : object_types()) text += fmt::format("  {}\n", name);
    settings.exit = Exit{0, text};
    return {};
  }
  if (!type) return Error("Parameter 'qom-type' is missing");
  RHEA_TRY(check_object_type(*type));
  if (parsed.help) {
    const std::string text = object_help(*type);
    settings.exit = Exit{0, text.empty() ? fmt::format("{} has no options to choose\n", *type) : text};
    return {};
  }
  const std::string* id = parsed.find("id");
  if (!id) return Error("Parameter 'id' is missing");
  RHEA_TRY(config::check_identifier("id", *id));
  settings.objects.push_back(object);
  return {};
}

}  // namespace rhea::cli
