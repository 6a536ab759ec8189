// SPDX-License-Identifier: MIT
// Order: limits of the board; the engine, whose clock and pins devices need; RAM; the rows of the board's table;
// devices of the command line, plugged into the slots that the rows gave; then the guest's files (builder_boot.cpp).
#include "machine/builder.h"

#include <algorithm>

#include "core/offset_clock.h"
#include "machine/line_tap.h"
#include "machine/replay.h"
#include "machine/replay_sources.h"
#include "sys/civil_time.h"

#include "util/text.h"

namespace rhea::machine {

namespace {

constexpr u64 kFirstMac = 0x525400123456;
// What real-time clocks show at the start with -icount, so that runs are alike: 2026-01-01 00:00:00 UTC.
constexpr s64 kCountedDate = s64{1767225600} * kSecond;

std::vector<PropertyText> parse_row_properties(std::string_view text) {
  std::vector<PropertyText> list;
  if (text.empty()) return list;
  for (const std::string& item : split(text, ',')) {
    const usize equals = item.find('=');
    list.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  }
  return list;
}

}  // namespace

Builder::Builder(Machine& machine, const MachineConfig& config)
    : machine_(machine), config_(config), board_(*config.board),
      ram_size_(config.ram_size ? config.ram_size : config.board->default_ram) {}

Result<void> Builder::build() {
  RHEA_TRY(check_board_limits());
  plan_nics();
  RHEA_TRY(make_engine());
  // Counted runs are alike: what the disk does takes no time.
  if (config_.accel.icount)
    for (const auto& drive : machine_.drives_.all()) {
      if (drive->throttle() || (drive->image() && drive->image()->spec().throttle))
        return Error(
            "drive '{}': limits of what a disk does (throttling.*) cannot go with -icount, where it takes no time",
            drive->id());
      drive->set_synchronous(true);
    }
  machine_.memory_->begin();
  Result<void> added = [&]() -> Result<void> {
    RHEA_TRY(add_board_rows());
    if (ram_size_ == 0) return {};
    const std::string name = std::string(board_.name.substr(0, board_.name.find('-'))) + ".highmem";
    memory::RamBlock* block = RHEA_TRY(make_main_ram(name));
    machine_.memory_->add_ram(board_.ram_base, *block, 0, ram_size_, false, name);
    return {};
  }();
  machine_.memory_->commit();
  RHEA_TRY(std::move(added));
  RHEA_TRY(add_plugged());
  RHEA_TRY(check_drives());
  return load_files();
}

Result<void> Builder::check_board_limits() {
  if (board_.max_cpus == 0) return {};  // "none"
  const std::string cpu = config_.cpu.empty() ? std::string(board_.default_cpu) : config_.cpu;
  if (std::find(board_.cpus.begin(), board_.cpus.end(), cpu) == board_.cpus.end())
    return Error("{}", board_.wrong_cpu_message);
  if (config_.cpus > board_.max_cpus)
    return Error("Invalid SMP CPUs {}. The max CPUs supported by machine '{}' is {}", config_.cpus, board_.name,
                 board_.max_cpus);
  if (config_.cpus < board_.min_cpus)
    return Error("Invalid SMP CPUs {}. The min CPUs supported by machine '{}' is {}", config_.cpus, board_.name,
                 board_.min_cpus);
  if (ram_size_ > board_.max_ram) return Error("{}", board_.too_much_ram_message);
  constexpr u64 kLeastRam = u64{1} << 20;
  if (ram_size_ < kLeastRam || ram_size_ % memory::kPageSize)
    return Error("RAM of {} bytes: {} takes a multiple of 4 KiB from 1 MiB to {} MiB", ram_size_, board_.name,
                 board_.max_ram >> 20);
  return {};
}

// NICs that the board has no place for become devices on its virtio slots.
void Builder::plan_nics() {
  plugged_ = config_.devices;
  const usize places = static_cast<usize>(std::count_if(board_.devices.begin(), board_.devices.end(),
                                                        [](const BoardDevice& row) { return row.slot == Slot::nic; }));
  for (const NicConfig& nic : config_.nics) {
    if (nic.mac) macs_.push_back(nic.mac);
    const bool on_board = nic.model.empty() || nic.model == board_.nic_models.front();
    if (on_board && board_nics_.size() < places) {
      board_nics_.push_back(nic);
      continue;
    }
    if (on_board)
      warn(fmt::format("note: {} has {} on-board NIC ({}): this further one is a virtio-net-device", board_.name,
                       places, board_.nic_models.front()));
    DeviceConfig device{.type = on_board ? "virtio-net-device" : nic.model, .id = nic.id, .netdev = nic.netdev};
    if (nic.mac) device.properties.emplace_back("mac", format_mac(nic.mac));
    plugged_.push_back(std::move(device));
  }
  for (const DeviceConfig& device : plugged_)
    for (const auto& [name, value] : device.properties)
      if (name == "mac")
        if (const auto mac = parse_mac(value); mac.ok()) macs_.push_back(*mac);
}

u64 Builder::next_mac() {
  u64 mac = kFirstMac;
  while (std::find(macs_.begin(), macs_.end(), mac) != macs_.end()) mac = (mac & ~u64{0xff}) | ((mac + 1) & 0xff);
  macs_.push_back(mac);
  return mac;
}

Result<void> Builder::make_engine() {
  const accel::CpuConfig cpus{.model = config_.cpu.empty() ? std::string(board_.default_cpu) : config_.cpu,
                              .reset_pc = 0,
                              .private_base = board_.private_base,
                              .count = config_.cpus};
  accel::Options options = config_.accel;
  options.shared_ram = config_.ram_backend && config_.ram_backend->shared;
  if (config_.cpus == 0) options.engine = "qtest";  // there is nothing to run
  machine_.engine_ = RHEA_TRY(accel::create_engine(options, cpus, *machine_.memory_, machine_.loop(), machine_.log_));
  if (config_.replay != ReplayMode::off) RHEA_TRY(make_replay());
  set_rtc();
  return {};
}

// -rtc: where the real-time clocks begin, and what moves them.
void Builder::set_rtc() {
  using Base = RtcConfig::Base;
  using Source = RtcConfig::Source;
  const RtcConfig& rtc = config_.rtc;
  const bool counted = config_.accel.icount;
  Clock* source = machine_.wall_clock_.get();
  if (rtc.clock == Source::real) source = &machine_.loop().real_clock();
  if (rtc.clock == Source::virtual_time || counted) source = &machine_.engine_->virtual_clock();
  s64 start = counted ? kCountedDate : machine_.wall_clock_->now();
  if (rtc.base == Base::local && !counted) start += sys::local_offset() * kSecond;
  if (rtc.base == Base::date) start = rtc.date * kSecond;
  const bool plain = source == machine_.wall_clock_.get() && rtc.base != Base::date;
  const s64 offset = plain ? (rtc.base == Base::local ? sys::local_offset() * kSecond : 0) : start - source->now();
  machine_.host_clock_ = core::make_offset_clock(*source, offset);
}

Result<void> Builder::make_replay() {
  machine_.replay_ = std::make_unique<Replay>(machine_);
  RHEA_TRY(machine_.replay_->open(config_.replay, config_.replay_file));
  machine_.counted_loop_ = std::make_unique<CountedLoop>(machine_.loop(), *machine_.engine_, *machine_.replay_);
  return {};
}

chardev::Backend* Builder::recorded(chardev::Backend* backend) {
  if (!machine_.replay_ || !backend) return backend;
  auto& list = machine_.recorded_chardevs_;
  list.push_back(std::make_unique<RecordedChardev>(backend, *machine_.replay_, machine_.engine_->virtual_clock(),
                                                   static_cast<u32>(list.size())));
  return list.back().get();
}

net::Port* Builder::recorded(net::Port* backend) {
  if (!machine_.replay_ || !backend) return backend;
  auto& list = machine_.recorded_links_;
  list.push_back(
      std::make_unique<RecordedLink>(backend, *machine_.replay_, machine_.net_loop(), static_cast<u32>(list.size())));
  return &list.back()->nic_side();
}

Result<memory::RamBlock*> Builder::make_ram(u64 size, const std::string& name) {
  return take_ram(memory::RamBlock::create(name, size));
}

Result<memory::RamBlock*> Builder::make_main_ram(const std::string& name) {
  if (!config_.ram_backend) return make_ram(ram_size_, name);
  const RamBackend& backend = *config_.ram_backend;
  sys::Fd file = backend.path.empty() ? RHEA_TRY(sys::create_memory_file(name, ram_size_, backend.sealed))
                                      : RHEA_TRY(sys::open_memory_file(backend.path, ram_size_));
  if (backend.preallocate) RHEA_TRY(sys::allocate_memory_file(file.get(), ram_size_));
  return take_ram(memory::RamBlock::adopt(name, std::move(file), 0, ram_size_));
}

Result<memory::RamBlock*> Builder::take_ram(Result<std::unique_ptr<memory::RamBlock>> block) {
  if (!block.ok()) return Error("cannot get RAM for the guest: {}", block.error().message());
  const u64 size = (*block)->size();
  (*block)->first_page_index = next_page_index_;
  next_page_index_ += static_cast<u32>(size >> memory::kPageBits);
  machine_.ram_.push_back(block.take());
  return machine_.ram_.back().get();
}

Result<void> Builder::add_ram(u64 base, u64 size, const std::string& name) {
  memory::RamBlock* block = RHEA_TRY(make_ram(size, name));
  machine_.memory_->add_ram(base, *block, 0, size, false, name);
  return {};
}

Result<void> Builder::add_board_rows() {
  for (const BoardDevice& row : board_.devices) RHEA_TRY(add_row(row));
  return {};
}

Result<void> Builder::add_row(const BoardDevice& row) {
  if (row.type == "ram") return add_ram(row.bases[0], row.size, std::string(row.name));
  NewDevice wanted{.id = std::string(row.name), .properties = parse_row_properties(row.properties)};
  if (row.type == "absent") {
    wanted.type = devices::find_device_type("unimplemented-device");
    wanted.properties = {{"name", std::string(row.name)}, {"size", fmt::format("{}", row.size)}};
  } else {
    wanted.type = devices::find_device_type(row.type);
  }
  if (!wanted.type) return Error("board {}: there is no device type '{}'", board_.name, row.type);
  if (row.slot == Slot::nic && row.slot_index >= board_nics_.size()) return {};
  RHEA_TRY(fill_slot(row, wanted));
  RHEA_TRY(wire(row, wanted));
  if (row.size && row.type != "absent") wanted.ram = RHEA_TRY(make_ram(row.size, std::string(row.name)));
  DeviceNode* node = RHEA_TRY(create(wanted));
  auto* device = dynamic_cast<devices::SysbusDevice*>(node->device.get());
  if (!device) return Error("board {}: {} is no device of the system bus", board_.name, row.type);
  if (!interrupt_controller_ && device->inputs()) {
    interrupt_controller_ = device;
    interrupt_controller_node_ = node;
  }
  if (row.slot == Slot::virtio) virtio_slots_.push_back(device);
  if (row.slot == Slot::pflash && row.slot_index == 0) {
    boot_flash_ = wanted.ram;
    boot_flash_given_ = wanted.drive != nullptr;
  }
  map_windows(row, *device, *node);
  return {};
}

// What the command line has for the row's place.
Result<void> Builder::fill_slot(const BoardDevice& row, NewDevice& wanted) {
  if (row.slot == Slot::nic) {
    const NicConfig& nic = board_nics_[row.slot_index];
    if (!nic.id.empty()) wanted.id = nic.id;
    wanted.netdev = nic.netdev;
    wanted.mac = nic.mac ? nic.mac : next_mac();
  }
  if (row.slot == Slot::serial && row.slot_index < config_.serials.size())
    wanted.chardev = config_.serials[row.slot_index];
  if (row.slot == Slot::sd) wanted.drive = machine_.drives_.find(block::DriveBus::sd, 0, row.slot_index);
  if (row.slot == Slot::pflash) wanted.drive = machine_.drives_.find(block::DriveBus::pflash, 0, row.slot_index);
  return {};
}

Result<void> Builder::wire(const BoardDevice& row, NewDevice& wanted) {
  for (const BoardIrq& irq : row.irqs) {
    if (irq.kind == BoardIrq::cpu_pins) {
      for (unsigned cpu = 0; cpu < config_.cpus; ++cpu) {
        wanted.lines.emplace_back(machine_.engine_->cpu(cpu).pins(), accel::kPinIrq);
        wanted.lines.emplace_back(machine_.engine_->cpu(cpu).pins(), accel::kPinFiq);
      }
    } else {
      wanted.lines.push_back(RHEA_TRY(line(irq)));
      wanted.line_targets.resize(wanted.lines.size());
      wanted.line_targets.back() = {
          .target = irq.kind == BoardIrq::device ? find_node(irq.name) : interrupt_controller_node_,
          .input = irq.input};
    }
  }
  return {};
}

void Builder::map_windows(const BoardDevice& row, devices::SysbusDevice& device, DeviceNode& node) {
  const auto map = [&](u64 base, const devices::MmioWindow& window) {
    RecursiveLock* lock = window.own_lock ? nullptr : &machine_.loop().lock();
    if (window.rom)
      machine_.memory_->add_rom_device(base, *window.rom, window.size, *window.handler, lock, *window.direct,
                                       std::string(row.name));
    else machine_.memory_->add_device(base, window.size, *window.handler, lock, window.name);
  };
  const auto windows = device.windows();
  for (usize i = 0; i < windows.size() && i < row.bases.size(); ++i) {
    map(row.bases[i], windows[i]);
    node.windows.emplace_back(row.bases[i], windows[i].size);
  }
  if (!windows.empty())
    for (const u64 base : row.aliases) map(base, windows[0]);
}

DeviceNode* Builder::find_node(std::string_view id) {
  for (const auto& node : machine_.nodes_)
    if (node->id == id) return node.get();
  return nullptr;
}

Result<IrqLine> Builder::line(const BoardIrq& irq) {
  if (irq.kind == BoardIrq::device) {
    DeviceNode* node = find_node(irq.name);
    auto* device = node ? dynamic_cast<devices::SysbusDevice*>(node->device.get()) : nullptr;
    if (device && device->inputs()) return IrqLine(*device->inputs(), irq.input);
    return Error("board {}: a line to '{}', which is not there yet", board_.name, irq.name);
  }
  if (!interrupt_controller_) return Error("board {}: an interrupt before its controller", board_.name);
  return IrqLine(*interrupt_controller_->inputs(), irq.input);
}

Result<void> Builder::apply_properties(DeviceNode& node, const NewDevice& wanted) {
  const auto& table = wanted.type->properties;
  for (const auto& [type, property] : config_.globals)
    if (type == wanted.type->name)
      RHEA_TRY(set_property(table, wanted.type->name, node.config.get(), property.first, property.second));
  for (const auto& [name, value] : wanted.properties)
    RHEA_TRY(set_property(table, wanted.type->name, node.config.get(), name, value));
  if (find_property(table, "mac")) {
    const bool given =
        std::any_of(wanted.properties.begin(), wanted.properties.end(), [](const auto& p) { return p.first == "mac"; });
    if (!given) {
      const u64 mac = wanted.mac ? wanted.mac : next_mac();
      RHEA_TRY(set_property(table, wanted.type->name, node.config.get(), "mac", format_mac(mac)));
    }
  }
  return {};
}

void Builder::watch_lines(NewDevice& wanted, const DeviceNode* node) {
  if (!config_.watch_lines) return;
  wanted.line_targets.resize(wanted.lines.size());
  for (usize i = 0; i < wanted.lines.size(); ++i) {
    LineChange& what = wanted.line_targets[i];
    what.source = node;
    what.output = static_cast<unsigned>(i);
    machine_.taps_.push_back(std::make_unique<Machine::LineTap>(machine_, wanted.lines[i], what));
    wanted.lines[i] = IrqLine(*machine_.taps_.back(), 0);
  }
}

Result<DeviceNode*> Builder::create(NewDevice& wanted) {
  auto node = std::make_unique<DeviceNode>();
  node->type = wanted.type;
  node->id = wanted.id;
  node->bus = "main-system-bus";
  watch_lines(wanted, node.get());
  if (wanted.type->make_config) node->config = wanted.type->make_config();
  RHEA_TRY(apply_properties(*node, wanted));
  const std::string name = wanted.type->category == Category::network && wanted.id == wanted.type->name
                               ? fmt::format("{}.{}", wanted.type->name, used_names_[std::string(wanted.type->name)]++)
                               : wanted.id;
  devices::DeviceContext context{.id = name,
                                 .memory = *machine_.memory_,
                                 .loop = machine_.counted_loop_ ? *machine_.counted_loop_ : machine_.loop(),
                                 .net_loop = machine_.counted_loop_ ? *machine_.counted_loop_ : machine_.net_loop(),
                                 .clock = machine_.engine_->virtual_clock(),
                                 .host_clock = *machine_.host_clock_,
                                 .log = machine_.log_,
                                 .machine = machine_.requests(),
                                 .irqs = wanted.lines,
                                 .cpus = config_.cpus,
                                 .ram_size = ram_size_,
                                 .chardev = recorded(wanted.chardev),
                                 .netdev = recorded(wanted.netdev),
                                 .drive = wanted.drive,
                                 .ram = wanted.ram,
                                 .screens = &machine_.screens_,
                                 .inputs = machine_.inputs_.get(),
                                 .audio = config_.audio,
                                 .fsdevs = config_.fsdevs};
  if (machine_.replay_)
    context.fill_random = [replay = machine_.replay_.get()](std::span<u8> data) { replay->fill_random(data); };
  node->device = RHEA_TRY(wanted.type->create(context, node->config.get()));
  machine_.nodes_.push_back(std::move(node));
  return machine_.nodes_.back().get();
}

// A device on a bus that another one owns: the last such one before it on the command line.
Result<void> Builder::add_to_bus(NewDevice& wanted) {
  devices::BusOwner* owner = nullptr;
  std::string owner_id;
  for (const auto& node : machine_.nodes_) {
    auto* candidate = dynamic_cast<devices::BusOwner*>(node->device.get());
    if (!candidate || candidate->owned_bus() != wanted.type->bus) continue;
    owner = candidate;
    owner_id = node->id;
  }
  if (!owner)
    return Error("No '{}' bus found for device '{}'{}", bus_name(wanted.type->bus), wanted.type->name,
                 wanted.type->bus == Bus::virtio_serial ? ": a -device virtio-serial-device must come before it" : "");
  DeviceNode* node = RHEA_TRY(create(wanted));
  node->bus = wanted.type->bus == Bus::sd ? "sd-bus" : owner_id + ".0";
  return owner->plug_in(*node->device);
}

Result<void> Builder::plug(const DeviceConfig& config) {
  NewDevice wanted{.type = devices::find_device_type(config.type),
                   .id = config.id.empty() ? config.type : config.id,
                   .properties = config.properties,
                   .chardev = config.chardev};
  const usize before = machine_.nodes_.size();
  Result<void> added = add_to_bus(wanted);
  // One that its bus did not take.
  if (!added.ok() && machine_.nodes_.size() > before) machine_.nodes_.pop_back();
  return added;
}

Result<void> Builder::add_plugged() {
  for (const DeviceConfig& config : plugged_) {
    NewDevice wanted{.type = devices::find_device_type(config.type),
                     .id = config.id.empty() ? config.type : config.id,
                     .properties = config.properties,
                     .chardev = config.chardev,
                     .netdev = config.netdev};
    if (!wanted.type) return Error("'{}' is not a valid device model name", config.type);
    if (wanted.type->bus == Bus::sysbus) return Error("Parameter 'driver' expects a pluggable device type");
    RHEA_TRY(find_drive(config, wanted));
    if (wanted.type->bus != Bus::virtio) {
      RHEA_TRY(add_to_bus(wanted));
      continue;
    }
    const auto free = std::find_if(virtio_slots_.rbegin(), virtio_slots_.rend(),
                                   [&](devices::SysbusDevice* slot) { return slot->can_plug(wanted.type->bus); });
    if (free == virtio_slots_.rend())
      return Error("No '{}' bus found for device '{}'{}", bus_name(wanted.type->bus), config.type,
                   wanted.type->bus == Bus::virtio
                       ? fmt::format(": all {} virtio slots of {} are taken", virtio_slots_.size(), board_.name)
                       : "");
    DeviceNode* node = RHEA_TRY(create(wanted));
    node->bus = fmt::format("virtio-mmio-bus.{}", virtio_slots_.rend() - free - 1);
    RHEA_TRY((*free)->plug(*node->device));
  }
  return {};
}

// The drive that a property names.
Result<void> Builder::find_drive(const DeviceConfig& config, NewDevice& wanted) {
  for (const auto& [name, value] : config.properties) {
    if (name != "drive") continue;
    wanted.drive = machine_.drives_.find(value);
    if (!wanted.drive) {
      std::vector<std::string> names;
      for (const auto& drive : machine_.drives_.all()) names.push_back(drive->id());
      return Error("Property '{}.drive' can't find value '{}'{}", config.type, value, did_you_mean(value, names));
    }
  }
  return {};
}

// Drives for a bus of the board that nothing took.
Result<void> Builder::check_drives() {
  for (const auto& drive : machine_.drives_.all()) {
    const block::DriveConfig& config = drive->config();
    if (drive->client() || config.bus == block::DriveBus::none) continue;
    const bool has_bus = std::any_of(board_.devices.begin(), board_.devices.end(), [&](const BoardDevice& row) {
      return (row.slot == Slot::sd && config.bus == block::DriveBus::sd) ||
             (row.slot == Slot::pflash && config.bus == block::DriveBus::pflash);
    });
    if (!has_bus || drive->has_medium())
      return Error("machine type does not support if={},bus={},unit={}", block::drive_bus_name(config.bus),
                   config.bus_index, config.unit);
  }
  return {};
}

}  // namespace rhea::machine
