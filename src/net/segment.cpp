// SPDX-License-Identifier: MIT
#include "net/segment.h"

#include "net/checksum.h"

namespace rhea::net {

namespace {

constexpr u8 kTcp = 6;
constexpr u8 kUdp = 17;
constexpr u8 kFlagFin = 0x01, kFlagPsh = 0x08, kFlagCwr = 0x80;

usize transport_header_size(const u8* head, usize size, const HeaderLayout& layout) {
  if (layout.protocol == kUdp) return layout.transport + 8 <= size ? 8 : 0;
  if (layout.transport + 20 > size) return 0;
  const usize length = (head[layout.transport + 12] >> 4) * 4u;
  return length >= 20 && layout.transport + length <= size ? length : 0;
}

// Appends pieces from `offset` of a frame on; returns how many there are now.
usize append_from(const Frame& from, usize offset, std::span<Piece> pieces, usize count) {
  for (const Piece& piece : from.pieces) {
    if (offset >= piece.size) {
      offset -= piece.size;
      continue;
    }
    if (count == pieces.size()) break;
    pieces[count++] = {piece.data + offset, piece.size - offset};
    offset = 0;
  }
  return count;
}

}  // namespace

bool parse_layout(const u8* head, usize size, usize transport, HeaderLayout& layout) {
  if (size < kEthernetHeader + 20) return false;
  const u16 type = load_be<u16>(head + 12);
  const u8* ip = head + kEthernetHeader;
  layout.network = kEthernetHeader;
  if (type == 0x0800 && (ip[0] >> 4) == 4) {
    layout.v6 = false;
    layout.protocol = ip[9];
    layout.transport = kEthernetHeader + (ip[0] & 15) * 4u;
    if (layout.transport < kEthernetHeader + 20) return false;
    if (load_be<u16>(ip + 6) & 0x3fff) return false;  // a fragment
    if (transport && transport != layout.transport) return false;
  } else if (type == 0x86dd && (ip[0] >> 4) == 6 && size >= kEthernetHeader + 40) {
    layout.v6 = true;
    layout.protocol = ip[6];
    layout.transport = kEthernetHeader + 40;
    // Between the IPv6 header and the transport header there may be extension headers (RFC 8200, section 4).
    while (transport > layout.transport && layout.transport + 8 <= size) {
      if (layout.protocol != 0 && layout.protocol != 43 && layout.protocol != 60) return false;
      layout.protocol = head[layout.transport];
      layout.transport += (head[layout.transport + 1] + 1u) * 8;
    }
    if (transport && transport != layout.transport) return false;
  } else {
    return false;
  }
  if (layout.protocol != kTcp && layout.protocol != kUdp) return false;
  const usize length = transport_header_size(head, size, layout);
  layout.payload = layout.transport + length;
  return length != 0;
}

bool SummedFrame::build(const Frame& from) {
  const Offload& offload = from.offload;
  const usize field = usize{offload.checksum_start} + offload.checksum_offset;
  const usize have = from.copy(0, head_.data(), head_.size());
  if (field + 2 > have || offload.checksum_offset < 6) return false;
  const usize head_size = field + 2;
  pieces_[0] = {head_.data(), head_size};
  const usize count = append_from(from, head_size, pieces_, 1);
  ChecksumSum sum;
  sum.add(head_.data() + offload.checksum_start, head_size - offload.checksum_start);
  sum.add(std::span(pieces_).subspan(1, count - 1));
  u16 value = sum.checksum();
  if (value == 0 && offload.checksum_offset == 6) value = 0xffff;  // UDP: 0 means none (RFC 768)
  store_be<u16>(head_.data() + field, value);
  frame_.pieces = std::span(pieces_.data(), count);
  frame_.offload = {};
  frame_.offload.checksum_valid = true;
  return true;
}

bool Segmenter::begin(const Frame& from) {
  const Offload& offload = from.offload;
  from_ = from;
  const usize have = from.copy(0, original_.data(), original_.size());
  if (!offload.gso_size || !parse_layout(original_.data(), have, offload.checksum_start, layout_)) return false;
  const bool fits = (offload.gso == Offload::tcp4 && layout_.protocol == kTcp && !layout_.v6) ||
                    (offload.gso == Offload::tcp6 && layout_.protocol == kTcp && layout_.v6) ||
                    (offload.gso == Offload::udp_l4 && layout_.protocol == kUdp);
  const usize size = from.size();
  if (!fits || size < layout_.payload || size > kMaxGsoFrame) return false;
  payload_size_ = size - layout_.payload;
  done_ = index_ = piece_ = 0;
  piece_offset_ = layout_.payload;
  return true;
}

// Pieces of the next `size` bytes of payload, from pieces_[1] on.
usize Segmenter::take_payload(usize size) {
  usize count = 1;
  while (size && piece_ < from_.pieces.size() && count < pieces_.size()) {
    const Piece& piece = from_.pieces[piece_];
    if (piece_offset_ >= piece.size) {
      piece_offset_ -= piece.size;
      ++piece_;
      continue;
    }
    const usize part = std::min(size, piece.size - piece_offset_);
    pieces_[count++] = {piece.data + piece_offset_, part};
    piece_offset_ += part;
    size -= part;
  }
  return count;
}

void Segmenter::patch(usize offset, usize size, bool first, bool last) {
  std::memcpy(head_.data(), original_.data(), layout_.payload);
  u8* ip = head_.data() + layout_.network;
  u8* transport = head_.data() + layout_.transport;
  if (layout_.v6) {
    store_be<u16>(ip + 4, static_cast<u16>(layout_.payload - layout_.network - 40 + size));
  } else {
    store_be<u16>(ip + 2, static_cast<u16>(layout_.payload - layout_.network + size));
    store_be<u16>(ip + 4, static_cast<u16>(load_be<u16>(ip + 4) + index_));
    store_be<u16>(ip + 10, 0);
    store_be<u16>(ip + 10, checksum(ip, layout_.transport - layout_.network));
  }
  if (layout_.protocol == kTcp) {
    store_be<u32>(transport + 4, load_be<u32>(transport + 4) + static_cast<u32>(offset));
    if (!last) transport[13] &= static_cast<u8>(~(kFlagFin | kFlagPsh));
    if (!first) transport[13] &= static_cast<u8>(~kFlagCwr);
    store_be<u16>(transport + 16, 0);
  } else {
    store_be<u16>(transport + 4, static_cast<u16>(8 + size));
    store_be<u16>(transport + 6, 0);
  }
}

const Frame* Segmenter::next() {
  if (done_ >= payload_size_ && index_ > 0) return nullptr;
  const usize size = std::min<usize>(from_.offload.gso_size, payload_size_ - done_);
  patch(done_, size, index_ == 0, done_ + size >= payload_size_);
  pieces_[0] = {head_.data(), layout_.payload};
  const usize count = take_payload(size);
  const u8* ip = head_.data() + layout_.network;
  const bool v6 = layout_.v6;
  ChecksumSum sum;
  sum.add_pseudo_header(IpAddress::from_wire(ip + (v6 ? 8 : 12), !v6), IpAddress::from_wire(ip + (v6 ? 24 : 16), !v6),
                        layout_.protocol, layout_.payload - layout_.transport + size);
  sum.add(head_.data() + layout_.transport, layout_.payload - layout_.transport);
  sum.add(std::span(pieces_).subspan(1, count - 1));
  u16 value = sum.checksum();
  if (layout_.protocol == kUdp && value == 0) value = 0xffff;
  store_be<u16>(head_.data() + layout_.transport + (layout_.protocol == kTcp ? 16 : 6), value);
  frame_.pieces = std::span(pieces_.data(), count);
  frame_.offload = {};
  frame_.offload.checksum_valid = true;
  done_ += size;
  ++index_;
  return &frame_;
}

}  // namespace rhea::net
