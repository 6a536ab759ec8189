// SPDX-License-Identifier: MIT
#include "monitor/objects.h"

#include <algorithm>

#include "config/options.h"
#include "monitor/descriptors.h"
#include "util/text.h"

namespace rhea::monitor {

machine::ObjectTree object_tree(Context& context) {
  machine::UserObjects objects;
  if (context.objects) objects = context.objects();
  return machine::ObjectTree(context.machine, objects, [&context](const std::string& id) {
    std::vector<machine::ObjectProperty> list;
    for (const auto& [name, value] : context.network.filter_properties(id))
      list.push_back({name, "string", "", value, nullptr});
    if (const auto group = context.machine.drives().find_throttle_group(id)) {
      config::Json limits = config::Json::object();
      for (const auto& [name, value] : block::throttle_values(group->limits())) {
        limits[name] = value;
        list.push_back({"x-" + name, "int", "", value, nullptr});
      }
      list.push_back({"limits", "ThrottleLimits", "", std::move(limits), nullptr});
    }
    return list;
  });
}

namespace {

const machine::ObjectProperty* find_property(const machine::ObjectNode& node, std::string_view name) {
  for (const machine::ObjectProperty& property : node.properties)
    if (property.name == name) return &property;
  return nullptr;
}

Error no_property(const machine::ObjectNode& node, const std::string& name) {
  std::vector<std::string> names = {"type"};
  for (const machine::ObjectProperty& property : node.properties) names.push_back(property.name);
  return Error("Property '{}.{}' not found{}", node.type, name, did_you_mean(name, names));
}

// Those of the limits that the value names; the others stay.
Result<void> set_limits(Context& context, const std::string& id, const std::string& name, const config::Json& value) {
  if (name != "limits") return Error("Property cannot be set after initialization");
  if (!value.is_object()) return Error("Invalid parameter type for 'limits', expected: object");
  const auto group = context.machine.drives().find_throttle_group(id);
  block::ThrottleLimits limits = group->limits();
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (!item->is_number_integer() && !item->is_number_unsigned())
      return Error("Invalid parameter type for 'limits.{}', expected: integer", item.key());
    // A negative one is beyond all limits.
    if (!block::set_throttle_value(limits, item.key(), static_cast<u64>(item->get<s64>())))
      return Error("Parameter 'limits.{}' is unexpected", item.key());
  }
  RHEA_TRY(limits.check());
  context.machine.drives().set_limits(*group, limits);
  return {};
}

}  // namespace

Result<config::Json> get_property(Context& context, const std::string& path, const std::string& name) {
  const machine::ObjectTree tree = object_tree(context);
  const machine::ObjectNode* node = RHEA_TRY(tree.find(path));
  if (name == "type") return config::Json(node->type);
  if (const machine::ObjectNode* child = node->child(name))
    return config::Json(fmt::format("{}{}{}", path, path.ends_with('/') ? "" : "/", child->name));
  const machine::ObjectProperty* property = find_property(*node, name);
  if (!property) return no_property(*node, name);
  return property->value;
}

Result<void> set_property(Context& context, const std::string& path, const std::string& name,
                          const config::Json& value) {
  const machine::ObjectTree tree = object_tree(context);
  const machine::ObjectNode* node = RHEA_TRY(tree.find(path));
  if (node->type.starts_with("filter-") && find_property(*node, name)) {
    const std::string text = value.is_string()    ? value.get<std::string>()
                             : value.is_boolean() ? (value.get<bool>() ? "on" : "off")
                                                  : value.dump();
    return context.network.set_filter(node->name, name, text);
  }
  if (node->type == "throttle-group" && find_property(*node, name)) return set_limits(context, node->name, name, value);
  if (name != "type" && !node->child(name) && !find_property(*node, name)) return no_property(*node, name);
  if (node->device && find_property(node->device->type->properties, name))
    return Error("Attempt to set property '{}' on device '{}' (type '{}') after it was realized", name, node->name,
                 node->type);
  return Error("Property '{}.{}' is not writable", node->type, name);
}

namespace {

// Every bus that a device of this type may go on, by name; the last one that was made is the first.
std::vector<std::string> buses_for(Context& context, const devices::DeviceType& type) {
  std::vector<std::string> names;
  unsigned slots = 0;
  for (const auto& node : context.machine.devices()) {
    if (type.bus == Bus::virtio && node->type->name == "virtio-mmio")
      names.push_back(fmt::format("virtio-mmio-bus.{}", slots++));
    auto* owner = dynamic_cast<devices::BusOwner*>(node->device.get());
    if (owner && owner->owned_bus() == type.bus) names.push_back(type.bus == Bus::sd ? "sd-bus" : node->id + ".0");
  }
  std::reverse(names.begin(), names.end());
  return names;
}

Result<std::string> bus_for(Context& context, const devices::DeviceType& type, const std::vector<OptionText>& options) {
  const std::vector<std::string> names = buses_for(context, type);
  for (const auto& [key, value] : options) {
    if (key != "bus") continue;
    if (std::find(names.begin(), names.end(), value) == names.end())
      return Error("Bus '{}' not found{}", value, did_you_mean(value, names));
    return value;
  }
  if (names.empty()) return Error("No '{}' bus found for device '{}'", bus_name(type.bus), type.name);
  return names.front();
}

}  // namespace

Result<void> add_device(Context& context, const std::string& driver, std::vector<OptionText> options) {
  const devices::DeviceType* type = devices::find_device_type(driver);
  if (!type) {
    std::vector<std::string> names;
    for (const devices::DeviceType* each : devices::all_device_types())
      if (each->bus != Bus::sysbus && each->bus != Bus::none) names.emplace_back(each->name);
    return Error("'{}' is not a valid device model name{}", driver, did_you_mean(driver, names));
  }
  if (type->bus == Bus::sysbus || type->bus == Bus::none)
    return Error("Parameter 'driver' expects a pluggable device type");
  const std::string bus = RHEA_TRY(bus_for(context, *type, options));
  if (type->bus != Bus::virtio_serial || !context.plug_device)
    return Error("Bus '{}' does not support hotplugging", bus);
  std::erase_if(options, [](const OptionText& option) { return option.first == "bus"; });
  return context.plug_device(driver, options);
}

Result<void> delete_device(Context& context, const std::string& id) {
  const std::string path = id.starts_with('/') ? id : "/machine/peripheral/" + id;
  const machine::DeviceNode* device = nullptr;
  {
    const machine::ObjectTree tree = object_tree(context);
    const auto node = tree.find(path);
    if (!node.ok() || !(*node)->device) return Error("Device '{}' not found", id).with_hint("DeviceNotFound");
    device = (*node)->device;
  }
  const std::string name = device->id;
  RHEA_TRY(context.machine.unplug_device(*device));
  config::Json data = {{"path", path}};
  if (path.starts_with("/machine/peripheral/")) data["device"] = name;
  // Behind the command's answer, as QEMU does.
  context.machine.loop().post(
      [&context, text = config::json_text(data)] { context.machine.events().deliver("DEVICE_DELETED", text); });
  return {};
}

Result<void> add_object(Context& context, const std::string& type, const std::string& id,
                        std::vector<OptionText> options) {
  RHEA_TRY(config::check_identifier("id", id));
  if (context.objects)
    for (const auto& [name, other] : context.objects())
      if (name == id) return Error("attempt to add duplicate property '{}' to object (type 'container')", id);
  if (!context.add_object) return Error("Parameter 'qom-type' does not accept value '{}'", type);
  return context.add_object(type, id, options);
}

Result<void> delete_object(Context& context, const std::string& id) {
  std::vector<std::string> names;
  if (context.objects)
    for (const auto& [name, type] : context.objects()) names.push_back(name);
  if (std::find(names.begin(), names.end(), id) == names.end())
    return Error("object '{}' not found{}", id, did_you_mean(id, names));
  if (!context.delete_object) return Error("object '{}' is in use, can not be deleted", id);
  return context.delete_object(id);
}

Result<void> add_netdev(Context& context, const std::string& type, const std::string& id,
                        std::vector<OptionText> options) {
  RHEA_TRY(config::check_identifier("id", id));
  if (context.network.find(id)) return Error("Duplicate ID '{}'", id);
  for (auto& [key, value] : options) {
    if (key != "fd" && key != "fds" && key != "vhostfd" && key != "vhostfds") continue;
    std::vector<std::string> numbers;
    for (const std::string& name : split(value, ':')) numbers.push_back(RHEA_TRY(descriptor_number(context, name)));
    value = join(numbers, ":");
  }
  RHEA_TRY(context.network.add(type, id, options));
  return {};
}

}  // namespace rhea::monitor
