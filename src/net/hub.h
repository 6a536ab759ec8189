// SPDX-License-Identifier: MIT
// A hub of the old `-net` options: one broadcast domain. A frame that enters by one port leaves by every
// other, nothing is learned.
//
// The usual hub joins a NIC with one backend: two ports. It then passes everything through as if it were a
// wire, with offloads, lent buffers and back-pressure. With more ports a frame is copied to each, fitted to
// what each peer takes; a peer that is busy loses it, unless all are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/port.h"

namespace rhea::net {

class Hub;

class HubPort final : public Port {
 public:
  HubPort(Hub& hub, std::string name);
  Caps caps() const override;
  Sent send(const Frame& frame) override;
  bool can_reserve() const override;
  bool reserve(usize bytes, Reservation& reservation) override;
  void commit(Reservation& reservation, usize used, const Offload& offload) override;
  void abort(Reservation& reservation) override;
  void on_room() override;
  void on_link(bool up) override;
  std::string type() const override { return "hubport"; }
  std::string info() const override { return {}; }

 private:
  friend class Hub;
  Hub& hub_;
};

class Hub {
 public:
  explicit Hub(unsigned number) : number_(number) {}
  unsigned number() const { return number_; }
  // Without a name: hub<number>port<index>.
  HubPort& add_port(std::string name = {});
  // Nothing happens when it is no port of this hub. Its peer is disconnected.
  void remove_port(const Port* port);
  const std::vector<std::unique_ptr<HubPort>>& ports() const { return ports_; }

 private:
  friend class HubPort;
  Port* only_other_peer(const HubPort& from) const;  // the far side, when the hub has two ports
  unsigned number_;
  std::vector<std::unique_ptr<HubPort>> ports_;
};

}  // namespace rhea::net
