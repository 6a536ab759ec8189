// SPDX-License-Identifier: MIT
// Character devices for the network's filters and guestfwd: what crosses between the machine's loop and the network's.
#pragma once

#include <memory>
#include <vector>

#include "chardev/registry.h"
#include "core/event_loop.h"
#include "net/filters/line.h"

namespace rhea::cli {

class FrameLines {
 public:
  FrameLines(chardev::Registry& chardevs, EventLoop& machine_loop, EventLoop& net_loop);
  ~FrameLines();
  // Under the machine loop's lock.
  Result<std::unique_ptr<net::ByteLine>> open(const std::string& chardev,
                                              std::function<void(std::span<const u8>)> on_data);
  // `device`: "chardev:ID", or a short form that makes the device `id`.
  Result<std::unique_ptr<net::ByteLine>> open_or_make(const std::string& device, const std::string& id,
                                                      std::function<void(std::span<const u8>)> on_data);

 private:
  class Line;
  class Handle;
  std::unique_ptr<net::ByteLine> add(chardev::Backend& backend, std::function<void(std::span<const u8>)> on_data);
  void close(Line* line);

  chardev::Registry& chardevs_;
  EventLoop& machine_loop_;
  EventLoop& net_loop_;
  std::vector<std::shared_ptr<Line>> lines_;
  std::shared_ptr<FrameLines*> self_;  // gone when this is
};

}  // namespace rhea::cli
