// SPDX-License-Identifier: MIT
// ICMP and ICMPv6: echo for the stack's own addresses, echo to the world by the host's sockets, and the
// errors that the guest is told.
//
// Echo to the world uses a ping socket (no privileges needed where net.ipv4.ping_group_range allows it), else
// a raw socket (root), else a probe: a UDP datagram to a port where nobody listens. The target's own "port
// unreachable" shows that it is there, and how far; it becomes the echo reply. A target that drops such
// datagrams stays silent, and one line says what would allow more. Replies are never made up.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Icmp {
 public:
  explicit Icmp(Context& context);
  ~Icmp();
  // An ICMP or ICMPv6 packet (the latter: only echo requests).
  void input(const Packet& packet);
  void run();

  // Errors that the guest is told about a packet of its own (RFC 792, RFC 4443). `from` is who says so.
  enum class Error : u8 { network_unreachable, host_unreachable, port_unreachable, prohibited, time_exceeded };
  void send_error(Error error, const IpAddress& from, const Packet& about);
  // The Error for what a socket call said; false for those that the guest is not told.
  static bool error_of(int number, Error& error);
  // The same for a packet that is gone: its headers are made again. `from`, `to` as the guest sees them;
  // `quote` starts with its transport header. Type and code are those of ICMP (v4) or ICMPv6.
  void relay_error(u8 type, u8 code, u32 rest, const IpAddress& offender, const IpAddress& from, const IpAddress& to,
                   u8 protocol, std::span<const u8> quote);

  // The same by Error, from the gateway.
  void tell_error(Error error, const IpAddress& from, const IpAddress& to, u8 protocol, std::span<const u8> quote);

  struct Row {
    IpAddress guest, remote;
    int fd;
    s64 left;  // nanoseconds until it expires
  };
  std::vector<Row> rows() const;

 private:
  struct Key {
    IpAddress guest, remote;
    u16 id;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    AddressHash hash;
    usize operator()(const Key& key) const { return hash(key.guest) * 31 + hash(key.remote) * 7 + key.id; }
  };
  class Ping;
  void answer(const Packet& packet);
  void forward(const Packet& packet);
  Ping* ping_of(const Key& key);
  void remove(const Key& key);
  void explain();
  void send_quote(u8 type, u8 code, u32 rest, const IpAddress& from, const IpAddress& to, std::span<const u8> quote);

  Context& context_;
  std::unordered_map<Key, std::unique_ptr<Ping>, KeyHash> pings_;
  std::vector<std::unique_ptr<Ping>> gone_;
  std::vector<u8> buffer_;
  bool explained_ = false;
};

}  // namespace rhea::net::user
