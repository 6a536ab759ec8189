// SPDX-License-Identifier: MIT
// The object tree, devices and objects for people.
#include <algorithm>

#include "config/options.h"
#include "monitor/commands.h"
#include "monitor/objects.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

void print_tree(const machine::ObjectNode& node, const std::string& indent, std::string& text) {
  text += fmt::format("{}/{} ({})\n", indent, node.name, node.type);
  std::vector<const machine::ObjectNode*> children;
  for (const auto& child : node.children) children.push_back(child.get());
  std::sort(children.begin(), children.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  for (const machine::ObjectNode* child : children) print_tree(*child, indent + "  ", text);
}

// "type,id=x,k=v" taken apart.
struct Taken {
  std::string type, id;
  std::vector<OptionText> options;
};
Result<Taken> take_options(const std::string& text, const char* type_key) {
  const auto parsed = RHEA_TRY(config::parse_options(text, type_key));
  Taken taken;
  for (const config::Part& part : parsed.parts) {
    if (part.key == type_key) taken.type = part.value;
    else if (part.key == "id") taken.id = part.value;
    else taken.options.emplace_back(part.key, part.value);
  }
  if (taken.type.empty()) return Error("Parameter '{}' is missing", type_key);
  return taken;
}

}  // namespace

void info_qom_tree(Monitor& monitor, const Arguments& arguments) {
  const std::string path = arguments.texts.empty() ? "/machine" : arguments.texts[0];
  const machine::ObjectTree tree = object_tree(monitor.context());
  const auto node = tree.find(path);
  if (!node.ok()) return monitor.print(fmt::format("Path '{}' could not be resolved.\n", path));
  std::string text;
  print_tree(**node, "", text);
  monitor.print(text);
}

void run_qom_list(Monitor& monitor, const Arguments& arguments) {
  if (arguments.texts.empty()) return monitor.print("/\n");
  const machine::ObjectTree tree = object_tree(monitor.context());
  const auto node = tree.find(arguments.texts[0]);
  if (!node.ok()) return monitor.print(fmt::format("Error: {}\n", node.error().message()));
  std::string text = "type (string)\n";
  for (const machine::ObjectProperty& property : (*node)->properties)
    text += fmt::format("{} ({})\n", property.name, property.type);
  for (const auto& child : (*node)->children) text += fmt::format("{} (child<{}>)\n", child->name, child->type);
  monitor.print(text);
}

void run_qom_get(Monitor& monitor, const Arguments& arguments) {
  const auto value = get_property(monitor.context(), arguments.texts[0], arguments.texts[1]);
  if (!value.ok()) return monitor.print(fmt::format("Error: {}\n", value.error().message()));
  monitor.print(config::json_text(*value, true) + "\n");
}

void run_qom_set(Monitor& monitor, const Arguments& arguments) {
  monitor.report(set_property(monitor.context(), arguments.texts[0], arguments.texts[1], arguments.texts[2]));
}

void run_device_add(Monitor& monitor, const Arguments& arguments) {
  auto taken = take_options(arguments.texts[0], "driver");
  if (!taken.ok()) return monitor.print(fmt::format("Error: {}\n", taken.error().message()));
  if (!taken->id.empty()) taken->options.emplace_back("id", taken->id);
  monitor.report(add_device(monitor.context(), taken->type, std::move(taken->options)));
}

void run_device_del(Monitor& monitor, const Arguments& arguments) {
  monitor.report(delete_device(monitor.context(), arguments.texts[0]));
}

void run_object_add(Monitor& monitor, const Arguments& arguments) {
  auto taken = take_options(arguments.texts[0], "qom-type");
  if (!taken.ok()) return monitor.print(fmt::format("Error: {}\n", taken.error().message()));
  if (taken->id.empty()) return monitor.print("Error: Parameter 'id' is missing\n");
  monitor.report(add_object(monitor.context(), taken->type, taken->id, std::move(taken->options)));
}

void run_object_del(Monitor& monitor, const Arguments& arguments) {
  monitor.report(delete_object(monitor.context(), arguments.texts[0]));
}

void run_netdev_add(Monitor& monitor, const Arguments& arguments) {
  auto taken = take_options(arguments.texts[0], "type");
  if (!taken.ok()) return monitor.print(fmt::format("Error: {}\n", taken.error().message()));
  if (taken->id.empty()) return monitor.print("Error: Parameter 'id' is missing\n");
  monitor.report(add_netdev(monitor.context(), taken->type, taken->id, std::move(taken->options)));
}

}  // namespace rhea::monitor
