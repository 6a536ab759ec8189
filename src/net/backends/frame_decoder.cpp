// SPDX-License-Identifier: MIT
#include "net/backends/frame_decoder.h"

#include "util/bits.h"

namespace rhea::net {

namespace {
enum HeaderFlag : u8 { kNeedsCsum = 1, kDataValid = 2 };
constexpr u8 kGsoEcn = 0x80;
}  // namespace

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

void write_vnet_header(const Offload& offload, std::span<u8, kVnetHeader> to) {
  std::fill(to.begin(), to.end(), u8{0});
  if (offload.needs_checksum) to[0] = kNeedsCsum;
  else if (offload.checksum_valid) to[0] = kDataValid;
  to[1] = static_cast<u8>(offload.gso | (offload.gso && offload.ecn ? kGsoEcn : 0));
  store_le<u16>(&to[2], offload.header_length);
  store_le<u16>(&to[4], offload.gso_size);
  store_le<u16>(&to[6], offload.needs_checksum ? offload.checksum_start : u16{0});
  store_le<u16>(&to[8], offload.needs_checksum ? offload.checksum_offset : u16{0});
}

bool read_vnet_header(std::span<const u8> from, usize frame_size, Offload& offload) {
  offload = {};
  if (from.size() < 10) return false;
  if (from[0] & kNeedsCsum) {
    offload.needs_checksum = true;
    offload.checksum_start = load_le<u16>(&from[6]);
    offload.checksum_offset = load_le<u16>(&from[8]);
    if (usize{offload.checksum_start} + offload.checksum_offset + 2 > frame_size) return false;
  }
  offload.checksum_valid = from[0] & kDataValid;
  offload.gso = from[1] & static_cast<u8>(~kGsoEcn);
  if (offload.gso == Offload::none) return true;
  if (offload.gso != Offload::tcp4 && offload.gso != Offload::tcp6 && offload.gso != Offload::udp_l4) return false;
  offload.ecn = from[1] & kGsoEcn;
  offload.header_length = load_le<u16>(&from[2]);
  offload.gso_size = load_le<u16>(&from[4]);
  return offload.gso_size != 0 && offload.needs_checksum;
}

}  // namespace rhea::net
