// SPDX-License-Identifier: MIT
// The internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words.
#pragma once

#include <span>

#include "net/frame.h"
#include "util/bits.h"
#include "util/ip_address.h"
#include "util/types.h"

namespace rhea::net {

// A sum in progress, over pieces of any length: an odd piece shifts the next by a byte.
class ChecksumSum {
 public:
  void add(const u8* data, usize size);
  void add(std::span<const Piece> pieces);
  // A 16-bit value in host order, as if its two bytes in network order followed.
  void add_word(u16 value) { sum_ += odd_ ? value : byte_swap(value); }
  // The pseudo-header of TCP, UDP (RFC 9293, section 3.1; RFC 8200, section 8.1) and ICMPv6.
  void add_pseudo_header(const IpAddress& from, const IpAddress& to, u8 protocol, usize length);
  // The checksum as its field holds it, in host order (store it big-endian).
  u16 checksum() const { return static_cast<u16>(~folded()); }
  // The sum without the complement, in host order: what a sender leaves in the field for an offload.
  u16 folded() const;

 private:
  u64 sum_ = 0;  // in the host's byte order of loads; swapped once at the end
  bool odd_ = false;
};

u16 checksum(const u8* data, usize size);

}  // namespace rhea::net
