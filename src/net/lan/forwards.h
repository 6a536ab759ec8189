// SPDX-License-Identifier: MIT
// Forwarded ports of a LAN: hostfwd=[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUEST]:PORT, where GUEST is an address or a guest's
// name. Those for the own guest are the user network's. Those for another go to its member, which opens the port as
// long as this one lives; a guest that comes later, or again, gets them then.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "net/lan/neighbour.h"
#include "net/user/config.h"

namespace rhea::net::user {
class Stack;
}

namespace rhea::net::lan {

// A rule in its parts; `guest` as typed, `rule` without it ("tcp:127.0.0.1:2222-:22").
struct LanForward {
  std::string guest, rule, text;
};
// Nothing: it is no rule with a guest in it, and the user network says what is wrong.
std::optional<LanForward> split_forward(const std::string& text);

class LanForwards {
 public:
  static constexpr usize kMost = 64;  // of one neighbour

  LanForwards(user::Stack& stack, std::vector<LanForward> wanted) : stack_(stack), wanted_(std::move(wanted)) {}
  void on_joined(Neighbour& neighbour);
  void on_left(Neighbour& neighbour);
  // A neighbour wants a port opened for the own guest.
  void on_request(Neighbour& neighbour, const std::string& rule);
  const std::vector<LanForward>& wanted() const { return wanted_; }

 private:
  Result<void> open(Neighbour& neighbour, const std::string& text);
  user::Stack& stack_;
  std::vector<LanForward> wanted_;
  std::map<const Neighbour*, std::vector<user::ForwardRule>> opened_;
};

}  // namespace rhea::net::lan
