// SPDX-License-Identifier: MIT
// Counters on a unix socket, as text that Prometheus reads, behind a plain HTTP answer ("curl
// --unix-socket").
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/user/sockets.h"
#include "net/user/timeouts.h"
#include "util/result.h"

namespace rhea::net::user {

class Metrics final : public SocketOwner {
 public:
  // `tell` makes the text when a client has asked.
  Metrics(Sockets& sockets, TimeoutQueue& timeouts, std::function<std::string()> tell);
  ~Metrics() override;
  // Errors: what the host says about the path.
  Result<void> open(const std::string& path);
  void on_socket(Socket& socket, u32 events) override;
  void run();

 private:
  class Client;
  Sockets& sockets_;
  TimeoutQueue& timeouts_;
  std::function<std::string()> tell_;
  std::unique_ptr<Socket> listener_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace rhea::net::user
