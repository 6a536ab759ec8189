// SPDX-License-Identifier: MIT
// The DHCP server (RFC 2131): sixteen leases from dhcpstart on, one for each MAC address.
#pragma once

#include <array>
#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Dhcp {
 public:
  explicit Dhcp(Context& context) : context_(context) {}
  // The payload of a UDP packet to port 67.
  void input(const Mac& from, const u8* message, usize size);

  static constexpr usize kLeases = 16;

 private:
  struct Lease {
    enum State : u8 { free, used, declined } state = free;
    Mac mac{};
    s64 since = 0;
  };
  struct Request;
  IpAddress address_of(usize lease) const;
  bool usable(usize lease) const;
  int lease_of(const Mac& mac) const;
  int lease_at(const IpAddress& address) const;
  int choose(const Mac& mac, const IpAddress& wanted);
  void answer_discover(const Request& request);
  void answer_request(const Request& request);
  void answer_inform(const Request& request);
  void reply(const Request& request, u8 type, const IpAddress& address);
  void add_options(std::vector<u8>& options, const Request& request, u8 type);

  Context& context_;
  std::array<Lease, kLeases> leases_;
};

}  // namespace rhea::net::user
