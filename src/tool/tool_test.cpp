// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <algorithm>

#include "tool/lan_proxy.h"
#include "tool/net_doctor.h"
#include "tool/net_forms.h"
#include "tool/net_plan.h"
#include "tool/net_service.h"
#include "tool/net_steps.h"
#include "tool/proxy_dialogue.h"

namespace rhea::tool {
namespace {

std::string refusal(const Words& words) {
  const auto plan = read_net_plan(words);
  return plan.ok() ? "" : plan.error().message();
}

TEST(NetPlan, Words) {
  const auto plan = read_net_plan({"nat", "rhea0", "forward=tcp:8080-10.9.0.5:80", "host=10.9.0.254",
                                   "net=10.9.0.77/24", "stp=on", "delay=4", "hello=1", "mac=52:54:00:00:00:09"});
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  EXPECT_EQ(plan.value().network.text(), "10.9.0.0");
  EXPECT_EQ(plan.value().host.text(), "10.9.0.254");
  EXPECT_TRUE(plan.value().bridge.stp);
  EXPECT_EQ(plan.value().bridge.forward_delay, 400u);
  EXPECT_EQ(plan.value().bridge.mac[5], 9);
  ASSERT_EQ(plan.value().forwards.size(), 1u);
  EXPECT_EQ(plan.value().forwards[0].guest_port, 80);
  EXPECT_EQ(read_net_plan({"host-only", "x"}).value().host.text(), "192.168.177.1");
}

TEST(NetPlan, Macvtap) {
  const auto plan = read_net_plan({"macvtap", "mv0", "over=eth0", "mode=private", "mac=52:54:00:00:00:09"});
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  EXPECT_EQ(plan.value().nic, "eth0");
  EXPECT_EQ(plan.value().mode, 1u);
  EXPECT_FALSE(plan.value().is_tap());
  EXPECT_FALSE(plan.value().is_own());
  EXPECT_NE(refusal({"macvtap", "mv0", "mode=passthru"}).find("mode= expects bridge"), std::string::npos);
  EXPECT_NE(refusal({"macvtap", "mv0", "net=10.0.0.0/24"}).find("there are tap, over, mode, mac"), std::string::npos);
  EXPECT_NE(refusal({"nat", "x", "mode=bridge"}).find("no option 'mode' for nat"), std::string::npos);
  EXPECT_TRUE(is_record({{"do", "macvtap"}, {"name", "a"}, {"over", "b"}, {"mac", "c"}, {"mode", 4u}, {"user", 1u}}));
  EXPECT_FALSE(is_record({{"do", "macvtap"}, {"name", "a"}, {"mac", "c"}, {"mode", 4u}, {"user", 1u}}));
}

TEST(NetPlan, Refusals) {
  EXPECT_EQ(
      refusal({"nat"}),
      "a network has a kind and a name: nat rhea0, host-only rhea0, bridged br0 over=NIC, or macvtap mv0 over=NIC");
  EXPECT_EQ(refusal({"nta", "x"}),
            "there is no kind 'nta' (did you mean 'nat'?): there are nat, host-only, bridged, macvtap");
  for (const char* name : {"", "a/b", "a b", "-x", ".", "a-name-that-is-too-long", "a:b"})
    EXPECT_NE(refusal({"nat", name}).find("is no name of an interface"), std::string::npos) << name;
  for (const char* word : {"net=10.0.0.0/31",
                           "net=10.0.0.0/4",
                           "net=foo",
                           "host=10.0.0.1",
                           "host=192.168.177.255",
                           "forward=tcp:0-192.168.177.5:80",
                           "forward=tcp:80",
                           "forward=icmp:1-192.168.177.5:1",
                           "forward=tcp:1-192.168.178.5:1",
                           "forward=tcp:1-192.168.177.1:1",
                           "stp=maybe",
                           "delay=1",
                           "hello=99",
                           "mac=foo",
                           "mac=01:00:00:00:00:01",
                           "tap=no-such-user",
                           "dhcp=maybe",
                           "lease=52:54:00:00:00:01",
                           "lease=52:54:00:00:00:01=10.0.0.1",
                           "over=eth0",
                           "confirm=3",
                           "bogus=1",
                           "word"})
    EXPECT_NE(refusal({"nat", "x", word}), "") << word;
  EXPECT_NE(refusal({"nat", "x", "forwrd=1"}).find("did you mean 'forward'"), std::string::npos);
  EXPECT_NE(refusal({"host-only", "x", "forward=tcp:1-192.168.177.5:1"}), "");
  for (const char* word : {"net=10.0.0.0/24", "forward=tcp:1-192.168.177.5:1", "over=", "over=a/b", "confirm=0"})
    EXPECT_NE(refusal({"bridged", "br0", word}), "") << word;
}

TEST(NetPlan, BridgedAndServers) {
  const auto bridged = read_net_plan({"bridged", "br0", "over=eth0", "confirm=30", "stp=on"});
  ASSERT_TRUE(bridged.ok()) << bridged.error().message();
  EXPECT_EQ(bridged.value().nic, "eth0");
  EXPECT_EQ(bridged.value().confirm, 30u);
  const auto plan = read_net_plan({"nat", "t0", "tap=root", "net=10.1.0.0/24", "lease=52:54:00:00:00:01=10.1.0.7=web",
                                   "dhcp=rhea", "forward=tcp:80-10.1.0.254:80"});
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  EXPECT_TRUE(plan.value().is_tap());
  EXPECT_EQ(plan.value().tap_user, 0u);
  EXPECT_EQ(plan.value().first.text(), "10.1.0.100");
  EXPECT_EQ(plan.value().last.text(), "10.1.0.199");
  EXPECT_EQ(plan.value().name_server().text(), "10.1.0.253");  // .254 is a guest
  EXPECT_EQ(plan.value().leases.at(0).name, "web");
  const auto small = read_net_plan({"nat", "t0", "net=10.1.0.0/29"});
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small.value().first.text(), "10.1.0.4");
  EXPECT_EQ(small.value().last.text(), "10.1.0.4");
}

NicFacts some_nic() {
  return {.mac = "52:54:00:00:00:05",
          .leased = false,
          .addresses = {"192.0.2.5/24", "192.0.2.6/32"},
          .routes = {{"10.0.0.0/8", "192.0.2.9"}, {"default", "192.0.2.1"}},
          .name_servers = {"192.0.2.53"}};
}

TEST(NetForms, Netplan) {
  const NetPlan plan = read_net_plan({"bridged", "br0", "over=eth0", "stp=on", "delay=4"}).take();
  EXPECT_EQ(netplan_form(plan, some_nic()),
            "# /etc/netplan/60-br0.yaml; then: netplan try\n"
            "network:\n  version: 2\n"
            "  ethernets:\n    eth0:\n      dhcp4: false\n      dhcp6: false\n"
            "  bridges:\n    br0:\n      interfaces: [eth0]\n      macaddress: \"52:54:00:00:00:05\"\n"
            "      addresses: [\"192.0.2.5/24\", \"192.0.2.6/32\"]\n"
            "      routes:\n        - to: \"10.0.0.0/8\"\n          via: \"192.0.2.9\"\n"
            "        - to: \"default\"\n          via: \"192.0.2.1\"\n"
            "      nameservers:\n        addresses: [\"192.0.2.53\"]\n"
            "      parameters:\n        stp: true\n        forward-delay: 4\n        hello-time: 2\n");
}

TEST(NetForms, Ifupdown) {
  const NetPlan plan = read_net_plan({"bridged", "br0", "over=eth0"}).take();
  EXPECT_EQ(ifupdown_form(plan, some_nic()),
            "# /etc/network/interfaces\nauto eth0\niface eth0 inet manual\n\nauto br0\niface br0 inet static\n"
            "    address 192.0.2.5/24\n    gateway 192.0.2.1\n    dns-nameservers 192.0.2.53\n"
            "    bridge_ports eth0\n    bridge_stp off\n    bridge_fd 2\n    bridge_hello 2\n"
            "    bridge_hw 52:54:00:00:00:05\n    post-up ip addr add 192.0.2.6/32 dev $IFACE\n"
            "    post-up ip route add 10.0.0.0/8 via 192.0.2.9 dev $IFACE\n");
  NicFacts leased = some_nic();
  leased.leased = true;
  EXPECT_NE(ifupdown_form(plan, leased).find("iface br0 inet dhcp\n    bridge_ports"), std::string::npos);
}

TEST(NetForms, NatOfEach) {
  const NetPlan plan = read_net_plan({"nat", "rhea0", "net=10.9.0.0/24", "forward=udp:53-10.9.0.5:5353"}).take();
  const std::string rule = "add rule ip rhea-rhea0 in fib daddr type local udp dport 53 dnat to 10.9.0.5:5353";
  EXPECT_NE(netplan_form(plan, {}).find("# " + rule), std::string::npos);
  const std::string text = ifupdown_form(plan, {});
  EXPECT_NE(text.find("    post-up nft '" + rule + "'\n"), std::string::npos) << text;
  EXPECT_NE(text.find("    pre-down nft delete table ip rhea-rhea0\n"), std::string::npos);
  EXPECT_NE(text.find("iface rhea0 inet static\n    address 10.9.0.1/24\n    bridge_ports none\n"), std::string::npos);
  const std::string manager = network_manager_form(plan, {});
  EXPECT_NE(manager.find("\n[ipv4]\nmethod=shared\naddress1=10.9.0.1/24\n"), std::string::npos) << manager;
}

TEST(NetForms, NetworkManager) {
  const NetPlan plan = read_net_plan({"bridged", "br0", "over=eth0"}).take();
  const std::string text = network_manager_form(plan, some_nic());
  for (const char* part :
       {"interface-name=br0\n", "mac-address=52:54:00:00:00:05\n",
        "[ipv4]\nmethod=manual\naddress1=192.0.2.5/24\naddress2=192.0.2.6/32\nroute1=10.0.0.0/8,192.0.2.9\n"
        "gateway=192.0.2.1\ndns=192.0.2.53;\n",
        "interface-name=eth0\nmaster=br0\nslave-type=bridge\n"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in:\n" << text;
}

// A frame of the type, its IPv4 or ARP part filled by `fill`.
std::vector<u8> frame_of(u16 type, const std::function<void(u8*)>& fill) {
  std::vector<u8> frame(60);
  frame[12] = static_cast<u8>(type >> 8);
  frame[13] = static_cast<u8>(type);
  frame[14] = 0x45;
  fill(&frame[14]);
  return frame;
}

TEST(NetService, WhatPassesTheGate) {
  const IpAddress server = IpAddress::v4(0x0a0900fe);
  const auto address = [](u8* at, u8 last) { at[0] = 10, at[1] = 9, at[2] = 0, at[3] = last; };
  const auto in = [&](u16 type, const std::function<void(u8*)>& fill) {
    return is_for_server(frame_of(type, fill), server);
  };
  const auto dhcp = [&](u8* ip) { ip[9] = 17, ip[23] = 67, address(ip + 16, 1); };
  EXPECT_TRUE(in(0x0806, [&](u8* arp) { address(arp + 24, 254); }));
  EXPECT_FALSE(in(0x0806, [&](u8* arp) { address(arp + 24, 1); }));  // the host answers itself
  EXPECT_TRUE(in(0x0800, [&](u8* ip) { address(ip + 16, 254); }));
  EXPECT_FALSE(in(0x0800, [&](u8* ip) { address(ip + 16, 1); }));
  EXPECT_TRUE(in(0x0800, dhcp));
  EXPECT_FALSE(in(0x0800, [&](u8* ip) { dhcp(ip), ip[9] = 6; }));
  EXPECT_FALSE(in(0x0800, [&](u8* ip) { dhcp(ip), ip[7] = 1; }));  // a later fragment has no port
  EXPECT_FALSE(in(0x0800, [&](u8* ip) { dhcp(ip), ip[0] = 0x4f; }));
  EXPECT_FALSE(in(0x86dd, [](u8*) {}));
  EXPECT_FALSE(is_for_server({}, server));
  const auto out = [&](u16 type, const std::function<void(u8*)>& fill) {
    return is_from_server(frame_of(type, fill), server);
  };
  EXPECT_TRUE(out(0x0806, [&](u8* arp) { address(arp + 14, 254); }));
  EXPECT_FALSE(out(0x0806, [&](u8* arp) { address(arp + 14, 1); }));  // never the host's address with another MAC
  EXPECT_TRUE(out(0x0800, [&](u8* ip) { ip[9] = 17, ip[21] = 67, address(ip + 12, 1); }));
  EXPECT_FALSE(out(0x0800, [&](u8* ip) { ip[9] = 17, ip[21] = 53, address(ip + 12, 1); }));
}

TEST(NetPlan, Records) {
  const auto is = [](const char* text) { return is_record(config::parse_json(text).take()); };
  EXPECT_TRUE(is(R"({"do": "address", "name": "x", "address": "10.0.0.1", "length": 24})"));
  EXPECT_TRUE(is(R"({"do": "sysctl", "name": "net/ipv4/ip_forward", "was": "0", "now": "1"})"));
  for (const char* bad :
       {"[]", "{}", R"({"do": 1})", R"({"do": "bridge", "name": "x"})", R"({"do": "rm", "name": "/"})",
        R"({"do": "address", "name": "x", "address": "10.0.0.1", "length": -1})",
        R"({"do": "sysctl", "name": "kernel/panic", "was": "0", "now": "1"})",
        R"({"do": "service", "name": "x", "program": "/bin/sh", "arguments": []})",
        R"({"do": "nat", "table": "x", "network": "10.0.0.0", "length": 8, "forwards": [{"udp": 1}]})",
        R"({"do": "move", "from": "a", "to": "b", "addresses": ["00"], "routes": []})",
        R"({"do": "move", "from": "a", "to": "b", "addresses": ["zz"], "routes": []})",
        R"({"do": "bridge", "name": "x", "mac": "y", "stp": true, "delay": 4294967296, "hello": 1, "up": true})"})
    EXPECT_FALSE(is(bad)) << bad;
}

HostFacts host_with_bridge() {
  HostFacts facts;
  facts.links = {{.index = 1, .name = "lo", .up = true, .loopback = true},
                 {.index = 2, .name = "eth0", .master = 3, .up = true, .mac = {2, 0, 0, 0, 0, 1}},
                 {.index = 3, .name = "br0", .kind = "bridge", .up = true, .mac = {2, 0, 0, 0, 0, 1}},
                 {.index = 4, .name = "tap0", .kind = "tun", .master = 3, .up = true, .mac = {2, 0, 0, 0, 0, 2}}};
  facts.addresses = {{3, IpAddress::v4(0xc0a80102), 24}};
  facts.default_route = 3;
  facts.bridge_nf = "0";
  facts.forwarding = "1";
  facts.rp_filter = {{"all", "0"}, {"br0", "2"}};
  facts.access_list = "# bridges\nallow br0\n";
  return facts;
}

std::string found(const HostFacts& facts) {
  std::string text;
  for (const Finding& finding : diagnose(facts)) text += finding.what + " | " + finding.fix + "\n";
  return text;
}

TEST(NetDoctor, NothingIsWrong) { EXPECT_EQ(found(host_with_bridge()), ""); }

TEST(NetDoctor, EachTrap) {
  const auto expect = [](const char* words, const std::function<void(HostFacts&)>& spoil) {
    HostFacts facts = host_with_bridge();
    spoil(facts);
    const std::string text = found(facts);
    EXPECT_NE(text.find(words), std::string::npos) << words << " in:\n" << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  };
  expect("bridge-nf-call-iptables is 1", [](HostFacts& f) { f.bridge_nf = "1"; });
  expect("ip_forward is 0", [](HostFacts& f) { f.forwarding = "0", f.default_route = 9; });
  expect("eth0 on bridge br0 is a radio", [](HostFacts& f) { f.wireless = {"eth0"}; });
  expect("echo 'allow br0' >> /etc/rhea/bridge.conf", [](HostFacts& f) { f.access_list.reset(); });
  expect("only root can use bridge br0", [](HostFacts& f) { f.access_list = "allow all\ndeny br0\n"; });
  expect("eth0 and tap0 on bridge br0 have one MAC address", [](HostFacts& f) { f.links[3].mac = f.links[1].mac; });
  expect("looked after by NetworkManager", [](HostFacts& f) { f.manager = "NetworkManager"; });
  expect("rp_filter is strict for br0", [](HostFacts& f) { f.rp_filter["all"] = "1"; });
  expect("for the first 30 seconds", [](HostFacts& f) { f.links[2].stp = true, f.links[2].forward_delay = 1500; });
  expect("(chain ip filter FORWARD)", [](HostFacts& f) {
    f.default_route = 9;
    f.chains = {{.table = "ip filter", .name = "FORWARD", .forwards = true, .drops = true, .rules = {}}};
  });
  expect("iptables-legacy -I FORWARD -i br0 -j ACCEPT", [](HostFacts& f) {
    f.default_route = 9;
    f.chains = {{.table = "filter",
                 .name = "FORWARD",
                 .legacy = true,
                 .forwards = true,
                 .rules = {{.verdict = sys::FirewallRule::Verdict::drop, .chain = {}, .in = "br+", .out = {}}}}};
  });
  expect("br0 is down", [](HostFacts& f) { f.links[2].up = false; });
  expect("still has an address of its own", [](HostFacts& f) { f.addresses.push_back({2, IpAddress::v4(1), 8}); });
}

TEST(Firewall, WhatBecomesOfAPacket) {
  using sys::FirewallRule;
  using Verdict = FirewallRule::Verdict;
  const auto rule = [](Verdict verdict, std::string in = {}, std::string out = {}) {
    return FirewallRule{.verdict = verdict, .chain = {}, .in = std::move(in), .out = std::move(out)};
  };
  std::vector<sys::FirewallChain> chains = {
      {.table = "ip filter", .name = "FORWARD", .forwards = true, .rules = {}},
      {.table = "ip filter", .name = "guests", .rules = {rule(Verdict::drop, "br0")}},
      {.table = "ip6 filter", .name = "guests", .rules = {rule(Verdict::accept)}},
  };
  const auto drops = [&](const std::string& in, const std::string& out = "") {
    return drops_between(chains, chains[0], in, out);
  };
  EXPECT_FALSE(drops("br0"));
  FirewallRule call = rule(Verdict::call);
  call.chain = "guests";
  chains[0].rules = {call};
  EXPECT_TRUE(drops("br0"));
  EXPECT_FALSE(drops("br1"));
  // What comes before counts; what is conditional does not.
  chains[0].rules = {rule(Verdict::accept, "", "br0"), call};
  EXPECT_FALSE(drops("br0", "br0"));
  EXPECT_TRUE(drops("br0"));
  chains[0].rules[0].conditional = true;
  EXPECT_TRUE(drops("br0", "br0"));
  chains[0].rules[0] = rule(Verdict::accept, "eth+");
  chains[0].rules[0].in_not = true;
  EXPECT_FALSE(drops("br0"));
  // A policy, a call that comes back, a chain that calls itself, one that is not there.
  chains[0].drops = true;
  chains[0].rules = {call};
  EXPECT_TRUE(drops("br1"));
  chains[1].rules = {rule(Verdict::leave), rule(Verdict::drop)};
  chains[0].drops = false;
  EXPECT_FALSE(drops("br0"));
  chains[1].rules = {call};
  EXPECT_FALSE(drops("br0"));
  call.chain = "nowhere";
  chains[0].rules = {call, rule(Verdict::drop)};
  EXPECT_TRUE(drops("br0"));
}

// --- the proxy ----------------------------------------------------------------------------------------------------

using State = ProxyDialogue::State;

State say(ProxyDialogue& dialogue, std::string_view text) {
  return dialogue.take({reinterpret_cast<const u8*>(text.data()), text.size()});
}

TEST(ProxyDialogue, Socks) {
  using namespace std::string_view_literals;
  ProxyDialogue name;
  EXPECT_EQ(say(name, "\5\2\2"sv), State::asking);
  EXPECT_EQ(name.answers(), "");
  EXPECT_EQ(say(name, "\0"sv), State::asking);
  EXPECT_EQ(name.answers(), "\5\0"sv);
  EXPECT_EQ(say(name, "\5\1\0\3\4Bob.\0"sv), State::asking);
  EXPECT_EQ(say(name, "\x16hello"sv), State::dial);
  EXPECT_EQ(name.host(), "bob");
  EXPECT_EQ(name.port(), 22);
  EXPECT_EQ(name.for_guest(), "hello");
  EXPECT_EQ(name.answers(), "");
  name.succeed();
  EXPECT_EQ(name.answers(), "\5\0\0\1\0\0\0\0\0\0"sv);

  ProxyDialogue address;
  EXPECT_EQ(say(address, "\5\1\0\5\1\0\1\12\0\2\20\x1f\x90"sv), State::dial);
  EXPECT_EQ(address.host(), "10.0.2.16");
  EXPECT_EQ(address.port(), 8080);
  address.fail(ProxyDialogue::Failure::refused, "closed");
  EXPECT_EQ(address.answers(), "\5\0\5\5\0\1\0\0\0\0\0\0"sv);
  ProxyDialogue unknown;
  say(unknown, "\5\1\0\5\1\0\1\12\0\2\20\x1f\x90"sv);
  unknown.fail(ProxyDialogue::Failure::unknown_host, "");
  EXPECT_EQ(unknown.answers().substr(2, 2), "\5\4"sv);

  // No method that is known; another command; a type of address that there is not; a name that is none; port 0; SOCKS4.
  for (const auto& [said, heard] : {std::pair("\5\1\2"sv, "\5\xff"sv),
                                    {"\5\1\0\5\2\0\3\1a\0\1"sv, "\5\0\5\7\0\1\0\0\0\0\0\0"sv},
                                    {"\5\1\0\5\1\0\2\1a\0\1"sv, "\5\0\5\x8\0\1\0\0\0\0\0\0"sv},
                                    {"\5\1\0\5\1\0\3\3a\nb\0\1"sv, "\5\0\5\4\0\1\0\0\0\0\0\0"sv},
                                    {"\5\1\0\5\1\0\3\0\0\1"sv, "\5\0\5\4\0\1\0\0\0\0\0\0"sv},
                                    {"\5\1\0\5\1\0\3\1a\0\0"sv, "\5\0\5\4\0\1\0\0\0\0\0\0"sv}}) {
    ProxyDialogue dialogue;
    EXPECT_EQ(say(dialogue, said), State::refused);
    EXPECT_EQ(dialogue.answers(), heard);
  }
  ProxyDialogue changes;
  EXPECT_EQ(say(changes, "\5\1\0"sv), State::asking);
  EXPECT_EQ(say(changes, "GET http://bob/ HTTP/1.1\r\n\r\n"), State::refused);
  EXPECT_EQ(changes.answers(), "\5\0\5\1\0\1\0\0\0\0\0\0"sv);
  ProxyDialogue four;
  EXPECT_EQ(say(four, "\4\1\0\x16\12\0\2\20\0"sv), State::refused);
}

TEST(ProxyDialogue, Http) {
  ProxyDialogue tunnel;
  EXPECT_EQ(say(tunnel, "CONNECT bob:443 HTTP/1.1\r\nHost: x\r\n\r"), State::asking);
  EXPECT_EQ(say(tunnel, "\nrest"), State::dial);
  EXPECT_EQ(tunnel.host(), "bob");
  EXPECT_EQ(tunnel.port(), 443);
  EXPECT_EQ(tunnel.for_guest(), "rest");
  tunnel.succeed();
  EXPECT_EQ(tunnel.answers(), "HTTP/1.1 200 Connection established\r\n\r\n");

  ProxyDialogue url;
  EXPECT_EQ(say(url,
                "PUT HTTP://Bob?q=1 HTTP/1.0\r\nHost: bob\r\nProxy-Connection: keep-alive\r\n"
                "Content-Length: 2\r\nconnection: x\r\n\r\nok"),
            State::dial);
  EXPECT_EQ(url.port(), 80);
  EXPECT_EQ(url.for_guest(), "PUT /?q=1 HTTP/1.1\r\nHost: bob\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  url.succeed();
  EXPECT_EQ(url.answers(), "");
  url.fail(ProxyDialogue::Failure::silent, "port 80 of 'bob' does not answer");
  const std::string answer = url.answers();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nrhea: port 80 of 'bob' does not answer\n")) << answer;

  ProxyDialogue six;
  EXPECT_EQ(say(six, "GET http://[fec0::1]:8080/ HTTP/1.1\r\n\r\n"), State::dial);
  EXPECT_EQ(six.host(), "fec0::1");
  EXPECT_EQ(six.for_guest(), "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");

  for (const char* bad :
       {"\x16\x03\x01", "GET / HTTP/1.1\r\nHost: bob\r\n\r\n", "GET https://bob/ HTTP/1.1\r\n\r\n",
        "CONNECT bob HTTP/1.1\r\n\r\n", "CONNECT bob:0 HTTP/1.1\r\n\r\n", "CONNECT bob:0x16 HTTP/1.1\r\n\r\n",
        "CONNECT bob:65536 HTTP/1.1\r\n\r\n", "CONNECT a:b:1 HTTP/1.1\r\n\r\n", "CONNECT [::1 HTTP/1.1\r\n\r\n",
        "CONNECT b\x01"
        "b:1 HTTP/1.1\r\n\r\n",
        "GET http:// HTTP/1.1\r\n\r\n", "GET http://bob/ HTTP/2.0\r\n\r\n", "GET\r\n\r\n", "GET http://bob/\r\n\r\n",
        "GET http://bob/ HTTP/1.1\r\nno field\r\n\r\n", "GET http://bob/ HTTP/1.1\r\nHost : bob\r\n\r\n"}) {
    ProxyDialogue dialogue;
    EXPECT_EQ(say(dialogue, bad), State::refused) << bad;
    EXPECT_TRUE(dialogue.answers().starts_with("HTTP/1.1 400 Bad Request\r\n")) << bad;
  }
  ProxyDialogue large;
  EXPECT_EQ(say(large, "GET http://bob/" + std::string(ProxyDialogue::kMostHeader, 'x')), State::refused);
  EXPECT_TRUE(large.answers().starts_with("HTTP/1.1 431 "));
}

TEST(LanProxy, Places) {
  EXPECT_EQ(read_proxy_place("").value().text(), "127.0.0.1:1080");
  EXPECT_EQ(read_proxy_place("8080").value().text(), "127.0.0.1:8080");
  EXPECT_EQ(read_proxy_place("0.0.0.0:0").value().host, "0.0.0.0");
  EXPECT_EQ(read_proxy_place("[::1]:1080").value().host, "::1");
  EXPECT_EQ(read_proxy_place("unix:/run/x").value().path, "/run/x");
  for (const char* bad : {"unix:", "abc", "1:", ":1", "1:70000"}) EXPECT_FALSE(read_proxy_place(bad).ok()) << bad;
}

}  // namespace
}  // namespace rhea::tool
