// SPDX-License-Identifier: MIT
// What `info` shows of the machine, except its network.
#include <algorithm>

#include "monitor/commands.h"
#include "util/text.h"

namespace rhea::monitor {

void info_chardev(Monitor& monitor, const Arguments&) {
  for (const chardev::Registry::Row& row : monitor.context().machine.chardevs().rows())
    monitor.print(fmt::format("{}: filename={}\n", row.id, row.filename));
}

void info_cpus(Monitor& monitor, const Arguments&) {
  accel::Engine& engine = monitor.context().machine.engine();
  for (unsigned i = 0; i < engine.cpus(); ++i)
    monitor.print(
        fmt::format("{} CPU #{}: thread_id={}\n", i == monitor.cpu ? '*' : ' ', i, engine.cpu(i).thread_id()));
}

void info_history(Monitor& monitor, const Arguments&) {
  unsigned number = 0;
  for (const std::string& line : monitor.readline().history()) monitor.print(fmt::format("{}: '{}'\n", number++, line));
}

void info_jit(Monitor& monitor, const Arguments&) { monitor.print(monitor.context().machine.engine().statistics()); }

void info_name(Monitor& monitor, const Arguments&) {
  const std::string& name = monitor.context().machine.config().name;
  if (!name.empty()) monitor.print(name + "\n");
}

void info_version(Monitor& monitor, const Arguments&) { monitor.print(monitor.context().version + "\n"); }

void info_status(Monitor& monitor, const Arguments&) {
  const machine::RunState state = monitor.context().machine.state();
  if (state == machine::RunState::running || state == machine::RunState::paused)
    return monitor.print(fmt::format("VM status: {}\n", run_state_name(state)));
  monitor.print(fmt::format("VM status: paused ({})\n", run_state_name(state)));
}

void info_registers(Monitor& monitor, const Arguments& arguments) {
  accel::Engine& engine = monitor.context().machine.engine();
  u64 first = arguments.numbers.empty() ? monitor.cpu : arguments.numbers[0];
  u64 last = first;
  if (engine.cpus() == 0) return monitor.print("No CPU available\n");
  if (arguments.has_flag('a')) {
    first = 0;
    last = engine.cpus() - 1;
  }
  if (last >= engine.cpus()) {
    monitor.print(fmt::format("CPU#{} not available\n", last));
    return;
  }
  std::string text;
  engine.at_safe_point([&] {
    for (u64 i = first; i <= last; ++i)
      text += fmt::format("\nCPU#{}\n{}", i, engine.cpu(static_cast<unsigned>(i)).registers_text());
  });
  if (!text.ends_with('\n')) text += '\n';
  monitor.print(text);
}

namespace {

std::string range_line(const memory::Range& range, std::string_view indent) {
  const char* kind = range.ram ? (range.read_only ? "rom" : "ram") : "i/o";
  return fmt::format("{}{:016x}-{:016x} (prio 0, {}): {}\n", indent, range.base, range.end() - 1, kind, range.name);
}

// One property as QEMU shows it: numbers in both bases, everything else but booleans in quotes.
std::string property_text(const Property& row, const void* config) {
  const std::string value = row.get(config, row.kind);
  const bool bare =
      row.kind == PropertyKind::boolean || row.kind == PropertyKind::number || row.kind == PropertyKind::size;
  return bare ? value : fmt::format("\"{}\"", value);
}

class Tree {
 public:
  explicit Tree(machine::Machine& machine) : machine_(machine) {}

  std::string text() {
    std::string text = "bus: main-system-bus\n  type System\n";
    const auto& nodes = machine_.devices();
    for (const auto& node : nodes)
      if (node->type->name == "virtio-mmio") ++slots_;
    for (auto at = nodes.rbegin(); at != nodes.rend(); ++at)
      if ((*at)->bus == "main-system-bus") text += device(**at, "  ");
    return text;
  }

 private:
  bool named_by_user(const machine::DeviceNode& node) const {
    const auto& config = machine_.config();
    return std::any_of(config.devices.begin(), config.devices.end(), [&](const auto& d) { return d.id == node.id; }) ||
           std::any_of(config.nics.begin(), config.nics.end(), [&](const auto& n) { return n.id == node.id; });
  }

  std::string device(const machine::DeviceNode& node, const std::string& indent) {
    std::string text =
        fmt::format("{}dev: {}, id \"{}\"\n", indent, node.type->name, named_by_user(node) ? node.id : "");
    for (const Property& row : node.type->properties)
      text += fmt::format("{}  {} = {}\n", indent, row.name, property_text(row, node.config.get()));
    for (const auto& [base, size] : node.windows) text += fmt::format("{}  mmio {:016x}/{:016x}\n", indent, base, size);
    if (node.type->name == "virtio-mmio")
      text += bus(fmt::format("virtio-mmio-bus.{}", --slots_), "virtio-mmio-bus", indent + "  ");
    auto* owner = dynamic_cast<devices::BusOwner*>(node.device.get());
    if (owner && owner->owned_bus() == Bus::virtio_serial)
      text += bus(node.id + ".0", "virtio-serial-bus", indent + "  ");
    if (owner && owner->owned_bus() == Bus::sd) {
      text += bus("sd-bus", fmt::format("{}-bus", node.type->name), indent + "  ");
      text += card_of_the_board(indent + "    ");
    }
    return text;
  }

  // if=sd: the card is there without being a device of its own.
  std::string card_of_the_board(const std::string& indent) const {
    const block::Drive* drive = machine_.drives().find(block::DriveBus::sd, 0, 0);
    if (!drive) return {};
    return fmt::format("{0}dev: sd-card, id \"\"\n{0}  drive = \"{1}\"\n{0}  spi = false\n", indent, drive->id());
  }

  std::string bus(const std::string& name, const std::string& type, const std::string& indent) {
    std::string text = fmt::format("{}bus: {}\n{}  type {}\n", indent, name, indent, type);
    for (const auto& node : machine_.devices())
      if (node->bus == name) text += device(*node, indent + "  ");
    return text;
  }

  machine::Machine& machine_;
  unsigned slots_ = 0;
};

}  // namespace

void info_mtree(Monitor& monitor, const Arguments& arguments) {
  const memory::AddressSpace& space = monitor.context().machine.memory();
  const bool flat = arguments.has_flag('f');
  std::string text =
      flat
          ? fmt::format("FlatView #0\n AS \"{}\", root: system\n Root memory region: system\n", space.name())
          : fmt::format("address-space: {}\n  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n", space.name());
  for (const memory::Range& range : space.ranges())
    if (range.name != "unassigned") text += range_line(range, flat ? "  " : "    ");
  monitor.print(text + "\n");
}

void info_qtree(Monitor& monitor, const Arguments&) { monitor.print(Tree(monitor.context().machine).text()); }

}  // namespace rhea::monitor
