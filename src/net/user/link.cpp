// SPDX-License-Identifier: MIT
#include "net/user/link.h"

#include "net/checksum.h"

namespace rhea::net::user {

namespace {

constexpr usize kMaxNeighbours = 256;
constexpr usize kMaxWaiting = 32;
constexpr s64 kWaitLimit = 3 * kSecond;
constexpr s64 kAskInterval = kSecond;
constexpr usize kFragmentData = (kMtu - kIpv4Header) & ~usize{7};
constexpr usize kFragmentHeader = 8;  // of IPv6 (RFC 8200, section 4.5)
constexpr usize kFragmentData6 = (kMtu - kIpv6Header - kFragmentHeader) & ~usize{7};
constexpr u8 kNextFragment = 44;
constexpr usize kMostPieces = 8;  // of a packet that is sent without copying it together

usize total_of(std::span<const Piece> pieces) {
  usize total = 0;
  for (const Piece& piece : pieces) total += piece.size;
  return total;
}

}  // namespace

usize AddressHash::operator()(const IpAddress& address) const {
  u64 low, high;
  std::memcpy(&low, address.bytes.data(), 8);
  std::memcpy(&high, address.bytes.data() + 8, 8);
  const u128 product = static_cast<u128>(low ^ key) * (high ^ 0x9e3779b97f4a7c15u ^ key >> 17);
  const u64 folded = static_cast<u64>(product) ^ static_cast<u64>(product >> 64) ^ high * 0xff51afd7ed558ccdu;
  return folded ^ folded >> 29;
}

Link::Link(Port& port, const UserConfig& config, Clock& clock, u64 hash_key)
    : port_(port), config_(config), clock_(clock), neighbours_(16, AddressHash{hash_key}),
      asked_(16, AddressHash{hash_key}), next_fragment_id_(static_cast<u32>(hash_key >> 32)) {}

Mac Link::mac_of(const IpAddress& from) const {
  if (!from.is_v4()) return {0x52, 0x56, 0, 0, 0, 2};
  const bool own = from.in_prefix(config_.network, config_.prefix_length) || from == config_.dns;
  const IpAddress& address = own && from != config_.broadcast() ? from : config_.host;
  return {0x52, 0x55, address.bytes[12], address.bytes[13], address.bytes[14], address.bytes[15]};
}

const Mac* Link::neighbour(const IpAddress& address) {
  const auto found = neighbours_.find(address);
  if (found != neighbours_.end()) return &found->second;
  s64& asked = asked_[address];
  const s64 now = clock_.now();
  if (asked == 0 || now - asked >= kAskInterval) {
    asked = now;
    if (solicit) solicit(address);
  }
  if (asked_.size() > kMaxNeighbours) asked_.clear();
  return nullptr;
}

void Link::learn(const IpAddress& address, const Mac& mac) {
  if (mac[0] & 1 || address.is_unspecified() || address.is_multicast()) return;
  if (last_learned_ && last_learned_->first == address && last_learned_->second == mac) return;
  const auto found = neighbours_.find(address);
  if (found != neighbours_.end()) {
    found->second = mac;
    last_learned_ = &*found;
    return;
  }
  last_learned_ = nullptr;
  if (neighbours_.size() >= kMaxNeighbours) neighbours_.erase(neighbours_.begin());
  neighbours_[address] = mac;
  asked_.erase(address);
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  const s64 now = clock_.now();
  for (Waiting& item : waiting) {
    if (now - item.since > kWaitLimit) continue;
    if (item.address != address) {
      waiting_.push_back(std::move(item));
      continue;
    }
    std::copy(mac.begin(), mac.end(), item.item.frame.begin());
    send_or_queue(std::move(item.item));
  }
  if (on_learned) on_learned(address);
}

void Link::wait_for(const IpAddress& address, Queued item) {
  if (waiting_.size() >= kMaxWaiting) {
    waiting_.pop_front();
    ++dropped_;
  }
  waiting_.push_back({address, std::move(item), clock_.now()});
}

usize Link::write_headers(u8* at, const Mac& to_mac, const IpOut& out, usize transport_size) {
  const Mac from_mac = mac_of(out.from);
  std::memcpy(at, to_mac.data(), 6);
  std::memcpy(at + 6, from_mac.data(), 6);
  u8* ip = at + kEthernetHeader;
  if (out.to.is_v4()) {
    store_be<u16>(at + 12, kTypeIpv4);
    ip[0] = 0x45;
    ip[1] = out.tos;
    store_be<u16>(ip + 2, static_cast<u16>(kIpv4Header + transport_size));
    store_be<u16>(ip + 4, next_id_++);
    store_be<u16>(ip + 6, out.do_not_fragment ? 0x4000 : 0);
    ip[8] = out.ttl;
    ip[9] = out.protocol;
    store_be<u16>(ip + 10, 0);
    std::memcpy(ip + 12, out.from.wire(), 4);
    std::memcpy(ip + 16, out.to.wire(), 4);
    store_be<u16>(ip + 10, checksum(ip, kIpv4Header));
    return kEthernetHeader + kIpv4Header;
  }
  store_be<u16>(at + 12, kTypeIpv6);
  store_be<u32>(ip, 0x60000000u | u32{out.tos} << 20);
  store_be<u16>(ip + 4, static_cast<u16>(transport_size));
  ip[6] = out.protocol;
  ip[7] = out.ttl;
  std::memcpy(ip + 8, out.from.bytes.data(), 16);
  std::memcpy(ip + 24, out.to.bytes.data(), 16);
  return kEthernetHeader + kIpv6Header;
}

// RFC 1624, equation 3.
void Link::renumber(u8* frame) {
  if (load_be<u16>(frame + 12) != kTypeIpv4) return;
  u8* ip = frame + kEthernetHeader;
  const u16 before = load_be<u16>(ip + 4), now = next_id_++;
  u32 sum = static_cast<u16>(~load_be<u16>(ip + 10)) + u32{static_cast<u16>(~before)} + now;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store_be<u16>(ip + 4, now);
  store_be<u16>(ip + 10, static_cast<u16>(~sum));
}

Link::Bytes Link::build(const Mac& mac, const IpOut& out, std::span<const Piece> transport, usize size) {
  Bytes frame(std::max(kEthernetHeader + (out.to.is_v4() ? kIpv4Header : kIpv6Header) + size, kMinFrame));
  usize at = write_headers(frame.data(), mac, out, size);
  for (const Piece& piece : transport) {
    std::memcpy(frame.data() + at, piece.data, piece.size);
    at += piece.size;
  }
  return frame;
}

bool Link::send_ip(const IpOut& out, std::span<const Piece> transport, const Offload& offload) {
  const usize size = total_of(transport);
  const Mac* known = neighbour(out.to);
  const Mac mac = known ? *known : Mac{};
  if (offload.gso == Offload::none && size + (out.to.is_v4() ? kIpv4Header : kIpv6Header) > kMtu) {
    if (known && size <= 65515) return send_fragments(mac, out, transport, size);
    ++dropped_;
    return false;
  }
  if (known && queue_.empty() && !blocked_) {
    const Sent sent = send_now(mac, out, transport, size, offload);
    if (sent != Sent::busy) return sent == Sent::taken;
  }
  Queued item{build(mac, out, transport, size), offload};
  if (known) return send_or_queue(std::move(item));
  wait_for(out.to, std::move(item));
  return false;
}

// Without copying the payload; busy also when the packet has too many pieces or is so short that it is
// padded.
Sent Link::send_now(const Mac& mac, const IpOut& out, std::span<const Piece> transport, usize size,
                    const Offload& offload) {
  if (transport.size() > kMostPieces || size < kMinFrame) return Sent::busy;
  std::array<u8, kEthernetHeader + kIpv6Header> headers;
  std::array<Piece, kMostPieces + 1> pieces;
  pieces[0] = {headers.data(), write_headers(headers.data(), mac, out, size)};
  std::copy(transport.begin(), transport.end(), pieces.begin() + 1);
  return send_frame(Frame{std::span(pieces).first(transport.size() + 1), offload});
}

bool Link::send_ip(const IpOut& out, const u8* data, usize size) {
  const Piece piece{const_cast<u8*>(data), size};
  return send_ip(out, std::span(&piece, 1));
}

// RFC 791, section 3.2, and RFC 8200, section 4.5: offsets in units of 8 bytes, one identification for all.
bool Link::send_fragments(const Mac& mac, const IpOut& out, std::span<const Piece> transport, usize size) {
  const Frame whole{transport, {}};
  const bool v4 = out.to.is_v4();
  const u16 id = v4 ? next_id_++ : u16{0};
  const u32 id6 = v4 ? 0 : next_fragment_id_++;
  const usize most = v4 ? kFragmentData : kFragmentData6;
  IpOut part_out = out;
  if (!v4) part_out.protocol = kNextFragment;
  bool sent = true;
  for (usize offset = 0; offset < size; offset += most) {
    const usize part = std::min(most, size - offset);
    const bool more = offset + part < size;
    const usize extra = v4 ? 0 : kFragmentHeader;
    Bytes frame(std::max(kEthernetHeader + (v4 ? kIpv4Header : kIpv6Header) + extra + part, kMinFrame));
    usize at = write_headers(frame.data(), mac, part_out, extra + part);
    if (v4) {
      u8* ip = frame.data() + kEthernetHeader;
      store_be<u16>(ip + 4, id);
      store_be<u16>(ip + 6, static_cast<u16>(offset / 8 | (more ? 0x2000 : 0)));
      store_be<u16>(ip + 10, 0);
      store_be<u16>(ip + 10, checksum(ip, kIpv4Header));
    } else {
      frame[at] = out.protocol;
      store_be<u16>(frame.data() + at + 2, static_cast<u16>(offset | (more ? 1 : 0)));
      store_be<u32>(frame.data() + at + 4, id6);
      at += kFragmentHeader;
    }
    whole.copy(offset, frame.data() + at, part);
    sent &= send_or_queue(std::move(frame));
  }
  return sent;
}

bool Link::broadcast_ip(const IpOut& out, std::span<const Piece> transport) {
  return send_ip_to({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, out, transport);
}

bool Link::send_ip_to(const Mac& to, const IpOut& out, std::span<const Piece> transport) {
  return send_or_queue(build(to, out, transport, total_of(transport)));
}

void Link::send_arp(const Mac& to, const u8* arp, usize size) {
  Bytes frame(std::max(kEthernetHeader + size, kMinFrame));
  const Mac from{arp[8], arp[9], arp[10], arp[11], arp[12], arp[13]};  // the sender's hardware address
  std::memcpy(frame.data(), to.data(), 6);
  std::memcpy(frame.data() + 6, from.data(), 6);
  store_be<u16>(frame.data() + 12, kTypeArp);
  std::memcpy(frame.data() + kEthernetHeader, arp, size);
  send_or_queue(std::move(frame));
}

bool Link::send_or_queue(Queued item) {
  if (queue_.empty() && !blocked_) {
    Piece piece{item.frame.data(), item.frame.size()};
    const Sent sent = send_frame(Frame{std::span(&piece, 1), item.offload});
    if (sent != Sent::busy) return sent == Sent::taken;
  }
  if (queue_.size() >= kQueueHigh) {
    ++dropped_;
    return false;
  }
  queue_.push_back(std::move(item));
  return true;
}

void Link::drain() {
  while (!queue_.empty() && !blocked_) {
    Piece piece{queue_.front().frame.data(), queue_.front().frame.size()};
    if (send_frame(Frame{std::span(&piece, 1), queue_.front().offload}) == Sent::busy) return;
    queue_.pop_front();
  }
}

void Link::on_room() { blocked_ = false; }

Sent Link::send_frame(const Frame& frame) {
  const Sent sent = send_to_peer(port_, frame);
  if (sent == Sent::busy) blocked_ = true;
  return sent;
}

bool Link::reserve(usize bytes, Reservation& reservation) {
  if (peer()->reserve(bytes, reservation)) return true;
  blocked_ = true;
  return false;
}

void Link::commit(Reservation& reservation, usize used, const Offload& offload) {
  peer()->commit(reservation, used, offload);
}

void Link::abort(Reservation& reservation) { peer()->abort(reservation); }

}  // namespace rhea::net::user
