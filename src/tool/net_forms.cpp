// SPDX-License-Identifier: MIT
// netplan(5), interfaces(5) with bridge-utils-interfaces(5), nm-settings-keyfile(5), nft(8), sysctl.d(5).
#include "tool/net_forms.h"

#include <algorithm>

#include "sys/file.h"
#include "sys/packet_socket.h"
#include "sys/routes.h"
#include "tool/net_doctor.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

const std::vector<std::string> kForms = {"netplan", "ifupdown", "networkmanager", "host"};

bool is_bridged(const NetPlan& plan) { return plan.kind == NetPlan::Kind::bridged; }
bool is_nat(const NetPlan& plan) { return plan.kind == NetPlan::Kind::nat; }

std::string mac_of(const NetPlan& plan, const NicFacts& nic) {
  return plan.bridge.mac == std::array<u8, 6>{} ? nic.mac : station_text(plan.bridge.mac);
}

std::string host_address(const NetPlan& plan) { return fmt::format("{}/{}", plan.host.text(), plan.length); }

// The lines of nft(8) that make the table of a nat network.
std::vector<std::string> nft_lines(const NetPlan& plan) {
  const std::string table = "ip rhea-" + plan.name;
  const std::string network = fmt::format("{}/{}", plan.network.text(), plan.length);
  std::vector<std::string> lines = {
      "add table " + table,
      fmt::format("add chain {} out {{ type nat hook postrouting priority 100; }}", table),
      fmt::format("add rule {0} out ip saddr {1} ip daddr != {1} masquerade", table, network),
  };
  if (!plan.forwards.empty())
    lines.push_back(fmt::format("add chain {} in {{ type nat hook prerouting priority -100; }}", table));
  for (const sys::NatForward& each : plan.forwards)
    lines.push_back(fmt::format("add rule {} in fib daddr type local {} dport {} dnat to {}:{}", table,
                                each.udp ? "udp" : "tcp", each.port, each.guest.text(), each.guest_port));
  return lines;
}

std::string nat_files(const NetPlan& plan) {
  std::string text = "\n# /etc/sysctl.d/60-rhea.conf\n# net.ipv4.ip_forward = 1\n\n# /etc/nftables.conf\n";
  for (const std::string& line : nft_lines(plan)) text += "# " + line + "\n";
  return text;
}

std::string dhcp_note(const NetPlan& plan) {
  if (is_bridged(plan) || plan.server == NetPlan::Server::none) return {};
  return fmt::format("# DHCP for guests: dnsmasq with interface={} and dhcp-range={},{},24h\n", plan.name,
                     plan.first.text(), plan.last.text());
}

}  // namespace

std::string netplan_form(const NetPlan& plan, const NicFacts& nic) {
  std::string text = fmt::format("# /etc/netplan/60-{}.yaml; then: netplan try\nnetwork:\n  version: 2\n", plan.name);
  if (is_bridged(plan))
    text += fmt::format("  ethernets:\n    {}:\n      dhcp4: false\n      dhcp6: false\n", plan.nic);
  text += fmt::format("  bridges:\n    {}:\n      interfaces: [{}]\n", plan.name, plan.nic);
  if (const std::string mac = mac_of(plan, nic); !mac.empty()) text += fmt::format("      macaddress: \"{}\"\n", mac);
  if (is_bridged(plan) && nic.leased) text += "      dhcp4: true\n";
  const std::vector<std::string> addresses =
      is_bridged(plan) ? nic.addresses : std::vector<std::string>{host_address(plan)};
  if (!addresses.empty() && !(is_bridged(plan) && nic.leased))
    text += fmt::format("      addresses: [\"{}\"]\n", join(addresses, "\", \""));
  if (is_bridged(plan) && !nic.leased) {
    if (!nic.routes.empty()) text += "      routes:\n";
    for (const auto& [to, via] : nic.routes)
      text +=
          fmt::format("        - to: \"{}\"\n          {}\n", to, via.empty() ? "scope: link" : "via: \"" + via + "\"");
    if (!nic.name_servers.empty())
      text += fmt::format("      nameservers:\n        addresses: [\"{}\"]\n", join(nic.name_servers, "\", \""));
  }
  text += fmt::format("      parameters:\n        stp: {}\n        forward-delay: {}\n        hello-time: {}\n",
                      plan.bridge.stp ? "true" : "false", plan.bridge.forward_delay / 100, plan.bridge.hello / 100);
  return text + dhcp_note(plan) + (is_nat(plan) ? nat_files(plan) : "");
}

std::string ifupdown_form(const NetPlan& plan, const NicFacts& nic) {
  std::string text = "# /etc/network/interfaces\n";
  if (is_bridged(plan)) text += fmt::format("auto {0}\niface {0} inet manual\n\n", plan.nic);
  const bool leased = is_bridged(plan) && nic.leased;
  const bool bare = is_bridged(plan) && nic.addresses.empty();
  text += fmt::format("auto {0}\niface {0} inet {1}\n", plan.name, leased ? "dhcp" : bare ? "manual" : "static");
  std::vector<std::string> addresses = is_bridged(plan) ? nic.addresses : std::vector<std::string>{host_address(plan)};
  if (!leased && !addresses.empty()) text += "    address " + addresses[0] + "\n";
  std::vector<std::string> up, down;
  if (is_bridged(plan) && !leased) {
    for (usize i = 1; i < addresses.size(); ++i) up.push_back(fmt::format("ip addr add {} dev $IFACE", addresses[i]));
    for (const auto& [to, via] : nic.routes)
      if (to == "default" && parse_ipv4(via)) text += "    gateway " + via + "\n";
      else up.push_back(fmt::format("ip route add {}{} dev $IFACE", to, via.empty() ? "" : " via " + via));
    if (!nic.name_servers.empty()) text += "    dns-nameservers " + join(nic.name_servers, " ") + "\n";
  }
  text += fmt::format("    bridge_ports {}\n    bridge_stp {}\n    bridge_fd {}\n    bridge_hello {}\n",
                      plan.nic.empty() ? "none" : plan.nic, plan.bridge.stp ? "on" : "off",
                      plan.bridge.forward_delay / 100, plan.bridge.hello / 100);
  if (const std::string mac = mac_of(plan, nic); !mac.empty()) text += "    bridge_hw " + mac + "\n";
  if (is_nat(plan)) {
    up.emplace_back("sysctl -w net.ipv4.ip_forward=1");
    for (const std::string& line : nft_lines(plan)) up.push_back("nft '" + line + "'");
    down.push_back("nft delete table ip rhea-" + plan.name);
  }
  for (const std::string& line : up) text += "    post-up " + line + "\n";
  for (const std::string& line : down) text += "    pre-down " + line + "\n";
  return text + dhcp_note(plan);
}

std::string network_manager_form(const NetPlan& plan, const NicFacts& nic) {
  const std::string folder = "/etc/NetworkManager/system-connections/";
  std::string text = fmt::format(
      "# {0}{1}.nmconnection (mode 600); then: nmcli connection reload; nmcli connection up {1}\n"
      "[connection]\nid={1}\ntype=bridge\ninterface-name={1}\n\n[bridge]\nstp={2}\nforward-delay={3}\nhello-time={4}\n",
      folder, plan.name, plan.bridge.stp ? "true" : "false", std::max(plan.bridge.forward_delay / 100, u32{2}),
      plan.bridge.hello / 100);
  if (const std::string mac = mac_of(plan, nic); !mac.empty()) text += "mac-address=" + mac + "\n";
  std::vector<std::string> addresses = is_bridged(plan) ? nic.addresses : std::vector<std::string>{host_address(plan)};
  std::string four, six;
  unsigned number4 = 0, number6 = 0;
  for (const std::string& each : addresses) {
    const bool v4 = each.find(':') == std::string::npos;
    (v4 ? four : six) += fmt::format("address{}={}\n", v4 ? ++number4 : ++number6, each);
  }
  number4 = number6 = 0;
  for (const auto& [to, via] : nic.routes) {
    const bool v4 = (via.empty() ? to : via).find(':') == std::string::npos;
    if (to == "default") (v4 ? four : six) += "gateway=" + via + "\n";
    else
      (v4 ? four : six) += fmt::format("route{}={}{}\n", v4 ? ++number4 : ++number6, to, via.empty() ? "" : "," + via);
  }
  for (const std::string& each : nic.name_servers)
    if (parse_ipv4(each) && is_bridged(plan)) four += "dns=" + each + ";\n";
  const char* method = is_nat(plan)                                                          ? "shared"
                       : is_bridged(plan) && (nic.leased || number4 + addresses.size() == 0) ? "auto"
                                                                                             : "manual";
  text += fmt::format("\n[ipv4]\nmethod={}\n{}", method, is_bridged(plan) && nic.leased ? "" : four);
  text += fmt::format("\n[ipv6]\nmethod={}\n{}", is_bridged(plan) ? "auto" : "link-local", six);
  if (is_bridged(plan))
    text += fmt::format(
        "\n# {0}{1}-{2}.nmconnection (mode 600)\n[connection]\nid={1}-{2}\ntype=ethernet\ninterface-name={2}\n"
        "master={1}\nslave-type=bridge\n",
        folder, plan.name, plan.nic);
  if (is_nat(plan)) text += "# method=shared forwards, translates and serves DHCP by itself\n";
  for (const sys::NatForward& each : is_nat(plan) ? plan.forwards : std::vector<sys::NatForward>())
    text += fmt::format("# {} port {} to {}:{} takes a rule of nft(8) besides\n", each.udp ? "udp" : "tcp", each.port,
                        each.guest.text(), each.guest_port);
  return text;
}

namespace {

std::vector<std::string> name_servers() {
  std::vector<std::string> list;
  const auto data = sys::read_file("/etc/resolv.conf", u64{1} << 16);
  if (!data.ok()) return list;
  for (const std::string& line : split(std::string(data.value().begin(), data.value().end()), '\n')) {
    const std::string_view text = trim(line);
    if (!text.starts_with("nameserver ")) continue;
    const std::string address(trim(text.substr(11)));
    const auto parsed = parse_ip(address);
    if (parsed && !parsed->is_loopback()) list.push_back(address);
  }
  return list;
}

Result<NicFacts> look_at_nic(const NetPlan& plan) {
  NicFacts facts;
  if (plan.kind != NetPlan::Kind::bridged) return facts;
  if (plan.nic.empty()) return Error("bridged needs over=, the NIC that the bridge takes in");
  u32 index = 0;
  for (const sys::Link& link : RHEA_TRY(RHEA_TRY(sys::Links::open()).links()))
    if (link.name == plan.nic) index = link.index, facts.mac = station_text(link.mac);
  if (!index) return Error("over={}: there is no such interface", plan.nic);
  sys::Routes host = RHEA_TRY(sys::Routes::open());
  for (const sys::StoredAddress& each : RHEA_TRY(host.addresses(index))) {
    facts.addresses.push_back(fmt::format("{}/{}", each.address.text(), each.length));
    facts.leased |= !each.for_ever;
  }
  for (const sys::StoredRoute& each : RHEA_TRY(host.routes(index)))
    facts.routes.emplace_back(each.text.substr(0, each.text.find(' ')), each.gateway ? each.gateway->text() : "");
  facts.name_servers = name_servers();
  return facts;
}

std::string form_of_host() {
  if (!sys::names_in("/etc/netplan", 16).empty()) return "netplan";
  const std::string manager = manager_of_nics();
  if (manager == "NetworkManager") return "networkmanager";
  return manager == "ifupdown" ? manager : std::string();
}

}  // namespace

Result<std::string> net_form(const NetPlan& plan, const std::string& form) {
  if (plan.is_tap() || plan.kind == NetPlan::Kind::macvtap)
    return Error("form= writes bridges; a tap for a user is made at each start by rhea net up");
  const std::string wanted = form == "host" ? form_of_host() : form;
  const NicFacts nic = RHEA_TRY(look_at_nic(plan));
  if (wanted == "netplan") return netplan_form(plan, nic);
  if (wanted == "ifupdown") return ifupdown_form(plan, nic);
  if (wanted == "networkmanager") return network_manager_form(plan, nic);
  if (wanted.empty())
    return Error(
        "form=host: this host has none of netplan, ifupdown and NetworkManager; form=netplan and so on write "
        "one all the same");
  return Error("there is no form '{}'{}: there are {}", form, did_you_mean(form, kForms), join(kForms, ", "));
}

}  // namespace rhea::tool
