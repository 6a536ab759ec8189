// SPDX-License-Identifier: MIT
// A packet from the guest as the protocols see it: its headers in one place, its payload still in the frame.
#pragma once

#include <array>
#include <span>

#include "net/frame.h"
#include "util/bits.h"
#include "util/ip_address.h"

namespace rhea::net::user {

using Mac = std::array<u8, 6>;

constexpr u16 kTypeIpv4 = 0x0800, kTypeArp = 0x0806, kTypeIpv6 = 0x86dd;
constexpr u8 kIcmp = 1, kTcp = 6, kUdp = 17, kIcmpv6 = 58;
constexpr usize kMtu = 1500;
constexpr usize kIpv4Header = 20, kIpv6Header = 40, kTcpHeader = 20, kUdpHeader = 8;
constexpr usize kHeadSize = 256;  // bytes from the start of a frame that are looked at as headers

struct Packet {
  const Frame* frame = nullptr;
  std::array<u8, kHeadSize> head;  // the start of the frame
  usize head_size = 0;
  Mac source_mac{}, to_mac{};
  IpAddress from, to;
  bool v6 = false;
  u8 protocol = 0;
  u8 ttl = 0;
  u8 tos = 0;
  bool do_not_fragment = false;
  usize network = kEthernetHeader;  // where the IP header begins in the frame
  usize transport = 0;              // where what follows it begins
  usize end = 0;                    // where the IP packet ends

  const u8* transport_header() const { return head.data() + transport; }
  usize transport_size() const { return end - transport; }
  // Bytes of the transport header and what follows that are in `head`.
  usize transport_in_head() const { return std::min(head_size, end) - std::min(transport, head_size); }
};

// The part [offset, offset+size) of a frame as pieces; returns how many (the rest is lost if there are too
// many).
inline usize part_of(const Frame& frame, usize offset, usize size, std::span<Piece> pieces) {
  usize count = 0;
  for (const Piece& piece : frame.pieces) {
    if (!size || count == pieces.size()) break;
    if (offset >= piece.size) {
      offset -= piece.size;
      continue;
    }
    const usize part = std::min(size, piece.size - offset);
    pieces[count++] = {piece.data + offset, part};
    offset = 0;
    size -= part;
  }
  return count;
}

}  // namespace rhea::net::user
