// SPDX-License-Identifier: MIT
// dump-guest-memory of both monitors.
#include "machine/memory_dump.h"
#include "monitor/commands.h"
#include "monitor/qmp.h"

namespace rhea::monitor {

namespace {

struct Wanted {
  std::string path;
  machine::DumpRequest request;
};

Json status_row(const DumpStatus& dump) {
  return {{"total", dump.total}, {"status", dump.status}, {"completed", dump.completed}};
}

// Its end is told by the event.
Result<void> dump_now(Context& context, const Wanted& wanted) {
  const auto work = [&]() -> Result<u64> {
    auto file = sys::open_output(wanted.path);
    if (!file.ok()) return Error("dump: failed to open '{}': {}", wanted.path, file.error().message());
    sys::Output output(file.take());
    return machine::dump_memory(context.machine, wanted.request, output);
  };
  context.dump = {.status = "active"};
  const Result<u64> done = work();
  if (done.ok()) context.dump = {.status = "completed", .completed = *done, .total = *done};
  else context.dump = {.status = "failed"};
  Json event = {{"result", status_row(context.dump)}};
  if (!done.ok()) event["error"] = done.error().message();
  context.machine.events().emit("DUMP_COMPLETED", config::json_text(event));
  return done.ok() ? Result<void>() : Result<void>(done.error());
}

// In the background: after the answer, within one turn of the loop, as the machine stands for it.
Result<void> dump(Context& context, Wanted wanted, bool detach) {
  if (std::string_view(context.dump.status) == "active") return Error("There is a dump in process, please wait.");
  if (wanted.request.part && wanted.request.part->length == 0)
    return Error("Parameter 'length' expects a value greater than 0");
  if (!detach) return dump_now(context, wanted);
  context.dump = {.status = "active"};
  context.machine.loop().post([&context, wanted = std::move(wanted)] {
    const Result<void> done = dump_now(context, wanted);
    if (!done.ok()) context.log.write_text(done.error().message());
  });
  return {};
}

}  // namespace

void run_dump_guest_memory(Monitor& monitor, const Arguments& arguments) {
  for (const auto& [flag, format] :
       {std::pair('z', "kdump-zlib"), std::pair('l', "kdump-lzo"), std::pair('s', "kdump-snappy"),
        std::pair('w', "win-dmp"), std::pair('R', "kdump-raw")})
    if (arguments.has_flag(flag))
      return monitor.print(fmt::format("Error: -{}: {} is not available: there is elf\n", flag, format));
  Wanted wanted{.path = arguments.texts[0], .request = {}};
  if (arguments.numbers.size() == 1) return monitor.print("Error: Parameter 'length' is missing\n");
  if (arguments.numbers.size() == 2) wanted.request.part = {arguments.numbers[0], arguments.numbers[1]};
  if (arguments.has_flag('p')) wanted.request.by_tables = monitor.cpu;
  monitor.report(dump(monitor.context(), std::move(wanted), arguments.has_flag('d')));
}

void info_dump(Monitor& monitor, const Arguments&) {
  const DumpStatus& dump = monitor.context().dump;
  monitor.print(fmt::format("Status: {}\n", dump.status));
}

Result<Json> qmp_dump_guest_memory(QmpCall& call) {
  const std::string protocol = call.text("protocol"), format = call.text("format", "elf");
  if (format != "elf") return Error("{} is not available: there is elf", format);
  constexpr std::string_view kFile = "file:";
  if (!protocol.starts_with(kFile)) return Error("Invalid parameter 'protocol': there is file:PATH");
  if (call.has("begin") != call.has("length"))
    return Error("Parameter '{}' is missing", call.has("begin") ? "length" : "begin");
  Wanted wanted{.path = protocol.substr(kFile.size()), .request = {}};
  if (call.has("begin")) {
    const s64 begin = call.number("begin"), length = call.number("length");
    if (begin < 0 || length < 0) return Error("Parameter '{}' is less than 0", begin < 0 ? "begin" : "length");
    wanted.request.part = {static_cast<u64>(begin), static_cast<u64>(length)};
  }
  if (call.flag("paging")) wanted.request.by_tables = 0;
  RHEA_TRY(dump(call.context, std::move(wanted), call.flag("detach")));
  return Json::object();
}

Result<Json> qmp_query_dump(QmpCall& call) { return status_row(call.context.dump); }

Result<Json> qmp_query_dump_formats(QmpCall&) { return Json{{"formats", Json::array({"elf"})}}; }

}  // namespace rhea::monitor
