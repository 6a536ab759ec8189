// SPDX-License-Identifier: MIT
#include "tool/net_plan.h"

#include <algorithm>

#include "core/property.h"
#include "sys/claim.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

constexpr usize kLongestName = 15;  // of an interface
constexpr unsigned kLongestConfirm = 3600;

struct Key {
  const char* name;
  bool own, bridged, macvtap;  // kinds that take it
};
// clang-format off
constexpr Key kKeys[] = {
    {"net", true, false, false},   {"host", true, false, false},   {"forward", true, false, false},
    {"dhcp", true, false, false},  {"lease", true, false, false},  {"tap", true, false, true},
    {"over", false, true, true},   {"confirm", false, true, false}, {"mode", false, false, true},
    {"stp", true, true, false},    {"delay", true, true, false},   {"hello", true, true, false},
    {"mac", true, true, true},
};
// clang-format on

std::vector<std::string> keys_of(NetPlan::Kind kind) {
  std::vector<std::string> names;
  for (const Key& key : kKeys)
    if (kind == NetPlan::Kind::bridged ? key.bridged : kind == NetPlan::Kind::macvtap ? key.macvtap : key.own)
      names.emplace_back(key.name);
  return names;
}

Result<void> read_net(const std::string& value, NetPlan& plan) {
  const usize slash = value.find('/');
  const auto address = parse_ipv4(value.substr(0, slash));
  const auto length = slash == std::string::npos ? std::optional<u64>(24) : parse_number(value.substr(slash + 1));
  if (!address || !length || *length < 8 || *length > 29)
    return Error("net= expects a network like 192.168.177.0/24 (8 to 29 bits), not '{}'", value);
  plan.length = static_cast<unsigned>(*length);
  plan.network = IpAddress::v4(address->to_v4() & plan.mask());
  plan.host = IpAddress::v4(plan.network.to_v4() + 1);
  return {};
}

// "[tcp|udp]:HOSTPORT-GUEST:PORT".
Result<sys::NatForward> read_forward(const std::string& value) {
  const Error wrong("forward= expects tcp:HOSTPORT-GUESTADDRESS:PORT or udp:..., not '{}'", value);
  const usize colon = value.find(':'), dash = value.find('-'), last = value.rfind(':');
  if (colon == std::string::npos || dash == std::string::npos || colon > dash || last < dash) return wrong;
  const std::string protocol = value.substr(0, colon);
  const auto port = parse_number(value.substr(colon + 1, dash - colon - 1));
  const auto guest = parse_ipv4(value.substr(dash + 1, last - dash - 1));
  const auto guest_port = parse_number(value.substr(last + 1));
  if ((protocol != "tcp" && protocol != "udp") || !guest || !port || !guest_port) return wrong;
  if (*port < 1 || *port > 65535 || *guest_port < 1 || *guest_port > 65535) return wrong;
  return sys::NatForward{protocol == "udp", static_cast<u16>(*port), *guest, static_cast<u16>(*guest_port)};
}

// "MAC=ADDRESS[=NAME]", as dhcp-lease= of the user network.
Result<NetLease> read_lease(const std::string& value) {
  const std::vector<std::string> parts = split(value, '=');
  const Error wrong("lease= expects MAC=ADDRESS or MAC=ADDRESS=NAME, not '{}'", value);
  if (parts.size() < 2 || parts.size() > 3) return wrong;
  const auto mac = read_station(parts[0]);
  const auto address = parse_ipv4(parts[1]);
  const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  NetLease lease;
  if (parts.size() == 3) lease.name = to_lower(parts[2]);
  if (!mac.ok() || !address || lease.name.size() > 63 || !std::all_of(lease.name.begin(), lease.name.end(), good))
    return wrong;
  lease.mac = mac.value();
  lease.address = *address;
  return lease;
}

// In seconds, as ip(8) and brctl(8) have it, to hundredths.
Result<u32> read_seconds(const std::string& key, const std::string& value, u64 least, u64 most) {
  const auto seconds = parse_number(value);
  if (!seconds || *seconds < least || *seconds > most)
    return Error("{}= expects seconds from {} to {}, not '{}'", key, least, most, value);
  return static_cast<u32>(*seconds * 100);
}

Result<void> read_server(const std::string& value, NetPlan& plan) {
  constexpr std::pair<const char*, NetPlan::Server> kServers[] = {{"on", NetPlan::Server::any},
                                                                  {"dnsmasq", NetPlan::Server::dnsmasq},
                                                                  {"rhea", NetPlan::Server::own},
                                                                  {"off", NetPlan::Server::none}};
  for (const auto& [name, server] : kServers)
    if (value == name) {
      plan.server = server;
      return {};
    }
  return Error("dhcp= expects on (dnsmasq where it is there, else Rhea's own), dnsmasq, rhea or off, not '{}'", value);
}

bool is_interface_name(const std::string& name) {
  const auto good = [](char c) { return c > 0x20 && c < 0x7f && c != '/' && c != ':' && c != '='; };
  return !name.empty() && name.size() <= kLongestName && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), good);
}

Result<void> read_tap(const std::string& value, NetPlan& plan) {
  const auto user = sys::user_number(value);
  if (!user) return Error("tap= expects the user whose tap it is, and there is no user '{}'", value);
  plan.tap_owner = value;
  plan.tap_user = *user;
  return {};
}

Result<void> read_mode(const std::string& value, NetPlan& plan) {
  constexpr std::pair<const char*, u32> kModes[] = {{"private", 1}, {"vepa", 2}, {"bridge", 4}};
  for (const auto& [name, mode] : kModes)
    if (value == name) {
      plan.mode = mode;
      return {};
    }
  return Error(
      "mode= expects bridge (guests beside one NIC see one another), private (they do not) or vepa (by way of "
      "the switch), not '{}'",
      value);
}

Result<void> read_bridge_key(const std::string& key, const std::string& value, NetPlan& plan) {
  if (key == "stp") {
    if (value != "on" && value != "off") return Error("stp= expects on or off, not '{}'", value);
    plan.bridge.stp = value == "on";
  } else if (key == "delay") {
    plan.bridge.forward_delay = RHEA_TRY(read_seconds(key, value, 2, 30));
  } else if (key == "hello") {
    plan.bridge.hello = RHEA_TRY(read_seconds(key, value, 1, 10));
  } else if (key == "mac") {
    auto mac = read_station(value);
    if (!mac.ok()) return Error("mac= {}", mac.error().message());
    plan.bridge.mac = mac.value();
  } else if (key == "over") {
    if (!is_interface_name(value)) return Error("over= expects the name of a NIC of this host, not '{}'", value);
    plan.nic = value;
  } else {
    plan.confirm = RHEA_TRY(read_seconds(key, value, 1, kLongestConfirm)) / 100;
  }
  return {};
}

Result<void> read_key(const std::string& key, const std::string& value, NetPlan& plan) {
  if (key == "net") return read_net(value, plan);
  if (key == "tap") return read_tap(value, plan);
  if (key == "mode") return read_mode(value, plan);
  if (key == "dhcp") return read_server(value, plan);
  if (key == "host") {
    const auto address = parse_ipv4(value);
    if (!address) return Error("host= expects an IPv4 address, not '{}'", value);
    plan.host = *address;
  } else if (key == "forward") {
    plan.forwards.push_back(RHEA_TRY(read_forward(value)));
  } else if (key == "lease") {
    plan.leases.push_back(RHEA_TRY(read_lease(value)));
  } else {
    return read_bridge_key(key, value, plan);
  }
  return {};
}

// The part of the network that DHCP gives: from its hundredth address, or its half, on.
void choose_range(NetPlan& plan) {
  const u32 size = ~plan.mask() + 1;
  const u32 start = std::min(size / 2, u32{100});
  plan.first = IpAddress::v4(plan.network.to_v4() + start);
  plan.last = IpAddress::v4(plan.network.to_v4() + std::min(start + 99, size - 4));
}

Result<void> check_plan(NetPlan& plan) {
  const u32 low = ~plan.mask();
  const auto usable = [&](const IpAddress& address) {
    const u32 part = address.to_v4() & low;
    return address.in_prefix(plan.network, plan.length) && part != 0 && part != low;
  };
  if (!usable(plan.host))
    return Error("host={} is no host of {}/{}", plan.host.text(), plan.network.text(), plan.length);
  const auto check = [&](const char* key, const IpAddress& guest) -> Result<void> {
    if (usable(guest) && guest != plan.host) return {};
    return Error("{}= to {}, which is no guest of {}/{}", key, guest.text(), plan.network.text(), plan.length);
  };
  for (const sys::NatForward& forward : plan.forwards) RHEA_TRY(check("forward", forward.guest));
  for (const NetLease& lease : plan.leases) RHEA_TRY(check("lease", lease.address));
  if (plan.kind == NetPlan::Kind::host_only && !plan.forwards.empty())
    return Error("forward= is for nat: on a host-only network nobody else reaches a guest");
  if (plan.server == NetPlan::Server::none && !plan.leases.empty()) return Error("lease= goes with DHCP, which is off");
  choose_range(plan);
  return {};
}

Result<NetPlan> read_kind(const Words& words) {
  const std::vector<std::string> kinds = {"nat", "host-only", "bridged", "macvtap"};
  if (words.size() < 2)
    return Error(
        "a network has a kind and a name: nat rhea0, host-only rhea0, bridged br0 over=NIC, or macvtap "
        "mv0 over=NIC");
  NetPlan plan;
  if (words[0] == "host-only") plan.kind = NetPlan::Kind::host_only;
  else if (words[0] == "bridged") plan.kind = NetPlan::Kind::bridged;
  else if (words[0] == "macvtap") plan.kind = NetPlan::Kind::macvtap;
  else if (words[0] != "nat")
    return Error("there is no kind '{}'{}: there are {}", words[0], did_you_mean(words[0], kinds), join(kinds, ", "));
  plan.name = words[1];
  if (!is_interface_name(plan.name))
    return Error("'{}' is no name of an interface: up to {} printable characters without '/', ':' and '='", plan.name,
                 kLongestName);
  return plan;
}

}  // namespace

IpAddress NetPlan::name_server() const {
  IpAddress address = IpAddress::v4((network.to_v4() | ~mask()) - 1);
  const auto taken = [&] {
    return address == host ||
           std::any_of(forwards.begin(), forwards.end(), [&](const auto& each) { return each.guest == address; });
  };
  while (taken() && address > last) address = IpAddress::v4(address.to_v4() - 1);
  return address;
}

Result<std::array<u8, 6>> read_station(const std::string& text) {
  const auto number = parse_mac(text);
  std::array<u8, 6> mac{};
  if (number.ok())
    for (unsigned i = 0; i < 6; ++i) mac[i] = static_cast<u8>(number.value() >> (40 - 8 * i));
  if (!number.ok() || (mac[0] & 1) || mac == std::array<u8, 6>{})
    return Error("expects the address of one station, like 52:54:00:12:34:56, not '{}'", text);
  return mac;
}

std::string station_text(const std::array<u8, 6>& mac) {
  u64 number = 0;
  for (const u8 byte : mac) number = number << 8 | byte;
  return format_mac(number);
}

Result<NetPlan> read_net_plan(const Words& words) {
  NetPlan plan = RHEA_TRY(read_kind(words));
  RHEA_TRY(read_net("192.168.177.0/24", plan));
  const std::vector<std::string> keys = keys_of(plan.kind);
  // The first pass for net=, on which host= and forward= depend.
  for (const bool first : {true, false}) {
    for (usize i = 2; i < words.size(); ++i) {
      const usize equals = words[i].find('=');
      if (equals == std::string::npos) return Error("'{}' is no key=value; keys are {}", words[i], join(keys, ", "));
      const std::string key = words[i].substr(0, equals);
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        return Error("rhea net has no option '{}' for {}{}: there are {}", key, words[0], did_you_mean(key, keys),
                     join(keys, ", "));
      if ((key == "net") == first) RHEA_TRY(read_key(key, words[i].substr(equals + 1), plan));
    }
  }
  if (plan.is_own()) RHEA_TRY(check_plan(plan));
  return plan;
}

}  // namespace rhea::tool
