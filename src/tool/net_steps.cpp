// SPDX-License-Identifier: MIT
#include "tool/net_steps.h"

#include <algorithm>

#include "sys/host_socket.h"
#include "sys/routes.h"
#include "tool/net_doctor.h"
#include "tool/net_journal.h"
#include "tool/net_service.h"
#include "util/text.h"

namespace rhea::tool {

using config::Json;

namespace {

Json hex_texts(const std::vector<std::vector<u8>>& bodies) {
  Json list = Json::array();
  for (const std::vector<u8>& body : bodies) {
    std::string text;
    for (const u8 byte : body) text += fmt::format("{:02x}", byte);
    list.push_back(text);
  }
  return list;
}

// One that is remembered tells our interface from another of this name.
std::array<u8, 6> any_mac() {
  const u64 random = sys::random_number();
  std::array<u8, 6> mac{0x52, 0x58};
  for (unsigned i = 2; i < 6; ++i) mac[i] = static_cast<u8>(random >> (8 * i));
  return mac;
}

class Planner {
 public:
  explicit Planner(const NetPlan& plan) : plan_(plan) {}
  Result<NetSteps> all() {
    links_ = RHEA_TRY(RHEA_TRY(sys::Links::open()).links());
    if (find(plan_.name))
      return Error("there is an interface {} already, which is not of rhea net", plan_.name)
          .with_hint("rhea net status shows what is.");
    if (plan_.kind == NetPlan::Kind::bridged) RHEA_TRY(bridged());
    else if (plan_.kind == NetPlan::Kind::macvtap) RHEA_TRY(macvtap());
    else RHEA_TRY(own_network());
    return std::move(result_);
  }

 private:
  const sys::Link* find(const std::string& name) const {
    const auto at = std::find_if(links_.begin(), links_.end(), [&](const auto& link) { return link.name == name; });
    return at == links_.end() ? nullptr : &*at;
  }
  void step(std::string text, Json record) { result_.steps.push_back({std::move(text), std::move(record)}); }

  void bridge(const std::array<u8, 6>& mac, bool up) {
    const sys::BridgeOptions& options = plan_.bridge;
    std::string text = fmt::format("a bridge {}, spanning tree {}", plan_.name, options.stp ? "on" : "off");
    if (options.stp) text += fmt::format(", {} s of delay", options.forward_delay / 100);
    if (up) text += fmt::format(", with the address {}, up", station_text(mac));
    step(std::move(text), {{"do", "bridge"},
                           {"name", plan_.name},
                           {"mac", station_text(mac)},
                           {"stp", options.stp},
                           {"delay", options.forward_delay},
                           {"hello", options.hello},
                           {"up", up}});
  }

  Result<void> own_network() {
    for (const sys::LinkAddress& each : RHEA_TRY(RHEA_TRY(sys::Links::open()).addresses())) {
      const unsigned length = std::min(each.length, plan_.length);
      if (each.address.in_prefix(plan_.network, length) && !each.address.is_loopback())
        return Error("net={}/{}: this host has {}/{} already; another network is needed", plan_.network.text(),
                     plan_.length, each.address.text(), each.length);
    }
    const std::array<u8, 6> mac = plan_.bridge.mac == std::array<u8, 6>{} ? any_mac() : plan_.bridge.mac;
    if (plan_.is_tap())
      step(fmt::format("a tap {} that {} may use", plan_.name, plan_.tap_owner),
           {{"do", "tap"}, {"name", plan_.name}, {"mac", station_text(mac)}, {"user", plan_.tap_user}});
    else bridge(mac, false);
    step(fmt::format("the address {}/{} on {}, and {} up", plan_.host.text(), plan_.length, plan_.name, plan_.name),
         {{"do", "address"}, {"name", plan_.name}, {"address", plan_.host.text()}, {"length", plan_.length}});
    if (plan_.kind == NetPlan::Kind::nat) nat();
    return service();
  }

  void nat() {
    const std::string was = sys::read_sysctl(kForwarding).value_or("");
    step(was == "1" ? "forwarding between interfaces, which is on already"
                    : "forwarding between interfaces on (net.ipv4.ip_forward = 1)",
         {{"do", "sysctl"}, {"name", kForwarding}, {"was", was}, {"now", "1"}});
    Json forwards = Json::array();
    std::string text =
        fmt::format("an nftables table ip rhea-{}: what comes from {}/{} leaves with this host's address", plan_.name,
                    plan_.network.text(), plan_.length);
    for (const sys::NatForward& each : plan_.forwards) {
      forwards.push_back(
          {{"udp", each.udp}, {"port", each.port}, {"guest", each.guest.text()}, {"guest-port", each.guest_port}});
      text += fmt::format(", and {} port {} of this host goes to {}:{}", each.udp ? "udp" : "tcp", each.port,
                          each.guest.text(), each.guest_port);
    }
    step(std::move(text), {{"do", "nat"},
                           {"table", "rhea-" + plan_.name},
                           {"network", plan_.network.text()},
                           {"length", plan_.length},
                           {"forwards", forwards}});
  }

  Result<void> service() {
    if (plan_.server == NetPlan::Server::none) return {};
    const std::string dnsmasq = find_dnsmasq();
    if (plan_.server == NetPlan::Server::dnsmasq && dnsmasq.empty())
      return Error("there is no dnsmasq on this host (Debian's package: dnsmasq-base); dhcp=rhea does without");
    const bool own = plan_.server == NetPlan::Server::own || dnsmasq.empty();
    step(service_text(plan_, own), service_record(plan_, own ? "" : dnsmasq));
    return {};
  }

  Result<void> needs_nic(const char* what) {
    if (!plan_.nic.empty()) return {};
    const u32 way_out = RHEA_TRY(RHEA_TRY(sys::Links::open()).default_route());
    std::string hint;
    for (const sys::Link& link : links_)
      if (link.index == way_out) hint = fmt::format("The default route goes over {}: over={}", link.name, link.name);
    return Error("{}", what).with_hint(hint);
  }

  Result<void> macvtap() {
    RHEA_TRY(needs_nic("macvtap needs over=, the NIC that the guest is beside"));
    const sys::Link* nic = find(plan_.nic);
    RHEA_TRY(check_nic(nic));
    const std::array<u8, 6> mac = plan_.bridge.mac == std::array<u8, 6>{} ? any_mac() : plan_.bridge.mac;
    step(fmt::format("a macvtap {} beside {}, with the address {}, {}, up", plan_.name, nic->name, station_text(mac),
                     plan_.is_tap() ? "for " + plan_.tap_owner : "for root"),
         {{"do", "macvtap"},
          {"name", plan_.name},
          {"over", nic->name},
          {"mac", station_text(mac)},
          {"mode", plan_.mode},
          {"user", plan_.tap_user}});
    result_.notes.push_back(fmt::format(
        "this host and the guest do not reach one another over {}: what a macvtap sends goes out of the NIC; "
        "a bridge is for that",
        nic->name));
    return {};
  }

  Result<void> bridged() {
    RHEA_TRY(needs_nic("bridged needs over=, the NIC that the bridge takes in"));
    const sys::Link* nic = find(plan_.nic);
    RHEA_TRY(check_nic(nic));
    bridge(plan_.bridge.mac == std::array<u8, 6>{} ? nic->mac : plan_.bridge.mac, true);
    step(fmt::format("{} becomes a port of {}", nic->name, plan_.name),
         {{"do", "port"}, {"name", nic->name}, {"bridge", plan_.name}});
    RHEA_TRY(move(*nic));
    if (const std::string manager = manager_of_nics(); !manager.empty())
      result_.notes.push_back(fmt::format(
          "{} looks after the NICs here and may undo this: rhea net plan bridged {} over={} form=host writes its own "
          "configuration",
          manager, plan_.name, nic->name));
    return {};
  }

  Result<void> check_nic(const sys::Link* nic) const {
    std::vector<std::string> names;
    for (const sys::Link& link : links_)
      if (!link.loopback) names.push_back(link.name);
    if (!nic)
      return Error("over={}: there is no such interface{}; there are {}", plan_.nic, did_you_mean(plan_.nic, names),
                   join(names, ", "));
    if (nic->loopback || nic->kind == "bridge")
      return Error("over={}: a {} cannot be a port of a bridge", nic->name, nic->loopback ? "loopback" : "bridge");
    for (const sys::Link& link : links_)
      if (link.index == nic->master) return Error("over={}: it is a port of {} already", nic->name, link.name);
    if (sys::is_wireless(nic->name))
      return Error("over={}: it is a radio, whose access point takes frames of one station's address only", nic->name)
          .with_hint("A NAT network works there: rhea net up nat rhea0");
    if (!nic->up) return Error("over={}: it is down", nic->name).with_hint("ip link set " + nic->name + " up");
    return {};
  }

  Result<void> move(const sys::Link& nic) {
    sys::Routes host = RHEA_TRY(sys::Routes::open());
    const std::vector<sys::StoredAddress> addresses = RHEA_TRY(host.addresses(nic.index));
    auto routes = host.routes(nic.index);
    if (!routes.ok()) return Error("over={}: {}, which rhea net does not move", nic.name, routes.error().message());
    std::vector<std::string> texts;
    std::vector<std::vector<u8>> address_bodies, route_bodies;
    for (const sys::StoredAddress& each : addresses) {
      texts.push_back(fmt::format("{}/{}", each.address.text(), each.length));
      address_bodies.push_back(each.body);
      if (each.address.is_v4() && result_.own == IpAddress::v4(0)) result_.own = each.address;
      if (!each.for_ever)
        result_.notes.push_back(
            fmt::format("{} is leased: the DHCP client of {} has to ask on {} from now on, or its lease ends",
                        texts.back(), nic.name, plan_.name));
    }
    for (const sys::StoredRoute& each : routes.value()) {
      texts.push_back("the route " + each.text);
      route_bodies.push_back(each.body);
      if (each.is_default && each.gateway && each.gateway->is_v4() && result_.gateway == IpAddress::v4(0))
        result_.gateway = *each.gateway;
    }
    if (texts.empty()) return {};
    step(fmt::format("from {} to {}: {}", nic.name, plan_.name, join(texts, ", ")),
         {{"do", "move"},
          {"from", nic.name},
          {"to", plan_.name},
          {"addresses", hex_texts(address_bodies)},
          {"routes", hex_texts(route_bodies)}});
    return {};
  }

  const NetPlan& plan_;
  std::vector<sys::Link> links_;
  NetSteps result_;
};

}  // namespace

Result<NetSteps> net_steps(const NetPlan& plan) { return Planner(plan).all(); }

}  // namespace rhea::tool
