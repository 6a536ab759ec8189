// SPDX-License-Identifier: MIT
// Where a back end's connections come from: a socket character device, which belongs to another loop. Each time it is
// connected, the network gets a descriptor of the connection and talks over it itself.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::net::vhost {

// As long as it lives the character device is taken.
class Source {
 public:
  virtual ~Source() = default;
};

struct OpenedSource {
  std::unique_ptr<Source> source;
  sys::Fd first;  // the connection there is already; invalid: there is none
};

// By a chardev's id. `on_connection` is called on the network loop with each later connection. While the machine is
// being made it waits for the first. Errors: `chardev "x" not found`, one that is no unix socket, or in use.
using OpenSource =
    std::function<Result<OpenedSource>(const std::string& chardev, std::function<void(sys::Fd)> on_connection)>;

}  // namespace rhea::net::vhost
