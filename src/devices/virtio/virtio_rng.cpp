// SPDX-License-Identifier: MIT
// virtio-rng-device (VIRTIO 1.2, section 5.4): fills the guest's buffers with the host's random bytes. With
// max-bytes it gives no more than that in each period.
#include <algorithm>
#include <array>

#include "devices/device_type.h"
#include "devices/virtio/virtio_device.h"
#include "sys/entropy.h"

namespace rhea::devices {
namespace {

struct Config {
  u64 max_bytes = INT64_MAX;
  u32 period = 65536;
};
constexpr Property kProperties[] = {
    property<&Config::max_bytes>("max-bytes", PropertyKind::number, "bytes that the guest gets in a period, at most"),
    property<&Config::period>("period", PropertyKind::number, "the period, milliseconds"),
};

constexpr u32 kDeviceId = 4;
constexpr u16 kQueueSize = 8;
constexpr unsigned kBatch = 64;  // buffers at one notification

class VirtioRng : public VirtioDevice {
 public:
  VirtioRng(const DeviceContext& context, const Config& config)
      : config_(config), clock_(context.clock), queue_(context.memory, context.log, "input"),
        timer_(context.clock.timer([this] { fill(); })), fill_random_(context.fill_random) {
    if (!fill_random_) fill_random_ = [](std::span<u8> data) { sys::fill_random(data); };
  }

  u32 device_id() const override { return kDeviceId; }
  unsigned queue_count() const override { return 1; }
  u16 queue_limit(unsigned) const override { return kQueueSize; }
  u64 offered_features() const override {
    return virtio::kNotifyOnEmpty | virtio::kAnyLayout | virtio::kIndirectDesc | virtio::kEventIdx | virtio::kRingReset;
  }
  bool accept_features(u64 features) override {
    features_ = features;
    return true;
  }
  u32 read_config(u32, unsigned) override { return 0; }
  void start_queue(unsigned, const QueueLayout& layout) override {
    if (!queue_.start(layout, features_)) report_broken();
  }
  void stop_queue(unsigned) override { queue_.stop(); }
  void notify(unsigned) override { fill(); }
  void set_driver_ready(bool ready) override {
    ready_ = ready;
    fill();
  }
  void driver_reset() override {
    queue_.stop();
    timer_->cancel();
    ready_ = false;
    features_ = 0;
  }
  void reset(ResetKind) override {
    driver_reset();
    left_ = config_.max_bytes;
    period_end_ = 0;
  }
  void fields(Visitor& visitor) override {
    visitor.field("features", features_);
    visitor.field("ready", ready_);
    visitor.field("left", left_);
    visitor.field("period_end", period_end_);
    queue_.fields(visitor);
    if (visitor.restoring() && ready_) fill();
  }

 protected:
  const Virtqueue& queue_to_view(unsigned) const override { return queue_; }

 private:
  void report_broken() {
    if (transport_) transport_->needs_reset();
  }

  bool budget() {
    const s64 now = clock_.now();
    if (now >= period_end_) {
      left_ = config_.max_bytes;
      period_end_ = now + static_cast<s64>(config_.period) * kMillisecond;
    }
    if (left_ > 0) return true;
    timer_->arm(period_end_);
    return false;
  }

  void fill() {
    if (!ready_) return;
    unsigned done = 0;
    for (; done < kBatch && queue_.has_available() && budget(); ++done) {
      const Virtqueue::Taken taken = queue_.take(chain_);
      if (taken != Virtqueue::Taken::chain) {
        if (taken == Virtqueue::Taken::broken) report_broken();
        break;
      }
      const usize size = std::min<u64>({chain_.writable_bytes, left_, bytes_.size()});
      fill_random_(std::span(bytes_).first(size));
      queue_.write(chain_, 0, bytes_.data(), size);
      queue_.give_back(chain_.head, static_cast<u32>(size));
      left_ -= size;
    }
    if (queue_.publish() && transport_) transport_->interrupt_queue(0);
    if (done == kBatch) timer_->arm(clock_.now());
    else if (queue_.enable_notification() && left_ > 0 && queue_.running()) timer_->arm(clock_.now());
  }

  Config config_;
  Clock& clock_;
  Virtqueue queue_;
  std::unique_ptr<Timer> timer_;
  std::function<void(std::span<u8>)> fill_random_;
  u64 features_ = 0;
  bool ready_ = false;
  u64 left_ = 0;
  s64 period_end_ = 0;
  Chain chain_;
  std::array<u8, 4096> bytes_{};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  const Config& given = *static_cast<const Config*>(config);
  if (given.period == 0) return Error("'period' parameter expects a positive integer");
  if (given.max_bytes > INT64_MAX) return Error("'max-bytes' parameter must be non-negative, and less than 2^63");
  return std::unique_ptr<Device>(std::make_unique<VirtioRng>(context, given));
}

}  // namespace

extern const DeviceType virtio_rng_device;
const DeviceType virtio_rng_device = {
    .name = "virtio-rng-device",
    .bus = Bus::virtio,
    .category = Category::misc,
    .summary = "virtio entropy source",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
