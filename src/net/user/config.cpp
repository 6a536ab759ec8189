// SPDX-License-Identifier: MIT
#include "net/user/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/user/service_options.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

using Kind = OptionRow::Kind;

constexpr OptionRow kOptions[] = {
    {Kind::boolean, "ipv4", "IPv4 (default on, unless only ipv6=on is given)"},
    {Kind::boolean, "ipv6", "IPv6 (default on, unless only ipv4=on is given)"},
    {Kind::text, "net", "network of the guest, ADDR[/MASK] (default 10.0.2.0/24)"},
    {Kind::text, "ip", "the same, with a mask of 24 bits"},
    {Kind::text, "host", "address of the gateway, which is the host (default: the network's .2)"},
    {Kind::text, "dns", "address of the name server (default: the network's .3)"},
    {Kind::text, "dhcpstart", "first of the 16 addresses that DHCP gives (default: the network's .15)"},
    {Kind::text, "ipv6-net", "IPv6 network of the guest, PREFIX[/LENGTH] (default fec0::/64)"},
    {Kind::text, "ipv6-prefix", "the prefix of it"},
    {Kind::number, "ipv6-prefixlen", "the length of its prefix, 0 to 126 (default 64)"},
    {Kind::text, "ipv6-host", "IPv6 address of the gateway (default: the prefix's ::2)"},
    {Kind::text, "ipv6-dns", "IPv6 address of the name server (default: the prefix's ::3)"},
    {Kind::text, "hostname", "the guest's name, told by DHCP"},
    {Kind::text, "domainname", "the guest's domain, told by DHCP"},
    {Kind::text, "dnssearch", "a domain that the guest searches, told by DHCP", true},
    {Kind::boolean, "restrict", "keep the guest from the host and the world (default off)"},
    {Kind::text, "hostfwd", "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT: forward a host port", true},
    {Kind::text, "guestfwd", "[tcp]:SERVER:PORT-TARGET: cmd:COMMAND, tcp:HOST:PORT or a chardev", true},
    {Kind::text, "tftp", "folder of the TFTP server at the gateway's address"},
    {Kind::text, "tftp-server-name", "name of the TFTP server, told by DHCP"},
    {Kind::text, "bootfile", "file (or http:// address) to boot, told by DHCP"},
    {Kind::text, "smb", "folder of the SMB server (needs Samba's smbd)"},
    {Kind::text, "smbserver", "address of the SMB server (default: the network's .4)"},
    {Kind::number, "mtu", "MTU of the guest, 576 to 1500, told by DHCP and IPv6"},
    {Kind::text, "ntp", "address of a time server, told by DHCP", true},
    {Kind::text, "dhcp-lease", "MAC=ADDRESS[=NAME]: an address for one guest", true},
    {Kind::text, "dns-server", "a name server to ask instead of the host's", true},
    {Kind::text, "dns-record", "NAME=ADDRESS, NAME=cname:NAME, NAME=txt:TEXT or NAME=ptr:NAME", true},
    {Kind::text, "hostfwd-listen", "always, or probe: only while the guest's port answers (default always)"},
    {Kind::text, "allow", "[tcp:|udp:|icmp:]ADDRESS[/LENGTH]|DOMAIN|host|*[:PORT[..LAST]]: the guest may", true},
    {Kind::text, "deny", "the same: the guest may not; the first rule that fits decides", true},
    {Kind::text, "rate-in", "bits a second towards the guest, for example 10M"},
    {Kind::text, "rate-out", "bits a second from the guest"},
    {Kind::text, "metrics", "path of a unix socket that tells counters as Prometheus reads them"},
    {Kind::number, "hostfwd-hold", "seconds that a forwarded connection waits for the guest (default 60)"},
};

// What was typed, before the addresses are worked out: what is not given depends on what is.
struct Typed {
  std::optional<bool> ipv4, ipv6;
  std::optional<std::string> smb_server;
  std::optional<std::string> net, host, dns, dhcpstart, prefix6, prefix6_length, host6, dns6;
};

Result<bool> parse_switch(const std::string& name, const std::string& text) {
  for (const char* word : {"on", "yes", "true", "y"})
    if (text == word) return true;
  for (const char* word : {"off", "no", "false", "n"})
    if (text == word) return false;
  return Error("Parameter '{}' expects 'on' or 'off'", name);
}

const OptionRow* find_row(std::string_view name) {
  for (const OptionRow& row : kOptions)
    if (row.name == name) return &row;
  return nullptr;
}

Error unknown_option(const std::string& name) {
  std::vector<std::string> names;
  for (const OptionRow& row : kOptions) names.emplace_back(row.name);
  return Error("Invalid parameter '{}'{}", name, did_you_mean(name, names));
}

// The mask that is meant when none is given (classes, narrowed by the private networks).
unsigned guessed_length(u32 address) {
  if (!(address >> 31)) return 8;
  if ((address & 0xfff00000) == 0xac100000) return 12;
  if ((address & 0xc0000000) == 0x80000000) return 16;
  if ((address & 0xffff0000) == 0xc0a80000) return 16;
  if ((address & 0xfffe0000) == 0xc6120000) return 15;
  if ((address & 0xe0000000) == 0xe0000000) return 24;
  return 28;
}

std::optional<unsigned> length_of_mask(u32 mask) {
  const u32 inverse = ~mask;
  if (inverse & (inverse + 1)) return std::nullopt;
  return static_cast<unsigned>(std::popcount(mask));
}

Result<void> parse_network(const std::string& text, UserConfig& config) {
  const usize slash = text.find('/');
  const auto address = parse_ipv4(text.substr(0, slash));
  if (!address) return Error("Failed to parse netmask");
  if (slash == std::string::npos) {
    config.prefix_length = guessed_length(address->to_v4());
  } else if (const std::string mask = text.substr(slash + 1); mask.find('.') != std::string::npos) {
    const auto dotted = parse_ipv4(mask);
    const auto length = dotted ? length_of_mask(dotted->to_v4()) : std::nullopt;
    if (!length) return Error("Failed to parse netmask");
    config.prefix_length = *length;
  } else {
    usize digits = 0;
    while (digits < mask.size() && mask[digits] >= '0' && mask[digits] <= '9') ++digits;
    if (digits == 0 || digits < mask.size()) return Error("Failed to parse netmask (trailing chars)");
    config.prefix_length = 0;
    for (const char digit : mask.substr(0, 3))
      config.prefix_length = config.prefix_length * 10 + static_cast<unsigned>(digit - '0');
  }
  if (config.prefix_length < 4 || config.prefix_length > 32)
    return Error("Invalid netmask provided (must be in range 4-32)");
  config.network = IpAddress::v4(address->to_v4() & config.netmask());
  config.host = address_inside(config, 0x0202);
  config.dns = address_inside(config, 0x0203);
  config.dhcp_start = address_inside(config, 0x020f);
  config.smb_server = address_inside(config, 0x0204);
  return {};
}

Result<void> resolve_ipv4(const Typed& typed, UserConfig& config) {
  if (!config.ipv4) {
    if (typed.net || typed.host || typed.dns || !config.smb.empty())
      return Error("IPv4 disabled but netmask/host/dns provided");
    return {};
  }
  if (typed.net) RHEA_TRY(parse_network(*typed.net, config));
  const auto inside = [&](const IpAddress& address) { return address.in_prefix(config.network, config.prefix_length); };
  const auto given = [](const std::optional<std::string>& text, IpAddress& address) {
    if (!text) return true;
    const auto parsed = parse_ipv4(*text);
    if (parsed) address = *parsed;
    return parsed.has_value();
  };
  if (!given(typed.host, config.host)) return Error("Failed to parse host");
  if (!inside(config.host)) return Error("Host doesn't belong to network");
  if (!given(typed.dns, config.dns)) return Error("Failed to parse DNS");
  if (config.restricted && !inside(config.dns)) return Error("DNS doesn't belong to network");
  if (config.dns == config.host) return Error("DNS must be different from host");
  if (!given(typed.dhcpstart, config.dhcp_start)) return Error("Failed to parse DHCP start address");
  if (!inside(config.dhcp_start)) return Error("DHCP doesn't belong to network");
  if (config.dhcp_start == config.host || config.dhcp_start == config.dns)
    return Error("DHCP must be different from host and DNS");
  if (!given(typed.smb_server, config.smb_server)) return Error("Failed to parse SMB address");
  return {};
}

IpAddress with_last_byte(IpAddress prefix, u8 last) {
  prefix.bytes[15] |= last;
  return prefix;
}

Result<void> resolve_ipv6(const Typed& typed, UserConfig& config) {
  if (!config.ipv6) {
    if (typed.prefix6 || typed.host6 || typed.dns6) return Error("IPv6 disabled but prefix/host6/dns6 provided");
    return {};
  }
  if (typed.prefix6) {
    const auto prefix = parse_ipv6(*typed.prefix6);
    if (!prefix) return Error("Failed to parse IPv6 prefix");
    config.prefix6 = *prefix;
  }
  if (typed.prefix6_length) {
    const auto length = parse_number(*typed.prefix6_length);
    if (!length) return Error("Parameter 'ipv6-prefixlen' expects a number");
    if (*length > 126) return Error("Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)");
    config.prefix6_length = *length ? static_cast<unsigned>(*length) : 64;
  }
  config.host6 = with_last_byte(config.prefix6, 2);
  config.dns6 = with_last_byte(config.prefix6, 3);
  if (typed.host6) {
    const auto host = parse_ipv6(*typed.host6);
    if (!host) return Error("Failed to parse IPv6 host");
    if (!host->in_prefix(config.prefix6, config.prefix6_length)) return Error("IPv6 Host doesn't belong to network");
    config.host6 = *host;
  }
  if (typed.dns6) {
    const auto dns = parse_ipv6(*typed.dns6);
    if (!dns) return Error("Failed to parse IPv6 DNS");
    config.dns6 = *dns;
  }
  return {};
}

Result<void> take_name(const std::string& name, const std::string& value, UserConfig& config) {
  if (name == "hostname") {
    if (value.size() > 255) return Error("'vhostname' parameter cannot exceed 255 bytes");
    config.hostname = value;
  } else {
    if (value.empty()) return Error("'domainname' parameter cannot be empty");
    if (value.size() > 255) return Error("'domainname' parameter cannot exceed 255 bytes");
    config.domain = value;
  }
  return {};
}

// A search domain as DHCP can carry it (RFC 1035, section 2.3.4: labels of 1 to 63 bytes).
bool is_domain(const std::string& text) {
  if (text.empty() || text.size() > 253) return false;
  for (const std::string& label : split(text, '.'))
    if (label.empty() || label.size() > 63) return false;
  return true;
}

Result<void> take_option(const std::string& name, const std::string& value, UserConfig& config, Typed& typed,
                         std::vector<std::string>& warnings) {
  if (name == "ipv4") typed.ipv4 = RHEA_TRY(parse_switch(name, value));
  else if (name == "ipv6") typed.ipv6 = RHEA_TRY(parse_switch(name, value));
  else if (name == "restrict") config.restricted = RHEA_TRY(parse_switch(name, value));
  else if (name == "net") typed.net = value;
  else if (name == "ip") typed.net = value + "/24";
  else if (name == "host") typed.host = value;
  else if (name == "dns") typed.dns = value;
  else if (name == "dhcpstart") typed.dhcpstart = value;
  else if (name == "ipv6-prefix") typed.prefix6 = value;
  else if (name == "ipv6-prefixlen") typed.prefix6_length = value;
  else if (name == "ipv6-host") typed.host6 = value;
  else if (name == "ipv6-dns") typed.dns6 = value;
  else if (name == "ipv6-net") {
    const usize slash = value.find('/');
    typed.prefix6 = value.substr(0, slash);
    if (slash != std::string::npos) typed.prefix6_length = value.substr(slash + 1);
  } else if (name == "hostname" || name == "domainname") {
    RHEA_TRY(take_name(name, value, config));
  } else if (name == "dnssearch") {
    if (is_domain(value)) config.search.push_back(value);
    else warnings.push_back(fmt::format("dnssearch: '{}' is no domain name: it is left out", value));
  } else if (name == "hostfwd") {
    config.forwards.push_back(RHEA_TRY(parse_forward(value)));
  } else if (name == "smbserver") {
    typed.smb_server = value;
  } else {
    return take_service_option(name, value, config);
  }
  return {};
}

void check_forwards(UserConfig& config, std::vector<std::string>& warnings) {
  for (ForwardRule& rule : config.forwards) {
    if (rule.guest_address.is_unspecified() && config.ipv4) rule.guest_address = config.dhcp_start;
    const bool v4 = rule.guest_address.is_v4();
    if (v4 ? config.ipv4 && !rule.guest_address.in_prefix(config.network, config.prefix_length)
           : config.ipv6 && !rule.guest_address.in_prefix(config.prefix6, config.prefix6_length))
      warnings.push_back(fmt::format("hostfwd={}: the guest address {} is not in the network {}/{}", rule.text,
                                     rule.guest_address.text(), v4 ? config.network.text() : config.prefix6.text(),
                                     v4 ? config.prefix_length : config.prefix6_length));
    if (!rule.host_given && rule.unix_path.empty())
      warnings.push_back(
          fmt::format("hostfwd={}: port {} is open on all interfaces of this host; write "
                      "hostfwd={}:127.0.0.1:{}-{}:{} to open it on this host alone",
                      rule.text, rule.host_port, rule.udp ? "udp" : "tcp", rule.host_port, rule.guest_address.text(),
                      rule.guest_port));
  }
}

// What is there for the guest must be in its network, and not in the way of others.
Result<void> check_services(UserConfig& config) {
  const auto inside = [&](const IpAddress& address) {
    return address.is_v4() ? config.ipv4 && address.in_prefix(config.network, config.prefix_length)
                           : config.ipv6 && address.in_prefix(config.prefix6, config.prefix6_length);
  };
  const auto taken = [&](const IpAddress& address) {
    return address == config.host || address == config.dns || address == config.host6 || address == config.dns6 ||
           address == config.broadcast() || address == config.network;
  };
  for (GuestForward& rule : config.guest_forwards) {
    if (rule.address.is_unspecified()) rule.address = address_inside(config, 0x0204);
    bool conflict = !inside(rule.address) || taken(rule.address);
    for (const GuestForward& other : config.guest_forwards)
      conflict |= &other < &rule && other.address == rule.address && other.port == rule.port;
    if (conflict) return Error("Conflicting/invalid host:port in guest forwarding rule '{}'", rule.text);
  }
  if (!config.smb.empty() && (!inside(config.smb_server) || taken(config.smb_server)))
    return Error("Conflicting/invalid smbserver address");
  for (const NameRecord& record : config.records) {
    const auto is_target = [&](const NameRecord& other) { return other.name == to_lower(record.text); };
    const bool known = std::any_of(config.records.begin(), config.records.end(), is_target);
    if (record.type == NameRecord::cname && !known)
      return Error("Parameter 'dns-record': '{}' has no record of its own, which an alias needs", record.text);
  }
  for (const StaticLease& lease : config.leases)
    if (!inside(lease.address) || taken(lease.address))
      return Error("Parameter 'dhcp-lease': {} is no address for a guest in this network", lease.address.text());
  return {};
}

}  // namespace

IpAddress address_inside(const UserConfig& config, u32 host_part) {
  return IpAddress::v4(config.network.to_v4() | (host_part & ~config.netmask()));
}

UserConfig::UserConfig()
    : prefix6(*parse_ipv6("fec0::")), host6(*parse_ipv6("fec0::2")), dns6(*parse_ipv6("fec0::3")),
      router6(*parse_ipv6("fe80::2")), tftp_address(IpAddress::v4(0)), smb_server(IpAddress::v4(0x0a000204)) {}

std::span<const OptionRow> user_options() { return kOptions; }

Result<UserConfig> parse_user_options(std::span<const OptionText> options, std::vector<std::string>& warnings) {
  UserConfig config;
  Typed typed;
  for (const auto& [name, value] : options) {
    const OptionRow* row = find_row(name);
    if (!row) return unknown_option(name);
    RHEA_TRY(take_option(name, value, config, typed, warnings));
  }
  if (typed.ipv4.has_value() != typed.ipv6.has_value()) {
    // Only one =on turns the other off.
    if (typed.ipv4.value_or(false)) typed.ipv6 = false;
    else if (typed.ipv6.value_or(false)) typed.ipv4 = false;
  }
  config.ipv4 = typed.ipv4.value_or(true);
  config.ipv6 = typed.ipv6.value_or(true);
  if (!config.ipv4 && !config.ipv6) return Error("IPv4 and IPv6 disabled");
  RHEA_TRY(resolve_ipv4(typed, config));
  RHEA_TRY(resolve_ipv6(typed, config));
  RHEA_TRY(check_services(config));
  check_forwards(config, warnings);
  return config;
}

}  // namespace rhea::net::user
