// SPDX-License-Identifier: MIT
#include "net/user/service_options.h"

#include <fmt/format.h>

#include "core/property.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr usize kLongestBootFile = 127;  // "file" of the BOOTP message and its zero
constexpr usize kLongestOption = 255;
constexpr u16 kSmallestMtu = 576, kLargestMtu = 1500;  // RFC 791; the link's frames
constexpr unsigned kLongestHold = 3600;

Result<u64> parse_within(const std::string& name, const std::string& value, u64 lowest, u64 highest) {
  const auto number = parse_number(value);
  if (!number || *number < lowest || *number > highest)
    return Error("Parameter '{}' expects a number from {} to {}, not '{}'", name, lowest, highest, value);
  return *number;
}

Result<IpAddress> parse_server(const std::string& name, const std::string& value) {
  const auto address = parse_ip(value);
  if (!address) return Error("Parameter '{}' expects an IP address, not '{}'", name, value);
  return *address;
}

// "1.2.3.4", "1.2.3.4:5353", "2001:db8::1", "[2001:db8::1]:53".
Result<Endpoint> parse_resolver(const std::string& value) {
  if (const auto address = parse_ip(value)) return Endpoint{*address, 53, 0};
  const usize colon = value.rfind(':');
  if (colon != std::string::npos) {
    std::string host = value.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const auto address = parse_ip(host);
    const auto port = parse_number(value.substr(colon + 1));
    if (address && port && *port && *port <= 65535) return Endpoint{*address, static_cast<u16>(*port), 0};
  }
  return Error("Parameter 'dns-server' expects ADDRESS or ADDRESS:PORT, not '{}'", value);
}

// "800", "10M", "1G": decimal multiples.
Result<u64> parse_rate(const std::string& name, const std::string& value) {
  u64 factor = 1;
  std::string digits = value;
  const usize unit = value.empty() ? std::string::npos : std::string_view("kMGkmg").find(value.back());
  if (unit != std::string::npos) {
    for (usize i = 0; i <= unit % 3; ++i) factor *= 1000;
    digits.pop_back();
  }
  const auto number = parse_number(digits);
  if (!number || *number == 0 || *number > 1'000'000'000'000 / factor || *number * factor < 8000)
    return Error("Parameter '{}' expects bits a second from 8k to 1000G, not '{}'", name, value);
  return *number * factor;
}

bool is_name(std::string_view text) {
  if (text.starts_with("*.")) text.remove_prefix(2);
  if (text.empty() || text.size() > 253) return false;
  for (const std::string& label : split(text, '.'))
    if (label.empty() || label.size() > 63) return false;
  return true;
}

Result<NameRecord> parse_record(const std::string& value) {
  const auto wrong = [&](const char* why) {
    return Error("Parameter 'dns-record': '{}' {}", value, why)
        .with_hint("A record is NAME=ADDRESS, NAME=cname:NAME, NAME=txt:TEXT or NAME=ptr:NAME.");
  };
  const usize equals = value.find('=');
  if (equals == std::string::npos) return wrong("has no '='");
  NameRecord record;
  record.name = to_lower(value.substr(0, equals));
  if (record.name.ends_with('.')) record.name.pop_back();
  if (!is_name(record.name)) return wrong("does not begin with a domain name");
  std::string rest = value.substr(equals + 1);
  if (const auto address = parse_ip(rest)) {
    record.type = address->is_v4() ? NameRecord::a : NameRecord::aaaa;
    record.address = *address;
    return record;
  }
  if (rest.starts_with("txt:")) {
    record.type = NameRecord::txt;
    record.text = rest.substr(4);
    if (record.text.size() > kLongestOption) return wrong("has a text of more than 255 bytes");
    return record;
  }
  record.type = rest.starts_with("cname:") ? NameRecord::cname : NameRecord::ptr;
  if (!rest.starts_with("cname:") && !rest.starts_with("ptr:")) return wrong("has neither address nor type");
  record.text = rest.substr(rest.find(':') + 1);
  if (record.text.ends_with('.')) record.text.pop_back();
  if (!is_name(record.text) || record.text[0] == '*') return wrong("does not end with a domain name");
  return record;
}

Result<StaticLease> parse_lease(const std::string& value) {
  const std::vector<std::string> parts = split(value, '=');
  const bool shaped = parts.size() == 2 || parts.size() == 3;
  const auto mac = parse_mac(parts[0]);
  const auto address = shaped ? parse_ip(parts[1]) : std::nullopt;
  if (!shaped || !mac || !address || (parts.size() == 3 && (!is_name(parts[2]) || parts[2][0] == '*')))
    return Error("Parameter 'dhcp-lease' expects MAC=ADDRESS[=NAME], not '{}'", value);
  StaticLease lease;
  for (unsigned i = 0; i < 6; ++i) lease.mac[i] = static_cast<u8>(*mac >> (40 - 8 * i));
  lease.address = *address;
  if (parts.size() == 3) lease.name = to_lower(parts[2]);
  return lease;
}

Result<bool> take_access_option(const std::string& name, const std::string& value, UserConfig& config) {
  if (name == "allow" || name == "deny") config.access.push_back(RHEA_TRY(parse_access(name, value)));
  else if (name == "rate-in") config.rate_in = RHEA_TRY(parse_rate(name, value));
  else if (name == "rate-out") config.rate_out = RHEA_TRY(parse_rate(name, value));
  else if (name == "metrics") config.metrics = value;
  else return false;
  return true;
}

Result<void> take_boot_option(const std::string& name, const std::string& value, UserConfig& config) {
  if (name == "tftp") {
    config.tftp = value;
  } else if (name == "tftp-server-name") {
    if (value.size() > kLongestOption) return Error("'tftp-server-name' parameter cannot exceed 255 bytes");
    config.tftp_server = value;
  } else if (name == "bootfile") {
    if (value.size() > kLongestBootFile) return Error("'bootfile' parameter cannot exceed 127 bytes");
    config.boot_file = value;
  }
  return {};
}

}  // namespace

Result<void> take_service_option(const std::string& name, const std::string& value, UserConfig& config) {
  if (RHEA_TRY(take_access_option(name, value, config))) return {};
  if (name == "smb") {
    config.smb = value;
  } else if (name == "guestfwd") {
    config.guest_forwards.push_back(RHEA_TRY(parse_guest_forward(value)));
  } else if (name == "mtu") {
    config.mtu = static_cast<u16>(RHEA_TRY(parse_within(name, value, kSmallestMtu, kLargestMtu)));
  } else if (name == "ntp") {
    config.ntp.push_back(RHEA_TRY(parse_server(name, value)));
  } else if (name == "dhcp-lease") {
    config.leases.push_back(RHEA_TRY(parse_lease(value)));
  } else if (name == "dns-server") {
    config.resolvers.push_back(RHEA_TRY(parse_resolver(value)));
  } else if (name == "dns-record") {
    config.records.push_back(RHEA_TRY(parse_record(value)));
  } else if (name == "hostfwd-hold") {
    config.hold_seconds = static_cast<unsigned>(RHEA_TRY(parse_within(name, value, 1, kLongestHold)));
  } else if (name == "hostfwd-listen") {
    if (value != "always" && value != "probe")
      return Error("Parameter 'hostfwd-listen' expects 'always' or 'probe', not '{}'", value);
    config.listen = value == "probe" ? UserConfig::Listen::probe : UserConfig::Listen::always;
  } else {
    return take_boot_option(name, value, config);
  }
  return {};
}

}  // namespace rhea::net::user
