// SPDX-License-Identifier: MIT
// Order of making: log, machine (its loops), character devices, network backends, the machine's devices and
// memory, monitors. Order of ending: CPUs, the network's backends, devices, monitors and character devices,
// loops.
#include "cli/session.h"

#include <algorithm>
#include <cstdio>

#include "cli/net_options.h"
#include "core/loop.h"
#include "devices/device_type.h"

namespace rhea::cli {

struct Session::Plan {
  struct Item {
    Typed typed;
    chardev::Spec spec;
    std::string label;
  };
  std::vector<Item> serials, monitors;
};

Session::Session(Settings settings) : settings_(std::move(settings)) {}

Session::~Session() {
  if (!machine_) return;
  signal_watch_.reset();
  {
    std::lock_guard lock(machine_->net_loop().lock());
    for (net::Port* port : machine_->nic_ports()) {
      if (network_) network_->remove_nic(port);
      net::Port::disconnect(*port);
    }
    network_.reset();
  }
  machine_->close();
  monitors_.clear();
  for (const auto& backend : backends_) backend->flush();
  muxes_.clear();
  backends_.clear();
}

void Session::say(const std::string& text) const {
  std::fprintf(stderr, "%s: %s\n", settings_.program.c_str(), text.c_str());
}

Result<void> Session::open_log() {
  if (!settings_.log_file.empty()) {
    std::FILE* file = std::fopen(settings_.log_file.c_str(), "w");
    if (!file) return Error("Error opening logfile {}: {}", settings_.log_file, sys::errno_text());
    log_.redirect(file);
  }
  log_.set_mask(settings_.log_mask);
  return {};
}

Result<Session::Plan> Session::plan_chardevs() {
  Plan plan;
  bool stdio_taken = false, monitor_shared = false;
  const auto note = [&](const chardev::Spec& spec) {
    stdio_taken |= spec.kind == chardev::BackendKind::stdio;
    monitor_shared |= spec.with_monitor;
  };
  for (const Typed& typed : settings_.serials) {
    auto spec = chardev::parse_spec(typed.argument);
    if (!spec.ok())
      return at(typed, Error(spec.error()))
          .with_hint(fmt::format("{}: {}: could not connect serial device to character backend '{}'",
                                 settings_.program, typed.text(), typed.argument));
    note(*spec);
    plan.serials.push_back({typed, *spec, fmt::format("serial{}", plan.serials.size())});
  }
  for (const Typed& typed : settings_.monitors) {
    auto spec = chardev::parse_spec(typed.argument);
    if (spec.ok() && spec->with_monitor) spec = Error("mon: isn't supported in this context");
    if (!spec.ok())
      return at(typed, Error(spec.error()))
          .with_hint(fmt::format("{}: {}: parse error: {}", settings_.program, typed.text(), typed.argument));
    note(*spec);
    plan.monitors.push_back({typed, *spec, fmt::format("compat_monitor{}", plan.monitors.size())});
  }
  const bool wants_serial = plan.serials.empty() && !settings_.no_defaults;
  const bool wants_monitor = plan.monitors.empty() && !monitor_shared && !settings_.no_defaults;
  const bool on_terminal = settings_.nographic || settings_.display == Display::unspecified;
  if (!on_terminal || stdio_taken) return plan;
  if (wants_serial) {
    const std::string form = wants_monitor ? "mon:stdio" : "stdio";
    plan.serials.push_back({{"-serial", form}, RHEA_TRY(chardev::parse_spec(form)), "serial0"});
    if (!settings_.nographic)
      settings_.notes.push_back(
          "there is no display yet: the serial port is on this terminal, as with -nographic (Ctrl-a h shows "
          "the keys)");
  } else if (wants_monitor && settings_.nographic) {
    plan.monitors.push_back(
        {{"-monitor", "stdio"}, RHEA_TRY(chardev::parse_spec("stdio")), "compat_monitor0"});
  }
  return plan;
}

Result<chardev::Backend*> Session::make_backend(const chardev::Spec& spec, const std::string& label) {
  std::unique_ptr<chardev::Backend> backend;
  switch (spec.kind) {
    case chardev::BackendKind::none:
      return static_cast<chardev::Backend*>(nullptr);
    case chardev::BackendKind::null:
      backend = chardev::make_null();
      break;
    case chardev::BackendKind::file:
      backend = RHEA_TRY(chardev::make_file(spec.path, spec.append));
      break;
    case chardev::BackendKind::stdio: {
      if (terminal_) return Error("cannot use stdio by multiple character devices");
      auto terminal = chardev::make_stdio(machine_->loop(), spec.signals, [this] {
        say("the terminal was closed: ending");
        machine_->request_quit(0);
      });
      terminal_ = terminal.get();
      backend = std::move(terminal);
      break;
    }
  }
  if (!spec.with_monitor) {
    chardev_rows_.push_back({label, backend->description()});
    backends_.push_back(std::move(backend));
    return backends_.back().get();
  }
  chardev_rows_.push_back({label, "mux"});
  muxes_.push_back(std::make_unique<chardev::Mux>(
      std::move(backend), chardev::MuxOptions{.program = settings_.title(),
                                              .escape = settings_.escape_key,
                                              .clock = &machine_->loop().real_clock(),
                                              .terminate = [this] { machine_->request_quit(0); },
                                              .save_disks = {}}));
  return muxes_.back()->add_port();
}

Result<void> Session::make_chardevs() {
  Plan plan = RHEA_TRY(plan_chardevs());
  const usize ports = static_cast<usize>(
      std::count_if(settings_.machine.board->devices.begin(), settings_.machine.board->devices.end(),
                    [](const machine::BoardDevice& row) { return row.slot == machine::Slot::serial; }));
  if (plan.serials.size() > ports)
    return at(plan.serials[ports].typed,
              Error("{} has {} serial ports", settings_.machine.board->name, ports));
  std::vector<chardev::Backend*> monitor_ports;
  for (const Plan::Item& item : plan.monitors) {
    auto made = make_backend(item.spec, item.label);
    if (!made.ok()) return at(item.typed, Error(made.error()));
    if (*made) monitor_ports.push_back(*made);
  }
  for (const Plan::Item& item : plan.serials) {
    auto made = make_backend(item.spec, item.label);
    if (!made.ok())
      return at(item.typed, Error(made.error()))
          .with_hint(fmt::format("{}: {}: could not connect serial device to character backend '{}'",
                                 settings_.program, item.typed.text(), item.typed.argument));
    settings_.machine.serials.push_back(*made);
    if (item.spec.with_monitor) monitor_ports.push_back(muxes_.back()->add_port());
  }
  for (chardev::Backend* port : monitor_ports) add_monitor(port);
  return {};
}

void Session::add_monitor(chardev::Backend* backend) {
  const bool shared =
      std::any_of(muxes_.begin(), muxes_.end(), [&](const auto& mux) { return mux->owns(backend); });
  monitors_.push_back(std::make_unique<monitor::Monitor>(*backend, *monitor_context_, shared));
}

Result<void> Session::prepare() {
  RHEA_TRY(open_log());
  machine_ = std::make_unique<machine::Machine>(log_);
  std::lock_guard lock(machine_->loop().lock());
  wall_clock_ = core::make_host_clock(machine_->net_loop());
  network_ = std::make_unique<net::Network>(machine_->net_loop(), *wall_clock_, log_);
  monitor_context_ =
      std::make_unique<monitor::Context>(monitor::Context{.machine = *machine_,
                                                          .network = *network_,
                                                          .log = log_,
                                                          .title = settings_.title(),
                                                          .version = RHEA_VERSION,
                                                          .chardevs = [this] { return chardev_rows_; }});
  signal_watch_ = machine_->loop().watch(signals_.fd(), kReadable, [this](u32) { handle_signal(); });
  RHEA_TRY(make_chardevs());
  RHEA_TRY(NetworkPlan(settings_, *network_).make());
  RHEA_TRY(machine_->build(settings_.machine));
  {
    std::lock_guard net_lock(machine_->net_loop().lock());
    for (net::Port* port : machine_->nic_ports()) network_->add_nic(port);
  }
  machine_->on_state_change(
      [this](machine::RunState state) { network_->set_running(state == machine::RunState::running); });
  print_warnings();
  return {};
}

void Session::print_warnings() {
  for (const std::string& text : settings_.warnings) say("warning: " + text);
  for (const std::string& text : settings_.notes) say(text);
  for (const std::string& text : network_->take_warnings()) say("warning: " + text);
  for (const std::string& text : machine_->warnings()) say(text);
  if (machine_->dumped_dtb()) return;
  for (const std::string& text : network_->check()) say("warning: " + text);
}

int Session::run() {
  if (machine_->dumped_dtb()) {
    say(fmt::format("info: dtb dumped to {}. Exiting.", settings_.machine.dumpdtb));
    return 0;
  }
  machine_->loop().post([this] {
    for (const auto& monitor : monitors_) monitor->start();
  });
  return machine_->run();
}

void Session::handle_signal() {
  while (const auto event = signals_.next()) {
    switch (event->kind) {
      case sys::Signal::end: {
        std::string from;
        if (event->sender)
          from = fmt::format(" from pid {} ({})", event->sender,
                             event->command.empty() ? "<unknown process>" : event->command);
        say(fmt::format("terminating on signal {}{}", event->number, from));
        machine_->request_quit(0);
        break;
      }
      case sys::Signal::stop:
        if (terminal_) terminal_->suspend();
        sys::stop_this_process();
        if (terminal_) terminal_->resume();
        break;
      case sys::Signal::resume:
        if (terminal_) terminal_->resume();
        break;
    }
  }
}

}  // namespace rhea::cli
