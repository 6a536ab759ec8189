// SPDX-License-Identifier: MIT
// DNS over TCP (RFC 7766): a connection of the guest to the name server. Names of the network itself and names that
// rules forbid are answered here as over UDP; all other queries go on as they are over one connection to a resolver, to
// the next one when that breaks or is silent, and end as "server failure" when none is left.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "net/user/dns.h"

namespace rhea::net::user {

class DnsStream final : public SocketOwner, public Timeout {
 public:
  // `socket`: our end of the guest's connection, which Tcp has the other end of.
  DnsStream(Dns& dns, Context& context, std::unique_ptr<Socket> socket);
  void on_socket(Socket& socket, u32 events) override;
  void on_timeout() override;
  bool ended() const { return ended_; }

 private:
  using Bytes = std::vector<u8>;
  struct Asked {
    Bytes message;
    s64 give_up;
  };
  // Messages of a stream: each has its length before it.
  struct Reader {
    Bytes bytes;
    // What the socket has, up to a whole message or so; false at the end of the stream.
    bool fill(Socket& socket);
    bool next(Bytes& message);
  };
  void read_guest();
  void read_resolver();
  void take_query(Bytes message);
  void ask(std::span<const u8> message);
  void next_resolver();
  void reply(std::span<const u8> message);
  void fail(Bytes message);
  void fail_all();
  // False when that ended the stream, or the resolver's connection.
  bool write(Socket& socket, Bytes& pending);
  static void append(Bytes& pending, std::span<const u8> message);
  // Ends when the guest has ended and has everything; else waits.
  void settle();
  void end();

  Dns& dns_;
  Context& context_;
  std::unique_ptr<Socket> guest_, resolver_;
  Reader from_guest_, from_resolver_;
  Bytes to_guest_, to_resolver_;
  bool guest_ended_ = false, connected_ = false, ended_ = false;
  std::vector<Endpoint> resolvers_;
  usize next_ = 0;
  std::map<u16, Asked> asked_;  // by the guest's identifier
};

}  // namespace rhea::net::user
