// SPDX-License-Identifier: MIT
// A queue of frames in memory that two processes share: one writes, one reads, nobody waits, and neither believes the
// other. Each keeps its own position to itself and only tells it; what the other tells is read once and checked, and
// frames are copied out before anything looks at them. A writer that lies can only send wrong frames, as it could
// anyway; a reader that lies only loses its own.
//
// A frame is a head of 16 bytes (its size, then the offload header of net/vnet_header.h) and its bytes, filled up to
// 16. Positions count bytes since the start; the ring's size is a power of two.
//
// Sleeping: the reader that found nothing says so (reader_waits) and looks once more; the writer that sees it rings the
// bell of their connection. The other way round for room.
#pragma once

#include <atomic>
#include <span>
#include <vector>

#include "net/frame.h"
#include "util/types.h"

namespace rhea::net::lan {

constexpr usize kRingBytes = usize{1} << 20;
constexpr usize kRingHead = 16;
// What a frame takes at most.
constexpr usize kLargestRecord = (kRingHead + kMaxGsoFrame + 15) / 16 * 16;

struct RingControl {
  alignas(64) std::atomic<u64> head;  // written up to here
  alignas(64) std::atomic<u64> tail;  // read up to here
  alignas(64) std::atomic<u32> reader_waits;
  alignas(64) std::atomic<u32> writer_waits;
};
static_assert(std::atomic<u64>::is_always_lock_free && sizeof(RingControl) == 256);

// Two rings, one for each direction, in one piece of memory.
constexpr usize kRingPage = 4096;
constexpr usize kPairBytes = kRingPage + 2 * kRingBytes;

enum class RingResult : u8 { done, nothing, broken };

class RingWriter {
 public:
  RingWriter(u8* memory, unsigned direction);
  // nothing: it is full, and the reader is going to ring when half of it is free. broken: the reader's position is
  // none.
  RingResult write(const Frame& frame);
  // Whether the reader sleeps and has to be rung; asked after one write or several.
  bool take_bell();
  // Whether half of the ring is free again.
  bool has_room();
  // Read by the other side so far, as it says.
  u64 consumed() const { return control_->tail.load(std::memory_order_acquire); }

 private:
  void put(u64 position, const u8* from, usize size);
  RingControl* control_;
  u8* data_;
  u64 head_ = 0;
};

class RingReader {
 public:
  RingReader(u8* memory, unsigned direction);
  // The next frame, copied to `into` (kMaxGsoFrame bytes). nothing: the writer is going to ring. broken: what is there
  // cannot be.
  RingResult read(std::span<u8> into, usize& size, Offload& offload);
  // Whether the writer waits for room and there is some: it has to be rung.
  bool take_bell();

 private:
  void get(u64 position, u8* to, usize size) const;
  RingControl* control_;
  const u8* data_;
  u64 tail_ = 0;
  u64 known_head_ = 0;  // as the writer said last, checked
};

}  // namespace rhea::net::lan
