// SPDX-License-Identifier: MIT
// Order of making: log, machine (its loops), character devices, network backends, the machine's devices and
// memory, monitors. Order of ending: CPUs, the network's backends, devices, monitors and character devices,
// loops.
#include "cli/session.h"

#include <algorithm>
#include <cstdio>

#include "accel/semihosting.h"
#include "chardev/vc.h"
#include "cli/device_options.h"
#include "cli/net_options.h"
#include "core/loop.h"
#include "devices/device_type.h"
#include "machine/replay.h"
#include "machine/snapshots.h"
#include "monitor/capture.h"
#include "util/text.h"

namespace rhea::cli {

struct Session::Plan {
  struct Item {
    Typed typed;
    chardev::Spec spec;
    std::string id;
  };
  std::vector<Item> chardevs, serials, monitors, qmps;
};

Session::Session(Settings settings) : settings_(std::move(settings)) {}

Session::~Session() {
  if (!machine_) return;
  qtest_.reset();
  signal_watch_.reset();
  {
    std::lock_guard lock(machine_->net_loop().lock());
    for (net::Port* port : machine_->nic_ports())
      if (network_) network_->remove_nic(port);
    machine_->disconnect_network();
    network_.reset();
  }
  frame_lines_.reset();
  back_ends_.reset();
  gdb_.reset();
  if (monitor_context_) {
    std::lock_guard lock(machine_->loop().lock());
    monitor_context_->jobs.clear();  // they use drives
  }
  machine_->close();
  semihosting_.reset();
  monitors_.clear();
  qmps_.clear();
  qtest_.reset();
  if (qtest_log_) std::fclose(qtest_log_);
  machine_->chardevs().flush();
}

void Session::say(const std::string& text) const {
  std::fprintf(stderr, "%s%s\n", settings_.line_start().c_str(), text.c_str());
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

void Session::set_surroundings() {
  chardev::Surroundings& surroundings = machine_->chardevs().surroundings;
  surroundings.program = settings_.title();
  surroundings.escape = settings_.escape_key;
  surroundings.terminate = [this] { machine_->request_quit(0); };
  surroundings.terminal_lost = [this] {
    say("the terminal was closed: ending");
    machine_->request_quit(0);
  };
  surroundings.say = [this](const std::string& text) {
    say((opening_.empty() ? "" : opening_ + ": ") + "info: " + text);
  };
  surroundings.make_console = [this](const chardev::ConsoleSize& size, const std::string& id) {
    return Result(chardev::make_vc(machine_->screens(), chardev::console_size(size), id));
  };
  surroundings.redirect = [](const std::string& text) {
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
  };
}

// Sound and folders of the host.
Result<void> Session::open_shares() {
  for (const auto& [typed, spec] : settings_.audiodevs) {
    auto backend = audio::open(spec);
    if (!backend.ok()) return at(typed, std::move(backend.error()));
    audio_.add(backend.take());
  }
  for (const auto& [typed, spec] : settings_.fsdevs) {
    auto share = fsdev::Share::open(spec);
    if (!share.ok()) return at(typed, std::move(share.error()));
    shares_.add(share.take());
  }
  settings_.machine.audio = &audio_;
  settings_.machine.fsdevs = &shares_;
  return {};
}

Result<Session::Plan> Session::plan_chardevs() {
  Plan plan;
  bool stdio_taken = false, monitor_shared = false;
  if (settings_.daemonize)
    for (const std::vector<Typed>* list : {&settings_.serials, &settings_.monitors, &settings_.qmps})
      for (const Typed& typed : *list)
        if (typed.argument == "stdio" || typed.argument == "mon:stdio" || typed.argument.starts_with("stdio,"))
          return at(typed, Error("cannot use stdio with -daemonize"));
  const auto note = [&](const chardev::Spec& spec) {
    stdio_taken |= spec.kind == chardev::BackendKind::stdio;
    monitor_shared |= spec.with_monitor;
  };
  for (const Typed& typed : settings_.chardevs) {
    auto spec = chardev::parse_chardev(typed.argument);
    if (!spec.ok()) return at(typed, std::move(spec.error()));
    for (const std::string& word : spec->short_booleans)
      settings_.notes.push_back(
          fmt::format("{}: warning: short-form boolean option '{}{}' deprecated\nPlease use {} instead", typed.text(),
                      word.ends_with("=off") ? "no" : "", word.substr(0, word.find('=')), word));
    if (settings_.daemonize && spec->kind == chardev::BackendKind::stdio)
      return at(typed, Error("cannot use stdio with -daemonize"));
    note(*spec);
    plan.chardevs.push_back({typed, *spec, spec->id});
  }
  for (const Typed& typed : settings_.serials) {
    auto spec = chardev::parse_spec(typed.argument);
    if (!spec.ok())
      return at(typed, Error(spec.error()))
          .with_hint(fmt::format("{}: {}: could not connect serial device to character backend '{}'", settings_.program,
                                 typed.text(), typed.argument));
    note(*spec);
    plan.serials.push_back({typed, *spec, fmt::format("serial{}", plan.serials.size())});
  }
  for (const std::vector<Typed>* list : {&settings_.monitors, &settings_.qmps}) {
    for (const Typed& typed : *list) {
      auto spec = chardev::parse_spec(typed.argument);
      if (spec.ok() && spec->with_monitor) spec = Error("mon: isn't supported in this context");
      if (!spec.ok())
        return at(typed, Error(spec.error()))
            .with_hint(fmt::format("{}: {}: parse error: {}", settings_.program, typed.text(), typed.argument));
      if (spec->kind == chardev::BackendKind::none) continue;
      note(*spec);
      auto& items = list == &settings_.qmps ? plan.qmps : plan.monitors;
      items.push_back({typed, *spec, fmt::format("compat_monitor{}", plan.monitors.size() + plan.qmps.size())});
    }
  }
  const bool wants_serial = plan.serials.empty() && !settings_.no_defaults;
  const bool wants_monitor = settings_.monitors.empty() && settings_.mons.empty() && settings_.qmps.empty() &&
                             !settings_.no_default_monitor && !monitor_shared && !settings_.no_defaults;
  const bool on_terminal = settings_.nographic || (settings_.display == Display::unspecified && !settings_.daemonize);
  if (!on_terminal || stdio_taken) return plan;
  if (wants_serial) {
    const std::string form = wants_monitor ? "mon:stdio" : "stdio";
    plan.serials.push_back({{"-serial", form}, RHEA_TRY(chardev::parse_spec(form)), "serial0"});
    if (!settings_.nographic)
      settings_.notes.push_back(
          "there is no display yet: the serial port is on this terminal, as with -nographic (Ctrl-a h shows "
          "the keys)");
  } else if (wants_monitor && settings_.nographic) {
    plan.monitors.push_back({{"-monitor", "stdio"}, RHEA_TRY(chardev::parse_spec("stdio")), "compat_monitor0"});
  }
  return plan;
}

Result<chardev::Backend*> Session::open_chardev(const Typed& typed, const chardev::Spec& spec, const std::string& id) {
  opening_ = typed.text();
  auto port = machine_->chardevs().open(spec, id);
  opening_.clear();
  if (!port.ok()) return at(typed, std::move(port.error()));
  return port;
}

Result<void> Session::make_chardevs() {
  set_surroundings();
  Plan plan = RHEA_TRY(plan_chardevs());
  const usize ports = static_cast<usize>(
      std::count_if(settings_.machine.board->devices.begin(), settings_.machine.board->devices.end(),
                    [](const machine::BoardDevice& row) { return row.slot == machine::Slot::serial; }));
  for (usize i = ports; i < plan.serials.size(); ++i)
    if (plan.serials[i].spec.kind != chardev::BackendKind::none &&
        plan.serials[i].spec.kind != chardev::BackendKind::null)
      return at(plan.serials[i].typed, Error("{} has {} serial ports", settings_.machine.board->name, ports));
  for (const Plan::Item& item : plan.chardevs) {
    if (machine_->chardevs().has(item.id)) return at(item.typed, Error("Duplicate ID '{}' for chardev", item.id));
    opening_ = item.typed.text();
    Result<void> added = machine_->chardevs().add(item.spec, item.id);
    opening_.clear();
    if (!added.ok()) return at(item.typed, std::move(added.error()));
  }
  RHEA_TRY(make_monitors(plan));
  for (const Plan::Item& item : plan.serials) {
    auto port = open_chardev(item.typed, item.spec, item.id);
    if (!port.ok())
      return std::move(port.error())
          .with_hint(fmt::format("{}: {}: could not connect serial device to character backend '{}'", settings_.program,
                                 item.typed.text(), item.typed.argument));
    settings_.machine.serials.push_back(*port);
    if (item.spec.with_monitor) add_monitor(RHEA_TRY(machine_->chardevs().attach(item.id)));
  }
  // Behind the serial ports: on a multiplexer the first frontend has the focus.
  for (const Typed& typed : settings_.mons) RHEA_TRY(make_mon(typed));
  return {};
}

Result<void> Session::make_monitors(const Plan& plan) {
  for (const Plan::Item& item : plan.monitors)
    if (chardev::Backend* port = RHEA_TRY(open_chardev(item.typed, item.spec, item.id))) add_monitor(port);
  for (const Plan::Item& item : plan.qmps)
    if (chardev::Backend* port = RHEA_TRY(open_chardev(item.typed, item.spec, item.id)))
      qmps_.push_back(
          std::make_unique<monitor::QmpMonitor>(*port, *monitor_context_, item.typed.option.ends_with("pretty")));
  return {};
}

// -mon chardev=ID[,mode=readline|control][,pretty=on]
Result<void> Session::make_mon(const Typed& typed) {
  constexpr config::Parameter kTable[] = {{"chardev", config::Kind::text},
                                          {"mode", config::Kind::text},
                                          {"pretty", config::Kind::boolean},
                                          {"id", config::Kind::identifier}};
  const auto values = config::read_options(typed.argument, "chardev", kTable);
  if (!values.ok()) return at(typed, Error(values.error()));
  if (!values->has("chardev")) return at(typed, Error("Parameter 'chardev' is missing"));
  const std::string mode = values->text("mode", "readline");
  if (mode != "readline" && mode != "control")
    return at(typed, Error("Parameter 'mode' does not accept value '{}': it is readline or control", mode));
  if (mode == "readline" && values->has("pretty"))
    return at(typed, Error("'pretty' is not compatible with HMP monitors"));
  auto port = machine_->chardevs().attach(values->text("chardev"));
  if (!port.ok()) return at(typed, std::move(port.error()));
  if (mode == "control")
    qmps_.push_back(std::make_unique<monitor::QmpMonitor>(**port, *monitor_context_, values->boolean("pretty", false)));
  else add_monitor(*port);
  return {};
}

// -qtest DEV: without -qtest-log what is said goes to standard error.
Result<void> Session::make_qtest() {
  if (!settings_.qtest) return {};
  const chardev::Spec spec = RHEA_TRY(chardev::parse_spec(settings_.qtest->argument));
  chardev::Backend* port = RHEA_TRY(open_chardev(*settings_.qtest, spec, "qtest"));
  if (!settings_.qtest_log.empty() && settings_.qtest_log != "none") {
    qtest_log_ = std::fopen(settings_.qtest_log.c_str(), "we");
    if (!qtest_log_) return Error("-qtest-log {}: {}", settings_.qtest_log, sys::errno_text());
  }
  if (port)
    qtest_ =
        std::make_unique<monitor::Qtest>(*port, *monitor_context_, settings_.qtest_log.empty() ? stderr : qtest_log_);
  return {};
}

Result<void> Session::settle_memory() {
  machine::MachineConfig& config = settings_.machine;
  for (const auto& [id, type] : objects_.list())
    if (objects_.memory_backend(id) && id != config.memory_backend)
      settings_.notes.push_back(
          fmt::format("warning: memory backend '{}' is not used: -machine memory-backend={} names one", id, id));
  if (config.memory_backend.empty()) return {};
  config.ram_backend = objects_.memory_backend(config.memory_backend);
  if (!config.ram_backend) return Error("Memory backend '{}' not found", config.memory_backend);
  if (config.ram_size && config.ram_size != config.ram_backend->size)
    return Error("Machine memory size does not match the size of the memory backend")
        .with_hint(fmt::format("-m says {} MiB, memory backend '{}' has {} MiB", config.ram_size >> 20,
                               config.memory_backend, config.ram_backend->size >> 20));
  config.ram_size = config.ram_backend->size;
  return {};
}

Result<void> Session::make_semihosting() {
  const auto& wanted = settings_.semihosting;
  if (!wanted.enabled) return {};
  const machine::MachineConfig& config = machine_->config();
  if (config.replay != machine::ReplayMode::off)
    return Error("-semihosting: what the host answers is not recorded: it cannot go with -icount rr=");
  chardev::Backend* console = nullptr;
  if (!wanted.chardev.empty()) {
    auto port = machine_->chardevs().attach(wanted.chardev);
    if (!port.ok()) return at(*wanted.typed, std::move(port.error()));
    console = *port;
  }
  std::string line = join(wanted.arguments, " ");
  if (wanted.arguments.empty()) line = config.kernel + (config.append.empty() ? "" : " " + config.append);
  const u64 ram = config.ram_size ? config.ram_size : config.board->default_ram;
  semihosting_ = std::make_unique<HostSemihosting>(
      HostSemihosting::Setup{.loop = machine_->loop(),
                             .console = console,
                             .command_line = line,
                             .ram_base = static_cast<u32>(config.board->ram_base),
                             .ram_end = static_cast<u32>(config.board->ram_base + ram),
                             .exit = [this](int status) { machine_->request_quit(status, "guest-shutdown"); }});
  accel::set_semihosting(machine_->engine(), *semihosting_, wanted.user);
  return {};
}

void Session::add_monitor(chardev::Backend* backend) {
  monitors_.push_back(
      std::make_unique<monitor::Monitor>(*backend, *monitor_context_, machine_->chardevs().is_shared(backend)));
}

Result<void> Session::prepare() {
  if (settings_.nographic && settings_.daemonize) return Error("-nographic cannot be used with -daemonize");
  if (!settings_.pid_file.empty()) RHEA_TRY(pid_file_.create(settings_.pid_file));
  RHEA_TRY(open_log());
  machine_ = std::make_unique<machine::Machine>(log_);
  std::lock_guard lock(machine_->loop().lock());
  wall_clock_ = core::make_host_clock(machine_->net_loop());
  network_ = std::make_unique<net::Network>(machine_->net_loop(), *wall_clock_, log_);
  frame_lines_ = std::make_unique<FrameLines>(machine_->chardevs(), machine_->loop(), machine_->net_loop());
  network_->open_line = [this](const std::string& chardev, std::function<void(std::span<const u8>)> on_data) {
    return frame_lines_->open(chardev, std::move(on_data));
  };
  network_->open_device = [this](const std::string& device, const std::string& id,
                                 std::function<void(std::span<const u8>)> on_data) {
    return frame_lines_->open_or_make(device, id, std::move(on_data));
  };
  back_ends_ = std::make_unique<BackEnds>(machine_->chardevs(), machine_->loop(), machine_->net_loop());
  network_->open_source = [this](const std::string& chardev, std::function<void(sys::Fd)> on_connection) {
    opening_ = "chardev " + chardev;
    auto opened = back_ends_->open(chardev, std::move(on_connection), making_);
    opening_.clear();
    return opened;
  };
  network_->machine_name = settings_.machine.name;
  network_->replaying = settings_.machine.replay != machine::ReplayMode{};
  if (network_->replaying) {
    network_->tell_link = [this](net::Port& nic, bool up) { machine_->set_link(nic, up); };
    network_->ask_to_announce = [this](net::Port& nic) { machine_->announce(nic); };
  }
  network_->on_event = [this](const std::string& name, const std::string& data) {
    machine_->events().emit(name, data);
  };
  monitor_context_ = std::make_unique<monitor::Context>(monitor::Context{
      .machine = *machine_, .network = *network_, .log = log_, .title = settings_.title(), .version = RHEA_VERSION});
  monitor_context_->audio = &audio_;
  monitor_context_->objects = [this] { return objects_.list(); };
  monitor_context_->add_object = [this](const std::string& type, const std::string& id,
                                        const monitor::Context::Texts& options) {
    return objects_.add(type, id, options);
  };
  monitor_context_->delete_object = [this](const std::string& id) { return objects_.remove(id); };
  monitor_context_->plug_device = [this](const std::string& driver, const monitor::Context::Texts& options) {
    return plug_device(driver, options);
  };
  monitor_context_->command_line_options = [] {
    std::vector<monitor::OptionDescription> options;
    for (const OptionRow& row : option_rows())
      if (row.apply) options.push_back({std::string(row.name)});
    return options;
  };
  signal_watch_ = machine_->loop().watch(signals_.fd(), kReadable, [this](u32) { handle_signal(); });
  settings_.machine.watch_lines = settings_.qtest.has_value();
  RHEA_TRY(open_shares());
  RHEA_TRY(make_chardevs());
  RHEA_TRY(make_qtest());
  objects_.set_network(network_.get());
  objects_.set_drives(&machine_->drives());
  making_ = true;
  Result<void> networked = NetworkPlan(settings_, *network_, machine_->chardevs(), objects_).make();
  making_ = false;
  if (!networked.ok()) return networked;
  RHEA_TRY(settle_memory());
  drives_ = std::make_unique<DrivePlan>(settings_, *machine_);
  RHEA_TRY(drives_->make());
  monitor_context_->add_drive = [this](const std::string& options) { return drives_->add_drive(options); };
  monitor_context_->add_node = [this](const std::string& options) { return drives_->add_node(options); };
  monitor_context_->delete_node = [this](const std::string& name) { return drives_->delete_node(name); };
  RHEA_TRY(machine_->build(settings_.machine));
  drives_->warn_of_orphans();
  RHEA_TRY(make_semihosting());
  {
    std::lock_guard net_lock(machine_->net_loop().lock());
    for (net::Port* port : machine_->nic_ports()) network_->add_nic(port);
  }
  machine_->on_state_change(
      [this](machine::RunState state) { network_->set_running(state == machine::RunState::running); });
  machine_->monitor_command = [this](std::string_view line) { return monitor::run_captured(*monitor_context_, line); };
  monitor_context_->open_gdb = [this](const std::string& device) { return open_gdb(device); };
  if (settings_.gdb) {
    Result<void> opened = open_gdb(settings_.gdb->argument);
    if (!opened.ok()) return at(*settings_.gdb, std::move(opened.error()));
  }
  machine_->on_restored([this] { network_->guest_replaced(); });
  RHEA_TRY(load_state());
  print_warnings();
  return leave_privileges();
}

// device_add.
Result<void> Session::plug_device(const std::string& driver, const monitor::Context::Texts& options) {
  std::string text = config::quote_value(driver);
  for (const auto& [name, value] : options) text += fmt::format(",{}={}", name, config::quote_value(value));
  DevicePlan plan = RHEA_TRY(plan_device({.option = "device_add", .argument = text}));
  if (!plan.chardev.empty()) plan.device.chardev = RHEA_TRY(machine_->chardevs().attach(plan.chardev));
  Result<void> plugged = machine_->plug_device(plan.device);
  if (!plugged.ok() && plan.device.chardev) machine_->chardevs().detach(plan.device.chardev);
  return plugged;
}

Result<void> Session::leave_privileges() {
  if (settings_.chroot)
    if (Result<void> done = sys::change_root(settings_.chroot->argument); !done.ok())
      return at(*settings_.chroot, std::move(done.error()));
  if (settings_.run_as)
    if (Result<void> done = sys::change_user(settings_.run_as->argument); !done.ok())
      return at(*settings_.run_as, std::move(done.error()));
  return {};
}

Result<void> Session::load_state() {
  const machine::MachineConfig& config = machine_->config();
  if (machine_->dumped_dtb()) return {};
  if (!config.loadvm.empty() && !config.incoming.empty())
    return Error("-loadvm and -incoming both say where the state comes from: give one");
  if (!config.loadvm.empty()) return machine_->snapshots().load(config.loadvm);
  if (config.incoming.empty() || config.incoming == "defer") return {};
  auto came = machine_->snapshots().incoming(config.incoming);
  if (!came.ok()) return std::move(came.error()).in("load of migration failed");
  return {};
}

// "none" closes it.
Result<void> Session::open_gdb(const std::string& device) {
  if (gdb_) {
    gdb_.reset();
    machine_->chardevs().detach(gdb_port_);
    RHEA_TRY(machine_->chardevs().remove("gdb"));
  }
  if (device == "none") return {};
  std::string form = device;
  if (form.starts_with("tcp:")) form += ",server=on,wait=off,nodelay=on";
  const chardev::Spec spec = RHEA_TRY(chardev::parse_spec(form));
  if (spec.with_monitor) return Error("a monitor cannot share the debugger's line");
  gdb_port_ = RHEA_TRY(machine_->chardevs().open(spec, "gdb"));
  if (gdb_port_) gdb_ = std::make_unique<gdbstub::Stub>(*gdb_port_, machine_->debug_target());
  return {};
}

void Session::print_warnings() {
  for (const std::string& text : settings_.lines) std::fprintf(stderr, "%s\n", text.c_str());
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
    for (const auto& qmp : qmps_) qmp->start();
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
        machine_->request_quit(0, "host-signal");
        break;
      }
      case sys::Signal::stop:
        if (chardev::Terminal* terminal = machine_->chardevs().terminal()) terminal->suspend();
        sys::stop_this_process();
        if (chardev::Terminal* terminal = machine_->chardevs().terminal()) terminal->resume();
        break;
      case sys::Signal::resume:
        if (chardev::Terminal* terminal = machine_->chardevs().terminal()) terminal->resume();
        break;
    }
  }
}

}  // namespace rhea::cli
