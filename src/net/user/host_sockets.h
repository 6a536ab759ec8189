// SPDX-License-Identifier: MIT
// The host's sockets: one edge-triggered poller for all of a stack's, watched by the network loop.
#pragma once

#include <functional>
#include <unordered_map>

#include "core/event_loop.h"
#include "net/user/sockets.h"
#include "sys/process.h"

namespace rhea::net::user {

class HostSockets final : public Sockets {
 public:
  // `after_events` is called when a batch of events has been handed out.
  HostSockets(EventLoop& loop, std::function<void()> after_events);
  ~HostSockets() override;

  std::unique_ptr<Socket> open(SocketKind kind, bool v6, SocketOwner* owner, int& error) override;
  std::unique_ptr<Socket> start(const std::vector<std::string>& words, SocketOwner* owner, std::string& error) override;
  std::unique_ptr<Socket> pair(SocketOwner* owner, std::unique_ptr<Socket>& other, int& error) override;
  std::unique_ptr<Socket> adopt(sys::Fd stream, int& error) override;
  std::vector<IpAddress> addresses_of(const std::string& name) override { return sys::addresses_of(name); }
  std::vector<Endpoint> resolvers() override;
  bool has_ipv6_route() override;
  usize open_file_limit() override { return open_file_limit_; }
  u64 random() override { return sys::random_number(); }

 private:
  class HostSocket;
  struct Running {
    sys::Child child;
    std::unique_ptr<FdWatch> watch;
  };
  void poll();
  void ended(int pid);

  EventLoop& loop_;
  std::function<void()> after_events_;
  sys::SocketPoller poller_;
  std::unordered_map<u64, HostSocket*> sockets_;  // by token
  u64 next_token_ = 1;
  usize open_file_limit_;
  std::vector<Endpoint> resolvers_;
  u64 resolvers_version_ = 0;
  bool ipv6_route_ = false;
  s64 ipv6_checked_ = 0;
  std::unique_ptr<FdWatch> watch_;
  std::vector<Running> running_;
};

}  // namespace rhea::net::user
