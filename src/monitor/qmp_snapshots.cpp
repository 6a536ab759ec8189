// SPDX-License-Identifier: MIT
// QMP: snapshots as jobs, migration.
//
// A job begins when its command has been answered, and is over within one turn of the loop: the machine stands still
// for it. It stays in the list, concluded, until its client dismisses it.
#include <algorithm>

#include "monitor/block_jobs.h"
#include "monitor/descriptors.h"
#include "monitor/migration.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

using machine::Snapshots;

Json nothing() { return Json::object(); }

// Notes the job; `work` runs after the command's answer.
Result<Json> start_job(QmpCall& call, const char* type, std::function<Result<void>()> work) {
  const std::string id = call.text("job-id");
  RHEA_TRY(config::check_identifier("job-id", id));
  Context& context = call.context;
  if (find_job(context, id)) return Error("Job ID '{}' already in use", id);
  context.jobs.push_back({.id = id, .type = type, .error = {}, .copy = {}});
  tell_job_status(context, id, "created");
  tell_job_status(context, id, "running");
  context.machine.loop().post([&context, id, work = std::move(work)] {
    const Result<void> done = work();
    if (Job* job = find_job(context, id); job && !done.ok()) job->error = done.error().message();
    if (done.ok()) {
      tell_job_status(context, id, "waiting");
      tell_job_status(context, id, "pending");
    } else {
      tell_job_status(context, id, "aborting");
    }
    tell_job_status(context, id, "concluded");
  });
  return nothing();
}

Snapshots::Choice choice_of(QmpCall& call) {
  Snapshots::Choice choice;
  for (const Json& name : call.arguments["devices"]) choice.disks.push_back(name.get<std::string>());
  choice.vm_state = call.has("vmstate") ? call.text("vmstate") : choice.disks.empty() ? "" : choice.disks.front();
  return choice;
}

}  // namespace

Result<Json> qmp_snapshot_save(QmpCall& call) {
  Snapshots& snapshots = call.context.machine.snapshots();
  return start_job(call, "snapshot-save",
                   [&snapshots, tag = call.text("tag"), choice = choice_of(call)]() -> Result<void> {
                     if (tag.empty()) return Error("a snapshot needs a name");
                     if (RHEA_TRY(snapshots.has(tag, &choice))) return Error("Snapshot '{}' already exists", tag);
                     return snapshots.save(tag, &choice);
                   });
}

Result<Json> qmp_snapshot_load(QmpCall& call) {
  Snapshots& snapshots = call.context.machine.snapshots();
  return start_job(call, "snapshot-load", [&snapshots, tag = call.text("tag"), choice = choice_of(call)] {
    return snapshots.load(tag, &choice);
  });
}

// One that is not there is no error, as in QEMU.
Result<Json> qmp_snapshot_delete(QmpCall& call) {
  Snapshots& snapshots = call.context.machine.snapshots();
  return start_job(call, "snapshot-delete",
                   [&snapshots, tag = call.text("tag"), choice = choice_of(call)]() -> Result<void> {
                     if (!RHEA_TRY(snapshots.has(tag, &choice))) return {};
                     return snapshots.remove(tag, &choice);
                   });
}

Result<Json> qmp_migrate(QmpCall& call) {
  if (call.flag("blk") || call.flag("inc"))
    return Error("disks are not sent along: both sides use the same images ('blk' and 'inc')");
  if (call.flag("resume")) return Error("there is no postcopy that could be resumed");
  RHEA_TRY(call.context.machine.snapshots().migrate(RHEA_TRY(migration_uri(call.context, call.text("uri")))));
  return nothing();
}

Result<Json> qmp_migrate_cancel(QmpCall& call) {
  call.context.machine.snapshots().cancel();
  return nothing();
}

Result<Json> qmp_migrate_incoming(QmpCall& call) {
  machine::Machine& machine = call.context.machine;
  if (machine.config().incoming.empty()) return Error("'-incoming' was not specified on the command line");
  if (machine.config().incoming != "defer" || machine.state() != machine::RunState::inmigrate)
    return Error("The incoming migration has already been started");
  RHEA_TRY(machine.take_incoming(RHEA_TRY(migration_uri(call.context, call.text("uri")))));
  return nothing();
}

Result<Json> qmp_query_migrate(QmpCall& call) {
  Snapshots& snapshots = call.context.machine.snapshots();
  const Snapshots::Migration now = snapshots.migration();
  Json answer = Json::object();
  if (const machine::Arriving* coming = snapshots.arriving()) {
    const sys::SocketName& name = coming->name();
    const bool inet = name.family == sys::SocketName::Family::inet;
    answer["status"] = "setup";
    answer["socket-address"] = Json::array({inet ? Json{{"port", name.port}, {"host", name.host}, {"type", "inet"}}
                                                 : Json{{"path", name.path}, {"type", "unix"}}});
    return answer;
  }
  if (now.status == Snapshots::Status::none) return answer;
  answer["status"] = Snapshots::status_name(now.status);
  if (!now.error.empty()) answer["error-desc"] = now.error;
  const s64 milliseconds = now.nanoseconds / kMillisecond;
  if (now.status == Snapshots::Status::setup) return answer;
  answer["total-time"] = milliseconds;
  if (now.status == Snapshots::Status::completed) answer["downtime"] = milliseconds;
  const machine::StateProgress& progress = now.progress;
  answer["ram"] = {{"transferred", progress.bytes},
                   {"remaining", progress.ram_total - progress.ram_done},
                   {"total", progress.ram_total},
                   {"duplicate", progress.zero_pages},
                   {"skipped", 0},
                   {"normal", progress.normal_pages},
                   {"normal-bytes", progress.normal_pages << 12}};
  return answer;
}

Result<Json> qmp_migrate_set_capabilities(QmpCall& call) {
  for (const Json& row : call.arguments["capabilities"])
    RHEA_TRY(set_migration_capability(call.context, row["capability"], row["state"]));
  return nothing();
}

Result<Json> qmp_query_migrate_capabilities(QmpCall& call) {
  Json list = Json::array();
  for (const auto& [name, on] : migration_capabilities(call.context))
    list.push_back({{"state", *on}, {"capability", name}});
  return list;
}

// A machine stands still while it is sent, as fast as the other side takes it: there is nothing to set.
Result<Json> qmp_query_migrate_parameters(QmpCall&) { return nothing(); }
Result<Json> qmp_migrate_set_parameters(QmpCall& call) {
  if (call.arguments.empty()) return nothing();
  return Error("Parameter '{}' is unexpected: this migration has no parameters", call.arguments.begin().key());
}

}  // namespace rhea::monitor
