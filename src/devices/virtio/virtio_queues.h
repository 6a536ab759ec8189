// SPDX-License-Identifier: MIT
// What simple virtio devices have in common: their queues are processed under the machine loop's lock, wherever the
// notification comes from. Such a device says what its queues are and what to do with a notified one.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "devices/device_type.h"
#include "devices/virtio/virtio_device.h"
#include "util/bits.h"

namespace rhea::devices {

// Properties of every virtio device. A device's configuration derives from it (first) and has
// RHEA_VIRTIO_PROPERTIES(its type) in its table.
struct VirtioCommonConfig {
  bool any_layout = true, event_idx = true, indirect_desc = true, notify_on_empty = true, queue_reset = true;
  bool packed = false, iommu_platform = false;

  u64 features() const {
    return (any_layout ? virtio::kAnyLayout : 0) | (event_idx ? virtio::kEventIdx : 0) |
           (indirect_desc ? virtio::kIndirectDesc : 0) | (notify_on_empty ? virtio::kNotifyOnEmpty : 0) |
           (queue_reset ? virtio::kRingReset : 0);
  }
  Result<void> check(std::string_view type) const {
    if (packed) return Error("{}: packed=on is not supported yet; leave it off", type);
    if (iommu_platform) return Error("{}: iommu_platform=on is not supported yet; leave it off", type);
    return {};
  }
};

#define RHEA_VIRTIO_PROPERTIES(C)                                                                  \
  property<&C::any_layout>("any_layout", PropertyKind::boolean, "on/off"),                         \
      property<&C::event_idx>("event_idx", PropertyKind::boolean, "event indices in the rings"),   \
      property<&C::indirect_desc>("indirect_desc", PropertyKind::boolean, "indirect descriptors"), \
      property<&C::iommu_platform>("iommu_platform", PropertyKind::boolean, "not supported: off"), \
      property<&C::notify_on_empty>("notify_on_empty", PropertyKind::boolean,                      \
                                    "an interrupt when a queue has run empty (legacy)"),           \
      property<&C::packed>("packed", PropertyKind::boolean, "not supported: off"),                 \
      property<&C::queue_reset>("queue_reset", PropertyKind::boolean, "queues can be reset one by one")

class VirtioQueues : public VirtioDevice {
 public:
  unsigned queue_count() const final { return static_cast<unsigned>(queues_.size()); }
  u16 queue_limit(unsigned) const override { return queue_size_; }
  u64 offered_features() const final { return offered_; }
  bool accept_features(u64 features) override {
    features_ = features;
    return true;
  }
  void start_queue(unsigned index, const QueueLayout& layout) final {
    if (!queues_[index]->start(layout, features_)) report_broken();
  }
  void stop_queue(unsigned index) final {
    queue_stopped(index);
    queues_[index]->stop();
  }
  void notify(unsigned index) final {
    if (ready_ && queues_[index]->running()) run_queue(index);
  }
  void set_driver_ready(bool ready) final {
    ready_ = ready;
    driver_changed();
    for (unsigned i = 0; ready && i < queues_.size(); ++i) notify(i);
  }
  void driver_reset() final {
    const bool was_ready = ready_;
    ready_ = false;
    for (unsigned i = 0; i < queues_.size(); ++i) stop_queue(i);
    features_ = 0;
    session_ended();
    if (was_ready) driver_changed();
  }
  void reset(ResetKind) override { driver_reset(); }
  void fields(Visitor& visitor) override {
    visitor.field("features", features_);
    visitor.field("ready", ready_);
    for (const auto& queue : queues_) queue->fields(visitor);
  }

 protected:
  const Virtqueue& queue_to_view(unsigned index) const final { return *queues_[index]; }
  VirtioQueues(const DeviceContext& context, u64 offered, u16 queue_size, const std::vector<std::string>& names)
      : log_(context.log), name_(context.id), offered_(offered), queue_size_(queue_size) {
    for (const std::string& name : names)
      queues_.push_back(std::make_unique<Virtqueue>(context.memory, context.log, name));
  }

  // The driver has put something into a queue (or DRIVER_OK came).
  virtual void run_queue(unsigned index) = 0;
  // DRIVER_OK came or went.
  virtual void driver_changed() {}
  // The driver reset the device: what the session had is forgotten.
  virtual void session_ended() {}
  // Chains of this queue that the device has in hand are gone.
  virtual void queue_stopped(unsigned index) {}

  Virtqueue& queue(unsigned index) { return *queues_[index]; }
  // A chain, or false: there is none, or the queue is broken.
  bool take(unsigned index, Chain& chain) {
    const Virtqueue::Taken taken = queues_[index]->take(chain);
    if (taken == Virtqueue::Taken::broken) report_broken();
    return taken == Virtqueue::Taken::chain;
  }
  void publish(unsigned index) {
    if (queues_[index]->publish() && transport_) transport_->interrupt_queue(index);
  }
  void report_broken() {
    if (transport_) transport_->needs_reset();
  }
  bool ready() const { return ready_; }
  u64 features() const { return features_; }

  Log& log_;
  std::string name_;

 private:
  u64 offered_;
  u16 queue_size_;
  std::vector<std::unique_ptr<Virtqueue>> queues_;
  u64 features_ = 0;
  bool ready_ = false;
};

// A configuration space, as bytes: reads of any size, zero beyond its end.
inline u32 read_config_bytes(std::span<const u8> config, u32 offset, unsigned size) {
  u32 value = 0;
  for (unsigned i = 0; i < size && i < 4; ++i)
    if (u64{offset} + i < config.size()) value |= u32{config[offset + i]} << (8 * i);
  return value;
}

}  // namespace rhea::devices
