// SPDX-License-Identifier: MIT
#include "monitor/objects.h"

#include <algorithm>

#include "config/options.h"
#include "util/text.h"

namespace rhea::monitor {

machine::ObjectTree object_tree(Context& context) {
  machine::UserObjects objects;
  if (context.objects) objects = context.objects();
  return machine::ObjectTree(context.machine, objects, [&context](const std::string& id) {
    std::vector<machine::ObjectProperty> list;
    for (const auto& [name, value] : context.network.filter_properties(id))
      list.push_back({name, "string", "", value, nullptr});
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
  if (name != "type" && !node->child(name) && !find_property(*node, name)) return no_property(*node, name);
  if (node->device && find_property(node->device->type->properties, name))
    return Error("Attempt to set property '{}' on device '{}' (type '{}') after it was realized", name, node->name,
                 node->type);
  return Error("Property '{}.{}' is not writable", node->type, name);
}

Result<void> add_device(Context& context, const std::string& driver) {
  const devices::DeviceType* type = devices::find_device_type(driver);
  if (!type) {
    std::vector<std::string> names;
    for (const devices::DeviceType* each : devices::all_device_types())
      if (each->bus != Bus::sysbus && each->bus != Bus::none) names.emplace_back(each->name);
    return Error("'{}' is not a valid device model name{}", driver, did_you_mean(driver, names));
  }
  if (type->bus == Bus::sysbus || type->bus == Bus::none)
    return Error("Parameter 'driver' expects a pluggable device type");
  unsigned slots = 0;
  for (const auto& node : context.machine.devices()) slots += node->type->name == "virtio-mmio";
  if (type->bus != Bus::virtio || slots == 0)
    return Error("No '{}' bus found for device '{}'", bus_name(type->bus), driver);
  return Error("Bus 'virtio-mmio-bus.{}' does not support hotplugging", slots - 1);
}

Result<void> delete_device(Context& context, const std::string& id) {
  const machine::ObjectTree tree = object_tree(context);
  const auto node = tree.find(id.starts_with('/') ? id : "/machine/peripheral/" + id);
  if (!node.ok() || !(*node)->device) return Error("Device '{}' not found", id).with_hint("DeviceNotFound");
  return Error("Bus '{}' does not support hotplugging", (*node)->device->bus);
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
  RHEA_TRY(context.network.add(type, id, options));
  return {};
}

}  // namespace rhea::monitor
