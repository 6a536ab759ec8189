// SPDX-License-Identifier: MIT
// A driver of virtio-mmio devices that lives in a test's RAM: sets a device up, fills rings, looks at what comes
// back.
#pragma once

#include <vector>

#include "devices/testing.h"
#include "devices/virtio/virtio_device.h"

namespace rhea::devices::testing {

// A queue of the driver: rings at a page of RAM, buffers behind them.
class DriverQueue {
 public:
  static constexpr u16 kSize = 8;
  struct Part {
    u64 address;
    u32 size;
    bool writable;
  };

  DriverQueue(Bench& bench, u64 base) : bench_(&bench), base_(base) {}
  u64 descriptors() const { return base_; }
  u64 available() const { return base_ + kSize * 16; }
  u64 used() const { return base_ + 4096; }

  // Makes a chain available; returns its head. Descriptors go round.
  u16 add(const std::vector<Part>& parts) {
    const u16 head = next_;
    for (usize i = 0; i < parts.size(); ++i) {
      const u16 index = next_;
      next_ = static_cast<u16>((next_ + 1) % kSize);
      const bool last = i + 1 == parts.size();
      describe(descriptors() + index * 16u, parts[i], last ? 0 : 1, next_);
    }
    offer(head);
    return head;
  }
  u16 add_indirect(u64 table, const std::vector<Part>& parts) {
    for (usize i = 0; i < parts.size(); ++i)
      describe(table + i * 16, parts[i], i + 1 == parts.size() ? 0 : 1, static_cast<u16>(i + 1));
    const u16 head = next_;
    next_ = static_cast<u16>((next_ + 1) % kSize);
    put64(descriptors() + head * 16u, table);
    put32(descriptors() + head * 16u + 8, static_cast<u32>(parts.size() * 16));
    put16(descriptors() + head * 16u + 12, 4);
    offer(head);
    return head;
  }
  void offer(u16 head) {
    put16(available() + 4 + available_ % kSize * 2u, head);
    put16(available() + 2, ++available_);
  }
  // The next used entry, if there is one: head and length.
  bool take_used(u32& head, u32& length) {
    if (get16(used() + 2) == seen_) return false;
    head = get32(used() + 4 + seen_ % kSize * 8u);
    length = get32(used() + 8 + seen_ % kSize * 8u);
    ++seen_;
    return true;
  }
  void set_used_event(u16 index) { put16(available() + 4 + kSize * 2, index); }
  u16 available_event() { return get16(used() + 4 + kSize * 8); }
  u16 available_count() const { return available_; }

  void put16(u64 at, u16 value) { store_le(host(at), value); }
  void put32(u64 at, u32 value) { store_le(host(at), value); }
  void put64(u64 at, u64 value) { store_le(host(at), value); }
  u16 get16(u64 at) { return load_le<u16>(host(at)); }
  u32 get32(u64 at) { return load_le<u32>(host(at)); }
  u8* host(u64 at) { return bench_->ram->data() + (at - Bench::kRamBase); }

 private:
  void describe(u64 at, const Part& part, u16 flags, u16 next) {
    put64(at, part.address);
    put32(at + 8, part.size);
    put16(at + 12, static_cast<u16>(flags | (part.writable ? 2 : 0)));
    put16(at + 14, next);
  }
  Bench* bench_;
  u64 base_;
  u16 next_ = 0, available_ = 0, seen_ = 0;
};

// A device in its slot.
class DriverSide {
 public:
  explicit DriverSide(const std::string& type, bool legacy = false,
                      std::vector<std::pair<std::string, std::string>> properties = {}) {
    slot = bench.make("virtio-mmio", {{"force-legacy", legacy ? "on" : "off"}});
    device = bench.make<VirtioDevice>(type, std::move(properties));
    if (slot && device) plugged = slot->plug(*device).ok();
  }
  u32 get(u32 offset, unsigned size = 4) { return Bench::read(*slot, 0, offset, size); }
  void put(u32 offset, u32 value, unsigned size = 4) { Bench::write(*slot, 0, offset, value, size); }
  u64 offered() {
    put(0x14, 0);
    const u64 low = get(0x10);
    put(0x14, 1);
    return low | u64{get(0x10)} << 32;
  }
  void negotiate(u64 features) {
    put(0x70, 0);
    put(0x70, 3);
    put(0x24, 0);
    put(0x20, static_cast<u32>(features));
    put(0x24, 1);
    put(0x20, static_cast<u32>(features >> 32));
    put(0x70, 11);
  }
  void start_queue(unsigned index, DriverQueue& queue) {
    put(0x30, index);
    put(0x38, DriverQueue::kSize);
    put(0x80, static_cast<u32>(queue.descriptors()));
    put(0x90, static_cast<u32>(queue.available()));
    put(0xa0, static_cast<u32>(queue.used()));
    put(0x44, 1);
  }
  void ready() { put(0x70, 15); }
  void notify(unsigned queue) {
    put(0x50, queue);
    settle();
  }
  void settle() {
    for (int i = 0; i < 5; ++i) {
      bench.net_loop.run();
      bench.loop.run();
    }
  }

  Bench bench;
  std::unique_ptr<SysbusDevice> slot;
  std::unique_ptr<VirtioDevice> device;
  bool plugged = false;
};

}  // namespace rhea::devices::testing
