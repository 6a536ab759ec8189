// SPDX-License-Identifier: MIT
// The stack's way to the guest: builds Ethernet and IP headers, knows who has which MAC address, holds back
// what the guest's NIC does not take now.
//
// TCP sends its data by send_frame or in place (Port::reserve) and holds nothing back: it asks the host's
// socket again when there is room. Everything else goes by send_ip, into a short queue when the NIC is busy.
#pragma once

#include <deque>
#include <functional>
#include <unordered_map>
#include <vector>

#include "net/port.h"
#include "net/user/config.h"
#include "net/user/packet.h"
#include "net/user/timeouts.h"

namespace rhea::net::user {

struct IpOut {
  IpAddress from, to;
  u8 protocol = 0;
  u8 ttl = 64;
  u8 tos = 0;
  bool do_not_fragment = false;
};

struct AddressHash {
  u64 key = 0;
  usize operator()(const IpAddress& address) const;
};

class Link {
 public:
  Link(Port& port, const UserConfig& config, Clock& clock, u64 hash_key);

  Port* peer() const { return port_.peer(); }
  Caps caps() const { return peer() ? peer()->caps() : Caps{}; }
  // The NIC said busy: on_room follows. (With no NIC at all everything is dropped.)
  bool blocked() const { return blocked_; }
  // More of the queue is used than datagrams should: readers of host sockets wait.
  bool congested() const { return blocked_ || queue_.size() >= kQueueLow; }
  void on_room();
  // Sends what is queued as far as the NIC takes it.
  void drain();

  // An IP packet whose transport header and payload are `transport`; in fragments if it is longer than the
  // MTU. False when it was dropped (nobody knows the address yet: it may still go out when somebody answers).
  // `offload`: of a frame that goes out whole (checksum left to the guest, or large datagrams in one).
  bool send_ip(const IpOut& out, std::span<const Piece> transport, const Offload& offload = {});
  bool send_ip(const IpOut& out, const u8* data, usize size);
  // A whole IPv4 packet broadcast to everybody (DHCP).
  bool broadcast_ip(const IpOut& out, std::span<const Piece> transport);
  void send_arp(const Mac& to, const u8* arp, usize size);
  // IPv6 packets to multicast groups or a known MAC (NDP).
  bool send_ip_to(const Mac& to, const IpOut& out, std::span<const Piece> transport);

  // Writes Ethernet and IP headers for `transport_size` bytes; returns their size. `to_mac` from neighbour().
  usize write_headers(u8* at, const Mac& to_mac, const IpOut& out, usize transport_size);
  // Gives a frame with headers of write_headers() the next identification.
  void renumber(u8* frame);
  Sent send_frame(const Frame& frame);
  bool reserve(usize bytes, Reservation& reservation);
  void commit(Reservation& reservation, usize used, const Offload& offload);
  void abort(Reservation& reservation);

  // The guest's MAC of an address; nullptr if unknown: then it is asked for.
  const Mac* neighbour(const IpAddress& address);
  void learn(const IpAddress& address, const Mac& mac);
  // Called with an address that was not known before.
  std::function<void(const IpAddress&)> on_learned;
  // Asks who has an address (ARP or NDP), set by those protocols.
  std::function<void(const IpAddress&)> solicit;
  // The MAC of one of the stack's own addresses, or of the gateway for an address beyond it.
  Mac mac_of(const IpAddress& from) const;

  u64 dropped() const { return dropped_; }

 private:
  static constexpr usize kQueueHigh = 512, kQueueLow = 128;
  using Bytes = std::vector<u8>;
  struct Queued {
    Bytes frame;
    Offload offload;
  };
  struct Waiting {
    IpAddress address;
    Queued item;
    s64 since;
  };
  bool send_or_queue(Queued item);
  bool send_or_queue(Bytes frame) { return send_or_queue(Queued{std::move(frame), {}}); }
  Sent send_now(const Mac& mac, const IpOut& out, std::span<const Piece> transport, usize size, const Offload& offload);
  bool send_fragments(const Mac& mac, const IpOut& out, std::span<const Piece> transport, usize size);
  Bytes build(const Mac& mac, const IpOut& out, std::span<const Piece> transport, usize size);
  void wait_for(const IpAddress& address, Queued item);

  Port& port_;
  const UserConfig& config_;
  Clock& clock_;
  bool blocked_ = false;
  std::deque<Queued> queue_;
  std::deque<Waiting> waiting_;  // for a neighbour to answer
  std::unordered_map<IpAddress, Mac, AddressHash> neighbours_;
  const std::pair<const IpAddress, Mac>* last_learned_ = nullptr;  // in neighbours_
  std::unordered_map<IpAddress, s64, AddressHash> asked_;
  u16 next_id_ = 1;
  u32 next_fragment_id_;
  u64 dropped_ = 0;
};

}  // namespace rhea::net::user
