// SPDX-License-Identifier: MIT
#include "net/lan/ring.h"

#include "net/vnet_header.h"
#include "util/bits.h"

namespace rhea::net::lan {

namespace {

constexpr u64 kMask = kRingBytes - 1;

RingControl* control_of(u8* memory, unsigned direction) {
  return reinterpret_cast<RingControl*>(memory + direction * sizeof(RingControl));
}
u8* data_of(u8* memory, unsigned direction) { return memory + kRingPage + direction * kRingBytes; }

constexpr usize record_size(usize frame) { return (kRingHead + frame + 15) / 16 * 16; }

}  // namespace

RingWriter::RingWriter(u8* memory, unsigned direction)
    : control_(control_of(memory, direction)), data_(data_of(memory, direction)) {}

void RingWriter::put(u64 position, const u8* from, usize size) {
  const usize at = position & kMask;
  const usize first = std::min(size, kRingBytes - at);
  std::memcpy(data_ + at, from, first);
  std::memcpy(data_, from + first, size - first);
}

RingResult RingWriter::write(const Frame& frame) {
  const usize size = frame.size();
  const usize need = record_size(size);
  if (size > kMaxGsoFrame) return RingResult::broken;
  for (unsigned look = 0;; ++look) {
    const u64 used = head_ - control_->tail.load(std::memory_order_acquire);
    if (used > kRingBytes) return RingResult::broken;
    if (need <= kRingBytes - used) break;
    if (look) return RingResult::nothing;
    control_->writer_waits.store(1, std::memory_order_seq_cst);
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  std::array<u8, kRingHead> head;
  store_le<u32>(head.data(), static_cast<u32>(size));
  write_vnet_header(frame.offload, std::span(head).subspan<4, kVnetHeader>());
  put(head_, head.data(), head.size());
  u64 at = head_ + kRingHead;
  for (const Piece& piece : frame.pieces) {
    put(at, piece.data, piece.size);
    at += piece.size;
  }
  head_ += need;
  control_->head.store(head_, std::memory_order_release);
  return RingResult::done;
}

bool RingWriter::take_bell() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return control_->reader_waits.load(std::memory_order_relaxed) &&
         control_->reader_waits.exchange(0, std::memory_order_seq_cst);
}

bool RingWriter::has_room() {
  const u64 used = head_ - control_->tail.load(std::memory_order_acquire);
  return used <= kRingBytes / 2;
}

RingReader::RingReader(u8* memory, unsigned direction)
    : control_(control_of(memory, direction)), data_(data_of(memory, direction)) {}

void RingReader::get(u64 position, u8* to, usize size) const {
  const usize at = position & kMask;
  const usize first = std::min(size, kRingBytes - at);
  std::memcpy(to, data_ + at, first);
  std::memcpy(to + first, data_, size - first);
}

RingResult RingReader::read(std::span<u8> into, usize& size, Offload& offload) {
  for (unsigned look = 0; known_head_ == tail_; ++look) {
    if (look == 2) return RingResult::nothing;
    if (look == 1) {
      control_->reader_waits.store(1, std::memory_order_seq_cst);
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
    const u64 head = control_->head.load(std::memory_order_acquire);
    if (head - tail_ > kRingBytes || (head & 15)) return RingResult::broken;
    known_head_ = head;
  }
  std::array<u8, kRingHead> head;
  get(tail_, head.data(), head.size());
  size = load_le<u32>(head.data());
  if (size < kEthernetHeader || size > kMaxGsoFrame || size > into.size() || record_size(size) > known_head_ - tail_ ||
      !read_vnet_header(std::span<const u8>(head).subspan(4), size, offload))
    return RingResult::broken;
  get(tail_ + kRingHead, into.data(), size);
  tail_ += record_size(size);
  control_->tail.store(tail_, std::memory_order_release);
  return RingResult::done;
}

bool RingReader::take_bell() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!control_->writer_waits.load(std::memory_order_relaxed) || known_head_ - tail_ > kRingBytes / 2) return false;
  return control_->writer_waits.exchange(0, std::memory_order_seq_cst);
}

}  // namespace rhea::net::lan
