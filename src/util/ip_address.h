// SPDX-License-Identifier: MIT
// IP addresses and transport endpoints of both families, as values. An IPv4 address is kept in its
// IPv4-mapped form (RFC 4291, section 2.5.5.2), so that one key type serves every table.
#pragma once

#include <array>
#include <compare>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "util/types.h"

namespace rhea {

struct IpAddress {
  std::array<u8, 16> bytes{};

  // From a number in host order: v4(0x0a000202) is 10.0.2.2.
  static constexpr IpAddress v4(u32 address) {
    IpAddress result;
    result.bytes = {
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, u8(address >> 24), u8(address >> 16), u8(address >> 8), u8(address)};
    return result;
  }
  // From 4 or 16 bytes as they are on the wire.
  static IpAddress from_wire(const u8* wire, bool is_v4) {
    IpAddress result;
    if (is_v4) {
      result.bytes[10] = result.bytes[11] = 0xff;
      std::memcpy(&result.bytes[12], wire, 4);
    } else {
      std::memcpy(result.bytes.data(), wire, 16);
    }
    return result;
  }
  constexpr bool is_v4() const {
    for (usize i = 0; i < 10; ++i)
      if (bytes[i]) return false;
    return bytes[10] == 0xff && bytes[11] == 0xff;
  }
  constexpr u32 to_v4() const { return u32(bytes[12]) << 24 | u32(bytes[13]) << 16 | u32(bytes[14]) << 8 | bytes[15]; }
  // The bytes as on the wire, 4 or 16 of them.
  const u8* wire() const { return is_v4() ? &bytes[12] : bytes.data(); }
  usize wire_size() const { return is_v4() ? 4 : 16; }

  bool is_unspecified() const;  // 0.0.0.0 or ::
  bool is_loopback() const;     // 127.0.0.0/8 or ::1
  bool is_multicast() const;    // 224.0.0.0/4 or ff00::/8
  bool is_link_local() const;   // 169.254.0.0/16 or fe80::/10
  // Whether the first `length` bits (of 32 or 128) are those of `prefix`.
  bool in_prefix(const IpAddress& prefix, unsigned length) const;

  // "10.0.2.2", "fec0::2" (RFC 5952).
  std::string text() const;

  auto operator<=>(const IpAddress&) const = default;
};

// An IPv4 address in dotted quads, or an IPv6 address; the whole text must be it. No names.
std::optional<IpAddress> parse_ip(std::string_view text);
std::optional<IpAddress> parse_ipv4(std::string_view text);
std::optional<IpAddress> parse_ipv6(std::string_view text);

struct Endpoint {
  IpAddress address;
  u16 port = 0;
  u32 scope = 0;  // interface index, of a link-local IPv6 address

  std::string text() const;  // "10.0.2.2:80", "[fec0::2]:80"
  auto operator<=>(const Endpoint&) const = default;
};

// Of an IPv4 network whose prefix has `length` bits, 0 to 32.
constexpr u32 netmask(unsigned length) { return length ? ~u32{0} << (32 - length) : 0; }

}  // namespace rhea
