// SPDX-License-Identifier: MIT
// `-netdev lan,id=n,name=lab`: guests of one user that name the same LAN see one another, without privileges.
//
// Every member is a switch port of its own guest: it has a ring to and from each other member (lan/members.h), and
// learns behind which one an address is. And every member is the router for its own guest: the user-mode stack, with
// the same addresses everywhere, so that no guest's way out depends on another's process. What must be one for all is
// agreed on in the meeting place (lan/place.h): addresses by locks. Names and forwarded ports go by messages.
//
//   NIC -- LanBackend -+- router (UserBackend): what is for 52:55:... and for all; never anything of neighbours
//                      +- neighbour: known addresses; unknown ones and what is for all go to each
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/backends/wire.h"
#include "net/lan/forwards.h"
#include "net/lan/members.h"
#include "net/user/user_backend.h"

namespace rhea::net::lan {

const BackendType& lan_type();

class LanBackend final : public WireBackend, public MembersOwner {
 public:
  struct Plan {
    Place place;
    Place::Claim claim;
    Message hello;  // name, address, net
    std::vector<OptionText> router;
    std::vector<LanForward> forwards;
  };
  static Result<std::unique_ptr<Port>> create(const BackendContext& context, std::span<const OptionText> options);
  LanBackend(const BackendContext& context, Plan plan, std::unique_ptr<Port> router);
  ~LanBackend() override;

  Caps caps() const override;
  Sent send(const Frame& frame) override;
  void on_room() override;
  std::string type() const override { return "lan"; }
  std::string info() const override;
  user::UserBackend& router() { return *router_; }

 private:
  // The router's peer: what it sends goes to the NIC.
  class Inside;

  void on_joined(Neighbour& neighbour) override;
  void on_left(Neighbour& neighbour, const std::string& why) override;
  void on_bell(Neighbour& neighbour) override;
  void on_message(Neighbour& neighbour, const Message& message) override;
  std::string report() override;
  void on_dial(u16 port, sys::Fd stream) override;

  Sent send_to(Neighbour& neighbour, const Frame& frame, bool may_wait);
  Sent send_to_all(const Frame& frame);
  void wait_for(Neighbour& neighbour);
  void waited();
  void stop_waiting();
  void pump(Neighbour& neighbour);
  void pump_soon();
  void pump_all();
  void take(Neighbour& neighbour);
  bool hand_on();
  void learn(Neighbour& neighbour, const u8* mac);
  void update_names();
  void tell(const std::string& text);

  Place place_;
  std::vector<Place::Claim> claims_;
  std::unique_ptr<Port> router_port_;
  user::UserBackend* router_;
  std::unique_ptr<Inside> inside_;
  std::vector<user::NameRecord> own_records_;
  std::vector<IpAddress> own_addresses_;  // the router's
  LanForwards forwards_;
  std::unordered_map<u64, Neighbour*> table_;  // by MAC address
  std::vector<u8> buffer_;
  usize held_ = 0;  // bytes of a frame in buffer_ that waits for the guest
  Offload held_offload_;
  bool pump_posted_ = false;
  unsigned told_ = 0;
  Neighbour* waiting_for_ = nullptr;
  u64 consumed_ = 0;
  unsigned rounds_ = 0;
  std::unique_ptr<Timer> patience_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<Members> members_;
};

}  // namespace rhea::net::lan
