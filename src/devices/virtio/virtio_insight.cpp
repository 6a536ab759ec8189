// SPDX-License-Identifier: MIT
// Virtio devices and their queues as monitors see them: nothing here changes anything.
#include <algorithm>
#include <array>

#include "devices/virtio/virtio_device.h"
#include "util/bits.h"

namespace rhea::devices {
namespace {

constexpr u16 kNext = 1, kIndirect = 4;  // VIRTIO 1.2, section 2.7.5
constexpr usize kDescriptorSize = 16;
constexpr usize kMostDescriptors = 1024;

}  // namespace

VirtioView VirtioDevice::virtio_view() {
  VirtioView view;
  view.device_id = device_id();
  view.queues = queue_count();
  view.offered = offered_features();
  if (transport_) transport_->view(view);
  return view;
}

VirtqueueView VirtioDevice::virtqueue_view(unsigned queue) {
  VirtqueueView view;
  view.limit = queue_limit(queue);
  if (transport_) transport_->view(queue, view);
  if (!view.size) view.size = view.limit;
  queue_to_view(queue).view(view);
  return view;
}

Result<VirtqueueElement> VirtioDevice::virtqueue_element(unsigned queue, u16 index) {
  return queue_to_view(queue).peek(index);
}

void Virtqueue::view(VirtqueueView& view) const {
  view.in_use = static_cast<u16>(next_available_ - next_used_);
  view.next_available = next_available_;
  view.next_used = next_used_;
  view.signalled = published_;
  view.signalled_valid = interrupt_valid_;
}

Result<VirtqueueElement> Virtqueue::peek(u16 index) const {
  if (!running()) return Error("Region caches not initialized");
  const u16 place = static_cast<u16>(index & (layout_.size - 1));
  VirtqueueElement element;
  element.available_flags = load_le<u16>(available_);
  element.available_index = load_le<u16>(available_ + 2);
  element.available_entry = load_le<u16>(available_ + 4 + place * 2u);
  element.used_flags = load_le<u16>(used_);
  element.used_index = load_le<u16>(used_ + 2);
  element.head = element.available_entry;
  if (element.head >= layout_.size)
    return Error("descriptor {} of {}: the available ring makes no sense at {}", element.head, layout_.size, place);
  RHEA_TRY(list_chain(element));
  return element;
}

// The table may be the queue's own or an indirect one.
Result<void> Virtqueue::list_chain(VirtqueueElement& element) const {
  u64 table = layout_.descriptors;
  u64 entries = layout_.size;
  u64 at = element.head;
  for (bool indirect = false;;) {
    if (at >= entries) return Error("descriptor {} of {}: the chain of {} makes no sense", at, entries, element.head);
    std::array<u8, kDescriptorSize> bytes{};
    if (!memory_.read_bytes(table + at * kDescriptorSize, bytes))
      return Error("the descriptors at 0x{:x} are not in RAM", table);
    const u16 flags = load_le<u16>(&bytes[12]);
    const VirtqueueElement::Descriptor descriptor{load_le<u64>(&bytes[0]), load_le<u32>(&bytes[8]), flags};
    if ((flags & kIndirect) && !indirect) {
      indirect = true;
      table = descriptor.address;
      entries = descriptor.length / kDescriptorSize;
      at = 0;
      continue;
    }
    element.descriptors.push_back(descriptor);
    if (!(flags & kNext)) return {};
    if (element.descriptors.size() >= std::min<u64>(entries, kMostDescriptors))
      return Error("the chain of descriptor {} does not end", element.head);
    at = load_le<u16>(&bytes[14]);
  }
}

}  // namespace rhea::devices
