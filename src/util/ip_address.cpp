// SPDX-License-Identifier: MIT
#include "util/ip_address.h"

#include <fmt/format.h>

#include <algorithm>

namespace rhea {

bool IpAddress::is_unspecified() const {
  return is_v4() ? to_v4() == 0 : std::all_of(bytes.begin(), bytes.end(), [](u8 byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  return std::all_of(bytes.begin(), bytes.end() - 1, [](u8 byte) { return byte == 0; }) && bytes[15] == 1;
}

bool IpAddress::is_multicast() const { return is_v4() ? (bytes[12] & 0xf0) == 0xe0 : bytes[0] == 0xff; }

bool IpAddress::is_link_local() const {
  return is_v4() ? bytes[12] == 169 && bytes[13] == 254 : bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

bool IpAddress::in_prefix(const IpAddress& prefix, unsigned length) const {
  if (is_v4() != prefix.is_v4()) return false;
  const u8* mine = wire();
  const u8* theirs = prefix.wire();
  const unsigned whole = length / 8;
  if (std::memcmp(mine, theirs, whole) != 0) return false;
  const unsigned rest = length % 8;
  if (!rest) return true;
  const u8 mask = static_cast<u8>(0xff << (8 - rest));
  return (mine[whole] & mask) == (theirs[whole] & mask);
}

namespace {

// The longest run of two or more zero groups: [first, last), empty if there is none.
std::pair<unsigned, unsigned> zero_run(const std::array<u8, 16>& bytes) {
  std::pair<unsigned, unsigned> best{0, 0};
  for (unsigned first = 0; first < 8; ++first) {
    unsigned last = first;
    while (last < 8 && bytes[last * 2] == 0 && bytes[last * 2 + 1] == 0) ++last;
    if (last - first >= 2 && last - first > best.second - best.first) best = {first, last};
  }
  return best;
}

}  // namespace

std::string IpAddress::text() const {
  if (is_v4()) return fmt::format("{}.{}.{}.{}", bytes[12], bytes[13], bytes[14], bytes[15]);
  const auto [first, last] = zero_run(bytes);
  std::string result;
  for (unsigned group = 0; group < 8; ++group) {
    if (last > first && group == first) {
      result += "::";
      group = last - 1;
      continue;
    }
    if (!result.empty() && result.back() != ':') result += ':';
    result += fmt::format("{:x}", bytes[group * 2] << 8 | bytes[group * 2 + 1]);
  }
  return result;
}

std::optional<IpAddress> parse_ipv4(std::string_view text) {
  u32 address = 0;
  for (unsigned part = 0; part < 4; ++part) {
    if (part) {
      if (text.empty() || text[0] != '.') return std::nullopt;
      text.remove_prefix(1);
    }
    u32 value = 0;
    usize digits = 0;
    while (digits < text.size() && digits < 3 && text[digits] >= '0' && text[digits] <= '9')
      value = value * 10 + static_cast<u32>(text[digits++] - '0');
    if (digits == 0 || value > 255) return std::nullopt;
    text.remove_prefix(digits);
    address = address << 8 | value;
  }
  if (!text.empty()) return std::nullopt;
  return IpAddress::v4(address);
}

namespace {

std::optional<u32> take_group(std::string_view& text) {
  u32 value = 0;
  usize digits = 0;
  for (; digits < text.size() && digits < 5; ++digits) {
    const char c = text[digits];
    if (c >= '0' && c <= '9') value = value * 16 + static_cast<u32>(c - '0');
    else if (c >= 'a' && c <= 'f') value = value * 16 + static_cast<u32>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F') value = value * 16 + static_cast<u32>(c - 'A' + 10);
    else break;
  }
  if (digits == 0 || digits > 4) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

}  // namespace

std::optional<IpAddress> parse_ipv6(std::string_view text) {
  std::array<u8, 16> bytes{};
  usize used = 0;
  std::optional<usize> gap;
  if (text.substr(0, 2) == "::") {
    gap = 0;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    if (used == 16) return std::nullopt;
    if (used <= 12 && text.find(':') == std::string_view::npos && text.find('.') != std::string_view::npos) {
      const auto tail = parse_ipv4(text);
      if (!tail) return std::nullopt;
      std::copy(tail->bytes.begin() + 12, tail->bytes.end(), bytes.begin() + static_cast<std::ptrdiff_t>(used));
      used += 4;
      break;
    }
    const auto group = take_group(text);
    if (!group) return std::nullopt;
    bytes[used++] = static_cast<u8>(*group >> 8);
    bytes[used++] = static_cast<u8>(*group);
    if (text.empty()) break;
    if (text.substr(0, 2) == "::") {
      if (gap) return std::nullopt;
      gap = used;
      text.remove_prefix(2);
    } else if (text[0] == ':' && text.size() > 1) {
      text.remove_prefix(1);
    } else {
      return std::nullopt;
    }
  }
  if (gap ? used > 14 : used != 16) return std::nullopt;
  IpAddress result;
  const usize head = gap ? *gap : 16;
  std::copy_n(bytes.begin(), head, result.bytes.begin());
  const usize tail = used - head;
  if (gap)
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(head), tail,
                result.bytes.end() - static_cast<std::ptrdiff_t>(tail));
  return result;
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  return text.find(':') == std::string_view::npos ? parse_ipv4(text) : parse_ipv6(text);
}

std::string Endpoint::text() const {
  return address.is_v4() ? fmt::format("{}:{}", address.text(), port) : fmt::format("[{}]:{}", address.text(), port);
}

}  // namespace rhea
