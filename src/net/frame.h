// SPDX-License-Identifier: MIT
// What crosses a network port: a scatter/gather Ethernet frame with the offload header of virtio-net, up to
// 64 KiB. Checksums may be left to the other side, and a TCP segment may be larger than the MTU ("GSO"): each
// side states what it can take, and a sender that meets a smaller receiver has the frame segmented and summed
// once (net/segment.h).
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "util/types.h"

namespace rhea::net {

constexpr usize kEthernetHeader = 14;
constexpr usize kMinFrame = 60;             // without the frame check sequence
constexpr usize kMaxGsoFrame = 65535 + 14;  // an IP packet of the greatest length in a frame
constexpr unsigned kMaxSegments = 64;       // pieces of a scatter/gather list

// What the offload header says (VIRTIO 1.1, section 5.1.6: struct virtio_net_hdr), in host order.
struct Offload {
  enum Gso : u8 { none = 0, tcp4 = 1, udp = 3, tcp6 = 4, udp_l4 = 5 };
  bool needs_checksum = false;  // one's complement sum from checksum_start is to be put at +checksum_offset
  bool checksum_valid = false;  // the receiver need not verify
  u8 gso = none;
  bool ecn = false;
  u16 header_length = 0;  // Ethernet + IP + TCP headers, when gso
  u16 gso_size = 0;       // payload bytes of each segment, when gso
  u16 checksum_start = 0;
  u16 checksum_offset = 0;
};

// What a port takes.
struct Caps {
  bool checksum = false;  // frames with needs_checksum
  bool tso4 = false;
  bool tso6 = false;
  bool uso = false;
  usize max_frame = 1514;  // of frames without gso
};

// A piece of memory, laid out as struct iovec.
struct Piece {
  u8* data;
  usize size;
};

// A frame, borrowed for the call that it is passed to: who keeps it copies it. The first piece holds the
// whole Ethernet header unless the frame is shorter.
struct Frame {
  std::span<const Piece> pieces;
  Offload offload;

  usize size() const {
    usize total = 0;
    for (const Piece& piece : pieces) total += piece.size;
    return total;
  }
  // Copies up to `limit` bytes from `offset`; returns how many.
  usize copy(usize offset, u8* to, usize limit) const {
    usize done = 0;
    for (const Piece& piece : pieces) {
      if (offset >= piece.size) {
        offset -= piece.size;
        continue;
      }
      const usize part = std::min(piece.size - offset, limit - done);
      std::memcpy(to + done, piece.data + offset, part);
      done += part;
      offset = 0;
      if (done == limit) break;
    }
    return done;
  }
};

}  // namespace rhea::net
