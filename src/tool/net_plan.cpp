// SPDX-License-Identifier: MIT
#include "tool/net_plan.h"

#include <algorithm>

#include "core/property.h"
#include "sys/host_socket.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

using config::Json;

constexpr const char* kForwarding = "net/ipv4/ip_forward";
constexpr usize kLongestName = 15;  // of an interface

const std::vector<std::string> kKeys = {"net", "host", "forward", "stp", "delay", "hello", "mac"};

u32 mask_of(unsigned length) { return length ? ~u32{0} << (32 - length) : 0; }

std::string mac_text(const std::array<u8, 6>& mac) {
  u64 number = 0;
  for (const u8 byte : mac) number = number << 8 | byte;
  return format_mac(number);
}

// "52:54:00:12:34:56", of one station.
Result<std::array<u8, 6>> read_mac(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  std::array<u8, 6> mac{};
  bool good = parts.size() == mac.size();
  for (usize i = 0; good && i < mac.size(); ++i) {
    const auto byte = parts[i].size() == 2 ? parse_number("0x" + parts[i]) : std::nullopt;
    good = byte.has_value();
    if (good) mac[i] = static_cast<u8>(*byte);
  }
  if (!good || (mac[0] & 1)) return Error("mac= expects one like 52:54:00:12:34:56, not '{}'", text);
  return mac;
}

Result<void> read_net(const std::string& value, NetPlan& plan) {
  const usize slash = value.find('/');
  const auto address = parse_ipv4(value.substr(0, slash));
  const auto length = slash == std::string::npos ? std::optional<u64>(24) : parse_number(value.substr(slash + 1));
  if (!address || !length || *length < 8 || *length > 30)
    return Error("net= expects a network like 192.168.177.0/24 (8 to 30 bits), not '{}'", value);
  plan.length = static_cast<unsigned>(*length);
  plan.network = IpAddress::v4(address->to_v4() & mask_of(plan.length));
  plan.host = IpAddress::v4(plan.network.to_v4() + 1);
  return {};
}

// "[tcp|udp]:HOSTPORT-GUEST:PORT".
Result<sys::NatForward> read_forward(const std::string& value) {
  const Error wrong("forward= expects tcp:HOSTPORT-GUESTADDRESS:PORT or udp:..., not '{}'", value);
  sys::NatForward forward;
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

// In seconds, as ip(8) and brctl(8) have it, to hundredths.
Result<u32> read_seconds(const std::string& key, const std::string& value, u64 least, u64 most) {
  const auto seconds = parse_number(value);
  if (!seconds || *seconds < least || *seconds > most)
    return Error("{}= expects seconds from {} to {}, not '{}'", key, least, most, value);
  return static_cast<u32>(*seconds * 100);
}

Result<void> read_key(const std::string& key, const std::string& value, NetPlan& plan) {
  if (key == "net") return read_net(value, plan);
  if (key == "host") {
    const auto address = parse_ipv4(value);
    if (!address) return Error("host= expects an IPv4 address, not '{}'", value);
    plan.host = *address;
  } else if (key == "forward") {
    plan.forwards.push_back(RHEA_TRY(read_forward(value)));
  } else if (key == "stp") {
    if (value != "on" && value != "off") return Error("stp= expects on or off, not '{}'", value);
    plan.bridge.stp = value == "on";
  } else if (key == "delay") {
    plan.bridge.forward_delay = RHEA_TRY(read_seconds(key, value, 2, 30));
  } else if (key == "hello") {
    plan.bridge.hello = RHEA_TRY(read_seconds(key, value, 1, 10));
  } else if (key == "mac") {
    plan.bridge.mac = RHEA_TRY(read_mac(value));
  } else {
    return Error("rhea net has no option '{}'{}: there are {}", key, did_you_mean(key, kKeys), join(kKeys, ", "));
  }
  return {};
}

Result<void> check_plan(NetPlan& plan) {
  const u32 low = ~mask_of(plan.length);
  const auto usable = [&](const IpAddress& address) {
    const u32 part = address.to_v4() & low;
    return address.in_prefix(plan.network, plan.length) && part != 0 && part != low;
  };
  if (!usable(plan.host))
    return Error("host={} is no host of {}/{}", plan.host.text(), plan.network.text(), plan.length);
  for (const sys::NatForward& forward : plan.forwards)
    if (!usable(forward.guest) || forward.guest == plan.host)
      return Error("forward= to {}, which is no guest of {}/{}", forward.guest.text(), plan.network.text(),
                   plan.length);
  if (plan.kind == NetPlan::Kind::host_only && !plan.forwards.empty())
    return Error("forward= is for nat: on a host-only network nobody else reaches a guest");
  return {};
}

}  // namespace

Result<NetPlan> read_net_plan(const Words& words) {
  const std::vector<std::string> kinds = {"nat", "host-only"};
  if (words.size() < 2) return Error("a network has a kind and a name: nat rhea0, or host-only rhea0");
  NetPlan plan;
  if (words[0] == "bridged")
    return Error(
        "bridged is not supported yet: a bridge over the NIC that this host's own traffic takes is made with "
        "the host's own tools; nat needs no change of the NIC");
  if (words[0] == "host-only") plan.kind = NetPlan::Kind::host_only;
  else if (words[0] != "nat")
    return Error("there is no kind '{}'{}: there are {}", words[0], did_you_mean(words[0], kinds), join(kinds, ", "));
  plan.name = words[1];
  const auto good = [](char c) { return c > 0x20 && c < 0x7f && c != '/' && c != ':' && c != '='; };
  if (plan.name.empty() || plan.name.size() > kLongestName || plan.name[0] == '.' || plan.name[0] == '-' ||
      !std::all_of(plan.name.begin(), plan.name.end(), good))
    return Error("'{}' is no name of an interface: up to {} printable characters without '/', ':' and '='", plan.name,
                 kLongestName);
  RHEA_TRY(read_net("192.168.177.0/24", plan));
  // The first pass for net=, on which host= and forward= depend.
  for (const bool first : {true, false}) {
    for (usize i = 2; i < words.size(); ++i) {
      const usize equals = words[i].find('=');
      if (equals == std::string::npos) return Error("'{}' is no key=value; keys are {}", words[i], join(kKeys, ", "));
      const std::string key = words[i].substr(0, equals);
      if ((key == "net") == first) RHEA_TRY(read_key(key, words[i].substr(equals + 1), plan));
    }
  }
  RHEA_TRY(check_plan(plan));
  return plan;
}

Result<std::vector<NetStep>> net_steps(const NetPlan& plan) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  for (const sys::Link& link : RHEA_TRY(links.links()))
    if (link.name == plan.name)
      return Error("there is an interface {} already, which is not of rhea net", plan.name)
          .with_hint("rhea net status shows what is.");
  for (const sys::LinkAddress& each : RHEA_TRY(links.addresses())) {
    const unsigned length = std::min(each.length, plan.length);
    if (each.address.in_prefix(plan.network, length) && !each.address.is_loopback())
      return Error("net={}/{}: this host has {}/{} already; another network is needed", plan.network.text(),
                   plan.length, each.address.text(), each.length);
  }
  std::array<u8, 6> mac = plan.bridge.mac;
  // One that is remembered tells our bridge from another of this name.
  if (mac == std::array<u8, 6>{}) {
    const u64 random = sys::random_number();
    for (unsigned i = 1; i < 6; ++i) mac[i] = static_cast<u8>(random >> (8 * i));
    mac[0] = 0x52;
    mac[1] = 0x58;
  }
  std::vector<NetStep> steps;
  steps.push_back({fmt::format("a bridge {}, spanning tree {}", plan.name, plan.bridge.stp ? "on" : "off"),
                   {{"do", "bridge"},
                    {"name", plan.name},
                    {"mac", mac_text(mac)},
                    {"stp", plan.bridge.stp},
                    {"delay", plan.bridge.forward_delay},
                    {"hello", plan.bridge.hello}}});
  steps.push_back(
      {fmt::format("the address {}/{} on {}, and {} up", plan.host.text(), plan.length, plan.name, plan.name),
       {{"do", "address"}, {"name", plan.name}, {"address", plan.host.text()}, {"length", plan.length}}});
  if (plan.kind == NetPlan::Kind::host_only) return steps;
  const std::string was = sys::read_sysctl(kForwarding).value_or("");
  steps.push_back({was == "1" ? "forwarding between interfaces, which is on already"
                              : "forwarding between interfaces on (net.ipv4.ip_forward = 1)",
                   {{"do", "sysctl"}, {"name", kForwarding}, {"was", was}, {"now", "1"}}});
  Json forwards = Json::array();
  std::string text = fmt::format("an nftables table ip rhea-{}: what comes from {}/{} leaves with this host's address",
                                 plan.name, plan.network.text(), plan.length);
  for (const sys::NatForward& each : plan.forwards) {
    forwards.push_back(
        {{"udp", each.udp}, {"port", each.port}, {"guest", each.guest.text()}, {"guest-port", each.guest_port}});
    text += fmt::format(", and {} port {} of this host goes to {}:{}", each.udp ? "udp" : "tcp", each.port,
                        each.guest.text(), each.guest_port);
  }
  steps.push_back({text,
                   {{"do", "nat"},
                    {"table", "rhea-" + plan.name},
                    {"network", plan.network.text()},
                    {"length", plan.length},
                    {"forwards", forwards}}});
  return steps;
}

namespace {

Result<std::optional<sys::Link>> find_link(sys::Links& links, const std::string& name) {
  for (sys::Link& link : RHEA_TRY(links.links()))
    if (link.name == name) return std::optional<sys::Link>(std::move(link));
  return std::optional<sys::Link>();
}

Result<void> make_bridge(const Json& record) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  sys::BridgeOptions options;
  options.mac = RHEA_TRY(read_mac(record.at("mac").get<std::string>()));
  options.stp = record.at("stp").get<bool>();
  options.forward_delay = record.at("delay").get<u32>();
  options.hello = record.at("hello").get<u32>();
  return links.add_bridge(record.at("name").get<std::string>(), options);
}

Result<void> make_address(const Json& record) {
  sys::Links links = RHEA_TRY(sys::Links::open());
  const auto link = RHEA_TRY(find_link(links, record.at("name").get<std::string>()));
  const auto address = parse_ipv4(record.at("address").get<std::string>());
  if (!link || !address) return Error("the bridge is gone");
  RHEA_TRY(links.add_address({link->index, *address, record.at("length").get<unsigned>()}));
  return links.set_up(link->index);
}

Result<void> make_nat(const Json& record) {
  sys::NatTable table{.name = record.at("table").get<std::string>(),
                      .network = parse_ipv4(record.at("network").get<std::string>()).value_or(IpAddress::v4(0)),
                      .length = record.at("length").get<unsigned>(),
                      .forwards = {}};
  for (const Json& each : record.at("forwards"))
    table.forwards.push_back({each.at("udp").get<bool>(), each.at("port").get<u16>(),
                              parse_ipv4(each.at("guest").get<std::string>()).value_or(IpAddress::v4(0)),
                              each.at("guest-port").get<u16>()});
  return sys::add_nat_table(table);
}

}  // namespace

bool is_record(const Json& value) {
  if (!value.is_object()) return false;
  const auto texts = [&](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(),
                       [&](const char* name) { return value.contains(name) && value[name].is_string(); });
  };
  const auto numbers = [&](std::initializer_list<const char*> names) {
    return std::all_of(names.begin(), names.end(),
                       [&](const char* name) { return value.contains(name) && value[name].is_number_unsigned(); });
  };
  const std::string what = value.contains("do") && value["do"].is_string() ? value["do"].get<std::string>() : "";
  if (what == "bridge")
    return texts({"name", "mac"}) && numbers({"delay", "hello"}) && value.contains("stp") && value["stp"].is_boolean();
  if (what == "address") return texts({"name", "address"}) && numbers({"length"});
  if (what == "sysctl") return texts({"name", "was", "now"}) && value["name"] == kForwarding;
  return what == "nat" && texts({"table", "network"}) && numbers({"length"}) && value.contains("forwards");
}

Result<void> make_step(const Json& record) {
  const std::string what = record.at("do").get<std::string>();
  if (what == "bridge") return make_bridge(record);
  if (what == "address") return make_address(record);
  if (what == "nat") return make_nat(record);
  const std::string now = record.at("now").get<std::string>();
  return record.at("was") == now ? Result<void>() : sys::write_sysctl(record.at("name").get<std::string>(), now);
}

Result<std::string> undo_step(const Json& record, bool keep) {
  const std::string what = record.at("do").get<std::string>();
  if (what == "bridge") {
    sys::Links links = RHEA_TRY(sys::Links::open());
    const std::string name = record.at("name").get<std::string>();
    const auto link = RHEA_TRY(find_link(links, name));
    if (!link) return std::string();
    if (link->kind != "bridge" || mac_text(link->mac) != record.at("mac"))
      return fmt::format("{} is left: it is not the one that was made", name);
    RHEA_TRY(links.remove(link->index));
    return fmt::format("bridge {} is gone, with its address", name);
  }
  if (what == "nat") {
    const std::string table = record.at("table").get<std::string>();
    if (!RHEA_TRY(sys::has_nat_table(table))) return std::string();
    RHEA_TRY(sys::remove_nat_table(table));
    return fmt::format("nftables table ip {} is gone", table);
  }
  if (what != "sysctl" || record.at("was") == record.at("now")) return std::string();
  const std::string name = record.at("name").get<std::string>(), was = record.at("was").get<std::string>();
  if (keep || sys::read_sysctl(name) != record.at("now").get<std::string>()) return std::string();
  RHEA_TRY(sys::write_sysctl(name, was));
  return fmt::format("/proc/sys/{} is {} again", name, was);
}

}  // namespace rhea::tool
