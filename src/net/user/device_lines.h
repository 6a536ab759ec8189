// SPDX-License-Identifier: MIT
// guestfwd to a character device: one stream that all connections of the guest to that address share. The newest
// connection has it; what the device says while there is none is kept for the next.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "net/filters/line.h"
#include "net/user/config.h"
#include "net/user/sockets.h"
#include "net/user/timeouts.h"

namespace rhea::net::user {

class DeviceLines {
 public:
  explicit DeviceLines(TimeoutQueue& timeouts);
  ~DeviceLines();
  // Opens the devices of the rules that have one, as "guestfwd.tcp.PORT". Errors: "Could not open guest forwarding
  // device ...", and why.
  Result<void> open(std::span<const GuestForward> rules, const OpenDevice& open_device);
  // A connection of the guest to a rule's address: `socket` is the other end of it. False: the device is not there.
  bool serve(const GuestForward& rule, std::unique_ptr<Socket> socket);

 private:
  class Line;
  TimeoutQueue& timeouts_;
  std::vector<std::unique_ptr<Line>> lines_;
};

}  // namespace rhea::net::user
