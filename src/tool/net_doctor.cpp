// SPDX-License-Identifier: MIT
#include "tool/net_doctor.h"

#include <algorithm>

#include "sys/file.h"
#include "sys/packet_socket.h"
#include "util/text.h"

namespace rhea::tool {

namespace {

constexpr const char* kAccessList = "/etc/rhea/bridge.conf";
constexpr const char* kAccessListOfQemu = "/etc/qemu/bridge.conf";

bool has_entry(const std::string& folder, const std::string& name) {
  const auto names = sys::names_in(folder, 4096);
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<std::string> text_of_file(const char* path) {
  const auto data = sys::read_file(path, u64{1} << 20);
  if (!data.ok()) return std::nullopt;
  return std::string(data.value().begin(), data.value().end());
}

class Judge {
 public:
  explicit Judge(const HostFacts& facts) : facts_(facts) {}
  std::vector<Finding> all() {
    for (const sys::Link& link : facts_.links)
      if (link.kind == "bridge") judge_bridge(link);
    judge_host();
    return std::move(findings_);
  }

 private:
  template <typename... Args>
  void say(std::string what, fmt::format_string<Args...> fix, Args&&... args) {
    findings_.push_back({std::move(what), fmt::format(fix, std::forward<Args>(args)...)});
  }
  std::vector<const sys::Link*> ports_of(const sys::Link& bridge) const {
    std::vector<const sys::Link*> ports;
    for (const sys::Link& link : facts_.links)
      if (link.master == bridge.index) ports.push_back(&link);
    return ports;
  }
  bool has_address(const sys::Link& link) const {
    return std::any_of(facts_.addresses.begin(), facts_.addresses.end(),
                       [&](const sys::LinkAddress& each) { return each.index == link.index; });
  }
  bool is_wireless(const std::string& name) const {
    return std::find(facts_.wireless.begin(), facts_.wireless.end(), name) != facts_.wireless.end();
  }

  void judge_bridge(const sys::Link& bridge) {
    if (!bridge.up) say("bridge " + bridge.name + " is down: nothing crosses it", "ip link set {} up", bridge.name);
    if (bridge.stp && bridge.forward_delay)
      say(fmt::format(
              "bridge {} has spanning tree on: a guest's port lets nothing through for the first {} seconds, in "
              "which its DHCP may give up",
              bridge.name, bridge.forward_delay * 2 / 100),
          "without loops it is not needed: ip link set {} type bridge stp_state 0", bridge.name);
    if (!is_allowed(bridge.name))
      say(fmt::format("only root can use bridge {}: no access list allows it to others", bridge.name),
          "mkdir -p /etc/rhea; echo 'allow {}' >> {}; and rhea-bridge-helper is setuid root", bridge.name, kAccessList);
    if (const auto filter = facts_.rp_filter.find(bridge.name);
        (filter != facts_.rp_filter.end() && filter->second == "1") ||
        (facts_.rp_filter.contains("all") && facts_.rp_filter.at("all") == "1"))
      say(fmt::format("rp_filter is strict for {}: what guests send is dropped without a word when its answer would "
                      "leave by another interface",
                      bridge.name),
          "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{}.rp_filter=2", bridge.name);
    judge_ports(bridge);
  }

  void judge_ports(const sys::Link& bridge) {
    std::map<std::array<u8, 6>, std::string> seen;
    for (const sys::Link* port : ports_of(bridge)) {
      const auto [there, is_new] = seen.emplace(port->mac, port->name);
      if (!is_new)
        say(fmt::format("{} and {} on bridge {} have one MAC address: frames for one of them go astray", there->second,
                        port->name, bridge.name),
            "give each guest its own: mac= on the command line");
      if (is_wireless(port->name))
        say(fmt::format("{} on bridge {} is a radio: an access point takes frames of one station's address only, so "
                        "guests get no answers",
                        port->name, bridge.name),
            "use a NAT network instead: rhea net up nat rhea0");
      const bool hardware = port->kind.empty() && !port->loopback;
      if (hardware && has_address(*port))
        say(fmt::format("{} is on bridge {} and still has an address of its own: this host's traffic goes astray",
                        port->name, bridge.name),
            "move it: ip addr flush dev {}, and the address onto {}", port->name, bridge.name);
      if (hardware && !facts_.manager.empty())
        say(fmt::format("{} on bridge {} is looked after by {}, which may take it back", port->name, bridge.name,
                        facts_.manager),
            "make the bridge in {}'s own configuration", facts_.manager);
    }
  }

  void judge_host() {
    std::vector<std::string> bridges, routed;
    for (const sys::Link& link : facts_.links) {
      if (link.kind != "bridge") continue;
      bridges.push_back(link.name);
      if (link.index != facts_.default_route && has_address(link)) routed.push_back(link.name);
    }
    if (bridges.empty()) return;
    const std::string names = join(bridges, ", ");
    const bool filtered = facts_.bridge_nf == "1";
    if (filtered)
      say(fmt::format("frames that cross {} pass iptables' FORWARD chain too (bridge-nf-call-iptables is 1): a rule "
                      "there silently eats what guests say to one another",
                      names),
          "sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0");
    if (!routed.empty() && facts_.forwarding == "0")
      say(fmt::format("this host forwards nothing (net.ipv4.ip_forward is 0): guests on {} reach it and no further",
                      join(routed, ", ")),
          "sysctl -w net.ipv4.ip_forward=1, or rhea net up nat, which undoes it too");
    for (const std::string& bridge : filtered ? bridges : routed) judge_firewall(bridge, filtered);
  }

  // What guests send to elsewhere, and where bridges are filtered too to one another.
  void judge_firewall(const std::string& bridge, bool filtered) {
    for (const sys::FirewallChain& chain : facts_.chains) {
      if (!chain.forwards) continue;
      const bool cut_off = sys::drops_between(facts_.chains, chain, bridge, "");
      if (!cut_off && !(filtered && sys::drops_between(facts_.chains, chain, bridge, bridge))) continue;
      const std::string what =
          fmt::format("the firewall drops what comes from {} ({} {} {}): guests on it are cut off{}", bridge,
                      chain.legacy ? "iptables-legacy, chain" : "chain", chain.table, chain.name,
                      cut_off ? "" : " from one another");
      if (chain.legacy)
        say(what,
            "iptables-legacy -I {0} -i {1} -j ACCEPT; iptables-legacy -I {0} -o {1} -m conntrack --ctstate "
            "ESTABLISHED,RELATED -j ACCEPT",
            chain.name, bridge);
      else
        say(what,
            "nft insert rule {0} {1} iifname \"{2}\" accept; nft insert rule {0} {1} oifname \"{2}\" ct state "
            "established,related accept",
            chain.table, chain.name, bridge);
    }
  }

  bool is_allowed(const std::string& bridge) const {
    if (!facts_.access_list) return false;
    bool allowed = false;
    for (const std::string& line : split(*facts_.access_list, '\n')) {
      const std::string_view rule = trim(line);
      if (rule == "deny all" || rule == "deny " + bridge) return false;
      allowed |= rule == "allow all" || rule == "allow " + bridge || rule.starts_with("include ");
    }
    return allowed;
  }

  const HostFacts& facts_;
  std::vector<Finding> findings_;
};

}  // namespace

std::string manager_of_nics() {
  if (has_entry("/run", "NetworkManager")) return "NetworkManager";
  if (has_entry("/run/systemd", "netif")) return "systemd-networkd";
  if (has_entry("/etc/network", "interfaces") && has_entry("/run", "network")) return "ifupdown";
  return {};
}

Result<HostFacts> look_at_host() {
  HostFacts facts;
  sys::Links links = RHEA_TRY(sys::Links::open());
  facts.links = RHEA_TRY(links.links());
  facts.addresses = RHEA_TRY(links.addresses());
  facts.default_route = RHEA_TRY(links.default_route());
  facts.bridge_nf = sys::read_sysctl("net/bridge/bridge-nf-call-iptables");
  facts.forwarding = sys::read_sysctl("net/ipv4/ip_forward");
  facts.rp_filter["all"] = sys::read_sysctl("net/ipv4/conf/all/rp_filter").value_or("");
  for (const sys::Link& link : facts.links) {
    facts.rp_filter[link.name] = sys::read_sysctl("net/ipv4/conf/" + link.name + "/rp_filter").value_or("");
    if (sys::is_wireless(link.name)) facts.wireless.push_back(link.name);
  }
  // Who may not look (EPERM), or a kernel without nf_tables: then nothing is said of firewalls.
  if (auto chains = sys::firewall_chains(); chains.ok()) facts.chains = chains.take();
  facts.access_list = text_of_file(kAccessList);
  if (!facts.access_list) facts.access_list = text_of_file(kAccessListOfQemu);
  facts.manager = manager_of_nics();
  return facts;
}

std::vector<Finding> diagnose(const HostFacts& facts) { return Judge(facts).all(); }

}  // namespace rhea::tool
