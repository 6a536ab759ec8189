// SPDX-License-Identifier: MIT
// The addresses and routes of an interface as the kernel tells them, whole, so that they can be put onto another one
// and back again with all that they have (metrics, sources, lifetimes): rtnetlink(7) messages without their header.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sys/netlink.h"
#include "util/ip_address.h"

namespace rhea::sys {

struct StoredAddress {
  std::vector<u8> body;
  IpAddress address;
  unsigned length = 0;
  bool for_ever = true;  // else it is leased, and somebody looks after it
};

struct StoredRoute {
  std::vector<u8> body;
  std::string text;  // "default via 192.0.2.1", "10.0.0.0/8 via 192.0.2.7"
  std::optional<IpAddress> gateway;
  bool is_default = false;
};

class Routes {
 public:
  static Result<Routes> open();
  // Of an interface: IPv4 ones, and IPv6 ones that stay for ever and are not link-local (what routers announce comes
  // again by itself).
  Result<std::vector<StoredAddress>> addresses(u32 index);
  // Of an interface, in an order in which they can be made: those that addresses or routers bring along are not among
  // them. Errors: one goes over several interfaces.
  Result<std::vector<StoredRoute>> routes(u32 index);

  // Onto an interface. An address or route that is there already is replaced. `at_home`: it is the one that it came
  // from. Errors are errno's texts, and "is no address" of a body that makes no sense.
  Result<void> put_address(const std::vector<u8>& body, u32 index, bool at_home);
  Result<void> put_route(const std::vector<u8>& body, u32 index);
  // No error when it is not there.
  Result<void> drop_address(const std::vector<u8>& body, u32 index);

 private:
  explicit Routes(Netlink socket) : socket_(std::move(socket)) {}
  Netlink socket_;
};

// Whether a body can be one of an address or of a route.
bool is_address_body(const std::vector<u8>& body);
bool is_route_body(const std::vector<u8>& body);

// Asks who has an address (ARP, RFC 826) until somebody answers, or milliseconds have passed. Errors: the host does not
// let us (root).
Result<bool> answers_arp(u32 index, const IpAddress& own, const IpAddress& asked, unsigned milliseconds);

}  // namespace rhea::sys
