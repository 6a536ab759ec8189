// SPDX-License-Identifier: MIT
// What the backends have in common that lead out of this process: the state of the link, the text of `info
// network`, and a look at who else is on the segment.
#pragma once

#include <functional>
#include <string>

#include "net/backend.h"
#include "net/port.h"

namespace rhea::net {

class WireBackend : public Port {
 public:
  void on_link(bool up) override { link_up_ = up; }
  std::string info() const override { return info_; }

 protected:
  explicit WireBackend(const BackendContext& context);

  // A frame from outside, to the guest. Says once when its sender has the address of one of this machine's NICs.
  Sent deliver(const Frame& frame);
  // Whether the guest's frames go out (set_link).
  bool is_up() const { return link_up_; }
  // Counts what became of a frame that the guest sent.
  Sent counted(Sent sent, const Frame& frame);
  void say(const std::string& text) const;  // "netdev ID: text"
  void set_info(std::string text) { info_ = std::move(text); }

  EventLoop& loop_;
  std::function<void(std::string name, std::string data)> event_;

 private:
  void look_for_clash(const Frame& frame);

  Network& network_;
  std::function<void(std::string)> warn_;
  std::string info_;
  bool link_up_ = true;
  bool clash_said_ = false;
};

}  // namespace rhea::net
