// SPDX-License-Identifier: MIT
#include "machine/board_tree.h"

#include <algorithm>

#include "util/bits.h"
#include "util/text.h"

namespace rhea::machine {

namespace {

using Node = DeviceTree::Node;

// The size of a device's window in the tree, where the row does not say it.
constexpr u32 kWindow = 0x1000;

u32 window_size(const BoardDevice& row) {
  if (row.size) return static_cast<u32>(row.size);
  if (row.slot == Slot::virtio) return 0x200;
  return row.slot == Slot::nic ? 0x10000 : kWindow;
}

void add_device(DeviceTree& tree, const BoardDevice& row) {
  Node& node = tree.make(row.fdt_path);
  tree.add_properties(node, row.fdt);
  std::vector<u32> reg;
  for (const u64 base : row.bases) reg.insert(reg.end(), {static_cast<u32>(base), window_size(row)});
  node.set_cells("reg", reg);
  std::vector<u32> interrupts;
  for (const BoardIrq& irq : row.irqs)
    if (irq.kind == BoardIrq::controller) interrupts.insert(interrupts.end(), {0, irq.input, 4});
  if (!interrupts.empty()) node.set_cells("interrupts", interrupts);
}

std::string compatible_text(const Node& root) {
  const std::vector<u8>* value = root.property("compatible");
  return value ? std::string(value->begin(), std::find(value->begin(), value->end(), 0)) : "no compatible string";
}

u32 cells(const Node& node, std::string_view name, u32 otherwise) {
  const std::vector<u8>* value = node.property(name);
  return value && value->size() == 4 ? load_be<u32>(value->data()) : otherwise;
}

void set_memory(DeviceTree& tree, const Board& board, u64 size) {
  Node& root = tree.root();
  std::erase_if(root.children,
                [](const auto& node) { return node->name == "memory" || node->name.starts_with("memory@"); });
  Node& memory = tree.make(fmt::format("/memory@{:x}", board.ram_base));
  memory.set_text("device_type", "memory");
  std::vector<u32> reg(cells(root, "#address-cells", 2) - 1, 0);
  reg.push_back(static_cast<u32>(board.ram_base));
  reg.resize(reg.size() + cells(root, "#size-cells", 1) - 1, 0);
  reg.push_back(static_cast<u32>(size));
  memory.set_cells("reg", reg);
}

void set_chosen(DeviceTree& tree, const TreeInputs& inputs) {
  Node& chosen = tree.make("/chosen");
  if (inputs.has_command_line) chosen.set_text("bootargs", inputs.command_line);
  if (inputs.initrd_size) {
    chosen.set_cells("linux,initrd-start", {static_cast<u32>(inputs.initrd_base)});
    chosen.set_cells("linux,initrd-end", {static_cast<u32>(inputs.initrd_base + inputs.initrd_size)});
  }
}

// A user's tree knows nothing of the transports: their nodes go below the root, whose cells must be single.
void add_virtio(DeviceTree& tree, const Board& board) {
  Node& root = tree.root();
  const auto controllers = tree.compatible("arm,cortex-a9-gic");
  if (controllers.empty() || !tree.compatible("virtio,mmio").empty()) return;
  if (cells(root, "#address-cells", 2) != 1 || cells(root, "#size-cells", 1) != 1) return;
  const u32 controller = tree.phandle(*controllers.front());
  for (const BoardDevice& row : board.devices) {
    if (row.slot != Slot::virtio) continue;
    Node& node = tree.make(fmt::format("/virtio_mmio@{:x}", row.bases[0]));
    tree.add_properties(node, row.fdt);
    node.set_cells("reg", {static_cast<u32>(row.bases[0]), window_size(row)});
    node.set_cells("interrupt-parent", {controller});
    node.set_cells("interrupts", {0, row.irqs[0].input, 4});
  }
}

// Without a clock Linux measures the private timers against the jiffies, which a busy host makes uneven.
void add_timer_clock(DeviceTree& tree, const Board& board) {
  for (Node* timer : tree.compatible("arm,cortex-a9-twd-timer")) {
    if (timer->property("clocks")) continue;
    for (const BoardNode& row : board.fdt_nodes) {
      if (!row.path.ends_with("/periphclk")) continue;
      Node& clock = tree.make("/periphclk");
      tree.add_properties(clock, row.properties);
      timer->set_cells("clocks", {tree.phandle(clock)});
    }
  }
}

// CPUs that the machine does not have would be waited for in vain.
void limit_cpus(DeviceTree& tree, unsigned cpus) {
  Node* node = tree.find("/cpus");
  if (!node) return;
  unsigned seen = 0;
  for (const auto& child : node->children)
    if (child->name.starts_with("cpu@") && ++seen > cpus) child->set_text("status", "disabled");
}

}  // namespace

DeviceTree make_board_tree(const Board& board, const TreeInputs& inputs) {
  DeviceTree tree;
  tree.add_properties(tree.root(), board.fdt_root);
  for (const BoardNode& node : board.fdt_nodes) tree.add_properties(tree.make(node.path), node.properties);
  tree.add_properties(tree.make("/cpus"), "#address-cells=<1>;#size-cells=<0>");
  for (unsigned cpu = 0; cpu < inputs.cpus; ++cpu) {
    Node& node = tree.make(fmt::format("/cpus/cpu@{}", cpu));
    tree.add_properties(node, board.fdt_cpu);
    node.set_cells("reg", {cpu});
  }
  for (const BoardDevice& row : board.devices) {
    if (row.fdt_path.empty() || (row.slot == Slot::nic && !inputs.has_nic)) continue;
    add_device(tree, row);
  }
  set_memory(tree, board, inputs.ram_size);
  set_chosen(tree, inputs);
  return tree;
}

Result<void> complete_tree(DeviceTree& tree, const Board& board, const TreeInputs& inputs) {
  if (!tree.root().has_string("compatible", board.fdt_board_match))
    return Error(
        "the device tree is for another board: its root is compatible with \"{}\", this machine ({}) with \"{}\"",
        compatible_text(tree.root()), board.name, board.fdt_board_match);
  const u32 address_cells = cells(tree.root(), "#address-cells", 2), size_cells = cells(tree.root(), "#size-cells", 1);
  if (address_cells < 1 || address_cells > 2 || size_cells < 1 || size_cells > 2)
    return Error("the device tree's root has #address-cells {} and #size-cells {}; 1 and 2 can be", address_cells,
                 size_cells);
  set_memory(tree, board, inputs.ram_size);
  set_chosen(tree, inputs);
  add_virtio(tree, board);
  add_timer_clock(tree, board);
  limit_cpus(tree, inputs.cpus);
  return {};
}

}  // namespace rhea::machine
