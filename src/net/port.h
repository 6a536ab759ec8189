// SPDX-License-Identifier: MIT
// One end of a network link. A NIC, a backend (the user-mode stack, a tap), a hub, a filter implement the
// same interface; a link is two ports that know each other as peers.
//
// Everything here happens on the network loop's thread, under its lock (core/event_loop.h): a NIC whose
// registers are touched by a CPU posts to that loop or hands frames through a queue of its own.
//
//   A sends to B:   B.send(frame)            taken | busy (B will call A.on_room()) | dropped
//   or in place:    B.reserve(bytes)         B's own receive buffers, or none now (B will call A.on_room())
//                   ... fill, e.g. by recvmsg straight into the guest's descriptors ...
//                   B.commit(reservation, used, offload)   or   B.abort(reservation)
#pragma once

#include <span>
#include <string>

#include "net/frame.h"

namespace rhea::net {

enum class Sent : u8 { taken, busy, dropped };

// Receive buffers of a port, lent to its peer until commit or abort. Reset and unplug of the owner revoke it:
// `valid` turns false, and commit of it drops the frame.
struct Reservation {
  std::span<const Piece> pieces;  // at least the bytes asked for
  u64 token = 0;
};

struct PortCounters {
  u64 frames_in = 0, bytes_in = 0;    // taken by this port
  u64 frames_out = 0, bytes_out = 0;  // sent by this port to its peer
  u64 dropped = 0;                    // refused or lost at this port
};

class Port {
 public:
  virtual ~Port() = default;

  virtual Caps caps() const = 0;
  virtual Sent send(const Frame& frame) = 0;
  // Ports that cannot lend buffers return false at all times (then use send).
  virtual bool can_reserve() const { return false; }
  virtual bool reserve(usize bytes, Reservation& reservation) { return false; }
  virtual void commit(Reservation& reservation, usize used, const Offload& offload) {}
  virtual void abort(Reservation& reservation) {}
  // The peer, which had said busy or had no buffers, has room again.
  virtual void on_room() {}
  // The link as the peer sees it went up or down.
  virtual void on_link(bool up) {}

  // What `info network` prints behind "NAME: index=0,type=TYPE,".
  virtual std::string type() const = 0;
  virtual std::string info() const = 0;
  // Where a NIC's frames come by another way than a link, this port is its end of the link.
  virtual bool stands_for_nic() const { return false; }

  Port* peer() const { return peer_; }
  const std::string& name() const { return name_; }
  const PortCounters& counters() const { return counters_; }
  static void connect(Port& a, Port& b) {
    a.peer_ = &b;
    b.peer_ = &a;
  }
  static void disconnect(Port& a) {
    if (a.peer_) a.peer_->peer_ = nullptr;
    a.peer_ = nullptr;
  }

 protected:
  explicit Port(std::string name) : name_(std::move(name)) {}
  PortCounters counters_;

 private:
  friend Sent send_to_peer(Port& from, const Frame& frame);
  std::string name_;
  Port* peer_ = nullptr;
};

// To the peer of `from`, with what the peer cannot take done first: segmentation and checksums
// (net/segment.h). Sent::dropped when there is no peer. Counts in `from`: frames_out, bytes_out, dropped.
Sent send_to_peer(Port& from, const Frame& frame);

}  // namespace rhea::net
