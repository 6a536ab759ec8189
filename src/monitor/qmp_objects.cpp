// SPDX-License-Identifier: MIT
// QMP: the object tree, devices, objects.
#include <algorithm>
#include <set>

#include "monitor/objects.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

Json property_row(const machine::ObjectProperty& property) {
  Json row = Json::object();
  if (!property.default_value.is_null()) row["default-value"] = property.default_value;
  row["name"] = property.name;
  if (!property.description.empty()) row["description"] = property.description;
  row["type"] = property.type;
  return row;
}

// The members of a call that are not the command's own, as the texts that the command line would have.
Result<std::vector<OptionText>> texts_of(const Json& arguments, std::initializer_list<std::string_view> own) {
  std::vector<OptionText> list;
  const auto add = [&](const auto& self, const std::string& name, const Json& value) -> Result<void> {
    if (value.is_boolean()) {
      list.emplace_back(name, value.get<bool>() ? "on" : "off");
    } else if (value.is_string()) {
      list.emplace_back(name, value.get<std::string>());
    } else if (value.is_number()) {
      list.emplace_back(name, value.dump());
    } else if (value.is_array()) {
      for (const Json& item : value)
        RHEA_TRY(self(self, name, item.is_object() && item.contains("str") ? item["str"] : item));
    } else if (value.is_object()) {
      for (auto item = value.begin(); item != value.end(); ++item) RHEA_TRY(self(self, name + "." + item.key(), *item));
    } else {
      return Error("Invalid parameter type for '{}', expected: string", name);
    }
    return {};
  };
  for (auto item = arguments.begin(); item != arguments.end(); ++item)
    if (std::find(own.begin(), own.end(), item.key()) == own.end()) RHEA_TRY(add(add, item.key(), *item));
  return list;
}

// Base types, as far as clients ask whether a type is one.
struct TypeRow {
  std::string name, parent;
  bool abstract;
};

std::vector<TypeRow> all_types() {
  std::vector<TypeRow> rows = {{"object", "", true},
                               {"device", "object", true},
                               {"sys-bus-device", "device", true},
                               {"virtio-device", "device", true},
                               {"machine", "object", true},
                               {"cpu", "device", true},
                               {"arm-cpu", "cpu", true},
                               {"chardev", "object", true},
                               {"container", "object", false},
                               {"bus", "object", true},
                               {"System", "bus", false},
                               {"virtio-mmio-bus", "bus", false},
                               {"netfilter", "object", true},
                               {"throttle-group", "object", false}};
  for (const std::string& filter : net::filter_types()) rows.push_back({filter, "netfilter", false});
  for (const machine::Board* board : machine::all_boards())
    rows.push_back({fmt::format("{}-machine", board->name), "machine", false});
  for (const std::string& model : accel::cpu_models()) rows.push_back({model + "-arm-cpu", "arm-cpu", false});
  for (const devices::DeviceType* type : devices::all_device_types())
    rows.push_back({std::string(type->name),
                    type->bus == Bus::virtio   ? "virtio-device"
                    : type->bus == Bus::sysbus ? "sys-bus-device"
                                               : "device",
                    false});
  for (const std::string& name : chardev::backend_names())
    if (name != "tty" && name != "memory") rows.push_back({"chardev-" + name, "chardev", false});
  rows.push_back({"chardev-mux", "chardev", false});
  return rows;
}

bool is_a(const std::vector<TypeRow>& rows, std::string name, const std::string& base) {
  while (!name.empty()) {
    if (name == base) return true;
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const TypeRow& r) { return r.name == name; });
    if (row == rows.end()) return false;
    name = row->parent;
  }
  return false;
}

Result<Json> list_type(const std::string& name, bool devices_only) {
  const devices::DeviceType* type = devices::find_device_type(name);
  const std::vector<TypeRow> rows = all_types();
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const TypeRow& r) { return r.name == name; });
  if (!type && row == rows.end())
    return device_not_found(devices_only ? fmt::format("Device '{}' not found", name)
                                         : fmt::format("Class '{}' not found", name));
  if (devices_only && !is_a(rows, row->name, "device")) return Error("Parameter 'typename' expects a device type");
  Json list = Json::array();
  if (!devices_only) list.push_back({{"name", "type"}, {"type", "string"}});
  if (!devices_only && is_a(rows, name, "device"))
    for (const char* common : {"realized", "hotplugged", "hotpluggable"})
      list.push_back({{"name", common}, {"type", "bool"}});
  if (type)
    for (const machine::ObjectProperty& property : machine::type_properties(*type))
      list.push_back(property_row(property));
  return list;
}

}  // namespace

Result<Json> qmp_qom_list(QmpCall& call) {
  const machine::ObjectTree tree = object_tree(call.context);
  const machine::ObjectNode* node = RHEA_TRY(tree.find(call.text("path")));
  Json list = Json::array();
  list.push_back({{"name", "type"}, {"type", "string"}});
  for (const machine::ObjectProperty& property : node->properties)
    list.push_back({{"name", property.name}, {"type", property.type}});
  for (const auto& child : node->children)
    list.push_back({{"name", child->name}, {"type", fmt::format("child<{}>", child->type)}});
  return list;
}

Result<Json> qmp_qom_get(QmpCall& call) { return get_property(call.context, call.text("path"), call.text("property")); }

Result<Json> qmp_qom_set(QmpCall& call) {
  RHEA_TRY(set_property(call.context, call.text("path"), call.text("property"), call.arguments["value"]));
  return Json::object();
}

Result<Json> qmp_qom_list_types(QmpCall& call) {
  Json list = Json::array();
  const std::vector<TypeRow> rows = all_types();
  for (const TypeRow& row : rows) {
    if (row.abstract && !call.flag("abstract")) continue;
    if (call.has("implements") && !is_a(rows, row.name, call.text("implements"))) continue;
    Json entry = {{"name", row.name}};
    if (row.abstract) entry["abstract"] = true;
    if (!row.parent.empty()) entry["parent"] = row.parent;
    list.push_back(std::move(entry));
  }
  return list;
}

Result<Json> qmp_qom_list_properties(QmpCall& call) { return list_type(call.text("typename"), false); }
Result<Json> qmp_device_list_properties(QmpCall& call) { return list_type(call.text("typename"), true); }

Result<Json> qmp_device_add(QmpCall& call) {
  RHEA_TRY(add_device(call.context, call.text("driver"), RHEA_TRY(texts_of(call.arguments, {"driver"}))));
  return Json::object();
}

Result<Json> qmp_device_del(QmpCall& call) {
  RHEA_TRY(delete_device(call.context, call.text("id")));
  return Json::object();
}

Result<Json> qmp_object_add(QmpCall& call) {
  RHEA_TRY(add_object(call.context, call.text("qom-type"), call.text("id"),
                      RHEA_TRY(texts_of(call.arguments, {"qom-type", "id"}))));
  return Json::object();
}

Result<Json> qmp_object_del(QmpCall& call) {
  RHEA_TRY(delete_object(call.context, call.text("id")));
  return Json::object();
}

Result<Json> qmp_netdev_add(QmpCall& call) {
  RHEA_TRY(
      add_netdev(call.context, call.text("type"), call.text("id"), RHEA_TRY(texts_of(call.arguments, {"type", "id"}))));
  return Json::object();
}

}  // namespace rhea::monitor
