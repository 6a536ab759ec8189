// SPDX-License-Identifier: MIT
// What the jobs have in common: the thread, pausing and pacing, errors, and the states on the way to the end.
//
// created -> running <-> paused; running -> ready <-> standby (of those that have a ready state); then, when the
// thread has ended, waiting -> pending -> concluded, or aborting -> concluded; and null when it is forgotten.
// With auto_finalize=off the job stays pending until finalize().
#include "block/copy_job.h"

#include <algorithm>

#include "sys/poller.h"
#include "sys/thread.h"

namespace rhea::block {

const char* job_status_name(JobStatus status) {
  constexpr const char* kNames[] = {"created", "running", "paused",   "ready",     "standby",
                                    "waiting", "pending", "aborting", "concluded", "null"};
  return kNames[static_cast<usize>(status)];
}

CopyJob::CopyJob(Drive& drive, JobOptions options, std::unique_ptr<CopyWork> work)
    : drive_(drive), options_(std::move(options)), work_(std::move(work)), speed_(options_.speed) {}

CopyJob::~CopyJob() {
  *alive_ = false;
  if (status_ == JobStatus::created || status_ == JobStatus::concluded) return;
  {
    std::lock_guard lock(mutex_);
    cancel_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  drive_.drain();
  work_->abandon();
  drive_.set_job({});
}

void CopyJob::start(Listener listener) {
  listener_ = std::move(listener);
  drive_.set_job(type());
  set_status(JobStatus::running);
  thread_ = std::thread([this] { run(); });
}

void CopyJob::tell(const News& news) {
  if (listener_) listener_(*this, news);
}

void CopyJob::set_status(JobStatus status) {
  if (status_ == status) return;
  status_ = status;
  tell({Event::status});
}

u64 CopyJob::offset() const {
  std::lock_guard lock(mutex_);
  return done_;
}
u64 CopyJob::length() const {
  std::lock_guard lock(mutex_);
  return done_ + remaining_;
}
u64 CopyJob::speed() const {
  std::lock_guard lock(mutex_);
  return speed_;
}

// --- the thread -----------------------------------------------------------------------------------------------------

void CopyJob::run() {
  sys::name_current_thread("block-job");
  auto result = std::make_shared<Result<void>>(work_->run(*this));
  drive_.loop().post([this, alive = alive_, result] {
    if (*alive) ended(std::move(*result));
  });
}

bool CopyJob::proceed() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (cancel_) return false;
    if (given_up_) return true;
    if (paused_) {
      changed_.wait(lock);
      pace_began_ = 0;
      continue;
    }
    if (!speed_ || !pace_began_) return true;
    const s64 due = pace_began_ + static_cast<s64>(static_cast<double>(paced_) * kSecond / static_cast<double>(speed_));
    const s64 now = sys::monotonic_now();
    if (now >= due) return true;
    changed_.wait_for(lock, std::chrono::nanoseconds(due - now));
  }
}

bool CopyJob::wait_for(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return cancel_ || given_up_ || (!paused_ && (complete_ || soft_cancel_ || condition())); });
  return !cancel_;
}

void CopyJob::count(u64 done, u64 remaining) {
  std::lock_guard lock(mutex_);
  done_ = done;
  remaining_ = remaining;
}

void CopyJob::pace(u64 bytes) {
  std::lock_guard lock(mutex_);
  if (!speed_) return;
  if (!pace_began_) {
    pace_began_ = sys::monotonic_now();
    paced_ = 0;
  }
  paced_ += bytes;
}

bool CopyJob::finish_wanted() {
  std::lock_guard lock(mutex_);
  return complete_ || soft_cancel_;
}

void CopyJob::tell_ready() {
  drive_.loop().post([this, alive = alive_] {
    if (!*alive || ready_ || over_) return;
    ready_ = true;
    set_status(is_paused() ? JobStatus::standby : JobStatus::ready);
    tell({Event::ready});
  });
}

bool CopyJob::should_retry(bool reading, const Error& error) {
  ErrorAction action = reading ? options_.on_source_error : options_.on_target_error;
  const bool no_space = sys::is_no_space(error);
  if (action == ErrorAction::enospc) action = no_space ? ErrorAction::stop : ErrorAction::report;
  if (action == ErrorAction::stop) {
    std::lock_guard lock(mutex_);
    paused_ = true;
  }
  drive_.loop().post([this, alive = alive_, reading, no_space, action] {
    if (*alive) failed(reading, no_space, action);
  });
  return action != ErrorAction::report;
}

void CopyJob::give_up(bool reading, const Error& error) {
  // First, so that it is told before the end is.
  drive_.loop().post([this, alive = alive_, reading, no_space = sys::is_no_space(error)] {
    if (*alive) failed(reading, no_space, ErrorAction::report);
  });
  {
    std::lock_guard lock(mutex_);
    given_up_ = true;
  }
  changed_.notify_all();
}

void CopyJob::failed(bool reading, bool no_space, ErrorAction action) {
  tell({Event::error, reading, action});
  if (action != ErrorAction::stop) return;
  io_status_ = no_space ? Drive::IoStatus::no_space : Drive::IoStatus::failed;
  error_paused_ = true;
  show_pause();
}

// --- verbs ----------------------------------------------------------------------------------------------------------

namespace {

Error cannot(const CopyJob& job, const char* verb) {
  return Error("Job '{}' in state '{}' cannot accept command verb '{}'", job.options().id,
               job_status_name(job.status()), verb);
}

}  // namespace

void CopyJob::show_pause() {
  if (over_) return;
  if (is_paused()) set_status(ready_ ? JobStatus::standby : JobStatus::paused);
  else set_status(ready_ ? JobStatus::ready : JobStatus::running);
}

Result<void> CopyJob::pause() {
  if (over_) return cannot(*this, "pause");
  if (user_paused_) return Error("Job is already paused");
  user_paused_ = true;
  {
    std::lock_guard lock(mutex_);
    paused_ = true;
  }
  show_pause();
  return {};
}

Result<void> CopyJob::resume() {
  if (!is_paused()) return Error("Can't resume a job that was not paused");
  user_paused_ = error_paused_ = false;
  io_status_ = Drive::IoStatus::ok;
  {
    std::lock_guard lock(mutex_);
    paused_ = false;
  }
  changed_.notify_all();
  show_pause();
  return {};
}

Result<void> CopyJob::set_speed(s64 bytes) {
  if (over_) return cannot(*this, "set-speed");
  if (bytes < 0) return Error("Parameter 'speed' expects a non-negative value");
  {
    std::lock_guard lock(mutex_);
    speed_ = static_cast<u64>(bytes);
    pace_began_ = 0;
  }
  changed_.notify_all();
  return {};
}

Result<void> CopyJob::complete() {
  if (over_ || !ready_) return cannot(*this, "complete");
  if (is_paused()) return Error("The active block job '{}' is paused: resume it to complete it", options_.id);
  {
    std::lock_guard lock(mutex_);
    if (soft_cancel_) return Error("The active block job '{}' cannot be completed", options_.id);
    complete_ = true;
  }
  changed_.notify_all();
  return {};
}

Result<void> CopyJob::cancel(bool force) {
  if (status_ == JobStatus::concluded || status_ == JobStatus::null || status_ == JobStatus::aborting)
    return cannot(*this, "cancel");
  if (status_ == JobStatus::pending) {
    cancelled_ = true;
    settle();
    return {};
  }
  user_paused_ = error_paused_ = false;
  {
    std::lock_guard lock(mutex_);
    paused_ = false;
    if (!force && ready_) soft_cancel_ = true;
    else cancel_ = true;
  }
  changed_.notify_all();
  return {};
}

Result<void> CopyJob::finalize() {
  if (status_ != JobStatus::pending) return cannot(*this, "finalize");
  conclude();
  return {};
}

Result<void> CopyJob::dismiss() {
  if (status_ != JobStatus::concluded) return cannot(*this, "dismiss");
  set_status(JobStatus::null);
  return {};
}

// --- the end --------------------------------------------------------------------------------------------------------

// On the loop: the thread has done what it had to do.
void CopyJob::ended(Result<void> result) {
  thread_.join();
  over_ = true;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = cancel_;
  }
  if (!result.ok()) error_ = result.error().message();
  if (cancelled_ || !error_.empty()) return settle();
  set_status(JobStatus::waiting);
  set_status(JobStatus::pending);
  if (!options_.auto_finalize) return tell({Event::pending});
  conclude();
}

void CopyJob::conclude() {
  bool keep_copy = false;
  {
    std::lock_guard lock(mutex_);
    keep_copy = !complete_;
  }
  drive_.drain();
  Result<void> done = work_->conclude(keep_copy);
  if (!done.ok()) error_ = done.error().message();
  settle();
}

// All is done: puts away what has to be, and tells how it ended.
void CopyJob::settle() {
  if (cancelled_ || !error_.empty()) {
    set_status(JobStatus::aborting);
    drive_.drain();
    work_->abandon();
  }
  drive_.set_job({});
  tell({cancelled_ ? Event::cancelled : Event::completed});
  set_status(JobStatus::concluded);
}

}  // namespace rhea::block
