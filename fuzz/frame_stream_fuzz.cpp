// SPDX-License-Identifier: MIT
// A stream of length-prefixed frames from a hostile peer, in pieces that the input's first bytes choose.
#include "net/backends/frame_decoder.h"

using namespace rhea;
using namespace rhea::net;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 4) return 0;
  FrameDecoder decoder(data[0] & 1);
  const usize step = 1 + data[1] * 16u;
  data += 2;
  size -= 2;
  usize taken = 0;
  for (usize at = 0; at < size;) {
    const std::span<u8> room = decoder.room();
    if (room.empty()) __builtin_trap();  // a whole frame always fits
    const usize part = std::min({step, room.size(), size - at});
    std::copy_n(data + at, part, room.begin());
    decoder.filled(part);
    at += part;
    for (;;) {
      DecodedFrame frame;
      const FrameDecoder::Step what = decoder.next(frame);
      if (what == FrameDecoder::Step::broken) return 0;
      if (what == FrameDecoder::Step::more) break;
      if (frame.bytes.size() > FrameDecoder::kLargest) __builtin_trap();
      if (frame.offload.needs_checksum &&
          usize{frame.offload.checksum_start} + frame.offload.checksum_offset + 2 > frame.bytes.size())
        __builtin_trap();
      for (const u8 byte : frame.bytes) taken += byte;  // all of it can be read
    }
  }
  return taken == ~usize{0};
}
