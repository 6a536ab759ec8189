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

Reassembly::Half& Reassembly::half_of(const Packet& packet, u16 id) {
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

std::vector<u8> Reassembly::add(const Packet& packet) {
  const u8* ip = packet.head.data() + packet.network;
  const u16 field = load_be<u16>(ip + 6);
  const usize offset = (field & 0x1fffu) * 8;
  const bool more = field & 0x2000;
  const usize size = packet.transport_size();
  if (size == 0 || (more && size % 8) || offset + size > 65515) return {};
  Half& half = half_of(packet, load_be<u16>(ip + 4));
  const auto drop = [&] {
    halves_.erase(halves_.begin() + (&half - halves_.data()));
    return std::vector<u8>();
  };
  for (const Part& part : half.parts) {
    if (offset == part.offset && size == part.data.size()) return {};  // sent twice
    if (offset < part.offset + part.data.size() && part.offset < offset + size) return drop();
  }
  if (half.parts.size() >= kMaxParts) return drop();
  if (!more) {
    if (half.total) return drop();
    half.total = offset + size;
  }
  if (half.total && offset + size > half.total) return drop();
  if (offset == 0) half.headers.assign(packet.head.data(), packet.head.data() + packet.transport);
  half.parts.push_back({offset, std::vector<u8>(size)});
  packet.frame->copy(packet.transport, half.parts.back().data.data(), size);
  half.have += size;
  if (!half.total || half.have != half.total || half.headers.empty()) return {};
  std::vector<u8> whole = half.headers;
  const usize start = whole.size();
  if (start - kEthernetHeader + half.total > 65535) return drop();
  whole.resize(start + half.total);
  for (const Part& part : half.parts)
    std::copy(part.data.begin(), part.data.end(),
              whole.begin() + static_cast<std::ptrdiff_t>(start + part.offset));
  u8* header = whole.data() + kEthernetHeader;
  store_be<u16>(header + 2, static_cast<u16>(whole.size() - kEthernetHeader));
  store_be<u16>(header + 6, 0);
  store_be<u16>(header + 10, 0);
  store_be<u16>(header + 10, checksum(header, start - kEthernetHeader));
  drop();
  return whole;
}

}  // namespace rhea::net::user
