// SPDX-License-Identifier: MIT
// Requests to the host's kernel over netlink(7): messages made of a header, a fixed part and attributes that may hold
// attributes, and the walk over what comes back. Numbers are the kernel's; links.h and nat_table.h know them.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/fd.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::sys {

class NetlinkMessage {
 public:
  // NLM_F_REQUEST is always set.
  NetlinkMessage(u16 type, u16 flags);
  // The fixed part behind the header.
  NetlinkMessage& put(std::span<const u8> fixed);
  template <typename T>
  NetlinkMessage& put_struct(const T& fixed) {
    return put({reinterpret_cast<const u8*>(&fixed), sizeof fixed});
  }
  NetlinkMessage& bytes(u16 type, std::span<const u8> value);
  NetlinkMessage& text(u16 type, std::string_view value);  // with its zero
  NetlinkMessage& number(u16 type, u32 value);             // in host order
  NetlinkMessage& big_endian(u16 type, u32 value);
  NetlinkMessage& nested(u16 type, const std::function<void(NetlinkMessage&)>& inside);
  const std::vector<u8>& finish(u32 sequence);

 private:
  void pad();
  std::vector<u8> data_;
};

// The attributes of a message or of an attribute, each of them whole.
struct NetlinkAttribute {
  u16 type = 0;
  std::span<const u8> value;
  u32 number() const;  // host order; 0 when it is too short
  u32 big_endian() const;
  std::string text() const;  // up to its zero
};
std::vector<NetlinkAttribute> netlink_attributes(std::span<const u8> data);

// The fixed part that a message's body begins with; nothing when it is too short for one.
template <typename T>
std::optional<T> netlink_fixed(std::span<const u8> body) {
  if (body.size() < sizeof(T)) return std::nullopt;
  T fixed;
  std::memcpy(&fixed, body.data(), sizeof fixed);
  return fixed;
}
// The attributes behind it.
template <typename T>
std::vector<NetlinkAttribute> netlink_attributes_behind(std::span<const u8> body) {
  return netlink_attributes(body.subspan(std::min(body.size(), (sizeof(T) + 3) / 4 * 4)));
}

class Netlink {
 public:
  // `family`: NETLINK_ROUTE, NETLINK_NETFILTER.
  static Result<Netlink> open(int family);
  // Sends them as one and waits for the acknowledgement of each that asks for one (NLM_F_ACK), or the first error. The
  // error's text is that of errno, its hint the number.
  Result<void> run(std::span<NetlinkMessage> messages);
  Result<void> run(NetlinkMessage message) { return run({&message, 1}); }
  // A dump: calls back with each message's type and what is behind its header.
  Result<void> list(NetlinkMessage message, const std::function<void(u16, std::span<const u8>)>& each);
  // A dump of all `answer`s, with the body of each; `wanted` is the request's fixed part.
  template <typename T, typename Each>
  Result<void> dump(u16 request, const T& wanted, u16 answer, const Each& each) {
    NetlinkMessage message(request, kDump);
    message.put_struct(wanted);
    return list(std::move(message), [&](u16 type, std::span<const u8> body) {
      if (type == answer) each(body);
    });
  }

 private:
  static const u16 kDump;  // NLM_F_DUMP
  explicit Netlink(Fd fd) : fd_(std::move(fd)) {}
  Result<void> send(std::span<const u8> data);
  Result<std::vector<u8>> receive();
  Fd fd_;
  u32 sequence_ = 1;
};

}  // namespace rhea::sys
