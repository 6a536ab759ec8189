// SPDX-License-Identifier: MIT
// The machine as a tree of objects, with the paths and types that QEMU's have: "/machine/unattached/device[3]". It is
// made anew for each question; nothing is stored in it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/json.h"
#include "machine/machine.h"

namespace rhea::machine {

struct ObjectProperty {
  std::string name, type, description;
  config::Json value;
  config::Json default_value;  // null: none
};

struct ObjectNode {
  std::string name;  // "device[3]"; of the root empty
  std::string type;
  std::vector<ObjectProperty> properties;  // without `type` and the children
  std::vector<std::unique_ptr<ObjectNode>> children;
  const DeviceNode* device = nullptr;

  ObjectNode& add(std::string name, std::string type);
  const ObjectNode* child(std::string_view name) const;
};

// Objects of the command line (-object) and the monitor: ID and type.
using UserObjects = std::vector<std::pair<std::string, std::string>>;

// The properties of one of them, by ID.
using UserProperties = std::function<std::vector<ObjectProperty>(const std::string& id)>;

class ObjectTree {
 public:
  ObjectTree(Machine& machine, const UserObjects& objects, const UserProperties& properties = {});
  const ObjectNode& root() const { return root_; }
  // By path: absolute, or the end of exactly one. Errors: "Device '/zz' not found".
  Result<const ObjectNode*> find(std::string_view path) const;
  // The path of a device; empty if it has none.
  std::string path_of(const DeviceNode& device) const;

 private:
  void add_machine(Machine& machine);
  void add_devices(Machine& machine, ObjectNode& node);
  ObjectNode root_;
};

// The properties of a device's type, with their defaults.
std::vector<ObjectProperty> type_properties(const devices::DeviceType& type);

}  // namespace rhea::machine
