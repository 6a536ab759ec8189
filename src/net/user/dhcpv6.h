// SPDX-License-Identifier: MIT
// The DHCPv6 server (RFC 8415): addresses for clients that ask for them, and for all of them the name server,
// the search list, time servers and what to boot. Guests that use SLAAC do without it.
#pragma once

#include <string>
#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Udp;

class Dhcpv6 {
 public:
  explicit Dhcpv6(Context& context) : context_(context) {}
  void set_udp(Udp& udp) { udp_ = &udp; }
  // The payload of a UDP packet to port 547 from `client`.
  void input(const Endpoint& client, std::span<const u8> message);
  usize leases() const { return leases_.size(); }

 private:
  using Bytes = std::vector<u8>;
  struct Request;
  // An address for one identity association (a client's interface).
  struct Lease {
    Bytes client;  // DUID
    u32 association;
    IpAddress address;
    s64 since;
  };
  Lease* find(const Request& request, u32 association);
  Lease* give(const Request& request, u32 association);
  bool free_for(const IpAddress& address, const Bytes& client) const;
  IpAddress first_free(const Request& request) const;
  Bytes answer_associations(const Request& request, bool commit);
  void add_configuration(Bytes& message, const Request& request) const;
  void reply(const Endpoint& client, const Request& request, u8 type, const Bytes& associations);
  void answer_stateful(const Endpoint& client, const Request& request);
  Bytes server_id() const;

  Context& context_;
  Udp* udp_ = nullptr;
  std::vector<Lease> leases_;
};

}  // namespace rhea::net::user
