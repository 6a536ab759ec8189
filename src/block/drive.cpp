// SPDX-License-Identifier: MIT
#include "block/drive.h"

#include <algorithm>

#include "util/text.h"

namespace rhea::block {

namespace {

constexpr const char* kBusNames[] = {"none", "ide", "scsi", "sd", "mtd", "floppy", "pflash", "virtio"};
constexpr const char* kActionNames[] = {"report", "ignore", "stop", "enospc"};

}  // namespace

Result<DriveBus> parse_drive_bus(const std::string& word) {
  for (usize i = 0; i < std::size(kBusNames); ++i) {
    if (word == kBusNames[i]) return static_cast<DriveBus>(i);
  }
  const std::vector<std::string> words(std::begin(kBusNames), std::end(kBusNames));
  return Error("unsupported bus type '{}'{}: if= takes {}", word, did_you_mean(word, words), join(words, ", "));
}

const char* drive_bus_name(DriveBus bus) { return kBusNames[static_cast<usize>(bus)]; }

Result<ErrorAction> parse_error_action(const std::string& word, bool for_reads) {
  for (usize i = 0; i < std::size(kActionNames); ++i) {
    if (word == kActionNames[i] && !(for_reads && i == 3)) return static_cast<ErrorAction>(i);
  }
  return Error("'{}' invalid {} error action: there are report, ignore, stop{}", word, for_reads ? "read" : "write",
               for_reads ? "" : ", enospc");
}

DriveStatistics::Kind& DriveStatistics::of(Op op) {
  switch (op) {
    case Op::read: return read;
    case Op::flush: return flush;
    case Op::discard: return discard;
    default: return write;
  }
}

Drive::Drive(EventLoop& loop, DriveConfig config, std::function<void(const Failure&)> on_failure)
    : loop_(loop), config_(std::move(config)), on_failure_(std::move(on_failure)),
      alive_(std::make_shared<bool>(true)) {}

Drive::~Drive() {
  *alive_ = false;
  if (image_) image_->drain();
}

void Drive::insert(std::unique_ptr<Image> image, std::string node_name) {
  drain();
  image_ = std::move(image);
  node_name_ = image_ ? std::move(node_name) : std::string();
  inactive_ = false;
  if (image_) {
    medium_spec_ = image_->spec();
    image_->attach(loop_);
    image_->set_synchronous(synchronous_);
  }
  if (client_) client_->medium_changed(image_ != nullptr);
}

std::unique_ptr<Image> Drive::remove() {
  drain();
  auto old = std::move(image_);
  node_name_.clear();
  inactive_ = false;
  if (old && client_) client_->medium_changed(false);
  return old;
}

std::unique_ptr<Image> Drive::replace(std::unique_ptr<Image> image, std::string node_name) {
  image_->drain();
  std::swap(image_, image);
  node_name_ = std::move(node_name);
  medium_spec_ = image_->spec();
  image_->attach(loop_);
  image_->set_synchronous(synchronous_);
  return image;
}

Result<void> Drive::deactivate() {
  if (!image_ || inactive_ || image_->read_only() || medium_spec_.snapshot) return {};
  RHEA_TRY(busy());
  drain();
  Result<void> flushed = image_->flush();
  if (!flushed.ok()) return std::move(flushed.error()).in(id());
  image_.reset();
  inactive_ = true;
  return {};
}

Result<void> Drive::activate() {
  if (!inactive_) return {};
  auto image = open_image(medium_spec_);
  if (!image.ok()) return std::move(image.error()).in(id());
  image_ = image.take();
  image_->attach(loop_);
  image_->set_synchronous(synchronous_);
  inactive_ = false;
  return {};
}

Result<void> Drive::may_eject(bool force) const {
  RHEA_TRY(busy());
  if (client_ && !removable_) return Error("Device '{}' is not removable", id());
  if (client_ && !client_->eject_allowed(force) && !force) {
    return Error("Device '{}' is locked and force was not specified, wait for tray to open and try again", id());
  }
  return {};
}

Result<void> Drive::eject(bool force) {
  RHEA_TRY(may_eject(force));
  remove();
  return {};
}

Result<void> Drive::resize(u64 bytes) {
  RHEA_TRY(busy());
  if (!image_) return Error("Device '{}' has no medium", id());
  drain();
  RHEA_TRY(image_->resize(bytes));
  if (client_) client_->resized();
  return {};
}

Result<void> Drive::attach(DriveClient* client, std::string path, bool removable) {
  if (client_) return Error("Drive '{}' is already in use by another device", id());
  client_ = client;
  attached_path_ = std::move(path);
  removable_ = removable;
  return {};
}

void Drive::detach() {
  drain();
  held_.clear();
  throttled_.clear();
  client_ = nullptr;
  attached_path_.clear();
}

void Drive::set_synchronous(bool on) {
  synchronous_ = on;
  if (image_) image_->set_synchronous(on);
}

// Counts, and does what the policy says. Nothing: the request is held back (`again` was moved from).
std::optional<IoResult> Drive::settle(Op op, u64 size, s64 began, IoResult result, Request* again) {
  if (watcher_ && op != Op::read && op != Op::flush) watcher_(again->offset, size);
  DriveStatistics::Kind& kind = statistics_.of(op);
  const s64 now = loop_.real_clock().now();
  kind.nanoseconds += now - began;
  statistics_.last_ended = now;
  if (result.ok()) {
    ++kind.operations;
    kind.bytes += size;
    if (op == Op::write || op == Op::write_zeroes)
      statistics_.highest_written = std::max(statistics_.highest_written, again->offset + size);
    return result;
  }
  ++kind.failed;
  // The guest's own mistakes are its own to hear of.
  const bool hosts = result.code == IoCode::failed || result.code == IoCode::no_space;
  ErrorAction action = op == Op::read ? config_.read_error : config_.write_error;
  if (action == ErrorAction::enospc) action = result.code == IoCode::no_space ? ErrorAction::stop : ErrorAction::report;
  if (!hosts) action = ErrorAction::report;
  if (action == ErrorAction::stop) {
    io_status_ = result.code == IoCode::no_space ? IoStatus::no_space : IoStatus::failed;
    held_.push_back(std::move(*again));
  }
  if (hosts && on_failure_) on_failure_({*this, op, action, result});
  if (action == ErrorAction::stop) return std::nullopt;
  if (action == ErrorAction::ignore) return IoResult{};
  return result;
}

std::optional<IoResult> Drive::begin(Request request) {
  const Op op = request.op;
  const u64 size = request.size;
  const s64 began = loop_.real_clock().now();
  auto original = std::make_shared<Request>(std::move(request));
  Request inner = *original;
  inner.done = [this, alive = alive_, original, op, size, began](IoResult result) {
    if (!*alive) return;
    const auto done = original->done;
    auto settled = settle(op, size, began, std::move(result), original.get());
    if (settled && done) done(std::move(*settled));
  };
  auto result = image_->start(std::move(inner));
  if (!result) return std::nullopt;
  return settle(op, size, began, std::move(*result), original.get());
}

std::optional<IoResult> Drive::start(Request request) {
  if (!image_) return IoResult{IoCode::no_medium, "there is no medium in the drive"};
  if (throttle_ && request.op != Op::flush) {
    const s64 now = loop_.real_clock().now();
    if (!throttled_.empty() || throttle_->ready_at(request.op, now) > now) {
      throttled_.push_back(std::move(request));
      if (throttled_.size() == 1) start_throttled(false);
      return std::nullopt;
    }
    throttle_->take(request.op, request.size, now);
  }
  return begin(std::move(request));
}

// One that start() has answered with "later" already.
void Drive::begin_later(Request request) {
  auto done = request.done;
  auto result = image_ ? begin(std::move(request)) : IoResult{IoCode::no_medium, "there is no medium in the drive"};
  if (result && done) done(std::move(*result));
}

void Drive::start_throttled(bool all) {
  while (!throttled_.empty()) {
    const s64 now = loop_.real_clock().now();
    const Request& next = throttled_.front();
    if (!all && throttle_) {
      const s64 when = throttle_->ready_at(next.op, now);
      if (when > now) return throttle_timer_->arm(when);
    }
    if (throttle_) throttle_->take(next.op, next.size, now);
    Request request = std::move(throttled_.front());
    throttled_.pop_front();
    begin_later(std::move(request));
  }
}

void Drive::set_throttle(std::shared_ptr<ThrottleGroup> group) {
  throttle_ = std::move(group);
  throttle_changed();
}

void Drive::throttle_changed() {
  if (!throttle_timer_) throttle_timer_ = loop_.real_clock().timer([this] { start_throttled(false); });
  start_throttled(false);
}

void Drive::submit(Request request) {
  auto done = request.done;
  auto result = start(std::move(request));
  if (!result || !done) return;
  loop_.post([alive = alive_, done = std::move(done), result = std::move(*result)]() mutable {
    if (*alive) done(std::move(result));
  });
}

void Drive::drain() {
  do {
    start_throttled(true);
    if (image_) image_->drain();
  } while (!throttled_.empty());
}

void Drive::cancel_held() {
  held_.clear();
  throttled_.clear();
}

void Drive::resume() {
  io_status_ = IoStatus::ok;
  std::deque<Request> held = std::move(held_);
  held_.clear();
  for (Request& request : held) submit(std::move(request));
}

Result<Drive*> DriveTable::add(std::unique_ptr<Drive> drive) {
  const DriveConfig& config = drive->config();
  if (config.bus != DriveBus::none && find(config.bus, config.bus_index, config.unit)) {
    return Error("drive with bus={}, unit={} (index={}) exists", config.bus_index, config.unit, config.unit);
  }
  if (find(config.id)) return Error("Duplicate ID '{}' for drive", config.id);
  drives_.push_back(std::move(drive));
  return drives_.back().get();
}

Drive* DriveTable::find(const std::string& id) const {
  for (const auto& drive : drives_) {
    if (drive->id() == id || (!drive->node_name().empty() && drive->node_name() == id)) return drive.get();
  }
  return nullptr;
}

Drive* DriveTable::find(DriveBus bus, int bus_index, int unit) const {
  for (const auto& drive : drives_) {
    const DriveConfig& config = drive->config();
    if (config.bus == bus && config.bus_index == bus_index && config.unit == unit) return drive.get();
  }
  return nullptr;
}

Result<void> DriveTable::remove(const std::string& id) {
  const auto found = std::find_if(drives_.begin(), drives_.end(), [&](const auto& drive) { return drive->id() == id; });
  if (found == drives_.end()) return Error("Device '{}' not found", id);
  if ((*found)->client()) return Error("Device '{}' is in use", id);
  RHEA_TRY((*found)->busy());
  drives_.erase(found);
  return {};
}

int DriveTable::free_unit(DriveBus bus) const {
  int unit = 0;
  while (find(bus, 0, unit)) ++unit;
  return unit;
}

void DriveTable::drain_all() {
  for (const auto& drive : drives_) drive->drain();
}

Result<void> DriveTable::flush_all() {
  Result<void> first;
  for (const auto& drive : drives_) {
    if (!drive->image() || drive->read_only()) continue;
    drive->drain();
    auto flushed = drive->image()->flush();
    if (!flushed && first.ok()) first = std::move(flushed.error()).in(drive->id());
  }
  return first;
}

namespace {

// All of them, whatever goes wrong; the first error.
template <typename Drives>
Result<void> each(const Drives& drives, Result<void> (Drive::*act)()) {
  Result<void> first;
  for (const auto& drive : drives) {
    auto done = (drive.get()->*act)();
    if (!done && first.ok()) first = std::move(done);
  }
  return first;
}

}  // namespace

Result<void> DriveTable::deactivate_all() { return each(drives_, &Drive::deactivate); }
Result<void> DriveTable::activate_all() { return each(drives_, &Drive::activate); }

std::shared_ptr<ThrottleGroup> DriveTable::throttle_group(const std::string& name) const {
  for (const auto& drive : drives_)
    if (drive->throttle() && drive->throttle()->name() == name) return drive->throttle();
  return std::make_shared<ThrottleGroup>(name);
}

void DriveTable::set_throttle(Drive& drive, const std::string& name, const ThrottleLimits& limits) {
  if (!limits.any()) return drive.set_throttle(nullptr);
  const auto group = throttle_group(name.empty() ? (drive.throttle() ? drive.throttle()->name() : drive.id()) : name);
  group->set_limits(limits, drive.loop().real_clock().now());
  drive.set_throttle(group);
  for (const auto& other : drives_)
    if (other->throttle() == group) other->throttle_changed();
}

void DriveTable::resume_all() {
  for (const auto& drive : drives_) drive->resume();
}

Result<void> DriveTable::commit_all() {
  for (const auto& drive : drives_) {
    if (!drive->image() || drive->read_only() || drive->image()->info().backing_filename.empty()) continue;
    RHEA_TRY(drive->busy());
    drive->drain();
    auto committed = drive->image()->commit();
    if (!committed) return std::move(committed.error()).in(drive->id());
  }
  return {};
}

}  // namespace rhea::block
