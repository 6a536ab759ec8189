// SPDX-License-Identifier: MIT
// Requests (quit, shutdown, reset) may come from any thread: they are noted and carried out on the machine's loop,
// where the CPUs can be stopped.
#include "machine/machine.h"

#include "machine/builder.h"

namespace rhea::machine {

class Machine::Requests final : public devices::MachineRequests {
 public:
  explicit Requests(Machine& machine) : machine_(machine) {}
  void request_shutdown() override { machine_.request_shutdown(); }
  void request_reset() override { machine_.request_reset(true); }

 private:
  Machine& machine_;
};

Machine::Machine(Log& log)
    : log_(log),
      loop_(std::make_unique<core::Loop>("rhea")),
      net_loop_thread_(std::make_unique<core::LoopThread>("rhea-net")),
      net_loop_(&net_loop_thread_->loop()),
      requests_(std::make_unique<Requests>(*this)),
      host_clock_(core::make_host_clock(*loop_)),
      memory_(std::make_unique<memory::AddressSpace>("memory", log)) {}

Machine::~Machine() { close(); }

void Machine::close() {
  if (engine_) engine_->end();
  {
    std::lock_guard lock(net_loop_->lock());
    for (net::Port* port : nic_ports()) net::Port::disconnect(*port);
  }
  net_loop_thread_->stop();
  // Devices hold lines into the engine and windows in the address space; they go before both.
  nodes_.clear();
  engine_.reset();
}

devices::MachineRequests& Machine::requests() { return *requests_; }

Result<void> Machine::build(const MachineConfig& config) {
  config_ = config;
  RHEA_TRY(Builder(*this, config_).build());
  if (dumped_dtb_) return {};
  reset_all(ResetKind::power_on);
  return {};
}

std::vector<net::Port*> Machine::nic_ports() {
  std::vector<net::Port*> ports;
  for (const auto& node : nodes_)
    if (net::Port* port = devices::port_of(*node->device)) ports.push_back(port);
  return ports;
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

int Machine::run() {
  if (config_.start_paused) {
    set_state(RunState::prelaunch);
  } else {
    loop_->post([this] { cont(); });
  }
  loop_->run();
  engine_->end();
  set_state(RunState::shutdown);
  return status_;
}

void Machine::stop() {
  if (state_ != RunState::running) return;
  engine_->pause();
  for (const auto& node : nodes_) node->device->set_running(false);
  set_state(RunState::paused);
}

void Machine::cont() {
  if (state_ == RunState::running || quit_.load()) return;
  for (const auto& node : nodes_) node->device->set_running(true);
  set_state(RunState::running);
  engine_->resume();
}

void Machine::request_quit(int status) {
  status_ = status;
  quit_.store(true);
  loop_->quit();
}

void Machine::request_shutdown() { request_quit(0); }

void Machine::request_reset(bool by_guest) {
  if (by_guest && config_.no_reboot) {
    request_quit(0);
    return;
  }
  if (!reset_.exchange(true)) loop_->post([this] { handle_requests(); });
}

void Machine::handle_requests() {
  if (!reset_.exchange(false) || quit_.load()) return;
  const bool was_running = state_ == RunState::running;
  engine_->pause();
  reset_all(ResetKind::warm);
  if (was_running) engine_->resume();
}

}  // namespace rhea::machine
