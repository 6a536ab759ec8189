// SPDX-License-Identifier: MIT
#include "net/filters/rewriter.h"

#include <optional>

#include "net/segment.h"
#include "util/bits.h"

namespace rhea::net {

namespace {

constexpr u8 kTcpProtocol = 6;
constexpr usize kSequence = 4, kAcknowledgement = 8, kFlags = 13, kChecksum = 16, kTcpHeader = 20;
enum TcpFlag : u8 { kFin = 1, kSyn = 2, kRst = 4, kAck = 16 };

// A checksum after a 32-bit word of what it covers changed (RFC 1624, equation 3).
u16 adjusted(u16 checksum, u32 before, u32 after) {
  u32 sum = static_cast<u16>(~checksum);
  sum += static_cast<u16>(~(before >> 16)) + static_cast<u16>(~before);
  sum += (after >> 16) + (after & 0xffff);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(~sum);
}

}  // namespace

bool RewriterFilter::rewrite(bool from_guest, const Key& key, u8* tcp) {
  const u8 flags = tcp[kFlags];
  auto found = connections_.find(key);
  if (from_guest && (flags & (kSyn | kAck)) == (kSyn | kAck)) {
    if (found == connections_.end() && connections_.size() == kMostConnections)
      connections_.erase(connections_.begin());
    connections_[key] = {.offset = load_be<u32>(tcp + kSequence), .begins = true};
    return false;
  }
  if (found == connections_.end()) return false;
  Connection& connection = found->second;
  // The other side acknowledges the first machine's first number, plus one.
  if (!from_guest && connection.begins && (flags & (kSyn | kAck)) == kAck) {
    connection.offset -= load_be<u32>(tcp + kAcknowledgement) - 1;
    connection.begins = false;
  }
  if (connection.begins) return false;
  const usize field = from_guest ? kSequence : kAcknowledgement;
  const u32 before = load_be<u32>(tcp + field);
  const u32 after = from_guest ? before - connection.offset : before + connection.offset;
  const bool changes = connection.offset != 0 && (from_guest || (flags & kAck));
  if (changes) {
    store_be<u32>(tcp + field, after);
    store_be<u16>(tcp + kChecksum, adjusted(load_be<u16>(tcp + kChecksum), before, after));
  }
  if (flags & kFin) (from_guest ? connection.closing_guest : connection.closing_other) = true;
  // Both have said that they end, and this acknowledges it; or it was reset.
  const bool over = connection.closing_guest && connection.closing_other && !(flags & kFin);
  if (over || (flags & kRst)) connections_.erase(found);
  return changes;
}

Sent RewriterFilter::pass(bool from_guest, const Frame& frame) {
  if (!wants(from_guest)) return Filter::pass(from_guest, frame);
  std::array<u8, kMaxHeaders> head;
  const usize size = frame.copy(0, head.data(), head.size());
  HeaderLayout layout;
  if (!parse_layout(head.data(), size, 0, layout) || layout.v6 || layout.protocol != kTcpProtocol ||
      layout.transport + kTcpHeader > size)
    return forward(from_guest, frame);
  const u8* ip = head.data() + layout.network;
  u8* tcp = head.data() + layout.transport;
  const Endpoint source{IpAddress::from_wire(ip + 12, true), load_be<u16>(tcp), 0};
  const Endpoint target{IpAddress::from_wire(ip + 16, true), load_be<u16>(tcp + 2), 0};
  const Key key = from_guest ? Key{source, target} : Key{target, source};
  const auto kept = connections_.find(key);
  const std::optional<Connection> state = kept == connections_.end() ? std::nullopt : std::optional(kept->second);
  Sent sent;
  if (rewrite(from_guest, key, tcp)) {
    OwnedFrame owned = OwnedFrame::copy(frame);
    std::copy_n(head.begin(), layout.transport + kTcpHeader, owned.bytes.begin());
    // What is left to the other side covers the new words by itself; the sum of the pseudo header does not.
    if (frame.offload.needs_checksum)
      frame.copy(layout.transport + kChecksum, &owned.bytes[layout.transport + kChecksum], 2);
    const Piece piece{owned.bytes.data(), owned.bytes.size()};
    sent = forward(from_guest, Frame{{&piece, 1}, owned.offload});
  } else {
    sent = forward(from_guest, frame);
  }
  // It comes again: as if it had not been seen.
  if (sent == Sent::busy) {
    if (state) connections_[key] = *state;
    else connections_.erase(key);
  }
  return sent;
}

Filter::Texts RewriterFilter::own_properties() const { return {{"vnet_hdr_support", with_header_ ? "on" : "off"}}; }

}  // namespace rhea::net
