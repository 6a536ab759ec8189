// SPDX-License-Identifier: MIT
// Jobs of drives for both monitors: starting one, what is told of it, and its events.
#pragma once

#include <string>

#include "block/copy_job.h"
#include "config/json.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

// What block-stream, block-commit, drive-mirror, drive-backup and their like take; what is not said is empty.
struct JobRequest {
  std::string device;  // a drive's name, or a node's
  std::string job_id;  // empty: the drive's name
  s64 speed = 0;
  std::string on_error, on_source_error, on_target_error;
  bool auto_finalize = true, auto_dismiss = true;
};

struct StreamRequest {
  std::string base;       // a file of the chain
  std::string base_node;  // or a node's name
  std::string backing_file;
};
struct CommitRequest {
  std::string base, base_node, top, top_node;
  std::string backing_file;
};
// Onto what a disk is copied.
struct CopyRequest {
  std::string target;  // a file, or with `to_node` a node
  bool to_node = false;
  std::string format;
  std::string sync = "full";
  bool existing = false;  // the file is there, and is not made
  std::string node_name;  // of the copy
};
struct MirrorRequest {
  CopyRequest copy;
  s64 granularity = 0, buffer = 0;
  bool unmap = true;
};
struct BackupRequest {
  CopyRequest copy;
  std::string bitmap;
  bool compress = false;
};
Result<void> start_stream(Context& context, const JobRequest& job, const StreamRequest& request);
Result<void> start_commit(Context& context, const JobRequest& job, const CommitRequest& request);
Result<void> start_mirror(Context& context, const JobRequest& job, const MirrorRequest& request);
Result<void> start_backup(Context& context, const JobRequest& job, const BackupRequest& request);

Job* find_job(Context& context, const std::string& id);
void tell_job_status(Context& context, const std::string& id, const std::string& status);
// Jobs of drives, by ID. Errors: "Block job 'x' not found".
Result<block::CopyJob*> find_block_job(Context& context, const std::string& id);
// After a verb: forgets a job that is dismissed.
Result<void> dismiss_job(Context& context, const std::string& id);

config::Json block_job_rows(Context& context);
std::string block_jobs_text(Context& context);

}  // namespace rhea::monitor
