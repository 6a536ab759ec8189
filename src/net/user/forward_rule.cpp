// SPDX-License-Identifier: MIT
// The grammar of hostfwd.
#include <fmt/format.h>

#include "net/user/config.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

// Takes the text up to a separator; nothing when there is none.
std::optional<std::string> take_until(std::string_view& rest, char separator) {
  const usize at = rest.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  std::string part(rest.substr(0, at));
  rest.remove_prefix(at + 1);
  return part;
}

std::optional<u16> parse_port(std::string_view text, u16 lowest) {
  const auto number = parse_number(text);
  if (!number || *number < lowest || *number > 65535) return std::nullopt;
  return static_cast<u16>(*number);
}

// The protocol, and what follows its colon. Without a protocol ("127.0.0.1:5555-10.0.2.15:22") tcp is meant.
std::optional<std::string> take_protocol(std::string_view& rest, bool& udp) {
  std::string_view after = rest;
  const auto word = take_until(after, ':');
  if (!word) return "No : separators";
  if (parse_ipv4(*word)) return std::nullopt;
  if (!word->empty() && *word != "tcp" && *word != "udp") {
    return "Bad protocol name";
  }
  // ":5555-:22" is HOSTADDR left out, not the protocol: after the protocol there are two more colons.
  const usize dash = after.find('-');
  if (word->empty() && after.substr(0, dash).find(':') == std::string_view::npos &&
      dash != std::string_view::npos)
    return std::nullopt;
  udp = *word == "udp";
  rest = after;
  return std::nullopt;
}

std::optional<std::string> parse_sides(std::string_view rest, ForwardRule& rule) {
  if (auto wrong = take_protocol(rest, rule.udp)) return wrong;
  const auto host = take_until(rest, ':');
  if (!host) return "Missing : separator";
  if (!host->empty()) {
    const auto address = parse_ipv4(*host);
    if (!address) return "Bad host address";
    rule.host_address = *address;
    rule.host_given = true;
  }
  const auto host_port = take_until(rest, '-');
  if (!host_port) return "Bad host port separator";
  const auto port = parse_port(*host_port, 0);
  if (!port) return "Bad host port";
  rule.host_port = *port;
  const auto guest = take_until(rest, ':');
  if (!guest) return "Missing guest address";
  if (!guest->empty()) {
    const auto address = parse_ipv4(*guest);
    if (!address) return "Bad guest address";
    rule.guest_address = *address;
  }
  const auto guest_port = parse_port(rest, 1);
  if (!guest_port) return "Bad guest port";
  rule.guest_port = *guest_port;
  return std::nullopt;
}

}  // namespace

Result<ForwardRule> parse_forward(const std::string& text) {
  ForwardRule rule;
  rule.text = text;
  rule.host_address = IpAddress::v4(0);
  rule.guest_address = IpAddress::v4(0);
  if (const auto wrong = parse_sides(text, rule))
    return Error("Invalid host forwarding rule '{}' ({})", text, *wrong)
        .with_hint(
            "A rule is [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, for example tcp::2222-:22.");
  return rule;
}

std::optional<ForwardRule> parse_forward_removal(const std::string& text) {
  ForwardRule rule;
  rule.text = text;
  rule.host_address = IpAddress::v4(0);
  std::string_view rest = text;
  const auto protocol = take_until(rest, ':');
  if (!protocol) return std::nullopt;
  if (*protocol == "udp")
    rule.udp = true;
  else if (!protocol->empty() && *protocol != "tcp")
    return std::nullopt;
  const auto host = take_until(rest, ':');
  if (!host) return std::nullopt;
  if (!host->empty()) {
    const auto address = parse_ipv4(*host);
    if (!address) return std::nullopt;
    rule.host_address = *address;
    rule.host_given = true;
  }
  const auto port = parse_port(rest, 0);
  if (!port) return std::nullopt;
  rule.host_port = *port;
  return rule;
}

}  // namespace rhea::net::user
