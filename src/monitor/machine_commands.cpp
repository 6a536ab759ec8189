// SPDX-License-Identifier: MIT
// More of what the machine is: memory blocks, files in memory, its interrupt controllers; and memory into
// files.
#include <algorithm>

#include "monitor/commands.h"
#include "monitor/guest_memory.h"

namespace rhea::monitor {

namespace {

// Prints a device's state: the fields that a snapshot has.
class TextVisitor final : public Visitor {
 public:
  std::string text;
  void number(std::string_view name, u64& value, unsigned bytes) override {
    text += fmt::format("{}{}=0x{:0{}x}\n", indent_, name, value, 2 * bytes);
  }
  void bytes(std::string_view name, std::vector<u8>& value, usize) override { hex(name, value); }
  void raw(std::string_view name, void* data, usize size) override { hex(name, {static_cast<const u8*>(data), size}); }
  unsigned begin(std::string_view name, unsigned version) override {
    text += fmt::format("{}{}:\n", indent_, name);
    indent_ += "  ";
    return version;
  }
  void end() override { indent_.resize(indent_.size() - 2); }
  bool restoring() const override { return false; }

 private:
  void hex(std::string_view name, std::span<const u8> data) {
    text += fmt::format("{}{}=", indent_, name);
    constexpr usize kMost = 64;
    for (usize i = 0; i < std::min(data.size(), kMost); ++i) text += fmt::format("{:02x}", data[i]);
    text += data.size() > kMost ? fmt::format("... ({} bytes)\n", data.size()) : "\n";
  }
  std::string indent_ = "  ";
};

}  // namespace

void info_pic(Monitor& monitor, const Arguments&) {
  machine::Machine& machine = monitor.context().machine;
  for (const auto& node : machine.devices()) {
    if (!machine.is_interrupt_controller(*node)) continue;
    TextVisitor visitor;
    machine.engine().at_safe_point([&] { node->device->fields(visitor); });
    monitor.print(fmt::format("{}:\n{}", node->type->name, visitor.text));
  }
}

void info_ramblock(Monitor& monitor, const Arguments&) {
  std::string text =
      fmt::format("{:>24} {:>8}  {:>18} {:>18} {:>18}\n", "Block Name", "PSize", "Offset", "Used", "Total");
  u64 offset = 0;
  for (const auto& block : monitor.context().machine.ram_blocks()) {
    text += fmt::format("{:>24} {:>8}  0x{:016x} 0x{:016x} 0x{:016x}\n", block->name(), "4 KiB", offset, block->size(),
                        block->size());
    offset += block->size();
  }
  monitor.print(text);
}

void info_roms(Monitor& monitor, const Arguments&) {
  for (const machine::RomInfo& rom : monitor.context().machine.roms())
    monitor.print(fmt::format("addr={:016x} size=0x{:06x} mem=ram name=\"{}\"\n", rom.address, rom.size, rom.name));
}

void info_uuid(Monitor& monitor, const Arguments&) {
  monitor.print(monitor.context().machine.config().uuid_text() + "\n");
}
void info_kvm(Monitor& monitor, const Arguments&) { monitor.print("kvm support: not compiled\n"); }
void info_usb(Monitor& monitor, const Arguments&) { monitor.print("Error: USB support not enabled\n"); }
void info_numa(Monitor& monitor, const Arguments&) { monitor.print("0 nodes\n"); }
void info_nothing(Monitor&, const Arguments&) {}

void info_hotpluggable_cpus(Monitor& monitor, const Arguments&) {
  monitor.print("Error: The feature 'query-hotpluggable-cpus' is not enabled\n");
}

void info_memory_size_summary(Monitor& monitor, const Arguments&) {
  const machine::MachineConfig& config = monitor.context().machine.config();
  monitor.print(fmt::format("base memory: {}\nplugged memory: 0\n",
                            config.ram_size ? config.ram_size : config.board->default_ram));
}

void run_memsave(Monitor& monitor, const Arguments& arguments) {
  monitor.report(save_memory(monitor.context().machine, monitor.cpu, arguments.numbers[0], arguments.numbers[1],
                             arguments.texts[0], false));
}

void run_pmemsave(Monitor& monitor, const Arguments& arguments) {
  monitor.report(
      save_memory(monitor.context().machine, 0, arguments.numbers[0], arguments.numbers[1], arguments.texts[0], true));
}

// The checksum of `sum` (BSD).
void run_sum(Monitor& monitor, const Arguments& arguments) {
  constexpr u64 kMost = u64{1} << 30;
  const u64 start = arguments.numbers[0], size = std::min(arguments.numbers[1], kMost);
  u16 sum = 0;
  monitor.context().machine.engine().at_safe_point([&] {
    GuestMemory memory(monitor.context().machine, 0, true);
    std::vector<u8> page(4096);
    for (u64 done = 0; done < size;) {
      const usize part = static_cast<usize>(std::min<u64>(size - done, page.size()));
      if (!memory.read(start + done, std::span(page).first(part))) std::fill(page.begin(), page.end(), 0);
      for (usize i = 0; i < part; ++i) sum = static_cast<u16>((sum >> 1 | sum << 15) + page[i]);
      done += part;
    }
  });
  monitor.print(fmt::format("{:05}\n", sum));
}

void run_gpa2hva(Monitor& monitor, const Arguments& arguments) {
  const u64 address = arguments.numbers[0];
  const memory::Range* range = monitor.context().machine.memory().find(address);
  if (!range || range->name == "unassigned")
    return monitor.print(fmt::format("No memory is mapped at address 0x{:x}\n", address));
  if (!range->ram) return monitor.print(fmt::format("Memory at address 0x{:x} is not RAM\n", address));
  monitor.print(fmt::format("Host virtual address for 0x{:x} ({}) is {}\n", address, range->name,
                            fmt::ptr(range->host(address))));
}

void run_system_wakeup(Monitor& monitor, const Arguments&) {
  monitor.print("Error: wake-up from suspend is not supported by this guest\n");
}
void run_nmi(Monitor& monitor, const Arguments&) { monitor.print("Error: machine does not provide NMIs\n"); }
void run_boot_set(Monitor& monitor, const Arguments&) {
  monitor.print("no function defined to set boot device list for this architecture\n");
}
void run_exit_preconfig(Monitor& monitor, const Arguments&) {
  monitor.print("Error: The command is permitted only before machine initialization\n");
}

}  // namespace rhea::monitor
