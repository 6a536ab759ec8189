// SPDX-License-Identifier: MIT
// Work on a drive's image that goes on for a while beside the device's own requests: stream, commit, mirror.
//
//  - stream: what shows through from the layers between the top one and `base` becomes the top layer's own; they go.
//  - commit: what the layers between an overlay and `base` hold is written into `base`; they go. Of the active layer
//    it is a mirror onto `base`.
//  - mirror: a copy of the disk, and of what is written to it meanwhile. When all is copied the job is ready: from
//    then on it follows, until it is completed (the drive goes on with the copy) or cancelled (the copy is left as
//    the disk was at that moment).
//  - backup: a copy of the disk as it was when the job began. What the device writes waits until the old content has
//    been copied (WriteGuard).
//
// Two sides: the work runs in a thread of its own and touches nodes, which may be used from any thread; everything
// else, among it the change of a drive's layers at the end, happens under the loop's lock, with nothing in flight.
// What the device writes is noted by Drive, under the same lock, when the write has ended.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "block/drive.h"
#include "block/node.h"
#include "core/event_loop.h"
#include "util/result.h"

namespace rhea::block {

enum class JobStatus : u8 { created, running, paused, ready, standby, waiting, pending, aborting, concluded, null };
const char* job_status_name(JobStatus status);

struct JobOptions {
  std::string id;
  u64 speed = 0;  // bytes a second; 0: as fast as it goes
  ErrorAction on_source_error = ErrorAction::report;
  ErrorAction on_target_error = ErrorAction::report;
  bool auto_finalize = true, auto_dismiss = true;
};

class CopyJob;

// What a kind of job does.
class CopyWork {
 public:
  virtual ~CopyWork() = default;
  virtual const char* type() const = 0;
  // In the job's thread, to the end of the work or until proceed() says false. An error is the job's.
  virtual Result<void> run(CopyJob& job) = 0;
  // Under the loop's lock, with nothing in flight and the thread ended: all went well, or it did not. `keep_copy`: the
  // drive shall not go on with the copy.
  virtual Result<void> conclude(bool keep_copy) { return {}; }
  virtual void abandon() {}
};

class CopyJob {
 public:
  enum class Event : u8 { status, ready, error, pending, completed, cancelled };
  // Told under the loop's lock. Of `error`: what failed and what is done about it.
  struct News {
    Event event;
    bool reading = false;
    ErrorAction action = ErrorAction::report;
  };
  using Listener = std::function<void(CopyJob&, const News&)>;

  CopyJob(Drive& drive, JobOptions options, std::unique_ptr<CopyWork> work);
  ~CopyJob();  // ends it as if it were cancelled, and tells nobody
  CopyJob(const CopyJob&) = delete;
  CopyJob& operator=(const CopyJob&) = delete;

  // --- Under the loop's lock
  void start(Listener listener);
  const JobOptions& options() const { return options_; }
  const char* type() const { return work_->type(); }
  Drive& drive() { return drive_; }
  JobStatus status() const { return status_; }
  bool is_paused() const { return user_paused_ || error_paused_; }
  bool is_ready() const { return ready_; }
  u64 offset() const;  // bytes done
  u64 length() const;  // and in all, as far as it is known
  u64 speed() const;   // bytes a second; 0: no limit
  Drive::IoStatus io_status() const { return io_status_; }
  const std::string& error() const { return error_; }
  // Errors as the monitors tell them.
  Result<void> pause();
  Result<void> resume();
  Result<void> set_speed(s64 bytes);
  Result<void> complete();
  Result<void> cancel(bool force);
  Result<void> finalize();
  Result<void> dismiss();

  // --- The work's, from its thread
  // Waits while the job is paused and while the speed says so; false: it is cancelled.
  bool proceed();
  // Waits until `condition` (asked with the job's lock held, after each poke()), or a wish to finish; false: it is
  // cancelled.
  bool wait_for(const std::function<bool()>& condition);
  bool finish_wanted();  // it was completed, or cancelled softly
  void count(u64 done, u64 remaining);
  void pace(u64 bytes);
  void tell_ready();
  // What to do about a failure. True: the same again (when the job goes on, or at once).
  bool should_retry(bool reading, const Error& error);
  // Any thread: the work cannot be finished. From now on proceed() and wait_for() return at once, paused or not, so
  // that run() can end with the error; the listener hears of it.
  void give_up(bool reading, const Error& error);
  // Any thread.
  void poke() {
    { std::lock_guard lock(mutex_); }  // who has just looked is waiting by now
    changed_.notify_all();
  }

 private:
  void run();
  void ended(Result<void> result);
  void conclude();
  void settle();
  void set_status(JobStatus status);
  void show_pause();
  void failed(bool reading, bool no_space, ErrorAction action);
  void tell(const News& news);

  Drive& drive_;
  JobOptions options_;
  std::unique_ptr<CopyWork> work_;
  Listener listener_;
  JobStatus status_ = JobStatus::created;
  bool ready_ = false;
  bool user_paused_ = false, error_paused_ = false;
  bool over_ = false;  // the thread has ended
  bool cancelled_ = false;
  Drive::IoStatus io_status_ = Drive::IoStatus::ok;
  std::string error_;

  mutable std::mutex mutex_;  // of what follows, which the thread sees too
  std::condition_variable changed_;
  bool paused_ = false, cancel_ = false, soft_cancel_ = false, complete_ = false, given_up_ = false;
  u64 done_ = 0, remaining_ = 0, speed_ = 0;
  u64 paced_ = 0;  // bytes since pace_began_
  s64 pace_began_ = 0;

  std::thread thread_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// A layer of the drive's chain by the name of its file; nullptr: there is none. `depth`: 0 is the top one.
Node* find_layer(Drive& drive, const std::string& filename, unsigned* depth = nullptr);

// Errors: what is wrong with the layers. `base`: nullptr: all below. `backing_text`: what the header says of the new
// backing file; empty: its name.
Result<std::unique_ptr<CopyJob>> make_stream_job(Drive& drive, JobOptions options, Node* base,
                                                 const std::string& backing_text);
// `top` (not the active layer) into `base`, which is below it.
Result<std::unique_ptr<CopyJob>> make_commit_job(Drive& drive, JobOptions options, Node* top, Node* base,
                                                 const std::string& backing_text);
// The active layer into `base`.
Result<std::unique_ptr<CopyJob>> make_active_commit_job(Drive& drive, JobOptions options, Node* base);

struct MirrorOptions {
  enum class Sync : u8 { full, top, none } sync = Sync::full;
  u64 granularity = 0;      // bytes, a power of two; 0: 64 KiB, or the copy's clusters
  u64 buffer = 0;           // bytes copied at a time; 0: 1 MiB
  bool target_new = false;  // it holds nothing yet
  bool unmap = true;        // zeros are made by giving room back
};
// Onto an image that the job owns until it ends. `give_back` gets it then, unless the drive went on with it;
// `node_name`: of the copy, for the drive. `reopen`: how the copy is opened for the drive to go on with (with the
// backing images that the job left out); nothing: as it is.
struct MirrorTarget {
  std::unique_ptr<Image> image;
  std::string node_name;
  std::optional<ImageSpec> reopen;
  std::function<void(std::unique_ptr<Image>)> give_back;
};
Result<std::unique_ptr<CopyJob>> make_mirror_job(Drive& drive, JobOptions options, const MirrorOptions& mirror,
                                                 MirrorTarget target);

struct BackupOptions {
  // What is copied from the start: all, what the top layer has, or nothing but what is about to be written to.
  MirrorOptions::Sync sync = MirrorOptions::Sync::full;
  bool target_new = false;  // it holds nothing yet
  bool compress = false;    // errors: a format that cannot
};
// Onto an image of the disk's size, which the job owns until it ends; the drive does not go on with it.
Result<std::unique_ptr<CopyJob>> make_backup_job(Drive& drive, JobOptions options, const BackupOptions& backup,
                                                 MirrorTarget target);

}  // namespace rhea::block
