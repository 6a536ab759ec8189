// SPDX-License-Identifier: MIT
// The messages of the vhost-user protocol (its specification: QEMU's docs/interop/vhost-user.rst), as far as network
// devices need them. The front end has a guest and its memory, and sends requests; the back end serves the guest's
// rings, and answers some of them.
//
// A message is a head of 12 bytes (request, flags, size of what follows) and a payload, in the byte order of the host,
// with descriptors along. Nothing here believes what it reads: a payload of another size than its request has is none.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/types.h"

namespace rhea::net::vhost {

// Of the front end, by number.
enum class Request : u32 {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_log_base = 6,
  set_log_fd = 7,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  send_rarp = 19,
  net_set_mtu = 20,
};
// "GET_FEATURES"; "request 99" for one that has no name here.
std::string name_of(Request request);

// Feature bits beside those of the device.
constexpr u64 kFeatureLogAll = u64{1} << 26;
constexpr u64 kFeatureProtocol = u64{1} << 30;
// Bits of GET_PROTOCOL_FEATURES.
constexpr u64 kProtocolMq = u64{1} << 0;
constexpr u64 kProtocolRarp = u64{1} << 2;
constexpr u64 kProtocolReplyAck = u64{1} << 3;
constexpr u64 kProtocolMtu = u64{1} << 4;

constexpr usize kHeadSize = 12;
constexpr usize kLargestPayload = 512;  // a table of memory regions takes most: 8 + 8 * 32
constexpr usize kMostRegions = 8;

struct Message {
  Request request = Request::get_features;
  bool is_reply = false;
  bool needs_reply = false;  // of REPLY_ACK: whether it worked is to be told
  std::vector<u8> payload;
  std::vector<sys::Fd> descriptors;
};

struct Head {
  Message message;  // without payload
  u32 payload_size = 0;
};
std::vector<u8> encode(const Message& message);
// Nothing: a version other than 1, or a payload larger than any is.
std::optional<Head> decode_head(std::span<const u8, kHeadSize> head);

// --- payloads -------------------------------------------------------------------------------------------------------

// A ring's number with a size, a position or a switch.
struct RingNumber {
  u32 ring = 0;
  u32 value = 0;
};

// Where a ring's parts are, as addresses of the front end's process.
struct RingAddress {
  u32 ring = 0;
  u32 flags = 0;  // bit 0: writes are to be logged
  u64 descriptors = 0, used = 0, available = 0, log = 0;
};
constexpr u32 kRingIsLogged = 1;

// A ring's number with a descriptor, or without one.
struct RingDescriptor {
  u8 ring = 0;
  bool none = false;
};

// A piece of the guest's memory: its descriptor is along, in the same order.
struct Region {
  u64 guest = 0;   // guest-physical address
  u64 size = 0;    // bytes
  u64 user = 0;    // address in the front end's process, which rings are named by
  u64 offset = 0;  // of its first byte in the file
};

std::vector<u8> encode_number(u64 value);
std::vector<u8> encode_ring(const RingNumber& ring);
std::vector<u8> encode_ring(const RingAddress& ring);
std::vector<u8> encode_ring(const RingDescriptor& ring);
std::vector<u8> encode_regions(std::span<const Region> regions);

std::optional<u64> decode_number(std::span<const u8> payload);
std::optional<RingNumber> decode_ring_number(std::span<const u8> payload);
std::optional<RingAddress> decode_ring_address(std::span<const u8> payload);
std::optional<RingDescriptor> decode_ring_descriptor(std::span<const u8> payload);
// At most kMostRegions; none of them is empty, wraps round, or lies over another one (in guest or user addresses).
std::optional<std::vector<Region>> decode_regions(std::span<const u8> payload);

}  // namespace rhea::net::vhost
