// SPDX-License-Identifier: MIT
// UDP: one host socket for each port of the guest and address family, so that the guest keeps one address and
// port towards all peers (RFC 4787, endpoint-independent mapping and filtering).
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "net/user/icmp.h"
#include "net/user/stack.h"

namespace rhea::net::user {

class Udp {
 public:
  Udp(Context& context, Icmp& icmp, Dhcp& dhcp, Dns& dns);
  ~Udp();
  void input(const Packet& packet);
  // Reads what host sockets have, as far as the guest takes it.
  void run();

  // A datagram to the guest. `from` as the guest sees it.
  bool send_to_guest(const Endpoint& from, const Endpoint& guest, const u8* data, usize size);
  // A datagram that came in by a forwarded port: the guest's answers to `seen` go back to `client` by
  // `socket`.
  void deliver(const Endpoint& seen, const Endpoint& guest, const Endpoint& client,
               const std::shared_ptr<Socket>& socket, const u8* data, usize size);

  struct Row {
    Endpoint guest, remote;
    int fd;
    s64 left;
  };
  std::vector<Row> rows() const;
  usize flows() const { return flows_.size(); }

 private:
  struct EndpointHash {
    AddressHash hash;
    usize operator()(const Endpoint& endpoint) const {
      return hash(endpoint.address) + endpoint.port * 0x9e3779b1u;
    }
  };
  class Flow;
  void forward(const Packet& packet, const IpAddress& to, usize payload_size);
  Flow* flow_of(const Endpoint& guest);
  void evict_oldest();
  void remove(const Endpoint& guest);

  Context& context_;
  Icmp& icmp_;
  Dhcp& dhcp_;
  Dns& dns_;
  std::unordered_map<Endpoint, std::unique_ptr<Flow>, EndpointHash> flows_;
  std::vector<std::unique_ptr<Flow>> gone_;
  std::vector<Endpoint> ready_;  // flows whose sockets may have more to read
  std::vector<u8> buffer_;
};

}  // namespace rhea::net::user
