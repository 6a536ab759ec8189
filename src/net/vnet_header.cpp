// SPDX-License-Identifier: MIT
#include "net/vnet_header.h"

#include <algorithm>

#include "util/bits.h"

namespace rhea::net {

namespace {
enum HeaderFlag : u8 { kNeedsCsum = 1, kDataValid = 2 };
constexpr u8 kGsoEcn = 0x80;
}  // namespace

void write_vnet_header(const Offload& offload, std::span<u8, kVnetHeader> to) {
  std::fill(to.begin(), to.end(), u8{0});
  if (offload.needs_checksum) to[0] = kNeedsCsum;
  else if (offload.checksum_valid) to[0] = kDataValid;
  to[1] = static_cast<u8>(offload.gso | (offload.gso && offload.ecn ? kGsoEcn : 0));
  store_le<u16>(&to[2], offload.header_length);
  store_le<u16>(&to[4], offload.gso_size);
  store_le<u16>(&to[6], offload.needs_checksum ? offload.checksum_start : u16{0});
  store_le<u16>(&to[8], offload.needs_checksum ? offload.checksum_offset : u16{0});
}

bool read_vnet_header(std::span<const u8> from, usize frame_size, Offload& offload) {
  offload = {};
  if (from.size() < 10) return false;
  if (from[0] & kNeedsCsum) {
    offload.needs_checksum = true;
    offload.checksum_start = load_le<u16>(&from[6]);
    offload.checksum_offset = load_le<u16>(&from[8]);
    if (usize{offload.checksum_start} + offload.checksum_offset + 2 > frame_size) return false;
  }
  offload.checksum_valid = from[0] & kDataValid;
  offload.gso = from[1] & static_cast<u8>(~kGsoEcn);
  if (offload.gso == Offload::none) return true;
  if (offload.gso != Offload::tcp4 && offload.gso != Offload::tcp6 && offload.gso != Offload::udp_l4) return false;
  offload.ecn = from[1] & kGsoEcn;
  offload.header_length = load_le<u16>(&from[2]);
  offload.gso_size = load_le<u16>(&from[4]);
  return offload.gso_size != 0 && offload.needs_checksum;
}

}  // namespace rhea::net
