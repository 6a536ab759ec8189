// SPDX-License-Identifier: MIT
// The virtio transport over MMIO (VIRTIO 1.2, section 4.2), a slot that one device is plugged into. Legacy registers
// (version 1, section 4.2.4) unless force-legacy=off. Output 0: the interrupt.
//
// Registers are touched under the machine loop's lock; the interrupt status has a lock of its own, because devices
// raise it from their threads.
#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

#include "devices/device_type.h"
#include "devices/mmio.h"
#include "devices/virtio/virtio_device.h"

namespace rhea::devices {
namespace {

struct Config {
  bool force_legacy = true;
};
constexpr Property kProperties[] = {
    property<&Config::force_legacy>("force-legacy", PropertyKind::boolean,
                                    "legacy registers (version 1); off: version 2"),
};

// Table 4.1, and 4.3 for the legacy ones.
enum Offset : u32 {
  kMagic = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSel = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSel = 0x024,
  kGuestPageSize = 0x028,
  kQueueSel = 0x030,
  kQueueNumMax = 0x034,
  kQueueNum = 0x038,
  kQueueAlign = 0x03c,
  kQueuePfn = 0x040,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAck = 0x064,
  kStatus = 0x070,
  kQueueDescLow = 0x080,
  kQueueDescHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kShmLenLow = 0x0b0,
  kShmLenHigh = 0x0b4,
  kShmBaseLow = 0x0b8,
  kShmBaseHigh = 0x0bc,
  kQueueReset = 0x0c0,
  kConfigGeneration = 0x0fc,
  kConfigSpace = 0x100
};
constexpr u32 kMagicValue = 0x74726976;   // "virt"
constexpr u32 kVendorValue = 0x554d4551;  // the vendor that guests know from other emulators of this transport
enum Cause : u32 { kUsedBuffer = 1, kConfigChange = 2 };

struct Queue {
  QueueLayout layout;  // version 2, and the size for both
  u32 align = 4096;    // legacy
  u32 pfn = 0;
  bool ready = false;
};

class VirtioMmio : public SysbusDevice, public memory::MmioHandler, public VirtioTransport {
 public:
  VirtioMmio(const DeviceContext& context, const Config& config)
      : legacy_(config.force_legacy), irq_(context.irqs.empty() ? IrqLine() : context.irqs[0]), log_(context.log),
        name_(context.id) {}
  ~VirtioMmio() override {
    if (device_) device_->attach(nullptr);
  }

  std::span<const MmioWindow> windows() const override { return windows_; }
  bool can_plug(Bus bus) const override { return bus == Bus::virtio && !device_; }
  Result<void> plug(Device& device) override {
    if (device_) return Error("{}: there is a device already", name_);
    auto* virtio_device = dynamic_cast<VirtioDevice*>(&device);
    if (!virtio_device) return Error("{}: this is no virtio device", name_);
    device_ = virtio_device;
    device_->attach(this);
    queues_.resize(device_->queue_count());
    reset(ResetKind::power_on);
    return {};
  }

  void reset(ResetKind) override { reset_all(); }
  void fields(Visitor& visitor) override;

  memory::ReadResult read(u64 offset, unsigned size, const memory::Attributes&) override;
  bool write(u64 offset, u64 value, unsigned size, const memory::Attributes&) override;

  void interrupt_queue(unsigned) override { raise(kUsedBuffer); }
  void interrupt_config() override {
    {
      std::lock_guard lock(interrupt_mutex_);
      ++generation_;
    }
    raise(kConfigChange);
  }
  void needs_reset() override {
    {
      std::lock_guard lock(interrupt_mutex_);
      needs_reset_ = true;
    }
    raise(kConfigChange);
  }
  void device_gone() override { device_ = nullptr; }
  void view(VirtioView& view) override;
  void view(unsigned queue, VirtqueueView& view) override;

 private:
  void raise(u32 cause) {
    std::lock_guard lock(interrupt_mutex_);
    interrupt_status_ |= cause;
    irq_.raise();
  }
  void acknowledge(u32 causes) {
    std::lock_guard lock(interrupt_mutex_);
    interrupt_status_ &= ~causes;
    if (!interrupt_status_) irq_.lower();
  }

  u32 read_register(u32 offset);
  void write_register(u32 offset, u32 value);
  void write_legacy(u32 offset, u32 value);
  void write_modern(u32 offset, u32 value);
  u64 offered() const;
  void write_features(u32 value);
  void write_status(u32 value);
  void reset_all();
  Queue* selected() { return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr; }
  void set_queue_size(u32 value);
  void set_pfn(u32 value);
  void set_ready(bool ready);

  bool legacy_;
  IrqLine irq_;
  Log& log_;
  std::string name_;
  VirtioDevice* device_ = nullptr;
  std::vector<Queue> queues_;
  u32 device_features_select_ = 0, driver_features_select_ = 0;
  u64 driver_features_ = 0;
  u32 guest_page_size_ = 4096;
  u32 queue_select_ = 0;
  u8 status_ = 0;

  std::mutex interrupt_mutex_;
  u32 interrupt_status_ = 0;
  u32 generation_ = 0;
  bool needs_reset_ = false;
  std::array<MmioWindow, 1> windows_{{{"virtio-mmio", 0x200, this, false}}};
};

void VirtioMmio::reset_all() {
  if (device_) device_->driver_reset();
  for (Queue& queue : queues_) queue = {};
  device_features_select_ = driver_features_select_ = queue_select_ = 0;
  driver_features_ = 0;
  guest_page_size_ = 4096;
  status_ = 0;
  std::lock_guard lock(interrupt_mutex_);
  interrupt_status_ = 0;
  needs_reset_ = false;
  irq_.lower();
}

void VirtioMmio::fields(Visitor& visitor) {
  visitor.field("status", status_);
  visitor.field("device_features_select", device_features_select_);
  visitor.field("driver_features_select", driver_features_select_);
  visitor.field("driver_features", driver_features_);
  visitor.field("guest_page_size", guest_page_size_);
  visitor.field("queue_select", queue_select_);
  for (usize i = 0; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    visitor.begin(fmt::format("queue{}", i), 1);
    visitor.field("size", queue.layout.size);
    visitor.field("descriptors", queue.layout.descriptors);
    visitor.field("available", queue.layout.available);
    visitor.field("used", queue.layout.used);
    visitor.field("align", queue.align);
    visitor.field("pfn", queue.pfn);
    visitor.field("ready", queue.ready);
    visitor.end();
  }
  std::lock_guard lock(interrupt_mutex_);
  visitor.field("interrupt_status", interrupt_status_);
  visitor.field("generation", generation_);
  visitor.field("needs_reset", needs_reset_);
  if (visitor.restoring()) irq_.set(interrupt_status_ != 0);
}

void VirtioMmio::view(VirtioView& view) {
  view.offered = offered();
  view.negotiated = driver_features_ & offered();
  view.status = status_;
  view.queue_select = queue_select_;
  view.started = status_ & virtio::kDriverOk;
  std::lock_guard lock(interrupt_mutex_);
  view.isr = static_cast<u8>(interrupt_status_);
  view.broken = needs_reset_;
}

void VirtioMmio::view(unsigned index, VirtqueueView& view) {
  if (index >= queues_.size()) return;
  const Queue& queue = queues_[index];
  view.size = queue.layout.size;
  view.align = queue.align;
  view.descriptors = queue.layout.descriptors;
  view.available = queue.layout.available;
  view.used = queue.layout.used;
}

// --- access -------------------------------------------------------------------------------------------------------

memory::ReadResult VirtioMmio::read(u64 offset, unsigned size, const memory::Attributes&) {
  const u32 at = static_cast<u32>(offset);
  if (size == 8) {
    const u64 low = read(offset, 4, {}).value;
    return {low | read(offset + 4, 4, {}).value << 32};
  }
  if (at >= kConfigSpace) return {device_ ? device_->read_config(at - kConfigSpace, size) : 0};
  if (size != 4 || at % 4) {
    log_.guest_error("{}: read of {} bytes at {:#x}: registers are words", name_, size, at);
    return {};
  }
  return {read_register(at)};
}

bool VirtioMmio::write(u64 offset, u64 value, unsigned size, const memory::Attributes&) {
  const u32 at = static_cast<u32>(offset);
  if (size == 8) {
    write(offset, static_cast<u32>(value), 4, {});
    return write(offset + 4, value >> 32, 4, {});
  }
  if (at >= kConfigSpace) {
    if (device_) device_->write_config(at - kConfigSpace, static_cast<u32>(value), size);
  } else if (size != 4 || at % 4) {
    log_.guest_error("{}: write of {} bytes at {:#x}: registers are words", name_, size, at);
  } else if (device_) {
    write_register(at, static_cast<u32>(value));
  }
  return true;
}

u64 VirtioMmio::offered() const {
  const u64 features = device_->offered_features();
  return legacy_ ? features & 0xffffffff : features | virtio::kVersion1;
}

u32 VirtioMmio::read_register(u32 offset) {
  switch (offset) {
    case kMagic: return kMagicValue;
    case kVersion: return legacy_ ? 1 : 2;
    case kDeviceId: return device_ ? device_->device_id() : 0;
    case kVendorId: return kVendorValue;
    default: break;
  }
  if (!device_) return 0;
  const Queue* queue = selected();
  switch (offset) {
    case kDeviceFeatures:
      return device_features_select_ < 2 ? static_cast<u32>(offered() >> (32 * device_features_select_)) : 0;
    case kQueueNumMax: return queue ? device_->queue_limit(queue_select_) : 0;
    case kQueuePfn: return legacy_ && queue ? queue->pfn : 0;
    case kQueueReady: return !legacy_ && queue && queue->ready;
    case kInterruptStatus: {
      std::lock_guard lock(interrupt_mutex_);
      return interrupt_status_;
    }
    case kStatus: {
      std::lock_guard lock(interrupt_mutex_);
      return status_ | bits_if(needs_reset_ && !legacy_, virtio::kNeedsReset);
    }
    case kShmLenLow:
    case kShmLenHigh:
    case kShmBaseLow:
    case kShmBaseHigh: return ~0u;  // there is none
    case kQueueReset: return 0;
    case kConfigGeneration: {
      std::lock_guard lock(interrupt_mutex_);
      return legacy_ ? 0 : generation_;
    }
    default: log_.guest_error("{}: read at {:#x}, where nothing can be read", name_, offset); return 0;
  }
}

void VirtioMmio::write_register(u32 offset, u32 value) {
  switch (offset) {
    case kDeviceFeaturesSel: device_features_select_ = value; break;
    case kDriverFeatures: write_features(value); break;
    case kDriverFeaturesSel: driver_features_select_ = value; break;
    case kQueueSel: queue_select_ = value; break;
    case kQueueNum: set_queue_size(value); break;
    case kQueueNotify:
      if (value < queues_.size()) device_->notify(value);
      else log_.guest_error("{}: notification of queue {}: there are {}", name_, value, queues_.size());
      break;
    case kInterruptAck: acknowledge(value); break;
    case kStatus: write_status(value); break;
    default: legacy_ ? write_legacy(offset, value) : write_modern(offset, value); break;
  }
}

void VirtioMmio::write_legacy(u32 offset, u32 value) {
  Queue* queue = selected();
  switch (offset) {
    case kGuestPageSize:
      if (is_power_of_two(value)) guest_page_size_ = value;
      else log_.guest_error("{}: a guest page size of {:#x} bytes, no power of two", name_, value);
      break;
    case kQueueAlign:
      if (!is_power_of_two(value)) log_.guest_error("{}: a queue alignment of {:#x}, no power of two", name_, value);
      else if (queue) queue->align = value;
      break;
    case kQueuePfn: set_pfn(value); break;
    default: log_.guest_error("{}: write of {:#x} at {:#x}, where nothing can be written", name_, value, offset);
  }
}

void VirtioMmio::write_modern(u32 offset, u32 value) {
  Queue* queue = selected();
  if (!queue) {
    log_.guest_error("{}: write at {:#x} for queue {}: there are {}", name_, offset, queue_select_, queues_.size());
    return;
  }
  const auto half = [value](u64& address, unsigned shift) { address = with_bits<u64>(address, shift, 32, value); };
  switch (offset) {
    case kQueueReady: set_ready(value & 1); break;
    case kQueueDescLow: half(queue->layout.descriptors, 0); break;
    case kQueueDescHigh: half(queue->layout.descriptors, 32); break;
    case kQueueDriverLow: half(queue->layout.available, 0); break;
    case kQueueDriverHigh: half(queue->layout.available, 32); break;
    case kQueueDeviceLow: half(queue->layout.used, 0); break;
    case kQueueDeviceHigh: half(queue->layout.used, 32); break;
    case kQueueReset:
      if ((value & 1) && (driver_features_ & virtio::kRingReset)) {
        device_->stop_queue(queue_select_);
        *queue = {};
      }
      break;
    default: log_.guest_error("{}: write of {:#x} at {:#x}, where nothing can be written", name_, value, offset);
  }
}

// --- configuration ------------------------------------------------------------------------------------------------

void VirtioMmio::write_features(u32 value) {
  if (driver_features_select_ > 1 || (status_ & virtio::kFeaturesOk)) return;
  driver_features_ = with_bits<u64>(driver_features_, 32 * driver_features_select_, 32, value);
  if (legacy_) {
    driver_features_ &= offered();
    device_->accept_features(driver_features_);
  }
}

void VirtioMmio::write_status(u32 value) {
  const u8 next = static_cast<u8>(value);
  if (next == 0) {
    reset_all();
    return;
  }
  const u8 before = status_;
  status_ = next & ~u8{virtio::kNeedsReset};
  if (!legacy_ && (status_ & ~before & virtio::kFeaturesOk)) {
    // A choice that was not offered, or not of this version of the interface, is not confirmed (section 3.1.1).
    const bool subset = !(driver_features_ & ~offered()) && (driver_features_ & virtio::kVersion1);
    if (!subset || !device_->accept_features(driver_features_)) status_ &= ~u8{virtio::kFeaturesOk};
  }
  const bool ready = status_ & virtio::kDriverOk;
  if (ready != static_cast<bool>(before & virtio::kDriverOk)) device_->set_driver_ready(ready);
}

void VirtioMmio::set_queue_size(u32 value) {
  Queue* queue = selected();
  if (!queue) return;
  if (value == 0 || value > device_->queue_limit(queue_select_) || !is_power_of_two(value)) {
    log_.guest_error("{}: queue {} of {} entries: it takes a power of two up to {}", name_, queue_select_, value,
                     device_->queue_limit(queue_select_));
    return;
  }
  queue->layout.size = static_cast<u16>(value);
}

// Legacy: the parts lie one behind the other, the used ring at the next multiple of the alignment (section 2.7.2).
void VirtioMmio::set_pfn(u32 value) {
  Queue* queue = selected();
  if (!queue) return;
  if (value == 0) {
    device_->stop_queue(queue_select_);
    *queue = {};
    return;
  }
  QueueLayout& layout = queue->layout;
  if (layout.size == 0) layout.size = device_->queue_limit(queue_select_);
  queue->pfn = value;
  layout.descriptors = u64{value} * guest_page_size_;
  layout.available = layout.descriptors + u64{16} * layout.size;
  layout.used = align_up(layout.available + 6 + u64{2} * layout.size, queue->align);
  queue->ready = true;
  device_->start_queue(queue_select_, layout);
}

void VirtioMmio::set_ready(bool ready) {
  Queue* queue = selected();
  if (ready == queue->ready) return;
  queue->ready = ready;
  if (ready) device_->start_queue(queue_select_, queue->layout);
  else device_->stop_queue(queue_select_);
}

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  return std::unique_ptr<Device>(std::make_unique<VirtioMmio>(context, *static_cast<const Config*>(config)));
}

}  // namespace

extern const DeviceType virtio_mmio;
const DeviceType virtio_mmio = {
    .name = "virtio-mmio",
    .category = Category::misc,
    .summary = "virtio transport over MMIO: a slot for one virtio device",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
