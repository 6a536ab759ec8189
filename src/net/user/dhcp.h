// SPDX-License-Identifier: MIT
// The DHCP server (RFC 2131, RFC 4039): sixteen leases from dhcpstart on, one for each MAC address, and those
// that dhcp-lease= keeps for one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Dhcp {
 public:
  explicit Dhcp(Context& context);
  // The payload of a UDP packet to port 67.
  void input(const Mac& from, const u8* message, usize size);

  // Gives `first` alone, and when it is taken what `more` says (unspecified: nothing), up to kLeases.
  void lease_singly(const IpAddress& first, std::function<IpAddress()> more);

  // Whom a guest said to be, or dhcp-lease= named so: its address, else unspecified. `name` in lower case.
  IpAddress address_of(std::string_view name) const;
  // The other way; empty if there is none.
  std::string name_of(const IpAddress& address) const;

  struct Row {
    IpAddress address;
    Mac mac;
    std::string name;
    bool reserved;
  };
  std::vector<Row> rows() const;

  static constexpr usize kLeases = 16;

 private:
  struct Lease {
    enum State : u8 { free, used, declined } state = free;
    Mac mac{};
    s64 since = 0;
    IpAddress address;
    bool reserved = false;  // for reserved_mac alone
    Mac reserved_mac{};
    std::string name;   // as the guest says
    std::string given;  // as the option says
  };
  struct Request;
  bool usable(const IpAddress& address) const;
  bool may_have(const Lease& lease, const Mac& mac) const;
  void take(int index, const Request& request);
  void decline(int index);
  void confirm(int index, const Request& request);
  int lease_of(const Mac& mac) const;
  int lease_at(const IpAddress& address) const;
  int choose(const Mac& mac, const IpAddress& wanted);
  void answer_discover(const Request& request);
  void answer_request(const Request& request);
  void answer_inform(const Request& request);
  void reply(const Request& request, u8 type, const Lease* lease);
  void add_options(std::vector<u8>& options, const Request& request, u8 type, const Lease* lease);

  Context& context_;
  std::function<IpAddress()> more_;
  std::vector<Lease> leases_;  // only addresses that may be given
};

}  // namespace rhea::net::user
