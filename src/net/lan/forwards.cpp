// SPDX-License-Identifier: MIT
#include "net/lan/forwards.h"

#include "net/user/stack.h"

namespace rhea::net::lan {

std::optional<LanForward> split_forward(const std::string& text) {
  const usize colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const std::string port = text.substr(colon);
  // Names have dashes too: the first dash that leaves a rule on its left.
  for (usize dash = text.find('-'); dash < colon; dash = text.find('-', dash + 1)) {
    const std::string guest = text.substr(dash + 1, colon - dash - 1);
    if (!is_label(guest) && !parse_ipv4(guest)) continue;
    const std::string rule = text.substr(0, dash + 1) + port;
    if (user::parse_forward(rule).ok()) return LanForward{guest, rule, text};
  }
  return std::nullopt;
}

void LanForwards::on_joined(Neighbour& neighbour) {
  for (const LanForward& each : wanted_)
    if (each.guest == neighbour.name() || each.guest == neighbour.address().text())
      neighbour.say({.kind = Kind::forward, .text = each.rule});
}

void LanForwards::on_left(Neighbour& neighbour) {
  const auto opened = opened_.find(&neighbour);
  if (opened == opened_.end()) return;
  for (const user::ForwardRule& rule : opened->second) stack_.remove_forward(rule);
  opened_.erase(opened);
}

Result<void> LanForwards::open(Neighbour& neighbour, const std::string& text) {
  user::ForwardRule rule = RHEA_TRY(user::parse_forward(text));
  if (!rule.unix_path.empty()) return Error("a unix socket is opened for the own guest only");
  if (!rule.host_name.empty()) return Error("the host's address has to be a number");
  if (rule.ports > kMost || opened_[&neighbour].size() >= kMost) return Error("that is more than {} ports", kMost);
  rule.guest_address = stack_.config().dhcp_start;
  RHEA_TRY(stack_.add_forward(rule));
  opened_[&neighbour].push_back(std::move(rule));
  return {};
}

void LanForwards::on_request(Neighbour& neighbour, const std::string& rule) {
  const Result<void> opened = open(neighbour, rule);
  if (!opened.ok()) neighbour.say({.kind = Kind::refusal, .text = rule + ": " + opened.error().message()});
}

}  // namespace rhea::net::lan
