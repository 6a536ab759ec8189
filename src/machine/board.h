// SPDX-License-Identifier: MIT
// A board is data: a constexpr table of rows that one builder walks (machine/builder.cpp), and that the device
// tree, `-M X,help` and `info mtree` are made from.
#pragma once

#include <span>
#include <string_view>

#include "util/types.h"

namespace rhea::machine {

// Where a row's interrupt output goes.
struct BoardIrq {
  enum Kind : u8 { none, controller, cpu_pins, device } kind = none;
  u8 input = 0;                // of the interrupt controller (SPI number), or of the device
  std::string_view name = {};  // of that device's row, which comes before this one
};

// What a row's device is handed besides memory and lines.
enum class Slot : u8 { none, serial, nic, virtio, sd, pflash };

struct BoardDevice {
  std::string_view type;  // a DeviceType, "ram" or "absent"
  std::string_view name;
  std::span<const u64> bases;  // where each of its windows goes
  std::span<const BoardIrq> irqs = {};
  Slot slot = Slot::none;
  u8 slot_index = 0;
  u64 size = 0;                      // for ram and absent rows; for others: memory that they are handed
  std::string_view properties = {};  // "name=value,name=value"
  // Its node in the device tree that is made from this table: the path (empty: none) and what the node has besides
  // `reg` (the windows) and `interrupts` (the controller's inputs), in the grammar of machine/fdt.h.
  std::string_view fdt_path = {};
  std::string_view fdt = {};
  std::span<const u64> aliases = {};  // where its first window is seen besides
};

// A node of the device tree that is no device of the table: clocks, buses, regulators.
struct BoardNode {
  std::string_view path;
  std::string_view properties;
};

struct Board {
  std::string_view name;
  std::string_view alias = {};
  std::string_view summary;
  std::string_view default_cpu;
  std::span<const std::string_view> cpus;  // models it takes
  std::string_view wrong_cpu_message = {};
  unsigned min_cpus = 1, max_cpus = 1;
  u64 ram_base = 0, default_ram = 0, max_ram = 0;
  std::string_view too_much_ram_message = {};
  u32 machine_id = 0;    // of ATAG boot
  u64 private_base = 0;  // of the CPUs' private peripherals
  std::span<const BoardDevice> devices = {};
  std::span<const std::string_view> nic_models = {};  // the first is the default
  u64 secondary_boot = 0;                             // where the stub for the other CPUs goes
  u64 secondary_flags = 0;                            // register that holds their entry
  std::string_view fdt_root = {};                     // properties of the device tree's root
  std::span<const BoardNode> fdt_nodes = {};
  std::string_view fdt_cpu = {};          // properties of each CPU's node
  std::string_view fdt_board_match = {};  // a `compatible` string that each device tree of this board has
};

// All boards, and by name or alias (nullptr if there is none).
std::span<const Board* const> all_boards();
const Board* find_board(std::string_view name);

}  // namespace rhea::machine
