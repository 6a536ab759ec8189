// SPDX-License-Identifier: MIT
#include "machine/object_tree.h"

#include <algorithm>

#include "util/text.h"

namespace rhea::machine {

namespace {

using config::Json;

// A property's text as a value of its kind.
Json typed_value(const Property& row, const void* config) {
  std::string text = row.get(config, row.kind);
  if (row.kind == PropertyKind::boolean) return text == "true";
  if (row.kind == PropertyKind::number || row.kind == PropertyKind::size) {
    text = text.substr(0, text.find(' '));  // "256 (0x100)"
    if (const auto number = parse_number(text)) return *number;
  }
  return text;
}

bool named_by_user(const Machine& machine, const DeviceNode& node) {
  const MachineConfig& config = machine.config();
  return std::any_of(config.devices.begin(), config.devices.end(),
                     [&](const auto& d) { return !d.id.empty() && d.id == node.id; });
}

void collect(const ObjectNode& node, const std::string& path, std::string_view end,
             std::vector<const ObjectNode*>& found) {
  for (const auto& child : node.children) {
    const std::string below = path + "/" + child->name;
    if (below.ends_with("/" + std::string(end))) found.push_back(child.get());
    collect(*child, below, end, found);
  }
}

std::string find_device(const ObjectNode& node, const std::string& path, const DeviceNode& device) {
  for (const auto& child : node.children) {
    const std::string below = path + "/" + child->name;
    if (child->device == &device) return below;
    if (std::string deeper = find_device(*child, below, device); !deeper.empty()) return deeper;
  }
  return {};
}

}  // namespace

ObjectNode& ObjectNode::add(std::string name, std::string type) {
  children.push_back(std::make_unique<ObjectNode>());
  children.back()->name = std::move(name);
  children.back()->type = std::move(type);
  return *children.back();
}

const ObjectNode* ObjectNode::child(std::string_view name) const {
  for (const auto& node : children)
    if (node->name == name) return node.get();
  return nullptr;
}

std::vector<ObjectProperty> type_properties(const devices::DeviceType& type) {
  std::vector<ObjectProperty> list;
  const std::shared_ptr<void> defaults = type.make_config ? type.make_config() : nullptr;
  for (const Property& row : type.properties) {
    ObjectProperty property{
        .name = std::string(row.name), .type = std::string(row.type_name), .description = std::string(row.summary)};
    const bool has_default =
        row.kind == PropertyKind::boolean || row.kind == PropertyKind::number || row.kind == PropertyKind::size;
    if (defaults && has_default) property.default_value = typed_value(row, defaults.get());
    list.push_back(std::move(property));
  }
  return list;
}

ObjectTree::ObjectTree(Machine& machine, const UserObjects& objects, const UserProperties& properties) {
  root_.type = "container";
  root_.add("backend", "container");
  ObjectNode& user = root_.add("objects", "container");
  for (const auto& [id, type] : objects) {
    ObjectNode& node = user.add(id, type);
    if (properties) node.properties = properties(id);
  }
  add_machine(machine);
  ObjectNode& chardevs = root_.add("chardevs", "container");
  for (const std::string& id : machine.chardevs().ids()) {
    ObjectNode& node = chardevs.add(id, machine.chardevs().type_of(id));
    if (node.type != "chardev-socket") continue;
    node.properties.push_back(
        {"connected", "bool", "", !machine.chardevs().filename(id).starts_with("disconnected:"), nullptr});
  }
}

void ObjectTree::add_machine(Machine& machine) {
  const MachineConfig& config = machine.config();
  ObjectNode& node = root_.add("machine", fmt::format("{}-machine", config.board->name));
  const auto text = [&](const char* name, const std::string& value) {
    node.properties.push_back({name, "string", "", value, nullptr});
  };
  text("kernel", config.kernel);
  text("initrd", config.initrd);
  text("append", config.append);
  text("dtb", config.dtb);
  text("dumpdtb", config.dumpdtb);
  const u64 ram = config.ram_size ? config.ram_size : config.board->default_ram;
  node.properties.push_back(
      {"memory", "MemorySizeConfiguration", "", {{"size", ram}, {"slots", 0}, {"max-size", ram}}, nullptr});
  node.properties.push_back(
      {"smp",
       "SMPConfiguration",
       "",
       {{"cpus", config.cpus}, {"maxcpus", config.cpus}, {"cores", config.cpus}, {"sockets", 1}, {"threads", 1}},
       nullptr});
  node.add("peripheral-anon", "container");
  node.add("peripheral", "container");
  node.add("unattached", "container");
  add_devices(machine, node);
}

void ObjectTree::add_devices(Machine& machine, ObjectNode& node) {
  ObjectNode &anonymous = *node.children[0], &named = *node.children[1], &unattached = *node.children[2];
  const std::string cpu =
      machine.config().cpu.empty() ? std::string(machine.config().board->default_cpu) : machine.config().cpu;
  for (unsigned i = 0; i < machine.cpu_count(); ++i) {
    ObjectNode& object = unattached.add(fmt::format("device[{}]", i), cpu + "-arm-cpu");
    object.properties.push_back({"realized", "bool", "", true, nullptr});
    object.properties.push_back({"start-powered-off", "bool", "", false, nullptr});
  }
  unsigned number = machine.cpu_count(), anonymous_number = 0, absent = 0;
  for (const auto& device : machine.devices()) {
    const bool plugged = device->bus != "main-system-bus";
    ObjectNode* object;
    if (plugged && named_by_user(machine, *device)) object = &named.add(device->id, std::string(device->type->name));
    else if (plugged)
      object = &anonymous.add(fmt::format("device[{}]", anonymous_number++), std::string(device->type->name));
    else if (device->type->name == "unimplemented-device")
      object = &unattached.add(fmt::format("absent[{}]", absent++), std::string(device->type->name));
    else object = &unattached.add(fmt::format("device[{}]", number++), std::string(device->type->name));
    object->device = device.get();
    object->properties.push_back({"parent_bus", "link<bus>", "", device->bus, nullptr});
    object->properties.push_back({"realized", "bool", "", true, nullptr});
    object->properties.push_back({"hotplugged", "bool", "", false, nullptr});
    object->properties.push_back({"hotpluggable", "bool", "", plugged, nullptr});
    for (const Property& row : device->type->properties)
      object->properties.push_back({std::string(row.name), std::string(row.type_name), std::string(row.summary),
                                    typed_value(row, device->config.get()), nullptr});
  }
  unattached.add("sysbus", "System");
}

Result<const ObjectNode*> ObjectTree::find(std::string_view path) const {
  const auto missing = [&] { return Error("Device '{}' not found", path).with_hint("DeviceNotFound"); };
  if (path.starts_with('/')) {
    const ObjectNode* at = &root_;
    for (const std::string& part : split(path.substr(1), '/')) {
      if (part.empty()) continue;
      at = at->child(part);
      if (!at) return missing();
    }
    return at;
  }
  std::vector<const ObjectNode*> found;
  if (!path.empty()) collect(root_, "", path, found);
  if (found.size() > 1) return Error("Path '{}' is ambiguous", path);
  if (found.empty()) return missing();
  return found[0];
}

std::string ObjectTree::path_of(const DeviceNode& device) const { return find_device(root_, "", device); }

}  // namespace rhea::machine
