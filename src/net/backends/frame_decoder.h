// SPDX-License-Identifier: MIT
// Frames on a byte stream as QEMU's socket and stream backends, mirror and redirector have them: each is preceded
// by its length, 32 bits in network byte order; with an offload header also by the length of that header, and the
// header (struct virtio_net_hdr, 10 or 12 bytes, in host order) stands before the frame and is counted with it.
#pragma once

#include <span>
#include <vector>

#include "net/frame.h"
#include "net/vnet_header.h"

namespace rhea::net {

// A frame that was taken from a stream, valid until the decoder is used again.
struct DecodedFrame {
  std::span<const u8> bytes;
  Offload offload;
};

class FrameDecoder {
 public:
  // The largest that is taken, the header with it: what QEMU's own buffers hold. A length beyond it means that the
  // stream is no stream of frames.
  static constexpr usize kLargest = 4096 + 65536;

  explicit FrameDecoder(bool with_header = false) : with_header_(with_header) { buffer_.resize(kBuffer); }

  // Where the next bytes of the stream go; never empty while next() was called until it said `more`.
  std::span<u8> room();
  void filled(usize bytes);

  enum class Step : u8 { frame, more, broken };
  // The next whole frame; `broken` stays.
  Step next(DecodedFrame& frame);
  u32 bad_length() const { return bad_length_; }
  // Bytes of a frame that has begun.
  usize begun() const { return end_ - begin_; }
  void reset() { begin_ = end_ = 0, bad_length_ = 0; }

 private:
  static constexpr usize kBuffer = 4 * (kLargest + 8);

  bool with_header_;
  std::vector<u8> buffer_;
  usize begin_ = 0, end_ = 0;
  u32 bad_length_ = 0;
};

}  // namespace rhea::net
