// SPDX-License-Identifier: MIT
// Requests (quit, shutdown, reset) may come from any thread: they are noted and carried out on the machine's loop,
// where the CPUs can be stopped.
#include "machine/machine.h"

#include <algorithm>
#include <array>

#include "accel/debugger.h"
#include "config/json.h"
#include "core/offset_clock.h"
#include "machine/builder.h"
#include "machine/debug_port.h"
#include "machine/disk_snapshots.h"
#include "machine/line_tap.h"
#include "machine/object_tree.h"
#include "machine/replay.h"
#include "machine/replay_sources.h"
#include "machine/snapshots.h"
#include "net/announcer.h"
#include "util/bits.h"

namespace rhea::machine {

class Machine::Requests final : public devices::MachineRequests {
 public:
  explicit Requests(Machine& machine) : machine_(machine) {}
  void request_shutdown() override { machine_.request_shutdown(); }
  void request_reset() override { machine_.request_reset(true); }
  void tell(std::string event, std::string data, const Device* origin) override {
    const char* const place = event == "NIC_RX_FILTER_CHANGED" ? "path" : "qom-path";
    if (!origin) return machine_.events().emit(std::move(event), std::move(data));
    // The path is known on the loop, when all devices are there.
    machine_.loop().post([this, event = std::move(event), data = std::move(data), origin, place] {
      config::Json with_path = config::Json::parse(data);
      for (const auto& node : machine_.nodes_)
        if (node->device.get() == origin) with_path[place] = ObjectTree(machine_, {}).path_of(*node);
      machine_.events().deliver(event, config::json_text(with_path));
    });
  }

 private:
  Machine& machine_;
};

Machine::Machine(Log& log)
    : log_(log), loop_(std::make_unique<core::Loop>("rhea")), chardevs_(std::make_unique<chardev::Registry>(*loop_)),
      net_loop_thread_(std::make_unique<core::LoopThread>("rhea-net")), net_loop_(&net_loop_thread_->loop()),
      requests_(std::make_unique<Requests>(*this)), wall_clock_(core::make_host_clock(*loop_)),
      host_clock_(core::make_offset_clock(*wall_clock_, 0)),
      inputs_(std::make_unique<display::Inputs>(loop_->real_clock())),
      memory_(std::make_unique<memory::AddressSpace>("memory", log)), snapshots_(std::make_unique<Snapshots>(*this)) {}

Machine::~Machine() { close(); }

void Machine::close() {
  if (snapshots_) snapshots_->cancel();
  snapshots_.reset();
  if (engine_) engine_->end();
  if (replay_) replay_->close();
  {
    std::lock_guard lock(net_loop_->lock());
    disconnect_network();
  }
  net_loop_thread_->stop();
  // Devices hold lines into the engine and windows in the address space; they go before both.
  nodes_.clear();
  recorded_links_.clear();
  recorded_chardevs_.clear();
  counted_loop_.reset();
  replay_.reset();
  engine_.reset();
  std::lock_guard lock(loop_->lock());
  drives_ = {};
}

DebugTarget& Machine::debug_target() {
  if (!debug_port_) debug_port_ = std::make_unique<DebugPort>(*this);
  return *debug_port_;
}

devices::MachineRequests& Machine::requests() { return *requests_; }

std::string MachineConfig::uuid_text() const {
  std::string text;
  for (usize i = 0; i < uuid.size(); ++i)
    text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
  return text;
}

Result<void> Machine::plug_device(const DeviceConfig& config) {
  if (replay_) return Error("a machine whose input is recorded or replayed keeps its devices");
  if (!config.id.empty())
    for (const auto& node : nodes_)
      if (node->id == config.id) return Error("Duplicate ID '{}' for device", config.id);
  RHEA_TRY(Builder(*this, config_).plug(config));
  config_.devices.push_back(config);
  return {};
}

Result<void> Machine::unplug_device(const DeviceNode& node) {
  const auto found = std::find_if(nodes_.begin(), nodes_.end(), [&](const auto& one) { return one.get() == &node; });
  if (found == nodes_.end() || node.type->bus != Bus::virtio_serial)
    return Error("Bus '{}' does not support hotplugging", node.bus);
  if (replay_) return Error("a machine whose input is recorded or replayed keeps its devices");
  const auto config = std::find_if(config_.devices.begin(), config_.devices.end(),
                                   [&](const DeviceConfig& one) { return !one.id.empty() && one.id == node.id; });
  chardev::Backend* backend = config != config_.devices.end() ? config->chardev : nullptr;
  if (config != config_.devices.end()) config_.devices.erase(config);
  nodes_.erase(found);
  if (backend) chardevs_->detach(backend);
  return {};
}

Result<void> Machine::build(const MachineConfig& config) {
  config_ = config;
  actions_ = {.end_on_reboot = config.no_reboot, .stay_on_shutdown = config.no_shutdown};
  RHEA_TRY(Builder(*this, config_).build());
  if (dumped_dtb_) return {};
  reset_all(ResetKind::power_on);
  if (!config_.snapshot_folder.empty()) snapshots_->set_store(make_folder_store(config_.snapshot_folder));
  else snapshots_->set_store(make_disk_store(drives_));
  if (replay_) RHEA_TRY(start_replay());
  return {};
}

Balloon* Machine::balloon() {
  for (const auto& node : nodes_)
    if (auto* balloon = dynamic_cast<Balloon*>(node->device.get())) return balloon;
  return nullptr;
}

bool Machine::set_balloon(u64 bytes) {
  Balloon* balloon = this->balloon();
  if (!balloon) return false;
  std::array<u8, 8> target;
  store_le<u64>(target.data(), bytes);
  if (replay_) replay_->submit(Replay::Kind::balloon, 0, target);
  else balloon->set_target(bytes);
  return true;
}

namespace {
enum LinkNews : u8 { kLinkDown, kLinkUp, kAnnounce };

void tell(net::Port& nic, u8 news) {
  if (news != kAnnounce) nic.on_link(news == kLinkUp);
  else if (auto* announcer = dynamic_cast<net::Announcer*>(&nic)) announcer->announce();
}
}  // namespace

void Machine::tell_nic(net::Port& nic, u8 news) {
  if (!replay_) return tell(nic, news);
  const std::vector<net::Port*> ports = nic_ports();
  const auto number = std::find(ports.begin(), ports.end(), &nic) - ports.begin();
  replay_->submit(Replay::Kind::nic, static_cast<u32>(number), std::array<u8, 1>{news});
}

void Machine::set_link(net::Port& nic, bool up) { tell_nic(nic, up ? kLinkUp : kLinkDown); }
void Machine::announce(net::Port& nic) { tell_nic(nic, kAnnounce); }

Result<void> Machine::start_replay() {
  replay_->on_event(Replay::Kind::reset, 0, [this](std::span<const u8>) { reset_all(ResetKind::warm); });
  replay_->on_event(Replay::Kind::input, 0, [this](std::span<const u8> event) { inputs_->deliver(event); });
  inputs_->set_recorder([this](std::span<const u8> event) { replay_->submit(Replay::Kind::input, 0, event); });
  replay_->on_event(Replay::Kind::balloon, 0, [this](std::span<const u8> bytes) {
    if (balloon() && bytes.size() == 8) balloon()->set_target(load_le<u64>(bytes.data()));
  });
  for (u32 number = 0; number < nic_ports().size(); ++number) {
    replay_->on_event(Replay::Kind::nic, number, [this, number](std::span<const u8> news) {
      const std::vector<net::Port*> ports = nic_ports();
      if (!news.empty() && number < ports.size()) tell(*ports[number], news[0]);
    });
  }
  if (!config_.replay_snapshot.empty()) {
    if (config_.replay == ReplayMode::record) RHEA_TRY(snapshots_->save(config_.replay_snapshot));
    else RHEA_TRY(snapshots_->load(config_.replay_snapshot));
  }
  return replay_->start();
}

void Machine::disconnect_network() {
  for (net::Port* port : nic_ports()) net::Port::disconnect(*port);
  for (const auto& link : recorded_links_) link->disconnect();
}

std::vector<net::Port*> Machine::nic_ports() {
  std::vector<net::Port*> ports;
  for (const auto& node : nodes_)
    if (net::Port* port = devices::port_of(*node->device)) ports.push_back(port);
  return ports;
}

bool Machine::is_interrupt_controller(const DeviceNode& node) const {
  auto* device = dynamic_cast<devices::SysbusDevice*>(node.device.get());
  return device && device->inputs();
}

void Machine::reset_all(ResetKind kind) {
  for (const auto& node : nodes_) node->device->reset(kind);
  if (kind == ResetKind::warm && reload_) {
    const Result<void> loaded = reload_();
    if (!loaded.ok()) log_.write_text(fmt::format("warning: at the reset: {}", loaded.error().message()));
  }
  engine_->reset();
}

void Machine::set_state(RunState state) {
  if (state_ == state) return;
  state_ = state;
  for (const auto& observer : observers_) observer(state);
}

std::string_view run_state_name(RunState state) {
  switch (state) {
    case RunState::prelaunch: return "prelaunch";
    case RunState::running: return "running";
    case RunState::paused: return "paused";
    case RunState::shutdown: return "shutdown";
    case RunState::io_error: return "io-error";
    case RunState::inmigrate: return "inmigrate";
    case RunState::postmigrate: return "postmigrate";
  }
  return "paused";
}

Result<void> Machine::take_incoming(const std::string& uri) {
  if (RHEA_TRY(snapshots_->incoming(uri))) has_arrived();
  return {};
}

void Machine::has_arrived() {
  set_state(RunState::paused);
  if (!config_.start_paused) cont();
}

void Machine::set_migrated() {
  if (state_ != RunState::running) set_state(RunState::postmigrate);
}

int Machine::run() {
  snapshots_->on_arrived = [this](Result<void> came) {
    if (came.ok()) return has_arrived();
    log_.write_text(fmt::format("load of migration failed: {}", came.error().message()));
    if (config_.incoming != "defer") request_quit(1, "host-error");
  };
  if (config_.incoming == "defer" || snapshots_->arriving()) {
    set_state(RunState::inmigrate);
  } else if (config_.start_paused) {
    set_state(RunState::prelaunch);
  } else {
    loop_->post([this] { cont(); });
  }
  loop_->run();
  engine_->end();
  std::lock_guard lock(loop_->lock());
  set_state(RunState::shutdown);
  std::lock_guard reasons(reasons_);
  events_.deliver("SHUTDOWN", fmt::format("{{\"guest\": {}, \"reason\": \"{}\"}}", quit_by_guest_, quit_reason_));
  return status_;
}

void Machine::stop() { stop_with(RunState::paused); }

void Machine::stop_with(RunState state) {
  if (state_ != RunState::running) return;
  engine_->pause();
  for (const auto& node : nodes_) node->device->set_running(false);
  drives_.drain_all();
  set_state(state);
  events_.emit("STOP");
}

void Machine::drive_failed(const block::Drive::Failure& failure) {
  const bool stops = failure.action == block::ErrorAction::stop;
  log_.write_text(fmt::format("drive '{}': {}{}", failure.drive.id(), failure.result.message,
                              stops ? ": the machine is stopped; 'cont' tries again" : ""));
  static constexpr const char* kActions[] = {"report", "ignore", "stop"};
  const config::Json data = {{"device", failure.drive.id()},
                             {"nospace", failure.result.code == block::IoCode::no_space},
                             {"node-name", failure.drive.node_name()},
                             {"reason", failure.result.message},
                             {"operation", failure.op == block::Op::read ? "read" : "write"},
                             {"action", kActions[static_cast<usize>(failure.action)]}};
  events_.emit("BLOCK_IO_ERROR", config::json_text(data));
  if (stops) loop_->post([this] { stop_with(RunState::io_error); });
}

void Machine::cont() {
  if (state_ == RunState::running || quit_.load() || (snapshots_ && snapshots_->sending())) return;
  if (state_ == RunState::inmigrate) {  // when it is there
    config_.start_paused = false;
    return;
  }
  // After a migration.
  if (const Result<void> opened = drives_.activate_all(); !opened.ok())
    return log_.write_text(fmt::format("the machine stays where it is: {}", opened.error().message()));
  for (const auto& node : nodes_) node->device->set_running(true);
  drives_.resume_all();
  set_state(RunState::running);
  events_.emit("RESUME");
  if (engine_) engine_->debugger().set_actions(std::exchange(next_actions_, {}));
  engine_->resume();
}

void Machine::request_quit(int status, std::string_view reason) {
  {
    std::lock_guard lock(reasons_);
    if (!quit_.load()) {  // the first reason is the reason
      quit_reason_ = std::string(reason);
      quit_by_guest_ = reason.starts_with("guest-");
      if (quit_by_guest_) engine_->guest_ended();
      status_ = status;
    }
  }
  quit_.store(true);
  loop_->quit();
}

void Machine::request_shutdown() {
  if (actions_.stay_on_shutdown) {
    loop_->post([this] { handle_shutdown(); });
    return;
  }
  request_quit(0, "guest-shutdown");
}

// -no-shutdown: the machine stands still, to be looked at.
void Machine::handle_shutdown() {
  if (quit_.load()) return;
  events_.emit("SHUTDOWN", R"({"guest": true, "reason": "guest-shutdown"})");
  stop();
  set_state(RunState::shutdown);
}

void Machine::request_reset(bool by_guest, std::string_view reason) {
  if (by_guest && actions_.end_on_reboot) {
    request_quit(0, "guest-reset");
    return;
  }
  {
    std::lock_guard lock(reasons_);
    reset_reason_ = reason.empty() ? (by_guest ? "guest-reset" : "host-ui") : std::string(reason);
    reset_by_guest_ = by_guest;
  }
  if (replay_) return request_counted_reset(by_guest);
  if (!reset_.exchange(true)) loop_->post([this] { handle_requests(); });
}

// Between two instructions: soon, where a guest asks; where the event is, when it came from outside.
void Machine::request_counted_reset(bool by_guest) {
  if (!by_guest) return replay_->submit(Replay::Kind::reset, 0, {});
  if (!reset_.exchange(true))
    counted_loop_->post([this] {
      reset_.store(false);
      reset_all(ResetKind::warm);
    });
}

void Machine::handle_requests() {
  if (!reset_.exchange(false) || quit_.load()) return;
  const bool was_running = state_ == RunState::running;
  engine_->pause();
  reset_all(ResetKind::warm);
  {
    std::lock_guard lock(reasons_);
    events_.emit("RESET", fmt::format("{{\"guest\": {}, \"reason\": \"{}\"}}", reset_by_guest_, reset_reason_));
  }
  if (was_running) engine_->resume();
}

}  // namespace rhea::machine
