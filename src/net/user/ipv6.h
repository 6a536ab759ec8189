// SPDX-License-Identifier: MIT
// Neighbour discovery and router advertisements (RFC 4861): the guest gives itself an address in the stack's
// prefix (SLAAC) and finds the gateway and the name server.
#pragma once

#include "net/user/stack.h"

namespace rhea::net::user {

class Ipv6 final : public Timeout {
 public:
  explicit Ipv6(Context& context);
  // An ICMPv6 packet; false when it is none of neighbour discovery.
  bool input(const Packet& packet);
  void solicit(const IpAddress& address);

 private:
  void advertise_router();
  void answer_solicitation(const Packet& packet);
  void send(const Mac& mac, const IpAddress& from, const IpAddress& to, std::vector<u8> message);
  void on_timeout() override { advertise_router(); }

  Context& context_;
};

}  // namespace rhea::net::user
