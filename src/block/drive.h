// SPDX-License-Identifier: MIT
// A drive: what -drive and -blockdev name and a disk device holds. It may have an image (a medium) or none, and
// lives as long as the machine; media come and go. All calls are made under the machine loop's lock.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/image.h"
#include "block/throttle.h"
#include "core/event_loop.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::block {

// The if= words.
enum class DriveBus : u8 { none, ide, scsi, sd, mtd, floppy, pflash, virtio };
Result<DriveBus> parse_drive_bus(const std::string& word);  // "unsupported bus type 'foo'" and the words there are
const char* drive_bus_name(DriveBus bus);

// What is done about a failed request: tell the guest; pretend it worked; stop the machine and try again when it
// goes on; the last of these for a full disk alone, else tell the guest.
enum class ErrorAction : u8 { report, ignore, stop, enospc };
Result<ErrorAction> parse_error_action(const std::string& word, bool for_reads);

struct DriveConfig {
  std::string id;  // unique; "sd0", "none0", ... when the user gave none
  DriveBus bus = DriveBus::none;
  int bus_index = 0;
  int unit = 0;
  bool cdrom = false;  // media=cdrom
  ErrorAction write_error = ErrorAction::enospc;
  ErrorAction read_error = ErrorAction::report;
  std::string serial;     // empty: the device's own
  std::string node_name;  // of the first medium; empty: "#block3"
};

// What a device implements to hear of its medium. Called under the loop's lock.
class DriveClient {
 public:
  virtual ~DriveClient() = default;
  virtual void medium_changed(bool loaded) {}  // another image, or none
  virtual void resized() {}
  // The user wants the medium out: a device with a lock on its tray tells the guest and answers false.
  virtual bool eject_allowed(bool force) { return true; }
  virtual bool tray_open() const { return false; }
};

struct DriveStatistics {
  struct Kind {
    u64 operations = 0, bytes = 0, failed = 0;
    s64 nanoseconds = 0;  // between start and end, summed
  };
  Kind read, write, flush, discard;
  u64 highest_written = 0;  // the end of the last byte that was
  s64 last_ended = -1;      // ns of the real clock; -1: never
  Kind& of(Op op);
};

// What has to see parts of the disk before they change: a backup. Called under the loop's lock.
class WriteGuard {
 public:
  virtual ~WriteGuard() = default;
  // Whether a write, zeroes or a discard of this range may begin. One that may not is held back; the guard sees to it
  // that it may soon, and then says so by Drive::guard_changed().
  virtual bool may_write(u64 offset, u64 size) = 0;
  // The same, waited for.
  virtual void wait_for_write(u64 offset, u64 size) = 0;
};

class Drive {
 public:
  // `stop` is called when a request failed and the policy is to stop: it stops the machine (state "io-error").
  struct Failure {
    Drive& drive;
    Op op;
    ErrorAction action;  // report, ignore or stop: what is done
    IoResult result;
  };
  Drive(EventLoop& loop, DriveConfig config, std::function<void(const Failure&)> on_failure);
  ~Drive();
  Drive(const Drive&) = delete;
  Drive& operator=(const Drive&) = delete;

  const std::string& id() const { return config_.id; }
  const DriveConfig& config() const { return config_; }
  const std::string& node_name() const { return node_name_; }  // of the medium; empty: none
  EventLoop& loop() const { return loop_; }
  void set_error_actions(ErrorAction write, ErrorAction read) {
    config_.write_error = write;
    config_.read_error = read;
  }

  // The medium, and the name of its top node: the one of -blockdev, or "#block3".
  Image* image() const { return image_.get(); }
  bool has_medium() const { return image_ != nullptr; }
  u64 size() const { return image_ ? image_->size() : 0; }  // bytes
  bool read_only() const { return image_ && image_->read_only(); }
  // Changes it (nullptr: takes it out) and tells the client. What was in flight ends first.
  void insert(std::unique_ptr<Image> image, std::string node_name = {});
  std::unique_ptr<Image> remove();
  // How the next medium is opened when nothing else is said: as the last one was, or as the command line says.
  const ImageSpec& medium_spec() const { return medium_spec_; }
  void set_medium_spec(ImageSpec spec) { medium_spec_ = std::move(spec); }
  // The image that is in is a stand-in, until activate() opens the one of the spec.
  void set_inactive() { inactive_ = true; }
  // Another process is about to use the image (a migration): it is closed, without the device being told; activate()
  // opens it anew, with what that process may have written. Images that are read-only or temporary stay.
  Result<void> deactivate();
  Result<void> activate();
  Result<void> may_eject(bool force) const;
  Result<void> eject(bool force);  // errors: "Device 'x' is not removable", "... is locked"
  Result<void> resize(u64 bytes);  // and tells the client

  // The device: one at a time. `path` is its name for `info block` ("/machine/unattached/device[3]").
  Result<void> attach(DriveClient* client, std::string path, bool removable);
  void detach();
  DriveClient* client() const { return client_; }
  const std::string& attached_path() const { return attached_path_; }
  bool removable() const { return removable_; }

  // As Image::start, with the error policy and the statistics. A request whose failure stopped the machine has
  // not ended: resume() tries it again.
  std::optional<IoResult> start(Request request);
  // The same, but request.done is always called, by the loop, never within this call.
  void submit(Request request);
  // Waits until nothing is in flight (requests held back by an error stay): for reset, snapshots, migration.
  void drain();
  // Forgets what is held back by an error (reset); their done is not called.
  void cancel_held();
  void resume();  // the machine runs again
  bool held() const { return !held_.empty(); }
  // Why the machine was stopped, until it goes on.
  enum class IoStatus : u8 { ok, failed, no_space };
  IoStatus io_status() const { return io_status_; }
  // Whether a failure may stop the machine, so that the status says something.
  bool has_io_status() const {
    return client_ && (config_.write_error >= ErrorAction::stop || config_.read_error >= ErrorAction::stop);
  }
  // Every request ends within its start(): for deterministic runs.
  void set_synchronous(bool on);
  bool synchronous() const { return synchronous_; }

  const DriveStatistics& statistics() const { return statistics_; }

  // Limits of what the device may do, besides those that the image brings along (ImageSpec::throttle); the group may be
  // shared with other drives. nullptr: none. What is held back for them begins when they allow it, in the order it
  // came.
  void set_throttle(std::shared_ptr<ThrottleGroup> group);
  const std::shared_ptr<ThrottleGroup>& throttle() const { return throttle_; }
  void throttle_changed();  // its limits: looks again
  bool is_throttled_by(const ThrottleGroup* group) const;

  // A job (block/copy_job.h) uses the image: "mirror"; empty: none does. While one does, what would change the image
  // under it is refused: busy() says so.
  void set_job(std::string type) { job_ = std::move(type); }
  const std::string& job() const { return job_; }
  Result<void> busy() const {
    if (job_.empty()) return {};
    return Error("Node '{}' is busy: block device is in use by block job: {}", id(), job_);
  }
  // Told of each range that was written, zeroed or discarded, when that has ended, whatever came of it.
  using Watcher = std::function<void(u64 offset, u64 size)>;
  void set_watcher(Watcher watcher) { watcher_ = std::move(watcher); }
  // nullptr: none any more, and what it held back begins. Set with nothing in flight.
  void set_guard(WriteGuard* guard);
  void guard_changed() { start_guarded(false); }
  // Another image with the same content in place of the one there is: the device does not notice. Nothing is in flight.
  std::unique_ptr<Image> replace(std::unique_ptr<Image> image, std::string node_name);
  // An empty layer, opened without a backing image, on top of the image there is, which is read-only from then on (an
  // external snapshot). The layer's header is made to name what it lies on, if it does not already. Errors: the drive
  // has a job; the layer cannot have a backing image, or is too small; what the files say. Nothing is changed then.
  Result<void> add_layer(std::unique_ptr<Image>& layer, std::string node_name);

 private:
  std::optional<IoResult> settle(Op op, u64 size, s64 began, IoResult result, Request* again);
  std::optional<IoResult> begin(Request request);

  EventLoop& loop_;
  DriveConfig config_;
  std::function<void(const Failure&)> on_failure_;
  std::unique_ptr<Image> image_;
  DriveClient* client_ = nullptr;
  std::string attached_path_;
  bool removable_ = false;
  bool synchronous_ = false;
  std::string node_name_;
  ImageSpec medium_spec_;
  bool inactive_ = false;
  IoStatus io_status_ = IoStatus::ok;
  std::deque<Request> held_;
  DriveStatistics statistics_;
  s64 throttled_until(const Request& request, s64 now);
  void take_share(const Request& request, s64 now);
  void start_throttled(bool all);
  void begin_later(Request request);
  void start_guarded(bool all);

  std::string job_;
  Watcher watcher_;
  WriteGuard* guard_ = nullptr;
  std::deque<Request> guarded_;
  std::shared_ptr<ThrottleGroup> throttle_;
  std::deque<Request> throttled_;
  std::unique_ptr<Timer> throttle_timer_;
  std::shared_ptr<bool> alive_;
};

// All drives of a machine, in the order of their making. The machine owns one; devices find theirs by name or by
// bus and number; `info block`, eject, change, commit and savevm walk it.
class DriveTable {
 public:
  // Errors: "drive with bus=0, unit=0 (index=0) exists", "Duplicate ID 'x' for drive".
  Result<Drive*> add(std::unique_ptr<Drive> drive);
  Drive* find(const std::string& id) const;  // nullptr: none
  Drive* find(DriveBus bus, int bus_index, int unit) const;
  Result<void> remove(const std::string& id);  // errors: there is none; a device holds it
  const std::vector<std::unique_ptr<Drive>>& all() const { return drives_; }
  // A name for a node that has none.
  std::string new_node_name() { return "#block" + std::to_string(++last_node_); }
  // The lowest free unit of a bus.
  int free_unit(DriveBus bus) const;

  void drain_all();
  Result<void> flush_all();  // the first error; all are tried
  void resume_all();
  // The group of that name, made when there is none yet.
  std::shared_ptr<ThrottleGroup> throttle_group(const std::string& name) const;
  // Groups that are objects of their own (throttle-group): there with or without drives. Errors: there is one, there is
  // none, a drive is in it.
  Result<void> add_throttle_group(const std::string& name, const ThrottleLimits& limits);
  Result<void> remove_throttle_group(const std::string& name);
  std::shared_ptr<ThrottleGroup> find_throttle_group(const std::string& name) const;
  // New limits of a group; who waits looks again.
  void set_limits(ThrottleGroup& group, const ThrottleLimits& limits);
  // New limits of a drive; its group (empty: the drive's own). All off: it is in none any more.
  void set_throttle(Drive& drive, const std::string& group, const ThrottleLimits& limits);
  // The first error; all are tried.
  Result<void> deactivate_all();
  Result<void> activate_all();
  Result<void> commit_all();  // each drive that has a backing image and can be written

 private:
  std::vector<std::unique_ptr<Drive>> drives_;
  std::vector<std::shared_ptr<ThrottleGroup>> throttle_groups_;
  u64 last_node_ = 0;
};

}  // namespace rhea::block
