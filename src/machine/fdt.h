// SPDX-License-Identifier: MIT
// Flattened device trees (Devicetree Specification 0.3): read, changed, made from a board's table, written.
//
// Properties are written as in device tree sources, on one line:
//   compatible="arm,pl011","arm,primecell"; reg-io-width=<4>; clocks=<&/clocks/clk24mhz &/clocks/apb>; big-endian
// where &/path in cells stands for the phandle of that node.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::machine {

class DeviceTree {
 public:
  struct Node {
    std::string name;
    std::vector<std::pair<std::string, std::vector<u8>>> properties;
    std::vector<std::unique_ptr<Node>> children;

    const std::vector<u8>* property(std::string_view name) const;
    Node* child(std::string_view name) const;
    void set(std::string_view name, std::vector<u8> value);
    void set_cells(std::string_view name, const std::vector<u32>& cells);
    void set_text(std::string_view name, std::string_view text);
    bool has_string(std::string_view property, std::string_view text) const;
  };

  DeviceTree();
  // Errors: what is wrong with the blob.
  static Result<DeviceTree> parse(const std::vector<u8>& blob);
  std::vector<u8> flatten() const;

  Node& root() { return *root_; }
  // The node at a path, made if it is not there.
  Node& make(std::string_view path);
  Node* find(std::string_view path) const;
  // Every node with a string in its `compatible`, depth first.
  std::vector<Node*> compatible(std::string_view text) const;
  // Adds properties in the grammar above.
  void add_properties(Node& node, std::string_view text);
  u32 phandle(Node& node);

 private:
  std::unique_ptr<Node> root_;
  u32 next_phandle_ = 1;
};

}  // namespace rhea::machine
