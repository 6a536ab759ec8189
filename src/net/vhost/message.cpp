// SPDX-License-Identifier: MIT
#include "net/vhost/message.h"

#include <fmt/format.h>

#include <algorithm>

#include "util/bits.h"

namespace rhea::net::vhost {

namespace {

constexpr u32 kVersion = 1, kVersionMask = 3;
constexpr u32 kReply = 4, kNeedReply = 8;
constexpr u64 kRingMask = 0xff, kNoDescriptor = 0x100;
constexpr usize kRegionSize = 32;
constexpr usize kTableHead = 8;

constexpr std::string_view kNames[] = {"",
                                       "GET_FEATURES",
                                       "SET_FEATURES",
                                       "SET_OWNER",
                                       "RESET_OWNER",
                                       "SET_MEM_TABLE",
                                       "SET_LOG_BASE",
                                       "SET_LOG_FD",
                                       "SET_VRING_NUM",
                                       "SET_VRING_ADDR",
                                       "SET_VRING_BASE",
                                       "GET_VRING_BASE",
                                       "SET_VRING_KICK",
                                       "SET_VRING_CALL",
                                       "SET_VRING_ERR",
                                       "GET_PROTOCOL_FEATURES",
                                       "SET_PROTOCOL_FEATURES",
                                       "GET_QUEUE_NUM",
                                       "SET_VRING_ENABLE",
                                       "SEND_RARP",
                                       "NET_SET_MTU"};

template <typename T>
void add(std::vector<u8>& to, T value) {
  to.resize(to.size() + sizeof value);
  store_raw(to.data() + to.size() - sizeof value, value);
}

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

// What begins at `start` and has `size` bytes, all of which have an address.
bool is_range(u64 start, u64 size) { return size && start + size > start; }

}  // namespace

std::string name_of(Request request) {
  const u32 number = static_cast<u32>(request);
  if (number == 0 || number >= std::size(kNames)) return fmt::format("request {}", number);
  return std::string(kNames[number]);
}

std::vector<u8> encode(const Message& message) {
  std::vector<u8> bytes;
  bytes.reserve(kHeadSize + message.payload.size());
  add(bytes, static_cast<u32>(message.request));
  add<u32>(bytes, kVersion | (message.is_reply ? kReply : 0) | (message.needs_reply ? kNeedReply : 0));
  add(bytes, static_cast<u32>(message.payload.size()));
  bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
  return bytes;
}

std::optional<Head> decode_head(std::span<const u8, kHeadSize> bytes) {
  const u32 flags = load_raw<u32>(&bytes[4]);
  Head head;
  head.message.request = static_cast<Request>(load_raw<u32>(&bytes[0]));
  head.message.is_reply = flags & kReply;
  head.message.needs_reply = flags & kNeedReply;
  head.payload_size = load_raw<u32>(&bytes[8]);
  if ((flags & kVersionMask) != kVersion || head.payload_size > kLargestPayload) return std::nullopt;
  return head;
}

std::vector<u8> encode_number(u64 value) {
  std::vector<u8> bytes;
  add(bytes, value);
  return bytes;
}

std::vector<u8> encode_ring(const RingNumber& ring) {
  std::vector<u8> bytes;
  add(bytes, ring.ring);
  add(bytes, ring.value);
  return bytes;
}

std::vector<u8> encode_ring(const RingAddress& ring) {
  std::vector<u8> bytes;
  add(bytes, ring.ring);
  add(bytes, ring.flags);
  for (const u64 address : {ring.descriptors, ring.used, ring.available, ring.log}) add(bytes, address);
  return bytes;
}

std::vector<u8> encode_ring(const RingDescriptor& ring) {
  return encode_number(ring.ring | (ring.none ? kNoDescriptor : 0));
}

std::vector<u8> encode_regions(std::span<const Region> regions) {
  std::vector<u8> bytes;
  add(bytes, static_cast<u32>(regions.size()));
  add<u32>(bytes, 0);
  for (const Region& region : regions)
    for (const u64 value : {region.guest, region.size, region.user, region.offset}) add(bytes, value);
  return bytes;
}

std::optional<u64> decode_number(std::span<const u8> payload) {
  if (payload.size() != sizeof(u64)) return std::nullopt;
  return load_raw<u64>(payload.data());
}

std::optional<RingNumber> decode_ring_number(std::span<const u8> payload) {
  if (payload.size() != 8) return std::nullopt;
  return RingNumber{load_raw<u32>(&payload[0]), load_raw<u32>(&payload[4])};
}

std::optional<RingAddress> decode_ring_address(std::span<const u8> payload) {
  if (payload.size() != 40) return std::nullopt;
  return RingAddress{load_raw<u32>(&payload[0]),  load_raw<u32>(&payload[4]),  load_raw<u64>(&payload[8]),
                     load_raw<u64>(&payload[16]), load_raw<u64>(&payload[24]), load_raw<u64>(&payload[32])};
}

std::optional<RingDescriptor> decode_ring_descriptor(std::span<const u8> payload) {
  const auto number = decode_number(payload);
  if (!number) return std::nullopt;
  return RingDescriptor{static_cast<u8>(*number & kRingMask), (*number & kNoDescriptor) != 0};
}

std::optional<std::vector<Region>> decode_regions(std::span<const u8> payload) {
  if (payload.size() < kTableHead) return std::nullopt;
  const u32 count = load_raw<u32>(&payload[0]);
  // A front end may send the whole of its table however many of its rows are in use.
  if (count > kMostRegions || payload.size() < kTableHead + count * kRegionSize) return std::nullopt;
  std::vector<Region> regions;
  for (usize at = kTableHead; regions.size() < count; at += kRegionSize) {
    const Region region{load_raw<u64>(&payload[at]), load_raw<u64>(&payload[at + 8]), load_raw<u64>(&payload[at + 16]),
                        load_raw<u64>(&payload[at + 24])};
    if (!is_range(region.guest, region.size) || !is_range(region.user, region.size) ||
        !is_range(region.offset, region.size))
      return std::nullopt;
    const bool clashes = std::any_of(regions.begin(), regions.end(), [&](const Region& other) {
      return overlap(region.guest, region.size, other.guest, other.size) ||
             overlap(region.user, region.size, other.user, other.size);
    });
    if (clashes) return std::nullopt;
    regions.push_back(region);
  }
  return regions;
}

}  // namespace rhea::net::vhost
