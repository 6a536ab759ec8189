// SPDX-License-Identifier: MIT
// `-netdev vhost-user,chardev=c0`: another process serves the NIC's rings, in the guest's memory. The chardev may lose
// its connection and get another one: the link is down meanwhile.
#pragma once

#include <memory>
#include <string>

#include "net/backends/wire.h"
#include "net/ring_server.h"
#include "net/vhost/client.h"
#include "net/vhost/source.h"

namespace rhea::net::vhost {

class VhostUserBackend final : public WireBackend, public RingServer {
 public:
  static Result<std::unique_ptr<Port>> create(const BackendContext& context, std::span<const OptionText> options);
  VhostUserBackend(const BackendContext& context, std::string chardev, unsigned pairs);
  ~VhostUserBackend() override;

  // --- Port
  Caps caps() const override { return {}; }
  Sent send(const Frame& frame) override;
  std::string type() const override { return "vhost-user"; }

  // --- RingServer
  u64 limit(u64 offered) const override;
  bool is_ready() const override { return client_ && client_->is_ready(); }
  Result<void> lend(const Lending& lending) override;
  void take_back() override;
  void kick(unsigned ring) override { client_->kick(ring); }

 private:
  RingOwner* owner() const { return dynamic_cast<RingOwner*>(peer()); }
  void connected(sys::Fd socket);
  void ready();
  void ended(const std::string& why);
  void tell(const std::string& text);

  std::string chardev_;
  unsigned pairs_;
  std::unique_ptr<Source> source_;
  std::unique_ptr<Client> client_;
  u64 features_ = 0;  // of the last back end
  bool told_ready_ = false;
  unsigned told_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rhea::net::vhost

namespace rhea::net {
extern const BackendType kVhostUserType;
}
