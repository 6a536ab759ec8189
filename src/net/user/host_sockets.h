// SPDX-License-Identifier: MIT
// The host's sockets: one edge-triggered poller for all of a stack's, watched by the network loop.
#pragma once

#include <functional>
#include <unordered_map>

#include "core/event_loop.h"
#include "net/user/sockets.h"

namespace rhea::net::user {

class HostSockets final : public Sockets {
 public:
  // `after_events` is called when a batch of events has been handed out.
  HostSockets(EventLoop& loop, std::function<void()> after_events);
  ~HostSockets() override;

  std::unique_ptr<Socket> open(SocketKind kind, bool v6, SocketOwner* owner, int& error) override;
  std::vector<Endpoint> resolvers() override;
  bool has_ipv6_route() override;
  usize open_file_limit() override { return open_file_limit_; }
  u64 random() override { return sys::random_number(); }

 private:
  class HostSocket;
  void poll();

  EventLoop& loop_;
  std::function<void()> after_events_;
  sys::SocketPoller poller_;
  std::unordered_map<u64, HostSocket*> sockets_;  // by token
  u64 next_token_ = 1;
  usize open_file_limit_;
  std::vector<Endpoint> resolvers_;
  u64 resolvers_version_ = 0;
  s64 resolvers_checked_ = 0;
  bool ipv6_route_ = false;
  s64 ipv6_checked_ = 0;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace rhea::net::user
