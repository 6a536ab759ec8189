// SPDX-License-Identifier: MIT
// The back end of vhost-user (net/vhost/message.h): a virtio network device whose rings are those of another process's
// guest. It is VirtioNet with another transport: what is the registers' part there are the front end's messages here,
// and guest-physical addresses lead into memory that the front end shares.
//
// One object is one connection. Nothing the front end says is believed: a message that makes no sense, memory that is
// not there, a ring outside it end the connection, with the reason.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/virtio/virtio_net.h"
#include "net/vhost/connection.h"

namespace rhea::devices {

class VhostServer final : private VirtioTransport {
 public:
  struct Hooks {
    std::function<void(const std::string&)> say;        // about the front end and its guest
    std::function<void(const std::string& why)> ended;  // once, later; "" when the front end went away
  };
  // Everything happens on `loop`. `netdev` gets its NIC for as long as this lives.
  VhostServer(EventLoop& loop, Clock& clock, Log& log, net::Port& netdev, sys::Fd socket, Hooks hooks);
  ~VhostServer() override;

 private:
  using Answer = std::optional<std::vector<u8>>;  // of a request that has one of its own
  struct Ring {
    u16 size = 0, next = 0;
    std::optional<net::vhost::RingAddress> address;
    bool enabled = false, started = false;
    std::optional<sys::EventFd> kick, call, error;
    std::unique_ptr<FdWatch> watch;
  };
  class NoMachine;

  // --- VirtioTransport
  void interrupt_queue(unsigned queue) override;
  void interrupt_config() override {}
  void needs_reset() override;
  void device_gone() override {}

  void on_readable();
  void take(net::vhost::Message& message);
  Result<Answer> handle(net::vhost::Message& message);
  Result<Answer> handle_ring(net::vhost::Message& message);
  Result<void> handle_ring_number(const net::vhost::Message& message);
  Result<void> handle_ring_descriptor(net::vhost::Message& message);
  Result<void> set_features(u64 features);
  Result<void> set_memory(net::vhost::Message& message);
  Result<void> set_address(const net::vhost::RingAddress& address);
  Result<void> map_regions(net::vhost::Message& message, const std::vector<net::vhost::Region>& regions);
  void announce(std::span<const u8> payload);
  u64 offered() const;
  Result<u64> guest_address(u64 user, u64 size) const;
  Result<void> start_if_complete(unsigned number);
  void stop(unsigned number);
  Result<void> with_rings_stopped(const std::function<Result<void>()>& change);
  void end(std::string why);

  EventLoop& loop_;
  Log& log_;
  Hooks hooks_;
  net::Port& netdev_;
  net::vhost::Connection connection_;
  std::unique_ptr<NoMachine> machine_;
  memory::AddressSpace space_;
  std::vector<std::unique_ptr<memory::RamBlock>> blocks_;
  std::vector<net::vhost::Region> regions_;
  unsigned tables_ = 0;
  u64 features_ = 0, protocol_ = 0;
  bool ended_ = false;
  std::unique_ptr<VirtioNet> device_;
  std::array<Ring, net::kRings> rings_;
  std::unique_ptr<FdWatch> watch_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rhea::devices
