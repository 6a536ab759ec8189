// SPDX-License-Identifier: MIT
// The user-mode stack: a virtual network with the guest(s) on it, a gateway that is the host, DHCP and DNS,
// and the world behind, reached by sockets of the host. It needs no privileges.
//
// Life of a frame from the guest: input() finds its headers and hands it to a protocol, which acts on a host
// socket at once, or (TCP) notes what is to be done. run(), once for a batch of frames, socket events or
// timeouts, does the noted work: data to host sockets, acknowledgements, data from host sockets to the guest.
// Nothing is sent to the guest from within input(), so that a NIC is not entered again while it sends.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/event_loop.h"
#include "net/backend.h"
#include "net/port.h"
#include "net/user/config.h"
#include "net/user/device_lines.h"
#include "net/user/link.h"
#include "net/user/packet.h"
#include "net/user/policy.h"
#include "net/user/sockets.h"
#include "net/user/timeouts.h"
#include "util/log.h"

namespace rhea::net::user {

// Of a guest's stream of small packets so much is given to the host together, and kept for so long at the most.
constexpr usize kGatherBytes = 16 * 1024;
constexpr s64 kGatherTime = kMillisecond;

class Arp;
class Dhcp;
class Dhcpv6;
class Dns;
class Forwards;
class Icmp;
class Metrics;
class Ipv6;
class Reassembly;
class Tcp;
class Tftp;
class Udp;

// Where a packet of the guest goes, as a host socket sees it.
struct Destination {
  enum Kind : u8 { host, dns, service, nowhere } kind = nowhere;  // service: what guestfwd offers there
  IpAddress address;                                              // of a host socket, for kind host
};

// What happened, for `info usernet-counters` and metrics=.
struct Counters {
  u64 tcp_from_guest = 0, tcp_to_guest = 0, tcp_failed = 0, tcp_limited = 0;
  u64 udp_flows = 0, udp_to_host = 0, udp_to_guest = 0, udp_throttled = 0;
  u64 dns_queries = 0, dns_own = 0, dns_failed = 0;
  u64 retransmissions = 0;  // of TCP segments towards the guest
};

// What the protocols share.
struct Context {
  const UserConfig& config;
  Link& link;
  Sockets& sockets;
  TimeoutQueue& timeouts;
  Log& log;
  std::function<void(std::string)> warn;  // a line for the user
  std::function<void()> schedule;         // run() soon
  u64 key;                                // of hashes and sequence numbers
  Policy& policy;
  Counters& counters;
  DeviceLines& devices;

  s64 now() const { return timeouts.now(); }
  Destination destination(const IpAddress& to) const;
  // How a guest of this family sees a peer of a host socket: loopback, what its own network has, and peers of
  // the other family are the gateway.
  IpAddress seen_from_guest(const IpAddress& peer, bool v4) const;
  // The gateway's, the name server's, those of guestfwd.
  bool is_own(const IpAddress& address) const;
  // Who is asked about names: those of dns-server=, else the host's.
  std::vector<Endpoint> resolvers() const { return config.resolvers.empty() ? sockets.resolvers() : config.resolvers; }
  const GuestForward* service(const Endpoint& at) const;
};

class Stack {
 public:
  struct Services {
    EventLoop& loop;
    Log& log;
    std::function<void(std::string)> warn;
  };
  // `make_sockets` gets the function to call after a batch of socket events.
  using MakeSockets = std::function<std::unique_ptr<Sockets>(std::function<void()>)>;
  Stack(Port& port, UserConfig config, const Services& services, const MakeSockets& make_sockets);
  ~Stack();

  // A frame from the guest. Any bytes may come.
  void input(const Frame& frame);
  void on_room();
  void run();
  // The guest stands still (paused): timeouts towards it wait.
  void set_running(bool running);
  // Another state of the guest was loaded: its connections are gone, forwarded ports stay open.
  void guest_replaced();

  // Looks up the names that options give (tftp-server-name, guestfwd): once, at the start.
  void look_up_names();
  // Opens the character devices of guestfwd.
  Result<void> open_devices(const OpenDevice& open_device) {
    return devices_.open(config_.guest_forwards, open_device);
  }
  // Opens the socket of metrics=, when it is given.
  Result<void> open_metrics(const std::string& name);
  // Replaces the records of the name server's own.
  void set_records(std::vector<NameRecord> records) { config_.records = std::move(records); }
  // Of one guest's addresses in a network that others have a part of (Dhcp::lease_singly): its first, DHCPv6's
  // beginning at the host part `first6`.
  void lease_singly(const IpAddress& first, u16 first6, std::function<IpAddress()> more);
  // Opens the port of a rule; the text of an errno otherwise ("Address already in use").
  Result<void> add_forward(const ForwardRule& rule);
  bool remove_forward(const ForwardRule& rule);
  // Joins a connected stream of another process to a port of the guest, as a forwarded port does. The first byte that
  // it gets is a Verdict. One that cannot be joined is closed.
  void join(const Endpoint& guest, sys::Fd stream);
  // The rows of `info usernet`, with headings.
  std::string info() const;
  const UserConfig& config() const { return config_; }
  usize tcp_flows() const;
  usize udp_flows() const;
  // A line for each flow with all that is known of it, and for each lease; the same as values; what was
  // blocked; the counters.
  std::string info_flows() const;
  std::vector<UserFlow> flow_list() const;
  std::vector<UserBlocked> blocked_list() const;
  std::string prometheus(const std::string& name) const;

 private:
  void input_ipv4(Packet& packet);
  void input_ipv6(Packet& packet);
  bool skip_extensions(Packet& packet);
  void dispatch(Packet& packet);
  void schedule();

  UserConfig config_;
  EventLoop& loop_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool scheduled_ = false;
  std::unique_ptr<Sockets> sockets_;
  TimeoutQueue timeouts_;
  Link link_;
  Policy policy_;
  DeviceLines devices_;
  Counters counters_;
  Context context_;
  std::unique_ptr<Arp> arp_;
  std::unique_ptr<Reassembly> reassembly_;
  std::unique_ptr<Icmp> icmp_;
  std::unique_ptr<Ipv6> ipv6_;
  std::unique_ptr<Dhcp> dhcp_;
  std::unique_ptr<Dhcpv6> dhcpv6_;
  std::unique_ptr<Dns> dns_;
  std::unique_ptr<Tftp> tftp_;
  std::unique_ptr<Udp> udp_;
  std::unique_ptr<Tcp> tcp_;
  std::unique_ptr<Forwards> forwards_;
  std::unique_ptr<Metrics> metrics_;
};

}  // namespace rhea::net::user
