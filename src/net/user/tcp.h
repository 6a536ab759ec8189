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

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <span>
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
struct Segment;

struct TcpStats {
  u64 to_guest = 0, to_host = 0;                    // bytes
  u64 segments_to_guest = 0, segments_to_host = 0;  // large ones count once
  u64 retransmissions = 0;
  const char* last_drop = "";  // why a segment of the guest was not taken
};

class Tcp {
 public:
  Tcp(Context& context, Icmp& icmp, Dns& dns);
  ~Tcp();
  void input(const Packet& packet);
  void run();
  // A connection that a forwarded port accepted, towards `guest`. `from`: the client's endpoint as the guest
  // is to see it (another port if that one is in use). False when there are too many flows; the socket is
  // reset. `tells`: the client is told first what the guest said (verdict.h).
  bool open_to_guest(std::unique_ptr<Socket> socket, Endpoint from, const Endpoint& guest, bool tells = false);
  // Asks whether a port of the guest answers: a SYN, reset when it is answered. Silence is a no.
  void probe(const Endpoint& guest, std::function<void(bool)> done);
  void on_neighbour(const IpAddress& address);
  void set_running(bool running) { running_ = running; }
  // The guest is another one now (a snapshot): the host's sides are reset, and what the guest still holds for a
  // connection is answered with a reset when it sends.
  void forget_all();

  struct Row {
    TcpKey key;
    const char* state;
    int fd;
    usize receive_queue, send_queue;  // towards the guest, towards the host
    TcpStats stats;
    s64 round_trip;  // of the guest, smoothed; 0: not known
  };
  std::vector<Row> rows() const;
  usize flows() const { return flows_.size(); }

 private:
  friend class TcpFlow;
  struct KeyHash {
    AddressHash hash;
    usize operator()(const TcpKey& key) const {
      const u64 ports = u64{key.guest.port} << 16 | key.remote.port;
      return hash(key.guest.address) * 0x9e3779b97f4a7c15u ^ hash(key.remote.address) ^ ports * 0xc2b2ae3d27d4eb4fu;
    }
  };
  void open_from_guest(const Packet& packet, const TcpKey& key);
  void refuse(const Packet& packet);
  usize flow_limit() const;
  u32 initial_sequence(const TcpKey& key) const;
  void remove(TcpFlow& flow);
  usize quantum_of_turn() const;  // bytes towards the guest
  // A connection that both sides ended: its last acknowledgement may be lost, and the guest's FIN come again.
  void linger(const TcpKey& key, u32 seq, u32 ack);
  // True when the packet is of such a connection.
  bool input_lingering(const Packet& packet, const Segment& segment, const TcpKey& key);
  void send_bare(const TcpKey& key, u8 flags, u32 seq, u32 ack);
  // Lists of flows with work for run(); a flow is on each at most once.
  void want_flush(TcpFlow& flow);
  void want_send(TcpFlow& flow);
  // For flush() of a flow that rate-out= holds back.
  void hold(TcpFlow& flow);

  // Buffers of flows that have something in them; an idle flow has none.
  std::vector<u8> take_buffer();
  void give_buffer(std::vector<u8> buffer);

  // A timeout whose only effect is the stack's run() behind it.
  class Waker final : public Timeout {
   public:
    using Timeout::Timeout;

   private:
    void on_timeout() override {}
  };

  Context& context_;
  Icmp& icmp_;
  Dns& dns_;
  Waker waker_;
  std::unordered_map<TcpKey, std::unique_ptr<TcpFlow>, KeyHash> flows_;
  TcpFlow* last_ = nullptr;  // that the guest sent to: a NIC's turn brings many segments of one flow
  std::vector<std::unique_ptr<TcpFlow>> gone_;
  struct Ended {
    u32 seq, ack;
    s64 until;
  };
  std::unordered_map<TcpKey, Ended, KeyHash> ended_;
  std::deque<std::pair<s64, TcpKey>> ended_order_;  // by their ends
  std::array<u64, 2> secret_;                       // of initial sequence numbers
  std::deque<TcpFlow*> to_flush_;
  std::deque<TcpFlow*> to_send_;
  std::vector<TcpFlow*> held_;  // by rate-out=
  std::vector<std::vector<u8>> spare_buffers_;
  std::vector<u8> scratch_;  // payload on its way to the guest
  struct Unsent {            // in scratch_, when the NIC was busy
    const TcpFlow* flow = nullptr;
    u32 seq = 0;
    std::span<u8> bytes;
    bool all = false;  // the host's socket had no more
  };
  Unsent unsent_;
  usize buffered_ = 0;  // bytes in all flows' buffers
  bool running_ = true;
};

}  // namespace rhea::net::user
