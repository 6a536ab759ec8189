// SPDX-License-Identifier: MIT
// The grammar of hostfwd and guestfwd.
#include <fmt/format.h>

#include <algorithm>

#include "net/user/config.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr usize kLongestUnixPath = 107;  // sun_path and its zero
constexpr usize kLongestName = 253;

// Takes the text up to a separator; nothing when there is none.
std::optional<std::string> take_until(std::string_view& rest, char separator) {
  const usize at = rest.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  std::string part(rest.substr(0, at));
  rest.remove_prefix(at + 1);
  return part;
}

// The same for an address, whose colons do not count when it is in brackets (which are taken off).
std::optional<std::string> take_address(std::string_view& rest, bool& bracketed) {
  bracketed = rest.starts_with('[');
  if (!bracketed) return take_until(rest, ':');
  const usize close = rest.find("]:");
  if (close == std::string_view::npos) return std::nullopt;
  std::string part(rest.substr(1, close - 1));
  rest.remove_prefix(close + 2);
  return part;
}

std::optional<IpAddress> parse_address(const std::string& text, bool bracketed) {
  return bracketed ? parse_ipv6(text) : parse_ipv4(text);
}

// Letters, digits, hyphens and dots, and not numbers alone, which would be a mistyped address.
bool is_host_name(const std::string& text) {
  if (text.empty() || text.size() > kLongestName) return false;
  bool letters = false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.') return false;
    letters |= letter;
  }
  return letters;
}

std::optional<u16> parse_port(std::string_view text, u16 lowest) {
  const auto number = parse_number(text);
  if (!number || *number < lowest || *number > 65535) return std::nullopt;
  return static_cast<u16>(*number);
}

// "PORT" or "FIRST..LAST".
struct PortRange {
  u16 first;
  usize count;
};
std::optional<PortRange> parse_ports(std::string_view text, u16 lowest) {
  const usize dots = text.find("..");
  const auto first = parse_port(text.substr(0, dots), lowest);
  if (!first) return std::nullopt;
  if (dots == std::string_view::npos) return PortRange{*first, 1};
  const auto last = parse_port(text.substr(dots + 2), 1);
  if (!last || *first == 0 || *last < *first) return std::nullopt;
  return PortRange{*first, usize{*last} - *first + 1};
}

// The protocol, and what follows its colon. Without a protocol ("127.0.0.1:5555-10.0.2.15:22") tcp is meant.
std::optional<std::string> take_protocol(std::string_view& rest, bool& udp) {
  std::string_view after = rest;
  const auto word = take_until(after, ':');
  if (!word) return "No : separators";
  if (parse_ipv4(*word) || rest.starts_with('[')) return std::nullopt;
  if (!word->empty() && *word != "tcp" && *word != "udp") return "Bad protocol name";
  // ":5555-:22" is HOSTADDR left out, not the protocol: after the protocol there are two more colons.
  const usize dash = after.rfind('-');
  if (word->empty() && dash != std::string_view::npos && after.substr(0, dash).find(':') == std::string_view::npos)
    return std::nullopt;
  udp = *word == "udp";
  rest = after;
  return std::nullopt;
}

std::optional<std::string> take_host(std::string_view& rest, ForwardRule& rule) {
  bool bracketed = false;
  const auto host = take_address(rest, bracketed);
  if (!host) return "Missing : separator";
  if (host->empty() && !bracketed) return std::nullopt;
  rule.host_given = true;
  if (const auto address = parse_address(*host, bracketed)) rule.host_address = *address;
  else if (!bracketed && is_host_name(*host)) rule.host_name = *host;
  else return "Bad host address";
  return std::nullopt;
}

std::optional<std::string> take_guest(std::string_view rest, ForwardRule& rule) {
  bool bracketed = false;
  const auto guest = take_address(rest, bracketed);
  if (!guest) return "Missing guest address";
  if (!guest->empty() || bracketed) {
    const auto address = parse_address(*guest, bracketed);
    if (!address) return "Bad guest address";
    rule.guest_address = *address;
  }
  const auto ports = parse_ports(rest, 1);
  if (!ports || (ports->count != 1 && ports->count != rule.ports) || usize{ports->first} + rule.ports - 1 > 65535)
    return "Bad guest port";
  rule.guest_port = ports->first;
  return std::nullopt;
}

std::optional<std::string> parse_unix(std::string_view rest, ForwardRule& rule) {
  // The path may have hyphens, the guest's address and port have none: the last one ends the path.
  const usize dash = rest.rfind('-');
  if (dash == std::string_view::npos) return "Missing - separator";
  rule.unix_path = rest.substr(0, dash);
  if (rule.unix_path.empty()) return "Missing unix socket path";
  if (rule.unix_path[0] != '/') return "unix socket path must be absolute";
  if (rule.unix_path.size() > kLongestUnixPath) return "Unix socket path is too long";
  return take_guest(rest.substr(dash + 1), rule);
}

std::optional<std::string> parse_sides(std::string_view rest, ForwardRule& rule) {
  if (rest.starts_with("unix:")) return parse_unix(rest.substr(5), rule);
  if (auto wrong = take_protocol(rest, rule.udp)) return wrong;
  if (auto wrong = take_host(rest, rule)) return wrong;
  const auto host_ports = take_until(rest, '-');
  if (!host_ports) return "Bad host port separator";
  const auto ports = parse_ports(*host_ports, 0);
  if (!ports) return "Bad host port";
  rule.host_port = ports->first;
  rule.ports = static_cast<u16>(ports->count);
  return take_guest(rest, rule);
}

ForwardRule rule_of(const std::string& text) {
  ForwardRule rule;
  rule.text = text;
  rule.host_address = IpAddress::v4(0);
  rule.guest_address = IpAddress::v4(0);
  return rule;
}

}  // namespace

Result<ForwardRule> parse_forward(const std::string& text) {
  ForwardRule rule = rule_of(text);
  if (const auto wrong = parse_sides(text, rule))
    return Error("Invalid host forwarding rule '{}' ({})", text, *wrong)
        .with_hint(
            "A rule is [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, for example tcp::2222-:22; "
            "tcp:[::1]:2222-:22; tcp::8000..8099-:8000; unix:/run/guest-ssh.sock-:22.");
  return rule;
}

std::optional<ForwardRule> parse_forward_removal(const std::string& text) {
  ForwardRule rule = rule_of(text);
  std::string_view rest = text;
  if (rest.starts_with("unix:/")) {
    rule.unix_path = rest.substr(5);
    return rule;
  }
  const auto protocol = take_until(rest, ':');
  if (!protocol) return std::nullopt;
  if (*protocol == "udp") rule.udp = true;
  else if (!protocol->empty() && *protocol != "tcp") return std::nullopt;
  if (take_host(rest, rule)) return std::nullopt;
  const auto ports = parse_ports(rest, 0);
  if (!ports) return std::nullopt;
  rule.host_port = ports->first;
  rule.ports = static_cast<u16>(ports->count);
  return rule;
}

std::optional<std::vector<std::string>> split_command(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = 0;
  for (usize i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\'' ? c != '\'' : c == '\\') {
      if (c == '\\' && quote != '\'') {
        if (++i == text.size()) return std::nullopt;
        // Between double quotes a backslash stands for itself before most characters.
        if (quote == '"' && text[i] != '"' && text[i] != '\\' && text[i] != '$' && text[i] != '`') word += c;
      }
      word += text[i];
      in_word = true;
    } else if (quote) {
      if (c == quote) quote = 0;
      else word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote) return std::nullopt;
  if (in_word) words.push_back(std::move(word));
  return words;
}

namespace {

// "tcp:HOST:PORT" and nothing behind it: with options it is a character device.
bool take_connection(std::string_view rest, GuestForward& rule) {
  if (!rest.starts_with("tcp:")) return false;
  rest.remove_prefix(4);
  bool bracketed = false;
  const auto host = take_address(rest, bracketed);
  const auto port = parse_port(std::string(rest), 1);
  if (!host || host->empty() || !port) return false;
  rule.target.port = *port;
  if (const auto address = parse_address(*host, bracketed)) rule.target.address = *address;
  else rule.target_name = *host;
  return true;
}

}  // namespace

Result<GuestForward> parse_guest_forward(const std::string& text) {
  const auto invalid = [&] {
    return Error("Invalid guest forwarding rule '{}'", text)
        .with_hint(
            "A rule is [tcp]:SERVER:PORT-TARGET, for example tcp:10.0.2.100:80-tcp:127.0.0.1:8080; a target is "
            "cmd:COMMAND, tcp:HOST:PORT, chardev:ID or a device as -serial takes it.");
  };
  GuestForward rule;
  rule.text = text;
  rule.address = IpAddress::v4(0);
  std::string_view rest = text;
  const auto protocol = take_until(rest, ':');
  if (!protocol || (!protocol->empty() && *protocol != "tcp")) return invalid();
  bool bracketed = false;
  const auto server = take_address(rest, bracketed);
  if (!server) return invalid();
  if (!server->empty()) {
    const auto address = parse_address(*server, bracketed);
    if (!address) return invalid();
    rule.address = *address;
  }
  const auto port_text = take_until(rest, '-');
  const auto port = port_text ? parse_port(*port_text, 1) : std::nullopt;
  if (!port) return invalid();
  rule.port = *port;
  if (rest.starts_with("cmd:")) {
    const auto words = split_command(rest.substr(4));
    if (!words || words->empty()) return invalid();
    rule.command = *words;
  } else if (!take_connection(rest, rule)) {
    if (rest.empty()) return invalid();
    rule.device = rest;
  }
  return rule;
}

namespace {

// What comes before the port of a rule's target; false when it is nothing.
bool take_target(const std::string& text, bool bracketed, AccessRule& rule) {
  const usize slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash), bracketed);
  if (text == "*") {
    rule.target = AccessRule::anything;
  } else if (text == "host") {
    rule.target = AccessRule::host;
  } else if (address) {
    rule.target = AccessRule::network;
    rule.network_address = *address;
    rule.length = bracketed ? 128 : 32;
    if (slash == std::string::npos) return true;
    const auto length = parse_number(text.substr(slash + 1));
    if (!length || *length > rule.length) return false;
    rule.length = static_cast<unsigned>(*length);
  } else {
    rule.target = AccessRule::domain;
    rule.domain_name = to_lower(text);
    const std::string_view name = rule.domain_name;
    return is_host_name(std::string(name.substr(name.starts_with("*.") ? 2 : 0)));
  }
  return true;
}

}  // namespace

Result<AccessRule> parse_access(const std::string& name, const std::string& text) {
  const auto wrong = [&](const char* why) {
    return Error("Parameter '{}': '{}' {}", name, text, why)
        .with_hint(
            "A rule is [tcp:|udp:|icmp:]TARGET[:PORT[..LAST]]; TARGET is an address or network "
            "(10.0.0.0/8, [2001:db8::]/32), a domain (example.org, *.example.org), host, or *.");
  };
  AccessRule rule;
  rule.allow = name == "allow";
  rule.text = name + "=" + text;
  std::string_view rest = text;
  constexpr std::pair<std::string_view, u8> kProtocols[] = {{"tcp:", 6}, {"udp:", 17}, {"icmp:", 1}};
  for (const auto& [word, number] : kProtocols) {
    if (!rest.starts_with(word)) continue;
    rule.protocol = number;
    rest.remove_prefix(word.size());
    break;
  }
  const bool bracketed = rest.starts_with('[');
  usize end = rest.find(':');
  std::string target;
  if (bracketed) {
    const usize close = rest.find(']');
    if (close == std::string_view::npos) return wrong("has no ']'");
    end = rest.find(':', close);
    target = std::string(rest.substr(1, close - 1)) +
             std::string(rest.substr(close + 1, end == std::string_view::npos ? end : end - close - 1));
  } else {
    target = rest.substr(0, end);
  }
  if (!take_target(target, bracketed, rule)) return wrong("has no address, network, domain, host or *");
  if (end == std::string_view::npos) return rule;
  const auto ports = parse_ports(rest.substr(end + 1), 1);
  if (!ports) return wrong("has no port or range of ports at its end");
  if (rule.protocol == 1) return wrong("has a port, which icmp has not");
  rule.first_port = ports->first;
  rule.last_port = static_cast<u16>(ports->first + ports->count - 1);
  return rule;
}

}  // namespace rhea::net::user
