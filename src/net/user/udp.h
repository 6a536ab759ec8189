// SPDX-License-Identifier: MIT
// UDP: one host socket for each port of the guest and address family, so that the guest keeps one address and
// port towards all peers (RFC 4787, endpoint-independent mapping and filtering).
//
// A datagram goes to the host's socket at once. What the same flow sends to the same place within the same
// turn of the loop is gathered, and goes by one system call (UDP_SEGMENT); what it sends in a stream (datagrams close
// behind one another, for a while) is gathered over turns too, for a millisecond at most. The other way the kernel
// joins datagrams (UDP_GRO); a NIC that takes large datagrams gets them as they are, the others one by one.
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
  struct Servers {
    Icmp& icmp;
    Dhcp& dhcp;
    Dhcpv6& dhcpv6;
    Dns& dns;
    Tftp& tftp;
  };
  Udp(Context& context, const Servers& servers);
  ~Udp();
  void input(const Packet& packet);
  // Reads what host sockets have, as far as the guest takes it.
  void run();

  // Datagrams to the guest: one, or with `segment` several of that size, one behind the other. `from` as the
  // guest sees it.
  bool send_to_guest(const Endpoint& from, const Endpoint& guest, std::span<u8> data, u16 segment = 0);
  // What came in by a forwarded port: the guest's answers to `seen` go back to `client` by `socket`.
  void deliver(const Endpoint& seen, const Endpoint& guest, const Endpoint& client,
               const std::shared_ptr<Socket>& socket, std::span<u8> data, u16 segment);

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
    usize operator()(const Endpoint& endpoint) const { return hash(endpoint.address) + endpoint.port * 0x9e3779b1u; }
  };
  class Flow;
  // Datagrams of a burst on their way to the host: of one flow, to one place, of one size but for the last.
  struct Burst {
    Flow* flow = nullptr;
    Socket* socket = nullptr;
    Endpoint to;
    IpAddress seen;  // `to` as the guest sees it
    u8 ttl = 0, tos = 0;
    bool whole = false;  // not to be fragmented
    usize segment = 0, count = 0;
    s64 due = 0;  // when it goes at the latest; 0: with this turn
    std::vector<u8> bytes;
  };
  void flush();
  bool gathers();
  void send_burst();
  bool send_one(const Endpoint& from, const Endpoint& guest, std::span<u8> data, u16 segment);
  // Of the stack's own servers; false when it is not for them.
  bool serve(const Packet& packet, u16 port, usize payload, bool broadcast);
  void forward(const Packet& packet, const IpAddress& to, usize payload_size);
  Flow* flow_of(const Endpoint& guest);
  void evict_oldest();
  void remove(const Endpoint& guest);

  Context& context_;
  Icmp& icmp_;
  Dhcp& dhcp_;
  Dhcpv6& dhcpv6_;
  Dns& dns_;
  Tftp& tftp_;
  class Waker final : public Timeout {
   public:
    using Timeout::Timeout;

   private:
    void on_timeout() override {}
  };
  Waker waker_, burst_waker_;
  std::unordered_map<Endpoint, std::unique_ptr<Flow>, EndpointHash> flows_;
  std::vector<std::unique_ptr<Flow>> gone_;
  std::vector<Endpoint> ready_;  // flows whose sockets may have more to read
  std::vector<u8> buffer_;
  Burst burst_;
  u64 turn_ = 1;
};

}  // namespace rhea::net::user
