// SPDX-License-Identifier: MIT
// Jobs: those of drives for people and programs, and what all kinds of jobs have in common (query-jobs, job-*).
#include <algorithm>

#include "monitor/block.h"
#include "monitor/block_jobs.h"
#include "monitor/commands.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

using block::CopyJob;

Json nothing() { return Json::object(); }

JobRequest job_request(QmpCall& call) {
  return {.device = call.text("device"),
          .job_id = call.text("job-id"),
          .speed = call.number("speed"),
          .on_error = call.text("on-error"),
          .on_source_error = call.text("on-source-error"),
          .on_target_error = call.text("on-target-error"),
          .auto_finalize = call.flag("auto-finalize", true),
          .auto_dismiss = call.flag("auto-dismiss", true)};
}

// What QEMU has and Rhea does not: filter nodes, other places in a graph of nodes.
Result<void> refuse(QmpCall& call, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (call.has(name)) return Error("'{}' is known to QEMU, but Rhea does not have it", name);
  return {};
}

template <typename Verb>
Result<Json> with_block_job(QmpCall& call, const char* key, Verb&& verb) {
  CopyJob* job = RHEA_TRY(find_block_job(call.context, call.text(key)));
  RHEA_TRY(verb(*job));
  return nothing();
}

// The same of any job: one that has no such verb is a snapshot's.
template <typename Verb>
Result<Json> with_job(QmpCall& call, const char* name, Verb&& verb) {
  const Job* job = find_job(call.context, call.text("id"));
  if (!job) return Error("Job not found");
  if (!job->copy) return Error("Job '{}' in state '{}' cannot accept command verb '{}'", job->id, job->status, name);
  RHEA_TRY(verb(*job->copy));
  return nothing();
}

template <typename Verb>
void hmp_verb(Monitor& monitor, const Arguments& arguments, Verb&& verb) {
  const auto job = find_block_job(monitor.context(), arguments.texts[0]);
  if (!job.ok()) return monitor.report(Error(job.error()));
  monitor.report(verb(**job));
}

}  // namespace

// --- QMP ------------------------------------------------------------------------------------------------------------

Result<Json> qmp_block_stream(QmpCall& call) {
  RHEA_TRY(refuse(call, {"bottom", "filter-node-name", "snapshot-node-name"}));
  RHEA_TRY(start_stream(
      call.context, job_request(call),
      {.base = call.text("base"), .base_node = call.text("base-node"), .backing_file = call.text("backing-file")}));
  return nothing();
}

Result<Json> qmp_block_commit(QmpCall& call) {
  RHEA_TRY(refuse(call, {"filter-node-name"}));
  RHEA_TRY(start_commit(call.context, job_request(call),
                        {.base = call.text("base"),
                         .base_node = call.text("base-node"),
                         .top = call.text("top"),
                         .top_node = call.text("top-node"),
                         .backing_file = call.text("backing-file")}));
  return nothing();
}

namespace {

Result<void> check_copy_mode(QmpCall& call) {
  const std::string mode = call.text("copy-mode", "background");
  if (mode == "write-blocking")
    return Error("copy-mode=write-blocking is known to QEMU, but Rhea does not have it: 'background' is how it copies");
  return {};
}

CopyRequest copy_request(QmpCall& call, bool to_node) {
  return {.target = call.text("target"),
          .to_node = to_node,
          .format = call.text("format"),
          .sync = call.text("sync"),
          .existing = call.text("mode", "absolute-paths") == "existing",
          .node_name = call.text("node-name")};
}

MirrorRequest mirror_request(QmpCall& call, bool to_node) {
  return {.copy = copy_request(call, to_node),
          .granularity = call.number("granularity"),
          .buffer = call.number("buf-size"),
          .unmap = call.flag("unmap", true)};
}

}  // namespace

Result<Json> qmp_drive_mirror(QmpCall& call) {
  RHEA_TRY(refuse(call, {"replaces"}));
  RHEA_TRY(check_copy_mode(call));
  RHEA_TRY(start_mirror(call.context, job_request(call), mirror_request(call, false)));
  return nothing();
}

Result<Json> qmp_blockdev_mirror(QmpCall& call) {
  RHEA_TRY(refuse(call, {"replaces", "filter-node-name"}));
  RHEA_TRY(check_copy_mode(call));
  RHEA_TRY(start_mirror(call.context, job_request(call), mirror_request(call, true)));
  return nothing();
}

namespace {

Result<Json> start_backup(QmpCall& call, bool to_node) {
  RHEA_TRY(refuse(call, {"filter-node-name", "bitmap-mode"}));
  RHEA_TRY(start_backup(
      call.context, job_request(call),
      {.copy = copy_request(call, to_node), .bitmap = call.text("bitmap"), .compress = call.flag("compress")}));
  return nothing();
}

}  // namespace

Result<Json> qmp_drive_backup(QmpCall& call) { return start_backup(call, false); }
Result<Json> qmp_blockdev_backup(QmpCall& call) { return start_backup(call, true); }

Result<Json> qmp_query_block_jobs(QmpCall& call) { return block_job_rows(call.context); }

Result<Json> qmp_block_job_set_speed(QmpCall& call) {
  return with_block_job(call, "device", [&](CopyJob& job) { return job.set_speed(call.number("speed")); });
}
Result<Json> qmp_block_job_cancel(QmpCall& call) {
  return with_block_job(call, "device", [&](CopyJob& job) { return job.cancel(call.flag("force")); });
}
Result<Json> qmp_block_job_pause(QmpCall& call) {
  return with_block_job(call, "device", [](CopyJob& job) { return job.pause(); });
}
Result<Json> qmp_block_job_resume(QmpCall& call) {
  return with_block_job(call, "device", [](CopyJob& job) { return job.resume(); });
}
Result<Json> qmp_block_job_complete(QmpCall& call) {
  return with_block_job(call, "device", [](CopyJob& job) { return job.complete(); });
}
Result<Json> qmp_block_job_finalize(QmpCall& call) {
  return with_block_job(call, "id", [](CopyJob& job) { return job.finalize(); });
}
Result<Json> qmp_block_job_dismiss(QmpCall& call) {
  RHEA_TRY(with_block_job(call, "id", [](CopyJob& job) { return job.dismiss(); }));
  RHEA_TRY(dismiss_job(call.context, call.text("id")));
  return nothing();
}

Result<Json> qmp_query_jobs(QmpCall& call) {
  Json list = Json::array();
  for (const Job& job : call.context.jobs) {
    if (job.status == "null") continue;
    const u64 all = job.copy ? job.copy->length() : 1;
    const u64 done = job.copy ? job.copy->offset() : job.status == "concluded" ? 1 : 0;
    const std::string error = job.copy ? job.copy->error() : job.error;
    Json row = {{"current-progress", done},
                {"status", job.status},
                {"total-progress", all},
                {"type", job.type},
                {"id", job.id}};
    if (!error.empty()) row["error"] = error;
    list.push_back(std::move(row));
  }
  return list;
}

Result<Json> qmp_job_dismiss(QmpCall& call) {
  const Job* job = find_job(call.context, call.text("id"));
  if (!job) return Error("Job not found");
  const std::string id = job->id;
  if (job->copy) {
    RHEA_TRY(job->copy->dismiss());
  } else {
    if (job->status != "concluded")
      return Error("Job '{}' in state '{}' cannot accept command verb 'dismiss'", id, job->status);
    tell_job_status(call.context, id, "null");
  }
  RHEA_TRY(dismiss_job(call.context, id));
  return nothing();
}

Result<Json> qmp_job_cancel(QmpCall& call) {
  return with_job(call, "cancel", [](CopyJob& job) { return job.cancel(true); });
}
Result<Json> qmp_job_pause(QmpCall& call) {
  return with_job(call, "pause", [](CopyJob& job) { return job.pause(); });
}
Result<Json> qmp_job_resume(QmpCall& call) {
  return with_job(call, "resume", [](CopyJob& job) { return job.resume(); });
}
Result<Json> qmp_job_complete(QmpCall& call) {
  return with_job(call, "complete", [](CopyJob& job) { return job.complete(); });
}
Result<Json> qmp_job_finalize(QmpCall& call) {
  return with_job(call, "finalize", [](CopyJob& job) { return job.finalize(); });
}

// --- HMP ------------------------------------------------------------------------------------------------------------

void info_block_jobs(Monitor& monitor, const Arguments&) { monitor.print(block_jobs_text(monitor.context())); }

// block_stream DEVICE [SPEED in MiB/s [BASE]]
void run_block_stream(Monitor& monitor, const Arguments& arguments) {
  JobRequest job{.device = arguments.texts[0], .on_error = "report"};
  if (!arguments.numbers.empty()) job.speed = static_cast<s64>(arguments.numbers[0]);
  monitor.report(start_stream(monitor.context(), job, {.base = arguments.texts.size() > 1 ? arguments.texts[1] : ""}));
}

namespace {

// [-n] [-f] DEVICE TARGET [FORMAT]: -n: the file is there; -f: all of the disk.
CopyRequest copy_request(const Arguments& arguments) {
  const std::vector<std::string>& texts = arguments.texts;
  return {.target = texts[1],
          .format = texts.size() > 2 ? texts[2] : "",
          .sync = arguments.has_flag('f') ? "full" : "top",
          .existing = arguments.has_flag('n')};
}

}  // namespace

void run_drive_mirror(Monitor& monitor, const Arguments& arguments) {
  monitor.report(start_mirror(monitor.context(), {.device = arguments.texts[0]}, {.copy = copy_request(arguments)}));
}

void run_drive_backup(Monitor& monitor, const Arguments& arguments) {
  monitor.report(start_backup(monitor.context(), {.device = arguments.texts[0]},
                              {.copy = copy_request(arguments), .compress = arguments.has_flag('c')}));
}

void run_block_job_set_speed(Monitor& monitor, const Arguments& arguments) {
  hmp_verb(monitor, arguments, [&](CopyJob& job) { return job.set_speed(static_cast<s64>(arguments.numbers[0])); });
}
void run_block_job_cancel(Monitor& monitor, const Arguments& arguments) {
  hmp_verb(monitor, arguments, [&](CopyJob& job) { return job.cancel(arguments.has_flag('f')); });
}
void run_block_job_complete(Monitor& monitor, const Arguments& arguments) {
  hmp_verb(monitor, arguments, [](CopyJob& job) { return job.complete(); });
}
void run_block_job_pause(Monitor& monitor, const Arguments& arguments) {
  hmp_verb(monitor, arguments, [](CopyJob& job) { return job.pause(); });
}
void run_block_job_resume(Monitor& monitor, const Arguments& arguments) {
  hmp_verb(monitor, arguments, [](CopyJob& job) { return job.resume(); });
}

}  // namespace rhea::monitor
