// SPDX-License-Identifier: MIT
// A notification takes what the ring has and starts it on the spot, on the CPU's thread: reads that the page cache
// has, end there. What ends later does so on the machine's loop. Everything is under that loop's lock.
//
// A request that an error policy holds back while the machine is stopped stays in `requests_`; a snapshot names it by
// the head of its chain and a restored device starts it again.
#include "devices/block/virtio_blk.h"

#include <algorithm>

#include "util/bits.h"

namespace rhea::devices {
namespace {

// Section 5.2.3, feature bits.
constexpr u64 kSegMax = 1u << 2, kGeometry = 1u << 4, kReadOnly = 1u << 5, kBlkSize = 1u << 6, kFlush = 1u << 9,
              kTopology = 1u << 10, kConfigWce = 1u << 11, kMultiQueue = 1u << 12, kDiscard = 1u << 13,
              kWriteZeroes = 1u << 14;
// Section 5.2.6, requests.
enum Type : u32 { kIn = 0, kOut = 1, kFlushCommand = 4, kGetId = 8, kDiscardCommand = 11, kWriteZeroesCommand = 13 };
enum StatusByte : u8 { kOk = 0, kIoError = 1, kUnsupported = 2 };
constexpr usize kHeader = 16, kIdSize = 20, kRangeSize = 16;
constexpr u64 kSector = 512;
constexpr u32 kUnmap = 1;
constexpr u32 kWritebackOffset = 32;

// The part of a chain's buffers from `skip` on, `size` bytes.
std::vector<block::Segment> segments_of(const std::vector<GuestBuffer>& buffers, u64 skip, u64 size) {
  std::vector<block::Segment> segments;
  segments.reserve(buffers.size());
  for (const GuestBuffer& buffer : buffers) {
    if (size == 0) break;
    if (skip >= buffer.size) {
      skip -= buffer.size;
      continue;
    }
    const u64 part = std::min<u64>(buffer.size - skip, size);
    segments.push_back({buffer.data + skip, part});
    size -= part;
    skip = 0;
  }
  return segments;
}

}  // namespace

VirtioBlk::VirtioBlk(const DeviceContext& context, const VirtioBlkConfig& config)
    : config_(config), name_(context.id), log_(context.log), loop_(context.loop), drive_(context.drive),
      self_(std::make_shared<VirtioBlk*>(this)) {
  for (unsigned i = 0; i < config_.num_queues; ++i)
    queues_.emplace_back(context.memory, context.log, fmt::format("{}.queue{}", context.id, i));
}

VirtioBlk::~VirtioBlk() {
  *self_ = nullptr;
  if (attached_) drive_->detach();
}

Result<void> VirtioBlk::connect() {
  if (!drive_) return Error("drive property not set");
  if (!drive_->has_medium()) return Error("Device needs media, but drive is empty");
  RHEA_TRY(drive_->attach(this, "/machine/peripheral-anon/" + name_ + "/virtio-backend", false));
  attached_ = true;
  if (config_.serial.empty()) config_.serial = drive_->config().serial;
  return {};
}

u64 VirtioBlk::offered_features() const {
  u64 features = kSegMax | kGeometry | kBlkSize | kFlush | kTopology | bits_if(config_.config_wce, kConfigWce) |
                 bits_if(config_.num_queues > 1, kMultiQueue) | bits_if(config_.discard, kDiscard) |
                 bits_if(config_.write_zeroes, kWriteZeroes) | bits_if(attached_ && drive_->read_only(), kReadOnly);
  if (config_.indirect_desc) features |= virtio::kIndirectDesc;
  if (config_.event_idx) features |= virtio::kEventIdx;
  if (config_.any_layout) features |= virtio::kAnyLayout;
  if (config_.notify_on_empty) features |= virtio::kNotifyOnEmpty;
  if (config_.queue_reset) features |= virtio::kRingReset;
  return features;
}

bool VirtioBlk::accept_features(u64 features) {
  features_ = features;
  return true;
}

// A driver that cannot flush, or has turned the cache off, finds its data safe when a write ends.
bool VirtioBlk::writes_through() const {
  if (features_ & kConfigWce) return !writeback_;
  return !(features_ & kFlush);
}

std::array<u8, 60> VirtioBlk::config_space() const {
  std::array<u8, 60> space{};
  const u64 size = attached_ ? drive_->size() : 0;
  const u32 logical = config_.logical_block_size;
  store_le<u64>(&space[0], align_down(size, logical) / kSector);
  store_le<u32>(&space[12], config_.seg_max_adjust ? config_.queue_size - 2 : 126);
  const u32 heads = config_.heads ? config_.heads : 16, sectors = config_.secs ? config_.secs : 63;
  const u64 cylinders = config_.cyls ? config_.cyls : size / kSector / (heads * sectors);
  store_le<u16>(&space[16], static_cast<u16>(std::min<u64>(cylinders, 65535)));
  space[18] = static_cast<u8>(heads);
  space[19] = static_cast<u8>(sectors);
  store_le<u32>(&space[20], logical);
  space[24] = static_cast<u8>(std::countr_zero(config_.physical_block_size / logical));
  store_le<u16>(&space[26], static_cast<u16>(config_.min_io_size / logical));
  store_le<u32>(&space[28], config_.opt_io_size / logical);
  space[kWritebackOffset] = writeback_;
  store_le<u16>(&space[34], config_.num_queues);
  store_le<u32>(&space[36], config_.max_discard_sectors);
  store_le<u32>(&space[40], 1);
  const u32 granularity = config_.discard_granularity == ~0u ? logical : config_.discard_granularity;
  store_le<u32>(&space[44], static_cast<u32>(granularity / kSector));
  store_le<u32>(&space[48], config_.max_write_zeroes_sectors);
  store_le<u32>(&space[52], 1);
  space[56] = 1;  // write zeroes may unmap
  return space;
}

u32 VirtioBlk::read_config(u32 offset, unsigned size) {
  const auto space = config_space();
  u32 value = 0;
  for (unsigned i = 0; i < size && i < 4; ++i)
    if (offset + i < space.size()) value |= u32{space[offset + i]} << 8 * i;
  return value;
}

void VirtioBlk::write_config(u32 offset, u32 value, unsigned) {
  if (offset != kWritebackOffset || !(features_ & kConfigWce)) return;
  writeback_ = value & 1;
}

void VirtioBlk::resized() {
  if (transport_) transport_->interrupt_config();
}

// --- queues -------------------------------------------------------------------------------------------------------

void VirtioBlk::start_queue(unsigned queue, const QueueLayout& layout) {
  if (!queues_[queue].start(layout, features_)) report_broken();
}

void VirtioBlk::stop_queue(unsigned queue) {
  drive_->drain();
  // What an error policy still holds back (drain() leaves that) would write to the guest's memory later.
  if (drive_->held() && queues_.size() == 1) drive_->cancel_held();
  std::erase_if(requests_, [queue](const auto& pending) { return pending->queue == queue; });
  queues_[queue].stop();
}

void VirtioBlk::notify(unsigned queue) {
  if (driver_ready_ && queue < queues_.size()) process(queue);
}

void VirtioBlk::set_driver_ready(bool ready) {
  driver_ready_ = ready;
  for (unsigned queue = 0; ready && queue < queues_.size(); ++queue) process(queue);
}

void VirtioBlk::driver_reset() {
  driver_ready_ = false;
  if (attached_) {
    drive_->drain();
    drive_->cancel_held();
    const block::CacheMode cache = drive_->has_medium() ? drive_->image()->spec().cache : block::CacheMode::writeback;
    writeback_ = config_.write_cache == "auto"
                     ? cache != block::CacheMode::writethrough && cache != block::CacheMode::directsync
                     : config_.write_cache == "on";
  }
  requests_.clear();
  for (Virtqueue& queue : queues_) queue.stop();
  features_ = 0;
}

void VirtioBlk::reset(ResetKind) { driver_reset(); }

void VirtioBlk::set_running(bool running) {
  // What was held back by an error is tried again by the drive; the rings may have got more meanwhile.
  for (unsigned queue = 0; running && driver_ready_ && queue < queues_.size(); ++queue) process(queue);
}

void VirtioBlk::report_broken() {
  if (transport_) transport_->needs_reset();
}

void VirtioBlk::process(unsigned index) {
  if (batching_) return;
  batching_ = true;
  Virtqueue& queue = queues_[index];
  do {
    queue.disable_notification();
    for (;;) {
      std::shared_ptr<Pending> pending;
      if (spare_.empty()) {
        pending = std::make_shared<Pending>();
      } else {
        pending = std::move(spare_.back());
        spare_.pop_back();
      }
      const Virtqueue::Taken taken = queue.take(pending->chain);
      if (taken != Virtqueue::Taken::chain) {
        if (taken == Virtqueue::Taken::broken) report_broken();
        spare_.push_back(std::move(pending));
        break;
      }
      pending->queue = index;
      pending->data_written = 0;
      requests_.push_back(pending);
      handle(pending);
    }
  } while (queue.enable_notification());
  batching_ = false;
  publish(index);
}

void VirtioBlk::publish(unsigned queue) {
  if (batching_) return;
  if (queues_[queue].publish() && transport_) transport_->interrupt_queue(queue);
}

void VirtioBlk::finish(const std::shared_ptr<Pending>& pending, u8 status) {
  Virtqueue& queue = queues_[pending->queue];
  Chain& chain = pending->chain;
  const u32 data = status == kOk ? pending->data_written : 0;
  if (data) queue.wrote(chain, data);
  queue.write(chain, chain.writable_bytes - 1, &status, 1);
  // The length says how many bytes from the first on are valid (section 2.7.8.2): with an error none is.
  queue.give_back(chain.head, data + 1 == chain.writable_bytes ? data + 1 : 1);
  requests_.remove(pending);
  const unsigned index = pending->queue;
  if (spare_.size() < config_.queue_size) spare_.push_back(pending);
  publish(index);
}

// --- requests -----------------------------------------------------------------------------------------------------

void VirtioBlk::handle(const std::shared_ptr<Pending>& pending) {
  Chain& chain = pending->chain;
  std::array<u8, kHeader> header;
  if (chain.writable_bytes == 0 || Virtqueue::read(chain, 0, header.data(), kHeader) != kHeader) {
    // There is no place for a status: nothing that could be answered.
    log_.guest_error("{}: a request of {} readable and {} writable bytes", name_, chain.readable_bytes,
                     chain.writable_bytes);
    requests_.remove(pending);
    queues_[pending->queue].give_back(chain.head, 0);
    report_broken();
    return;
  }
  const u64 sector = load_le<u64>(&header[8]);
  switch (const u32 type = load_le<u32>(&header[0])) {
    case kIn: return handle_data(pending, false, sector);
    case kOut: return handle_data(pending, true, sector);
    case kFlushCommand: return submit(pending, {.op = block::Op::flush});
    case kGetId: return handle_id(pending);
    case kDiscardCommand:
      if (config_.discard) return handle_range(pending, true);
      break;
    case kWriteZeroesCommand:
      if (config_.write_zeroes) return handle_range(pending, false);
      break;
    default: log_.guest_error("{}: request type {}: there is none", name_, type); break;
  }
  finish(pending, kUnsupported);
}

void VirtioBlk::handle_data(const std::shared_ptr<Pending>& pending, bool write, u64 sector) {
  const Chain& chain = pending->chain;
  const u64 bytes = write ? chain.readable_bytes - kHeader : chain.writable_bytes - 1;
  const u64 mask = config_.logical_block_size - 1;
  if (sector > UINT64_MAX / kSector || (sector * kSector & mask) || (bytes & mask)) return finish(pending, kIoError);
  if (bytes == 0) return finish(pending, kOk);
  block::Request request{.op = write ? block::Op::write : block::Op::read, .offset = sector * kSector, .size = bytes};
  request.segments = write ? segments_of(chain.readable, kHeader, bytes) : segments_of(chain.writable, 0, bytes);
  request.fua = write && writes_through();
  if (!write) pending->data_written = static_cast<u32>(bytes);
  submit(pending, std::move(request));
}

void VirtioBlk::handle_range(const std::shared_ptr<Pending>& pending, bool discard) {
  std::array<u8, kRangeSize> range;
  const Chain& chain = pending->chain;
  if (chain.readable_bytes != kHeader + kRangeSize ||
      Virtqueue::read(chain, kHeader, range.data(), kRangeSize) != kRangeSize)
    return finish(pending, chain.readable_bytes > kHeader + kRangeSize ? kUnsupported : kIoError);
  const u64 sector = load_le<u64>(&range[0]);
  const u32 sectors = load_le<u32>(&range[8]), flags = load_le<u32>(&range[12]);
  const u32 most = discard ? config_.max_discard_sectors : config_.max_write_zeroes_sectors;
  if (flags & ~kUnmap || (discard && flags)) return finish(pending, kUnsupported);
  if (sectors > most || sector > UINT64_MAX / kSector) return finish(pending, kIoError);
  if (sectors == 0) return finish(pending, kOk);
  block::Request request{.op = discard ? block::Op::discard : block::Op::write_zeroes,
                         .offset = sector * kSector,
                         .size = sectors * kSector};
  request.unmap = flags & kUnmap;
  request.fua = !discard && writes_through();
  submit(pending, std::move(request));
}

void VirtioBlk::handle_id(const std::shared_ptr<Pending>& pending) {
  Chain& chain = pending->chain;
  std::array<u8, kIdSize> id{};
  std::copy_n(config_.serial.begin(), std::min(config_.serial.size(), kIdSize), id.begin());
  const usize size = std::min<u64>(chain.writable_bytes - 1, kIdSize);
  queues_[pending->queue].write(chain, 0, id.data(), size);
  pending->data_written = static_cast<u32>(size);
  finish(pending, kOk);
}

void VirtioBlk::submit(const std::shared_ptr<Pending>& pending, block::Request request) {
  if ((request.op != block::Op::read && request.op != block::Op::flush) && drive_->read_only())
    return finish(pending, kIoError);
  request.done = [self = self_, pending](const block::IoResult& result) {
    if (*self) (*self)->complete(pending, result);
  };
  if (const auto result = drive_->start(std::move(request))) complete(pending, *result);
}

void VirtioBlk::complete(const std::shared_ptr<Pending>& pending, const block::IoResult& result) {
  if (!result.ok()) log_.write(LogItem::guest_errors, "{}: {}", name_, result.message);
  finish(pending, result.ok() ? kOk : kIoError);
}

// --- snapshots ----------------------------------------------------------------------------------------------------

void VirtioBlk::fields(Visitor& visitor) {
  visitor.field("features", features_);
  visitor.field("driver_ready", driver_ready_);
  visitor.field("writeback", writeback_);
  for (Virtqueue& queue : queues_) queue.fields(visitor);
  u32 count = static_cast<u32>(requests_.size());
  visitor.field("requests", count);
  if (visitor.restoring()) requests_.clear();
  auto pending = requests_.begin();
  std::vector<std::pair<u16, u16>> again;
  for (u32 i = 0; i < std::min<u32>(count, config_.num_queues * u32{1024}); ++i) {
    u16 queue = 0, head = 0;
    if (!visitor.restoring()) {
      queue = static_cast<u16>((*pending)->queue);
      head = (*pending)->chain.head;
      ++pending;
    }
    visitor.begin("request", 1);
    visitor.field("queue", queue);
    visitor.field("head", head);
    visitor.end();
    again.emplace_back(queue, head);
  }
  if (!visitor.restoring()) return;
  // The rings are in memory that may be restored after us.
  loop_.post([self = self_, again] {
    VirtioBlk* device = *self;
    if (!device || !device->driver_ready_) return;
    for (const auto& [queue, head] : again) {
      auto pending = std::make_shared<Pending>();
      pending->queue = queue;
      if (queue >= device->queues_.size() || !device->queues_[queue].read_chain(head, pending->chain)) continue;
      device->requests_.push_back(pending);
      device->handle(pending);
    }
    for (unsigned queue = 0; queue < device->queues_.size(); ++queue) device->process(queue);
  });
}

}  // namespace rhea::devices
