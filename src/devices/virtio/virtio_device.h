// SPDX-License-Identifier: MIT
// What lies between a virtio transport (virtio-mmio) and a device (virtio-net, virtio-rng).
//
// The transport is touched by CPUs under the machine loop's lock and calls the device from there. A device may
// process its queues elsewhere, with a lock of its own; interrupts may be raised from any thread.
#pragma once

#include <string>

#include "core/device.h"
#include "core/insight.h"
#include "devices/virtio/virtqueue.h"

namespace rhea::devices {

// Device status bits (VIRTIO 1.2, section 2.1).
namespace virtio {
enum Status : u8 { kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 0x40, kFailed = 0x80 };
}

// The transport as its device sees it. Any thread.
class VirtioTransport {
 public:
  virtual ~VirtioTransport() = default;
  virtual void interrupt_queue(unsigned queue) = 0;  // used buffers
  virtual void interrupt_config() = 0;               // the configuration changed
  virtual void needs_reset() = 0;                    // a queue is broken
  virtual void device_gone() = 0;                    // it is being destroyed
  // What the driver wrote into the transport's registers, for monitors; the rest stays as it is.
  virtual void view(VirtioView& view) {}
  virtual void view(unsigned queue, VirtqueueView& view) {}
};

class VirtioDevice : public Device, public VirtioInsight {
 public:
  ~VirtioDevice() override {
    if (transport_) transport_->device_gone();
  }
  virtual u32 device_id() const = 0;
  virtual unsigned queue_count() const = 0;
  virtual u16 queue_limit(unsigned queue) const = 0;  // entries, at most
  virtual u64 offered_features() const = 0;           // without VERSION_1, which is the transport's
  // The driver's choice, a subset of what was offered. False: it cannot work so.
  virtual bool accept_features(u64 features) = 0;
  virtual u32 read_config(u32 offset, unsigned size) = 0;
  virtual void write_config(u32 offset, u32 value, unsigned size) {}
  virtual void start_queue(unsigned queue, const QueueLayout& layout) = 0;
  virtual void stop_queue(unsigned queue) = 0;
  virtual void notify(unsigned queue) = 0;        // the driver made buffers available
  virtual void set_driver_ready(bool ready) = 0;  // DRIVER_OK was set; all is stopped
  // The driver wrote 0 to the status: queues stop, features are forgotten. When it returns the guest's memory is
  // no longer touched.
  virtual void driver_reset() = 0;

  // A device that interrupts from other threads overrides it to exclude them.
  virtual void attach(VirtioTransport* transport) { transport_ = transport; }

  // For monitors. A device whose queues have a lock of their own overrides the last two to take it.
  VirtioView virtio_view() override;
  VirtqueueView virtqueue_view(unsigned queue) override;
  Result<VirtqueueElement> virtqueue_element(unsigned queue, u16 index) override;

 protected:
  virtual const Virtqueue& queue_to_view(unsigned queue) const = 0;
  VirtioTransport* transport_ = nullptr;
};

}  // namespace rhea::devices
