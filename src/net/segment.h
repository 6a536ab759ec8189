// SPDX-License-Identifier: MIT
// What a port does for a peer that takes less than the sender has: cuts a frame with gso into frames of the
// segment size, and fills in checksums that were left to the other side. Payload is never copied: frames that
// come out have headers of their own and borrow the payload.
#pragma once

#include <array>

#include "net/frame.h"

namespace rhea::net {

// Headers of a frame up to this many bytes can be rewritten; frames with more are dropped.
constexpr usize kMaxHeaders = 512;

// Where a frame's headers lie, in bytes from its start.
struct HeaderLayout {
  usize network = 0;    // IP header
  usize transport = 0;  // TCP or UDP header
  usize payload = 0;
  bool v6 = false;
  u8 protocol = 0;
};

// Finds the headers of a TCP or UDP packet at the start of `head`; false when it is none, or they do not fit.
// With `transport` not 0 the transport header is there (an offload header says so), and extension headers are
// skipped.
bool parse_layout(const u8* head, usize size, usize transport, HeaderLayout& layout);

// A frame with its checksum filled in. `frame()` borrows from this object and from the frame given.
class SummedFrame {
 public:
  // False: the offload header makes no sense for this frame.
  bool build(const Frame& from);
  const Frame& frame() const { return frame_; }

 private:
  std::array<u8, kMaxHeaders> head_;
  std::array<Piece, kMaxSegments + 2> pieces_;
  Frame frame_;
};

// The frames of a frame with gso, in order, with all checksums filled in.
class Segmenter {
 public:
  // False: not a TCP (tcp4, tcp6) or UDP (udp_l4) packet as its offload header claims.
  bool begin(const Frame& from);
  // The next one, valid until the next call; nullptr after the last.
  const Frame* next();

 private:
  void patch(usize offset, usize size, bool first, bool last);
  usize take_payload(usize size);

  Frame from_;
  HeaderLayout layout_;
  std::array<u8, kMaxHeaders> original_;
  std::array<u8, kMaxHeaders> head_;
  std::array<Piece, kMaxSegments + 2> pieces_;
  Frame frame_;
  usize payload_size_ = 0;
  usize done_ = 0;   // payload bytes already sent
  usize index_ = 0;  // of the segment
  usize piece_ = 0;  // where the payload stands: a piece of from_, and an offset in it
  usize piece_offset_ = 0;
};

}  // namespace rhea::net
