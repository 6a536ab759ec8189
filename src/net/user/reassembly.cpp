// SPDX-License-Identifier: MIT
#include "net/user/reassembly.h"

#include "net/checksum.h"

namespace rhea::net::user {

namespace {

constexpr usize kMaxHalves = 16;
constexpr usize kMaxParts = 64;
constexpr s64 kLifetime = 30 * kSecond;

}  // namespace

void Reassembly::expire() {
  const s64 now = context_.now();
  std::erase_if(halves_, [&](const Half& half) { return now - half.since > kLifetime; });
}

Reassembly::Half& Reassembly::half_of(const Packet& packet, u32 id) {
  for (Half& half : halves_)
    if (half.from == packet.from && half.to == packet.to && half.id == id && half.protocol == packet.protocol)
      return half;
  expire();
  if (halves_.size() >= kMaxHalves) halves_.erase(halves_.begin());
  halves_.push_back({.from = packet.from,
                     .to = packet.to,
                     .id = id,
                     .protocol = packet.protocol,
                     .since = context_.now(),
                     .headers = {},
                     .parts = {}});
  return halves_.back();
}

bool Reassembly::add_part(const Packet& packet, const Fragment& fragment, usize headers, Half& done) {
  const auto [id, offset, start, size, more] = fragment;
  if (size == 0 || (more && size % 8) || offset + size > 65515) return false;
  Half& half = half_of(packet, id);
  const auto drop = [&] {
    halves_.erase(halves_.begin() + (&half - halves_.data()));
    return false;
  };
  for (const Part& part : half.parts) {
    if (offset == part.offset && size == part.data.size()) return false;  // sent twice
    if (offset < part.offset + part.data.size() && part.offset < offset + size) return drop();
  }
  if (half.parts.size() >= kMaxParts) return drop();
  if (!more) {
    if (half.total) return drop();
    half.total = offset + size;
  }
  if (half.total && offset + size > half.total) return drop();
  if (offset == 0) half.headers.assign(packet.head.data(), packet.head.data() + headers);
  half.parts.push_back({offset, std::vector<u8>(size)});
  packet.frame->copy(start, half.parts.back().data.data(), size);
  half.have += size;
  if (!half.total || half.have != half.total || half.headers.empty()) return false;
  done = std::move(half);
  drop();
  const usize first = done.headers.size();
  if (first - kEthernetHeader + done.total > 65535) return false;
  done.headers.resize(first + done.total);
  for (const Part& part : done.parts)
    std::copy(part.data.begin(), part.data.end(),
              done.headers.begin() + static_cast<std::ptrdiff_t>(first + part.offset));
  return true;
}

std::vector<u8> Reassembly::add(const Packet& packet) {
  const u8* ip = packet.head.data() + packet.network;
  const u16 field = load_be<u16>(ip + 6);
  const Fragment fragment{load_be<u16>(ip + 4), (field & 0x1fffu) * 8u, packet.transport, packet.transport_size(),
                          (field & 0x2000) != 0};
  Half done;
  if (!add_part(packet, fragment, packet.transport, done)) return {};
  std::vector<u8>& whole = done.headers;
  u8* header = whole.data() + kEthernetHeader;
  const usize header_size = (header[0] & 15u) * 4;
  store_be<u16>(header + 2, static_cast<u16>(whole.size() - kEthernetHeader));
  store_be<u16>(header + 6, 0);
  store_be<u16>(header + 10, 0);
  store_be<u16>(header + 10, checksum(header, header_size));
  return std::move(whole);
}

// The part that is not fragmented is kept without the headers between the IPv6 header and the fragment
// header: they were for the way.
std::vector<u8> Reassembly::add6(const Packet& packet) {
  constexpr usize kHeader = 8;
  if (packet.transport_size() < kHeader) return {};
  const u8* header = packet.transport_header();
  const u16 field = load_be<u16>(header + 2);
  const Fragment fragment{load_be<u32>(header + 4), field & 0xfff8u, packet.transport + kHeader,
                          packet.transport_size() - kHeader, (field & 1) != 0};
  const u8 next = header[0];
  Half done;
  if (!add_part(packet, fragment, kEthernetHeader + kIpv6Header, done)) return {};
  std::vector<u8>& whole = done.headers;
  u8* ip = whole.data() + kEthernetHeader;
  store_be<u16>(ip + 4, static_cast<u16>(whole.size() - kEthernetHeader - kIpv6Header));
  ip[6] = next;
  return std::move(whole);
}

}  // namespace rhea::net::user
