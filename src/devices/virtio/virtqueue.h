// SPDX-License-Identifier: MIT
// A split virtqueue (VIRTIO 1.2, section 2.7), device side: chains of guest buffers are taken from the available
// ring and given back through the used ring. Indirect descriptors and event indices are supported.
//
// Everything in the rings is the guest's and may be nonsense or change at any time: each value is read once and
// checked; a ring that makes no sense breaks the queue until the driver resets the device.
//
// Not thread-safe: the device that owns it has a lock.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/insight.h"
#include "core/snapshot.h"
#include "memory/address_space.h"
#include "util/log.h"
#include "util/types.h"

namespace rhea::devices {

// Feature bits that every device has (section 6).
namespace virtio {
constexpr u64 kNotifyOnEmpty = u64{1} << 24;  // legacy
constexpr u64 kAnyLayout = u64{1} << 27;      // legacy
constexpr u64 kIndirectDesc = u64{1} << 28;
constexpr u64 kEventIdx = u64{1} << 29;
constexpr u64 kVersion1 = u64{1} << 32;
constexpr u64 kRingReset = u64{1} << 40;
}  // namespace virtio

// Where a queue lies in guest-physical memory.
struct QueueLayout {
  u16 size = 0;  // entries, a power of two
  u64 descriptors = 0;
  u64 available = 0;
  u64 used = 0;
};

// A piece of guest memory that a descriptor names.
struct GuestBuffer {
  u8* data;
  u32 size;
  u64 address;
};

// A descriptor chain: what the device reads, then what it writes.
struct Chain {
  u16 head = 0;
  u64 readable_bytes = 0, writable_bytes = 0;
  std::vector<GuestBuffer> readable, writable;
};

class Virtqueue {
 public:
  Virtqueue(memory::AddressSpace& memory, Log& log, std::string name);

  // Begins to use a queue. `features` are those that were negotiated. False (and broken) when its rings do not
  // lie in RAM.
  bool start(const QueueLayout& layout, u64 features);
  void stop();
  bool running() const { return running_ && !broken_; }
  bool broken() const { return broken_; }
  void fields(Visitor& visitor);

  enum class Taken : u8 { chain, none, broken };
  Taken take(Chain& chain);
  // A chain by its head, which was taken before (a restored device has some in hand).
  bool read_chain(u16 head, Chain& chain);
  // The chains that were taken last and are in hand were not: they are taken again, or by whoever gets the ring next.
  void untake(usize count = 1) {
    if (running_) next_available_ = static_cast<u16>(next_available_ - count);
  }
  const QueueLayout& layout() const { return layout_; }
  // The next entry of the available ring to take.
  u16 position() const { return next_available_; }
  // Goes on at an entry of the available ring, and behind what the used ring has: others had the queue before. Nothing
  // given: with the first that was not given back. False (and broken) when there can be no such entry.
  bool go_on_at(std::optional<u16> next);
  // Whether the available ring has something (false on a broken queue).
  bool has_available();
  // Copies between a chain's buffers and memory; returns the bytes copied.
  static usize read(const Chain& chain, usize offset, void* to, usize size);
  usize write(const Chain& chain, usize offset, const void* from, usize size);
  // Tells of guest memory that was written directly: the first `bytes` of the chain's writable buffers.
  void wrote(const Chain& chain, usize bytes);

  // Puts a chain into the used ring; seen by the guest after publish(). `written` counts the bytes written.
  void give_back(u16 head, u32 written);
  // Shows what was given back to the guest; true when the guest wants an interrupt for it.
  bool publish();

  // For monitors: what is known of the queue; the chain at a place of the available ring, which stays there. Errors:
  // the queue is not in use, or what is there makes no sense.
  void view(VirtqueueView& view) const;
  Result<VirtqueueElement> peek(u16 index) const;

  // Whether the guest shall tell of new chains. Turning it on returns true when there are some already (and leaves
  // the matter to the caller).
  void disable_notification();
  bool enable_notification();

 private:
  struct Descriptor {
    u64 address;
    u32 length;
    u16 flags;
    u16 next;
  };
  u8* map_ring(u64 address, u64 size, bool for_write);
  bool add_buffer(Chain& chain, const Descriptor& descriptor);
  bool walk(Chain& chain, const u8* table, u32 entries, u16 first, bool indirect);
  bool follow_indirect(Chain& chain, const Descriptor& descriptor);
  Taken fail(const char* what);
  u16 available_index() const;
  Result<void> list_chain(VirtqueueElement& element) const;

  memory::AddressSpace& memory_;
  Log& log_;
  std::string name_;
  QueueLayout layout_;
  u64 features_ = 0;
  bool running_ = false, broken_ = false;
  u8* descriptors_ = nullptr;
  u8* available_ = nullptr;
  u8* used_ = nullptr;
  u16 next_available_ = 0;        // the next entry of the available ring to take
  u16 next_used_ = 0;             // the next entry of the used ring to fill
  u16 published_ = 0;             // the used index that the guest has been shown
  bool interrupt_valid_ = false;  // `published_` was compared with the event index before
  std::vector<u8> indirect_;
};

}  // namespace rhea::devices
