// SPDX-License-Identifier: MIT
#include "devices/virtio/virtqueue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

#include "util/bits.h"

namespace rhea::devices {
namespace {

// Section 2.7.5, descriptor flags.
enum DescriptorFlag : u16 { kNext = 1, kWrite = 2, kIndirect = 4 };
constexpr u16 kNoInterrupt = 1;  // available ring flags
constexpr u16 kNoNotify = 1;     // used ring flags
constexpr usize kDescriptorSize = 16;
constexpr usize kRingHeader = 4;  // flags, index
constexpr usize kUsedEntry = 8;
constexpr u32 kMaxIndirect = 1024;
constexpr usize kMaxBuffers = 2048;  // of one chain

u16 load_shared(const u8* from) {
  return std::atomic_ref<u16>(*reinterpret_cast<u16*>(const_cast<u8*>(from))).load(std::memory_order_acquire);
}
void store_shared(u8* to, u16 value) {
  std::atomic_ref<u16>(*reinterpret_cast<u16*>(to)).store(value, std::memory_order_release);
}

usize copy_between(const std::vector<GuestBuffer>& buffers, usize offset, usize size, auto&& copy) {
  usize done = 0;
  for (const GuestBuffer& buffer : buffers) {
    if (done == size) break;
    if (offset >= buffer.size) {
      offset -= buffer.size;
      continue;
    }
    const usize part = std::min<usize>(buffer.size - offset, size - done);
    copy(buffer, offset, done, part);
    done += part;
    offset = 0;
  }
  return done;
}

}  // namespace

Virtqueue::Virtqueue(memory::AddressSpace& memory, Log& log, std::string name)
    : memory_(memory), log_(log), name_(std::move(name)) {}

u8* Virtqueue::map_ring(u64 address, u64 size, bool for_write) {
  const std::span<u8> mapped = memory_.map(address, size, for_write);
  return mapped.size() == size && address % 2 == 0 ? mapped.data() : nullptr;
}

bool Virtqueue::start(const QueueLayout& layout, u64 features) {
  stop();
  layout_ = layout;
  features_ = features;
  if (layout.size == 0 || !std::has_single_bit(layout.size)) {
    fail("its size is no power of two");
    return false;
  }
  descriptors_ = map_ring(layout.descriptors, layout.size * kDescriptorSize, false);
  available_ = map_ring(layout.available, kRingHeader + layout.size * 2u + 2, false);
  used_ = map_ring(layout.used, kRingHeader + layout.size * kUsedEntry + 2, true);
  if (!descriptors_ || !available_ || !used_) {
    fail("its rings are not in RAM");
    return false;
  }
  running_ = true;
  return true;
}

void Virtqueue::stop() {
  running_ = broken_ = interrupt_valid_ = false;
  next_available_ = next_used_ = published_ = 0;
  descriptors_ = available_ = used_ = nullptr;
}

bool Virtqueue::go_on_at(std::optional<u16> next) {
  if (!running()) return false;
  const u16 used = load_shared(used_ + 2);
  next_available_ = next.value_or(used);
  next_used_ = published_ = used;
  interrupt_valid_ = false;
  if (static_cast<u16>(available_index() - next_available_) > layout_.size) {
    fail("its used and available indices do not fit");
    return false;
  }
  return true;
}

void Virtqueue::fields(Visitor& visitor) {
  visitor.begin(name_, 1);
  visitor.field("size", layout_.size);
  visitor.field("descriptors", layout_.descriptors);
  visitor.field("available", layout_.available);
  visitor.field("used", layout_.used);
  visitor.field("features", features_);
  visitor.field("running", running_);
  visitor.field("next_available", next_available_);
  visitor.field("next_used", next_used_);
  visitor.field("published", published_);
  visitor.field("interrupt_valid", interrupt_valid_);
  visitor.end();
  if (!visitor.restoring()) return;
  const u16 available = next_available_, used = next_used_, published = published_;
  const bool valid = interrupt_valid_;
  const bool wanted = std::exchange(running_, false);
  descriptors_ = available_ = used_ = nullptr;
  if (!wanted || !start(QueueLayout(layout_), features_)) return;
  next_available_ = available;
  next_used_ = used;
  published_ = published;
  interrupt_valid_ = valid;
}

Virtqueue::Taken Virtqueue::fail(const char* what) {
  if (!broken_)
    log_.guest_error("{}: {}: the device needs a reset (descriptors {:#x}, available {:#x}, used {:#x}, {} entries)",
                     name_, what, layout_.descriptors, layout_.available, layout_.used, layout_.size);
  broken_ = true;
  return Taken::broken;
}

u16 Virtqueue::available_index() const { return load_shared(available_ + 2); }

bool Virtqueue::has_available() { return running() && available_index() != next_available_; }

bool Virtqueue::add_buffer(Chain& chain, const Descriptor& descriptor) {
  const bool writable = descriptor.flags & kWrite;
  if (!writable && !chain.writable.empty()) return fail("a buffer to read behind one to write"), false;
  auto& buffers = writable ? chain.writable : chain.readable;
  u64 address = descriptor.address;
  u64 left = descriptor.length;
  (writable ? chain.writable_bytes : chain.readable_bytes) += left;
  while (left) {
    const std::span<u8> mapped = memory_.map(address, left, writable);
    if (mapped.empty()) return fail("a buffer outside RAM"), false;
    if (buffers.size() >= kMaxBuffers) return fail("a chain with too many buffers"), false;
    buffers.push_back({mapped.data(), static_cast<u32>(mapped.size()), address});
    address += mapped.size();
    left -= mapped.size();
  }
  return true;
}

bool Virtqueue::walk(Chain& chain, const u8* table, u32 entries, u16 first, bool indirect) {
  u16 index = first;
  for (u32 steps = 0; steps < entries; ++steps) {
    if (index >= entries) return fail("a descriptor index beyond the table"), false;
    const u8* at = table + index * kDescriptorSize;
    const Descriptor descriptor{load_le<u64>(at), load_le<u32>(at + 8), load_le<u16>(at + 12), load_le<u16>(at + 14)};
    if (descriptor.flags & kIndirect) {
      if (indirect) return fail("an indirect table within another"), false;
      if (!(features_ & virtio::kIndirectDesc)) return fail("an indirect table that was not negotiated"), false;
      if (descriptor.flags & kNext) return fail("an indirect table that is not the chain's end"), false;
      return follow_indirect(chain, descriptor);
    }
    if (!add_buffer(chain, descriptor)) return false;
    if (!(descriptor.flags & kNext)) return true;
    index = descriptor.next;
  }
  return fail("a chain that does not end"), false;
}

bool Virtqueue::follow_indirect(Chain& chain, const Descriptor& descriptor) {
  if (descriptor.length == 0 || descriptor.length % kDescriptorSize ||
      descriptor.length / kDescriptorSize > kMaxIndirect)
    return fail("an indirect table of a wrong size"), false;
  const std::span<u8> mapped = memory_.map(descriptor.address, descriptor.length, false);
  const u8* table = mapped.data();
  if (mapped.size() != descriptor.length) {  // in two pieces of RAM, or not in RAM
    indirect_.resize(descriptor.length);
    if (!memory_.read_bytes(descriptor.address, indirect_)) return fail("an indirect table outside RAM"), false;
    table = indirect_.data();
  }
  return walk(chain, table, descriptor.length / kDescriptorSize, 0, true);
}

Virtqueue::Taken Virtqueue::take(Chain& chain) {
  if (!running_) return Taken::none;
  if (broken_) return Taken::broken;
  const u16 waiting = static_cast<u16>(available_index() - next_available_);
  if (waiting == 0) return Taken::none;
  if (waiting > layout_.size) return fail("the available index jumped");
  const u16 mask = static_cast<u16>(layout_.size - 1);
  const u16 head = load_shared(available_ + kRingHeader + (next_available_ & mask) * 2u);
  if (!read_chain(head, chain)) return Taken::broken;
  ++next_available_;
  return Taken::chain;
}

bool Virtqueue::read_chain(u16 head, Chain& chain) {
  if (!running()) return false;
  if (head >= layout_.size) return fail("a head beyond the table"), false;
  chain.head = head;
  chain.readable.clear();
  chain.writable.clear();
  chain.readable_bytes = chain.writable_bytes = 0;
  return walk(chain, descriptors_, layout_.size, head, false);
}

usize Virtqueue::read(const Chain& chain, usize offset, void* to, usize size) {
  return copy_between(chain.readable, offset, size, [to](const GuestBuffer& buffer, usize at, usize done, usize part) {
    std::memcpy(static_cast<u8*>(to) + done, buffer.data + at, part);
  });
}

usize Virtqueue::write(const Chain& chain, usize offset, const void* from, usize size) {
  return copy_between(chain.writable, offset, size, [&](const GuestBuffer& buffer, usize at, usize done, usize part) {
    std::memcpy(buffer.data + at, static_cast<const u8*>(from) + done, part);
    memory_.wrote({buffer.data + at, part}, buffer.address + at);
  });
}

void Virtqueue::wrote(const Chain& chain, usize bytes) {
  copy_between(chain.writable, 0, bytes, [&](const GuestBuffer& buffer, usize at, usize, usize part) {
    memory_.wrote({buffer.data + at, part}, buffer.address + at);
  });
}

void Virtqueue::give_back(u16 head, u32 written) {
  if (!running_) return;
  const u16 mask = static_cast<u16>(layout_.size - 1);
  u8* entry = used_ + kRingHeader + (next_used_ & mask) * kUsedEntry;
  store_le<u32>(entry, head);
  store_le<u32>(entry + 4, written);
  memory_.wrote({entry, kUsedEntry}, layout_.used + static_cast<u64>(entry - used_));
  ++next_used_;
}

bool Virtqueue::publish() {
  if (!running_ || next_used_ == published_) return false;
  const u16 before = published_;
  store_shared(used_ + 2, next_used_);
  memory_.wrote({used_ + 2, 2}, layout_.used + 2);
  published_ = next_used_;
  // The index must be seen before the guest's wish is read (section 2.7.7.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if ((features_ & virtio::kNotifyOnEmpty) && available_index() == next_available_) return true;
  if (!(features_ & virtio::kEventIdx)) return !(load_shared(available_) & kNoInterrupt);
  const u16 event = load_shared(available_ + kRingHeader + layout_.size * 2u);
  const bool first = !std::exchange(interrupt_valid_, true);
  return first || static_cast<u16>(published_ - event - 1) < static_cast<u16>(published_ - before);
}

void Virtqueue::disable_notification() {
  if (!running_ || (features_ & virtio::kEventIdx)) return;  // with event indices: simply no new event is asked for
  store_shared(used_, kNoNotify);
}

bool Virtqueue::enable_notification() {
  if (!running()) return false;
  if (features_ & virtio::kEventIdx) store_shared(used_ + kRingHeader + layout_.size * kUsedEntry, next_available_);
  else store_shared(used_, 0);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return has_available();
}

}  // namespace rhea::devices
