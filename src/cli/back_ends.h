// SPDX-License-Identifier: MIT
// Socket character devices for netdevs that talk over their connections themselves (vhost-user).
#pragma once

#include <memory>
#include <vector>

#include "chardev/registry.h"
#include "core/event_loop.h"
#include "net/vhost/source.h"

namespace rhea::cli {

class BackEnds {
 public:
  BackEnds(chardev::Registry& chardevs, EventLoop& machine_loop, EventLoop& net_loop);
  ~BackEnds();
  // Under the machine loop's lock. `wait`: for the first connection, while nothing runs yet.
  Result<net::vhost::OpenedSource> open(const std::string& chardev, std::function<void(sys::Fd)> on_connection,
                                        bool wait);

 private:
  class Line;
  class Handle;
  void close(Line* line);

  chardev::Registry& chardevs_;
  EventLoop& machine_loop_;
  EventLoop& net_loop_;
  std::vector<std::shared_ptr<Line>> lines_;
  std::shared_ptr<BackEnds*> self_;  // gone when this is
};

}  // namespace rhea::cli
