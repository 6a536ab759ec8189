// SPDX-License-Identifier: MIT
#include "net/backends/frame_decoder.h"

#include "util/bits.h"

namespace rhea::net {

std::span<u8> FrameDecoder::room() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ < kLargest + 8) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return std::span(buffer_).subspan(end_);
}

void FrameDecoder::filled(usize bytes) { end_ += std::min(bytes, buffer_.size() - end_); }

FrameDecoder::Step FrameDecoder::next(DecodedFrame& frame) {
  const usize prefix = with_header_ ? 8 : 4;
  if (bad_length_) return Step::broken;
  if (end_ - begin_ < prefix) return Step::more;
  const u8* at = buffer_.data() + begin_;
  const u32 length = load_be<u32>(at);
  const u32 header = with_header_ ? load_be<u32>(at + 4) : 0;
  if (length > kLargest || header > length || (header && header != 10 && header != kVnetHeader)) {
    bad_length_ = length > kLargest ? length : header;
    return Step::broken;
  }
  if (end_ - begin_ < prefix + length) return Step::more;
  begin_ += prefix + length;
  frame.bytes = {at + prefix + header, length - header};
  frame.offload = {};
  if (header && !read_vnet_header({at + prefix, header}, frame.bytes.size(), frame.offload)) frame = {};
  return Step::frame;
}

}  // namespace rhea::net
