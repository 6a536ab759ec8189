// SPDX-License-Identifier: MIT
#include "machine/fdt.h"

#include <libfdt.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "util/bits.h"
#include "util/text.h"

namespace rhea::machine {

using Node = DeviceTree::Node;

constexpr u32 kOldestVersion = 16;  // with names instead of whole paths (Devicetree Specification 0.4, section 5.2)

const std::vector<u8>* Node::property(std::string_view wanted) const {
  for (const auto& [key, value] : properties)
    if (key == wanted) return &value;
  return nullptr;
}

Node* Node::child(std::string_view wanted) const {
  for (const auto& node : children)
    if (node->name == wanted) return node.get();
  return nullptr;
}

void Node::set(std::string_view key, std::vector<u8> value) {
  for (auto& [old_key, old_value] : properties) {
    if (old_key == key) {
      old_value = std::move(value);
      return;
    }
  }
  properties.emplace_back(key, std::move(value));
}

void Node::set_cells(std::string_view key, const std::vector<u32>& cells) {
  std::vector<u8> value(cells.size() * 4);
  for (usize i = 0; i < cells.size(); ++i) store_be(&value[i * 4], cells[i]);
  set(key, std::move(value));
}

void Node::set_text(std::string_view key, std::string_view text) {
  std::vector<u8> value(text.begin(), text.end());
  value.push_back(0);
  set(key, std::move(value));
}

bool Node::has_string(std::string_view key, std::string_view text) const {
  const std::vector<u8>* value = property(key);
  if (!value) return false;
  const std::string all(value->begin(), value->end());
  for (const std::string& part : split(all, '\0'))
    if (part == text) return true;
  return false;
}

DeviceTree::DeviceTree() : root_(std::make_unique<Node>()) {}

Result<DeviceTree> DeviceTree::parse(const std::vector<u8>& blob) {
  if (blob.size() < sizeof(fdt_header) || load_be<u32>(blob.data()) != FDT_MAGIC)
    return Error("it does not begin as a device tree blob does (d0 0d fe ed); a source file must be compiled with dtc");
  const u32 size = load_be<u32>(&blob[4]);
  if (size > blob.size())
    return Error("the device tree says it has {} bytes, but there are {}: it is cut off", size, blob.size());
  // libfdt's checks stumble over the names of older trees.
  if (const u32 version = load_be<u32>(&blob[20]); version < kOldestVersion)
    return Error("the device tree has version {}; {} is the oldest that is read: compile its source anew with dtc",
                 version, kOldestVersion);
  if (const int status = fdt_check_full(blob.data(), blob.size()); status != 0)
    return Error("the device tree is damaged: {}", fdt_strerror(status));
  DeviceTree tree;
  const void* fdt = blob.data();
  const std::function<void(int, Node&, unsigned)> read = [&](int offset, Node& node, unsigned depth) {
    int property;
    fdt_for_each_property_offset(property, fdt, offset) {
      const char* name = nullptr;
      int length = 0;
      const auto* data = static_cast<const u8*>(fdt_getprop_by_offset(fdt, property, &name, &length));
      if (!data || !name) continue;
      node.set(name, std::vector<u8>(data, data + length));
      if (!std::strcmp(name, "phandle") && length == 4)
        tree.next_phandle_ = std::max(tree.next_phandle_, load_be<u32>(data) + 1);
    }
    int sub;
    fdt_for_each_subnode(sub, fdt, offset) {
      if (depth > 32) return;
      node.children.push_back(std::make_unique<Node>());
      const char* name = fdt_get_name(fdt, sub, nullptr);
      node.children.back()->name = name ? name : "";
      read(sub, *node.children.back(), depth + 1);
    }
  };
  read(0, *tree.root_, 0);
  return tree;
}

std::vector<u8> DeviceTree::flatten() const {
  std::vector<u8> blob;
  for (usize size = usize{64} << 10;; size *= 2) {
    blob.assign(size, 0);
    void* fdt = blob.data();
    bool fits = fdt_create(fdt, static_cast<int>(size)) == 0 && fdt_finish_reservemap(fdt) == 0;
    const std::function<void(const Node&)> write = [&](const Node& node) {
      fits = fits && fdt_begin_node(fdt, node.name.c_str()) == 0;
      for (const auto& [key, value] : node.properties)
        fits = fits && fdt_property(fdt, key.c_str(), value.data(), static_cast<int>(value.size())) == 0;
      for (const auto& child : node.children) write(*child);
      fits = fits && fdt_end_node(fdt) == 0;
    };
    write(*root_);
    if (fits && fdt_finish(fdt) == 0) {
      blob.resize(fdt_totalsize(fdt));
      return blob;
    }
  }
}

Node& DeviceTree::make(std::string_view path) {
  Node* node = root_.get();
  for (const std::string& part : split(path, '/')) {
    if (part.empty()) continue;
    Node* next = node->child(part);
    if (!next) {
      node->children.push_back(std::make_unique<Node>());
      next = node->children.back().get();
      next->name = part;
    }
    node = next;
  }
  return *node;
}

Node* DeviceTree::find(std::string_view path) const {
  Node* node = root_.get();
  for (const std::string& part : split(path, '/')) {
    if (part.empty()) continue;
    node = node->child(part);
    if (!node) return nullptr;
  }
  return node;
}

std::vector<Node*> DeviceTree::compatible(std::string_view text) const {
  std::vector<Node*> found;
  const std::function<void(Node&)> look = [&](Node& node) {
    if (node.has_string("compatible", text)) found.push_back(&node);
    for (const auto& child : node.children) look(*child);
  };
  look(*root_);
  return found;
}

u32 DeviceTree::phandle(Node& node) {
  if (const std::vector<u8>* old = node.property("phandle"); old && old->size() == 4) return load_be<u32>(old->data());
  node.set_cells("phandle", {next_phandle_});
  return next_phandle_++;
}

void DeviceTree::add_properties(Node& node, std::string_view text) {
  for (const std::string& item : split(text, ';')) {
    const std::string_view trimmed = trim(item);
    if (trimmed.empty()) continue;
    const usize equals = trimmed.find('=');
    const std::string_view name = trim(trimmed.substr(0, equals));
    std::vector<u8> value;
    std::string_view rest = equals == trimmed.npos ? std::string_view() : trim(trimmed.substr(equals + 1));
    if (rest.starts_with('<')) {
      std::vector<u32> cells;
      for (const std::string& cell : split(rest.substr(1, rest.size() - 2), ' ')) {
        if (cell.empty()) continue;
        cells.push_back(cell[0] == '&' ? phandle(make(cell.substr(1)))
                                       : static_cast<u32>(parse_number(cell).value_or(0)));
      }
      node.set_cells(name, cells);
      continue;
    }
    for (usize at = 0; (at = rest.find('"', at)) != rest.npos;) {
      const usize end = rest.find('"', at + 1);
      value.insert(value.end(), rest.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                   rest.begin() + static_cast<std::ptrdiff_t>(end));
      value.push_back(0);
      at = end + 1;
    }
    node.set(name, std::move(value));
  }
}

}  // namespace rhea::machine
