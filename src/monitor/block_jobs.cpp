// SPDX-License-Identifier: MIT
// A job is a row of Context::jobs that owns a block::CopyJob. It goes from the list when it is dismissed, which it is
// by itself unless auto-dismiss is off: not within the job's own call, but in the loop's next turn.
#include "monitor/block_jobs.h"

#include <algorithm>

#include "block/create.h"
#include "block/node.h"
#include "block/open.h"
#include "config/options.h"
#include "monitor/block.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

using block::CopyJob;
using config::Json;

constexpr const char* kActions[] = {"report", "ignore", "stop"};

const char* action_name(block::ErrorAction action) { return kActions[std::min<usize>(static_cast<usize>(action), 2)]; }

Result<block::ErrorAction> parse_action(const char* name, const std::string& word) {
  if (word.empty()) return block::ErrorAction::report;
  const auto action = block::parse_error_action(word, false);
  if (!action.ok()) return Error("Parameter '{}' does not accept value '{}'", name, word);
  return *action;
}

void tell(Context& context, const char* event, const Json& data) {
  context.machine.events().deliver(event, config::json_text(data));
}

Json progress(const CopyJob& job) {
  return {{"device", job.options().id},
          {"len", job.length()},
          {"offset", job.offset()},
          {"speed", job.speed()},
          {"type", job.type()}};
}

void on_news(Context& context, CopyJob& job, const CopyJob::News& news) {
  using Event = CopyJob::Event;
  const std::string& id = job.options().id;
  switch (news.event) {
    case Event::status:
      tell_job_status(context, id, block::job_status_name(job.status()));
      if (job.status() != block::JobStatus::concluded || !job.options().auto_dismiss) return;
      if (!job.dismiss().ok()) return;
      context.machine.loop().post([&context, id] { (void)dismiss_job(context, id); });
      return;
    case Event::ready: return tell(context, "BLOCK_JOB_READY", progress(job));
    case Event::pending: return tell(context, "BLOCK_JOB_PENDING", {{"type", job.type()}, {"id", id}});
    case Event::cancelled: return tell(context, "BLOCK_JOB_CANCELLED", progress(job));
    case Event::error:
      return tell(
          context, "BLOCK_JOB_ERROR",
          {{"device", id}, {"operation", news.reading ? "read" : "write"}, {"action", action_name(news.action)}});
    case Event::completed: {
      Json data = progress(job);
      if (!job.error().empty()) data["error"] = job.error();
      return tell(context, "BLOCK_JOB_COMPLETED", data);
    }
  }
}

// The drive of a job that is about to begin.
Result<block::Drive*> drive_for(Context& context, const JobRequest& request) {
  block::Drive* drive = find_drive(context, request.device);
  if (!drive) return Error("Cannot find device='{}' nor node-name='{}'", request.device, request.device);
  if (!drive->has_medium()) return Error("Device '{}' has no medium", request.device);
  return drive;
}

Result<block::JobOptions> options_for(Context& context, const block::Drive& drive, const JobRequest& request) {
  block::JobOptions options;
  options.id = request.job_id.empty() ? drive.id() : request.job_id;
  if (!config::check_identifier("job-id", options.id).ok()) return Error("Invalid job ID '{}'", options.id);
  RHEA_TRY(drive.busy());
  if (find_job(context, options.id)) return Error("Job ID '{}' already in use", options.id);
  if (request.speed < 0) return Error("Parameter 'speed' expects a non-negative value");
  options.speed = static_cast<u64>(request.speed);
  options.on_source_error = RHEA_TRY(parse_action("on-source-error", request.on_source_error));
  options.on_target_error = RHEA_TRY(parse_action("on-target-error", request.on_target_error));
  if (!request.on_error.empty())
    options.on_source_error = options.on_target_error = RHEA_TRY(parse_action("on-error", request.on_error));
  options.auto_finalize = request.auto_finalize;
  options.auto_dismiss = request.auto_dismiss;
  return options;
}

void begin(Context& context, std::unique_ptr<CopyJob> job) {
  const std::string id = job->options().id;
  context.jobs.push_back({.id = id, .type = job->type(), .error = {}, .copy = std::move(job)});
  tell_job_status(context, id, "created");
  context.jobs.back().copy->start(
      [&context](CopyJob& copy, const CopyJob::News& news) { on_news(context, copy, news); });
}

// A layer by the name of its file or of its node ("#block12", "#block12.backing1").
Result<block::Node*> layer(block::Drive& drive, const std::string& file, const std::string& node) {
  if (!file.empty()) {
    if (block::Node* found = block::find_layer(drive, file)) return found;
    return Error("Can't find '{}' in the backing chain", file);
  }
  unsigned depth = 0;
  for (block::Node* at = &drive.image()->node(); at; at = at->backing(), ++depth)
    if (node == (depth ? fmt::format("{}.backing{}", drive.node_name(), depth) : drive.node_name())) return at;
  return Error("Cannot find device='' nor node-name='{}'", node);
}

block::Node* bottom(block::Drive& drive) {
  block::Node* node = &drive.image()->node();
  while (node->backing()) node = node->backing();
  return node;
}

}  // namespace

Job* find_job(Context& context, const std::string& id) {
  const auto found =
      std::find_if(context.jobs.begin(), context.jobs.end(), [&](const Job& job) { return job.id == id; });
  return found == context.jobs.end() ? nullptr : &*found;
}

void tell_job_status(Context& context, const std::string& id, const std::string& status) {
  if (Job* job = find_job(context, id)) job->status = status;
  tell(context, "JOB_STATUS_CHANGE", {{"status", status}, {"id", id}});
}

Result<CopyJob*> find_block_job(Context& context, const std::string& id) {
  Job* job = find_job(context, id);
  if (!job || !job->copy) return Error("Block job '{}' not found", id).with_hint("DeviceNotActive");
  return job->copy.get();
}

Result<void> dismiss_job(Context& context, const std::string& id) {
  const Job* job = find_job(context, id);
  if (!job) return Error("Job not found");
  if (job->copy && job->copy->status() != block::JobStatus::null) RHEA_TRY(job->copy->dismiss());
  std::erase_if(context.jobs, [&](const Job& one) { return one.id == id; });
  return {};
}

Result<void> start_stream(Context& context, const JobRequest& request, const StreamRequest& stream) {
  block::Drive& drive = *RHEA_TRY(drive_for(context, request));
  block::JobOptions options = RHEA_TRY(options_for(context, drive, request));
  if (!stream.base.empty() && !stream.base_node.empty())
    return Error("'base' and 'base-node' cannot be specified at the same time");
  block::Node* base = nullptr;
  if (!stream.base.empty() || !stream.base_node.empty()) base = RHEA_TRY(layer(drive, stream.base, stream.base_node));
  if (!base && !stream.backing_file.empty()) return Error("backing file specified, but streaming the entire chain");
  begin(context, RHEA_TRY(block::make_stream_job(drive, std::move(options), base, stream.backing_file)));
  return {};
}

Result<void> start_commit(Context& context, const JobRequest& request, const CommitRequest& commit) {
  block::Drive& drive = *RHEA_TRY(drive_for(context, request));
  block::JobOptions options = RHEA_TRY(options_for(context, drive, request));
  if (!commit.base.empty() && !commit.base_node.empty()) return Error("'base-node' and 'base' are mutually exclusive");
  if (!commit.top.empty() && !commit.top_node.empty()) return Error("'top-node' and 'top' are mutually exclusive");
  block::Node* const active = &drive.image()->node();
  block::Node* top = active;
  if (!commit.top.empty() || !commit.top_node.empty()) {
    const auto found = layer(drive, commit.top, commit.top_node);
    if (!found.ok() && !commit.top.empty()) return Error("Top image file {} not found", commit.top);
    top = RHEA_TRY(layer(drive, commit.top, commit.top_node));
  }
  block::Node* base = bottom(drive);
  if (!commit.base.empty() || !commit.base_node.empty()) base = RHEA_TRY(layer(drive, commit.base, commit.base_node));
  bool below = false;
  for (block::Node* at = top->backing(); at; at = at->backing()) below |= at == base;
  if (!below) return Error("Can't find '{}' in the backing chain", base->filename());
  if (top != active)
    return begin(context, RHEA_TRY(block::make_commit_job(drive, std::move(options), top, base, commit.backing_file))),
           Result<void>();
  if (!commit.backing_file.empty()) return Error("'backing-file' specified, but 'top' is the active layer");
  begin(context, RHEA_TRY(block::make_active_commit_job(drive, std::move(options), base)));
  return {};
}

namespace {

using Sync = block::MirrorOptions::Sync;

// Where nothing is below the top layer, it is all there is.
Result<Sync> parse_sync(const block::Drive& drive, const std::string& word) {
  if (word == "full") return Sync::full;
  if (word == "top") return drive.image()->node().backing() ? Sync::top : Sync::full;
  if (word == "none") return Sync::none;
  if (word == "incremental" || word == "bitmap")
    return Error("sync={}: there are no dirty bitmaps here: full, top and none can be had", word);
  return Error("Parameter 'sync' does not accept value '{}'", word);
}

Result<block::MirrorOptions> mirror_options(const block::Drive& drive, const MirrorRequest& request) {
  block::MirrorOptions options;
  options.sync = RHEA_TRY(parse_sync(drive, request.copy.sync));
  if (request.granularity && (request.granularity < 512 || request.granularity > (s64{64} << 20)))
    return Error("Parameter 'granularity' expects a value in range [512B, 64MB]");
  if (request.granularity & (request.granularity - 1)) return Error("Parameter 'granularity' expects a power of 2");
  if (request.buffer < 0) return Error("Invalid parameter 'buf-size'");
  constexpr s64 kMost = s64{64} << 20;
  options.granularity = static_cast<u64>(request.granularity);
  options.buffer = static_cast<u64>(std::min(request.buffer, kMost));
  options.unmap = request.unmap;
  return options;
}

// A node of blockdev-add, which gets its image back when the drive does not go on with it.
Result<block::MirrorTarget> node_target(Context& context, block::Drive& drive, const CopyRequest& request,
                                        const char* same) {
  block::Drive* node = context.machine.drives().find(request.target);
  if (node == &drive) return Error("{}", same);
  if (!node || node->node_name() != request.target)
    return Error("Cannot find device='{}' nor node-name='{}'", request.target, request.target);
  if (node->client()) return Error("Node '{}' is already in use", request.target);
  block::MirrorTarget target;
  target.node_name = request.target;
  target.image = node->remove();
  target.give_back = [node, name = request.target](std::unique_ptr<block::Image> image) {
    node->insert(std::move(image), name);
  };
  return target;
}

Result<block::MirrorTarget> file_target(Context& context, block::Drive& drive, const CopyRequest& request, Sync sync) {
  const block::ImageInfo info = drive.image()->info();
  const bool whole = sync == Sync::full;
  block::ImageSpec spec;
  spec.filename = request.target;
  spec.format = request.format.empty() && !request.existing ? info.format : request.format;
  if (!spec.format.empty() && !block::is_known_format(spec.format))
    return Error("Unknown file format '{}'", spec.format);
  spec.cache = drive.medium_spec().cache;
  spec.aio = drive.medium_spec().aio;
  spec.discard = drive.medium_spec().discard;
  spec.throttle = drive.medium_spec().throttle;
  spec.with_backing = whole;
  if (!request.existing) {
    block::CreateSpec create{.filename = request.target, .format = spec.format, .size = drive.size()};
    if (!whole) {
      const bool own = sync == Sync::none;
      if (own && drive.medium_spec().snapshot)
        return Error("'{}' is written to a temporary file (snapshot=on): no layer can lie on that", drive.id());
      if (spec.format != "qcow2") return Error("Backing file not supported for file format '{}'", spec.format);
      create.backing_file = own ? info.filename : info.full_backing_filename;
      create.backing_format = own ? info.format : info.backing_format;
      if (!create.backing_file.starts_with("/") && block::protocol_of(create.backing_file).empty())
        create.backing_file = sys::absolute_path(create.backing_file);
    }
    RHEA_TRY(block::create_image(create));
  }
  block::MirrorTarget target;
  target.image = RHEA_TRY(block::open_image(spec));
  for (const std::string& line : target.image->warnings()) context.log.write_text(line);
  target.node_name = request.node_name.empty() ? context.machine.drives().new_node_name() : request.node_name;
  if (!whole) {
    target.reopen = spec;
    target.reopen->with_backing = true;
  }
  return target;
}

// Whether the copy is made for this, and holds nothing yet.
bool is_new(const CopyRequest& request, Sync sync) {
  return !request.to_node && !request.existing && sync == Sync::full;
}

// `same`: what is said of a copy onto the disk itself.
Result<block::MirrorTarget> copy_target(Context& context, block::Drive& drive, const CopyRequest& request, Sync sync,
                                        const char* same) {
  return request.to_node ? node_target(context, drive, request, same) : file_target(context, drive, request, sync);
}

}  // namespace

Result<void> start_mirror(Context& context, const JobRequest& request, const MirrorRequest& mirror) {
  block::Drive& drive = *RHEA_TRY(drive_for(context, request));
  block::JobOptions options = RHEA_TRY(options_for(context, drive, request));
  block::MirrorOptions how = RHEA_TRY(mirror_options(drive, mirror));
  how.target_new = is_new(mirror.copy, how.sync);
  block::MirrorTarget target =
      RHEA_TRY(copy_target(context, drive, mirror.copy, how.sync, "Can't mirror node into itself"));
  begin(context, RHEA_TRY(block::make_mirror_job(drive, std::move(options), how, std::move(target))));
  return {};
}

Result<void> start_backup(Context& context, const JobRequest& request, const BackupRequest& backup) {
  block::Drive& drive = *RHEA_TRY(drive_for(context, request));
  block::JobOptions options = RHEA_TRY(options_for(context, drive, request));
  const std::string& sync = backup.copy.sync;
  if (!backup.bitmap.empty()) return Error("Bitmap '{}' could not be found", backup.bitmap);
  if (sync == "incremental" || sync == "bitmap")
    return Error("must provide a valid bitmap name for '{}' sync mode", sync);
  block::BackupOptions how{.sync = RHEA_TRY(parse_sync(drive, sync)), .compress = backup.compress};
  how.target_new = is_new(backup.copy, how.sync);
  block::MirrorTarget target =
      RHEA_TRY(copy_target(context, drive, backup.copy, how.sync, "Source and target cannot be the same"));
  begin(context, RHEA_TRY(block::make_backup_job(drive, std::move(options), how, std::move(target))));
  return {};
}

config::Json block_job_rows(Context& context) {
  Json rows = Json::array();
  for (const Job& row : context.jobs) {
    if (!row.copy || row.status == "null") continue;
    const CopyJob& job = *row.copy;
    Json value = progress(job);
    value["auto-finalize"] = job.options().auto_finalize;
    value["auto-dismiss"] = job.options().auto_dismiss;
    value["io-status"] = job.io_status() == block::Drive::IoStatus::ok       ? "ok"
                         : job.io_status() == block::Drive::IoStatus::failed ? "failed"
                                                                             : "nospace";
    value["busy"] = job.status() == block::JobStatus::running;
    value["status"] = row.status;
    value["paused"] = job.is_paused();
    value["ready"] = job.is_ready();
    if (!job.error().empty()) value["error"] = job.error();
    rows.push_back(std::move(value));
  }
  return rows;
}

std::string block_jobs_text(Context& context) {
  std::string text;
  for (const Json& job : block_job_rows(context)) {
    const std::string type = job["type"];
    const std::string what = type == "stream" ? "Streaming device " : fmt::format("Type {}, device ", type);
    text += fmt::format("{}{}: Completed {} of {} bytes, speed limit {} bytes/s\n", what,
                        job["device"].get<std::string>(), job["offset"].dump(), job["len"].dump(), job["speed"].dump());
  }
  return text.empty() ? "No active jobs\n" : text;
}

}  // namespace rhea::monitor
