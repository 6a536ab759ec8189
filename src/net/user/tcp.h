// SPDX-License-Identifier: MIT
// TCP between the guest and sockets of the host (RFC 9293).
//
// This is a translator, not a stack with buffers. Towards the guest it is a minimal endpoint on a link that
// loses nothing by itself. Its send buffer is the host socket's receive queue: data is peeked at, sent, and
// taken from the queue when the guest has acknowledged it; to send again is to peek again. Its receive buffer
// is the host socket's send queue, with some room in front for what the socket does not take at once and for
// joining small segments.
//
// A connection that the guest opens is first opened to the host; the guest hears SYN-ACK, RST or an ICMP
// message as the host did. A connection that a forwarded port accepted is first opened to the guest; nothing
// of it is read before, and a guest that refuses or stays silent resets the client.
//
// Sequence numbers of the guest-facing side, host to guest:
//
//     head_seq        send_unacked       send_next        send_max
//        |                 |                 |                |
//   -----+-----------------+-----------------+----------------+------   bytes of the host socket's receive
//   queue
//        ^ queue's head    ^ acknowledged    ^ sent           ^ sent before a retransmission went back
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "net/user/icmp.h"
#include "net/user/stack.h"

namespace rhea::net::user {

struct TcpKey {
  Endpoint guest, remote;  // remote as the guest sees it
  bool operator==(const TcpKey&) const = default;
};

class TcpFlow;

class Tcp {
 public:
  Tcp(Context& context, Icmp& icmp);
  ~Tcp();
  void input(const Packet& packet);
  void run();
  // A connection that a forwarded port accepted, towards `guest`. `from`: the client's endpoint as the guest
  // is to see it (another port if that one is in use). False when there are too many flows; the socket is
  // reset.
  bool open_to_guest(std::unique_ptr<Socket> socket, Endpoint from, const Endpoint& guest);
  // Asks whether a port of the guest answers: a SYN, reset when it is answered. Silence is a no.
  void probe(const Endpoint& guest, std::function<void(bool)> done);
  void on_neighbour(const IpAddress& address);
  void set_running(bool running) { running_ = running; }

  struct Row {
    TcpKey key;
    const char* state;
    int fd;
    usize receive_queue, send_queue;  // towards the guest, towards the host
  };
  std::vector<Row> rows() const;
  usize flows() const { return flows_.size(); }

 private:
  friend class TcpFlow;
  struct KeyHash {
    AddressHash hash;
    usize operator()(const TcpKey& key) const {
      const u64 ports = u64{key.guest.port} << 16 | key.remote.port;
      return hash(key.guest.address) * 0x9e3779b97f4a7c15u ^ hash(key.remote.address) ^
             ports * 0xc2b2ae3d27d4eb4fu;
    }
  };
  void open_from_guest(const Packet& packet, const TcpKey& key);
  void refuse(const Packet& packet);
  usize flow_limit() const;
  u32 initial_sequence(const TcpKey& key) const;
  void remove(TcpFlow& flow);
  // Lists of flows with work for run(); a flow is on each at most once.
  void want_flush(TcpFlow& flow);
  void want_send(TcpFlow& flow);

  Context& context_;
  Icmp& icmp_;
  std::unordered_map<TcpKey, std::unique_ptr<TcpFlow>, KeyHash> flows_;
  std::vector<std::unique_ptr<TcpFlow>> gone_;
  std::deque<TcpFlow*> to_flush_;
  std::deque<TcpFlow*> to_send_;
  std::vector<u8> scratch_;  // frames being made
  usize burst_ = 8;          // frames that the NIC took at once, lately
  usize buffered_ = 0;       // bytes in all flows' buffers
  bool running_ = true;
};

}  // namespace rhea::net::user
