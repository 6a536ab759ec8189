// SPDX-License-Identifier: MIT
// QMP: what the machine is and does.
#include <algorithm>

#include "monitor/commands.h"
#include "monitor/guest_memory.h"
#include "monitor/qmp.h"
#include "monitor/qmp_schema.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

// The version of QEMU whose commands these are: clients choose by it.
constexpr unsigned kMajor = 7, kMinor = 2, kMicro = 0;

Result<Json> nothing() { return Json::object(); }

// A monitor that nobody sees, for commands whose text is wanted.
class Nowhere final : public chardev::Backend {
 public:
  void write(std::span<const u8>) override {}
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "null"; }
};

}  // namespace

Result<Json> qmp_query_version(QmpCall& call) {
  return Json{{"qemu", {{"micro", kMicro}, {"minor", kMinor}, {"major", kMajor}}},
              {"package", fmt::format("Rhea {}", call.context.version)}};
}

Result<Json> qmp_query_commands(QmpCall&) {
  Json list = Json::array();
  for (const QmpCommand& command : qmp_commands()) list.push_back({{"name", command.name}});
  return list;
}

Result<Json> qmp_query_events(QmpCall&) {
  Json list = Json::array();
  for (const QmpEvent& event : qmp_events()) list.push_back({{"name", event.name}});
  return list;
}

Result<Json> qmp_query_schema(QmpCall&) { return qmp_schema(); }

Result<Json> qmp_human_monitor_command(QmpCall& call) {
  Nowhere nowhere;
  Monitor monitor(nowhere, call.context, true);
  if (call.has("cpu-index")) {
    const s64 cpu = call.number("cpu-index");
    if (cpu < 0 || cpu >= call.context.machine.cpu_count()) return Error("Parameter 'cpu-index' expects a CPU number");
    monitor.cpu = static_cast<unsigned>(cpu);
  }
  return Json(monitor.output_of(call.text("command-line")));
}

Result<Json> qmp_quit(QmpCall& call) {
  call.context.machine.request_quit(0, "host-qmp-quit");
  return nothing();
}

Result<Json> qmp_query_status(QmpCall& call) {
  const machine::RunState state = call.context.machine.state();
  return Json{
      {"status", run_state_name(state)}, {"singlestep", false}, {"running", state == machine::RunState::running}};
}

Result<Json> qmp_query_name(QmpCall& call) {
  const std::string& name = call.context.machine.config().name;
  Json answer = Json::object();
  if (!name.empty()) answer["name"] = name;
  return answer;
}

Result<Json> qmp_query_uuid(QmpCall& call) { return Json{{"UUID", call.context.machine.config().uuid_text()}}; }
Result<Json> qmp_query_kvm(QmpCall&) { return Json{{"enabled", false}, {"present", false}}; }
Result<Json> qmp_query_target(QmpCall&) { return Json{{"arch", "arm"}}; }

Result<Json> qmp_query_cpus_fast(QmpCall& call) {
  Json list = Json::array();
  machine::Machine& machine = call.context.machine;
  for (unsigned i = 0; i < machine.cpu_count(); ++i)
    list.push_back({{"thread-id", machine.engine().cpu(i).thread_id()},
                    {"qom-path", fmt::format("/machine/unattached/device[{}]", i)},
                    {"cpu-index", i},
                    {"target", "arm"}});
  return list;
}

Result<Json> qmp_query_machines(QmpCall&) {
  Json list = Json::array();
  for (const machine::Board* board : machine::all_boards()) {
    Json row = {{"hotpluggable-cpus", false}, {"name", board->name}, {"numa-mem-supported", false}};
    if (!board->default_cpu.empty()) row["default-cpu-type"] = fmt::format("{}-arm-cpu", board->default_cpu);
    row["cpu-max"] = board->max_cpus;
    row["deprecated"] = false;
    if (!board->alias.empty()) row["alias"] = board->alias;
    list.push_back(std::move(row));
  }
  return list;
}

Result<Json> qmp_query_current_machine(QmpCall&) { return Json{{"wakeup-suspend-support", false}}; }

Result<Json> qmp_query_cpu_definitions(QmpCall&) {
  Json list = Json::array();
  for (const std::string& model : accel::cpu_models())
    list.push_back({{"name", model}, {"typename", model + "-arm-cpu"}, {"static", false}, {"deprecated", false}});
  return list;
}

Result<Json> qmp_query_hotpluggable_cpus(QmpCall&) {
  return Error("The feature 'query-hotpluggable-cpus' is not enabled");
}

Result<Json> qmp_query_memory_size_summary(QmpCall& call) {
  const machine::MachineConfig& config = call.context.machine.config();
  return Json{{"base-memory", config.ram_size ? config.ram_size : config.board->default_ram}, {"plugged-memory", 0}};
}

Result<Json> qmp_empty_list(QmpCall&) { return Json::array(); }

Result<Json> qmp_query_command_line_options(QmpCall& call) {
  if (!call.context.command_line_options) return Json::array();
  Json list = Json::array();
  for (const OptionDescription& option : call.context.command_line_options()) {
    if (call.has("option") && option.name != call.text("option")) continue;
    Json parameters = Json::array();
    list.push_back({{"parameters", parameters}, {"option", option.name}});
  }
  if (call.has("option") && list.empty()) return Error("invalid option name: {}", call.text("option"));
  return list;
}

Result<Json> qmp_stop(QmpCall& call) {
  call.context.machine.stop();
  return nothing();
}

Result<Json> qmp_cont(QmpCall& call) {
  call.context.machine.cont();
  return nothing();
}

Result<Json> qmp_system_reset(QmpCall& call) {
  call.context.machine.request_reset(false, "host-qmp-system-reset");
  return nothing();
}

// The boards there are have no power button: the guest notices nothing, as in QEMU.
Result<Json> qmp_system_powerdown(QmpCall& call) {
  call.context.machine.events().emit("POWERDOWN");
  return nothing();
}

Result<Json> qmp_system_wakeup(QmpCall&) { return Error("wake-up from suspend is not supported by this guest"); }
Result<Json> qmp_inject_nmi(QmpCall&) { return Error("machine does not provide NMIs"); }

Result<Json> qmp_set_action(QmpCall& call) {
  machine::Actions& actions = call.context.machine.actions();
  if (call.has("reboot")) actions.end_on_reboot = call.text("reboot") == "shutdown";
  if (call.has("shutdown")) actions.stay_on_shutdown = call.text("shutdown") == "pause";
  for (const char* name : {"panic", "watchdog"})
    if (call.has(name)) return Error("'{}': no board of Rhea's has a device that tells of it", name);
  return nothing();
}

Result<Json> qmp_memsave(QmpCall& call) {
  const s64 cpu = call.number("cpu-index");
  if (cpu < 0 || cpu >= call.context.machine.cpu_count()) return Error("Parameter 'cpu-index' expects a CPU number");
  RHEA_TRY(save_memory(call.context.machine, static_cast<unsigned>(cpu), static_cast<u64>(call.number("val")),
                       static_cast<u64>(call.number("size")), call.text("filename"), false));
  return nothing();
}

Result<Json> qmp_pmemsave(QmpCall& call) {
  RHEA_TRY(save_memory(call.context.machine, 0, static_cast<u64>(call.number("val")),
                       static_cast<u64>(call.number("size")), call.text("filename"), true));
  return nothing();
}

Result<Json> qmp_query_usernet(QmpCall& call) {
  return Json{{"human-readable-text", call.context.network.info_usernet()}};
}

Result<Json> qmp_query_jit(QmpCall& call) {
  return Json{{"human-readable-text", call.context.machine.engine().statistics()}};
}

Result<Json> qmp_set_link(QmpCall& call) {
  RHEA_TRY(call.context.network.set_link(call.text("name"), call.flag("up")));
  return nothing();
}

}  // namespace rhea::monitor
