// SPDX-License-Identifier: MIT
#include "block/drive.h"

#include <algorithm>

#include "block/node.h"
#include "block/open.h"
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

namespace {

// Makes a layer's header name the image that it is about to lie on. Returns the name as seen from here.
Result<std::string> name_backing(Image& layer, const ImageInfo& below) {
  const ImageInfo own = layer.info();
  const std::string named = own.backing_filename.empty() ? "" : resolve_backing(own.filename, own.backing_filename);
  if (!named.empty() && (named == below.filename || sys::same_file(named, below.filename))) return named;
  const bool is_path = protocol_of(below.filename).empty();
  const std::string name = is_path ? sys::absolute_path(below.filename) : below.filename;
  RHEA_TRY(layer.node().change_backing(name, below.format));
  return name;
}

}  // namespace

Result<void> Drive::add_layer(std::unique_ptr<Image>& layer, std::string node_name) {
  RHEA_TRY(busy());
  if (!image_) return Error("Device '{}' has no medium", id());
  if (inactive_) return Error("Block node '{}' is inactive: the machine's state has not come yet", id());
  if (medium_spec_.snapshot)
    return Error("'{}' is written to a temporary file (snapshot=on): it has that layer already", id());
  const ImageInfo below = image_->info();
  if (layer->info().format == "raw") return Error("The overlay does not support backing images");
  if (layer->size() < size())
    return Error("The overlay is smaller than the disk: {} bytes of {}", layer->size(), size());
  drain();
  RHEA_TRY(image_->flush());
  const std::string name = RHEA_TRY(name_backing(*layer, below));
  if (!image_->read_only()) RHEA_TRY(image_->node().set_read_only(true));
  ImageSpec spec = layer->spec();
  spec.with_backing = true;
  spec.throttle = medium_spec_.throttle;
  spec.backing_file.clear();
  spec.backing_format.clear();
  const u64 old_size = size();
  std::unique_ptr<Node> top = layer->release();
  layer.reset();
  top->put_backing(image_->release(), name);
  replace(std::make_unique<Image>(std::move(top), spec), std::move(node_name));
  if (size() != old_size && client_) client_->resized();
  return {};
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
  guarded_.clear();
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
  const bool changes = request.op != Op::read && request.op != Op::flush;
  if (guard_ && changes && !guard_->may_write(request.offset, request.size)) {
    if (!synchronous_) {
      guarded_.push_back(std::move(request));
      return std::nullopt;
    }
    guard_->wait_for_write(request.offset, request.size);
  }
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
  if ((throttle_ || image_->spec().throttle) && request.op != Op::flush) {
    const s64 now = loop_.real_clock().now();
    if (!throttled_.empty() || throttled_until(request, now) > now) {
      throttled_.push_back(std::move(request));
      if (throttled_.size() == 1) start_throttled(false);
      return std::nullopt;
    }
    take_share(request, now);
  }
  return begin(std::move(request));
}

// One that start() has answered with "later" already.
void Drive::begin_later(Request request) {
  auto done = request.done;
  auto result = image_ ? begin(std::move(request)) : IoResult{IoCode::no_medium, "there is no medium in the drive"};
  if (result && done) done(std::move(*result));
}

bool Drive::is_throttled_by(const ThrottleGroup* group) const {
  return throttle_.get() == group || (image_ && image_->spec().throttle.get() == group);
}

// When the limits let a request through: `now` or before: they do.
s64 Drive::throttled_until(const Request& request, s64 now) {
  s64 when = now;
  if (throttle_) when = std::max(when, throttle_->ready_at(request.op, now));
  if (image_ && image_->spec().throttle) when = std::max(when, image_->spec().throttle->ready_at(request.op, now));
  return when;
}

void Drive::take_share(const Request& request, s64 now) {
  if (throttle_) throttle_->take(request.op, request.size, now);
  if (image_ && image_->spec().throttle) image_->spec().throttle->take(request.op, request.size, now);
}

void Drive::start_throttled(bool all) {
  while (!throttled_.empty()) {
    const s64 now = loop_.real_clock().now();
    const Request& next = throttled_.front();
    const s64 when = all ? now : throttled_until(next, now);
    if (when > now) {
      if (!throttle_timer_) throttle_timer_ = loop_.real_clock().timer([this] { start_throttled(false); });
      return throttle_timer_->arm(when);
    }
    take_share(next, now);
    Request request = std::move(throttled_.front());
    throttled_.pop_front();
    begin_later(std::move(request));
  }
}

void Drive::set_guard(WriteGuard* guard) {
  guard_ = guard;
  start_guarded(true);
}

// Those that may begin; `all`: the others are waited for. What a callback adds meanwhile comes behind.
void Drive::start_guarded(bool all) {
  for (usize left = guarded_.size(); left > 0 && !guarded_.empty(); --left) {
    Request request = std::move(guarded_.front());
    guarded_.pop_front();
    if (guard_ && !guard_->may_write(request.offset, request.size)) {
      if (!all) {
        guarded_.push_back(std::move(request));
        continue;
      }
      guard_->wait_for_write(request.offset, request.size);
    }
    begin_later(std::move(request));
  }
}

void Drive::set_throttle(std::shared_ptr<ThrottleGroup> group) {
  throttle_ = std::move(group);
  throttle_changed();
}

void Drive::throttle_changed() { start_throttled(false); }

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
    start_guarded(true);
    if (image_) image_->drain();
  } while (!throttled_.empty() || !guarded_.empty());
}

void Drive::cancel_held() {
  held_.clear();
  throttled_.clear();
  guarded_.clear();
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
  // Who has the node, before the drive of that name, whose medium it was before it went elsewhere.
  for (const auto& drive : drives_)
    if (!drive->node_name().empty() && drive->node_name() == id) return drive.get();
  for (const auto& drive : drives_)
    if (drive->id() == id) return drive.get();
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

Result<void> DriveTable::add_throttle_group(const std::string& name, const ThrottleLimits& limits) {
  RHEA_TRY(limits.check());
  for (const auto& drive : drives_)
    if (drive->throttle() && drive->throttle()->name() == name) return Error("A group with this name already exists");
  if (find_throttle_group(name)) return Error("A group with this name already exists");
  throttle_groups_.push_back(std::make_shared<ThrottleGroup>(name));
  throttle_groups_.back()->set_limits(limits, 0);
  return {};
}

Result<void> DriveTable::remove_throttle_group(const std::string& name) {
  const auto group = find_throttle_group(name);
  if (!group) return Error("Throttle group '{}' does not exist", name);
  for (const auto& drive : drives_)
    if (drive->is_throttled_by(group.get())) return Error("object '{}' is in use, can not be deleted", name);
  std::erase(throttle_groups_, group);
  return {};
}

std::shared_ptr<ThrottleGroup> DriveTable::find_throttle_group(const std::string& name) const {
  for (const auto& group : throttle_groups_)
    if (group->name() == name) return group;
  return nullptr;
}

void DriveTable::set_limits(ThrottleGroup& group, const ThrottleLimits& limits) {
  if (drives_.empty()) return group.set_limits(limits, 0);
  group.set_limits(limits, drives_.front()->loop().real_clock().now());
  for (const auto& drive : drives_)
    if (drive->is_throttled_by(&group)) drive->throttle_changed();
}

std::shared_ptr<ThrottleGroup> DriveTable::throttle_group(const std::string& name) const {
  if (auto group = find_throttle_group(name)) return group;
  for (const auto& drive : drives_)
    if (drive->throttle() && drive->throttle()->name() == name) return drive->throttle();
  return std::make_shared<ThrottleGroup>(name);
}

void DriveTable::set_throttle(Drive& drive, const std::string& name, const ThrottleLimits& limits) {
  if (!limits.any()) return drive.set_throttle(nullptr);
  const auto group = throttle_group(name.empty() ? (drive.throttle() ? drive.throttle()->name() : drive.id()) : name);
  set_limits(*group, limits);
  drive.set_throttle(group);
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
