// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <algorithm>

#include "tool/net_doctor.h"
#include "tool/net_plan.h"

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

TEST(NetPlan, Refusals) {
  EXPECT_EQ(refusal({"nat"}), "a network has a kind and a name: nat rhea0, or host-only rhea0");
  EXPECT_EQ(refusal({"nta", "x"}), "there is no kind 'nta' (did you mean 'nat'?): there are nat, host-only");
  EXPECT_NE(refusal({"bridged", "br0"}).find("not supported yet"), std::string::npos);
  for (const char* name : {"", "a/b", "a b", "-x", ".", "a-name-that-is-too-long", "a:b"})
    EXPECT_NE(refusal({"nat", name}).find("is no name of an interface"), std::string::npos) << name;
  for (const char* word : {"net=10.0.0.0/31", "net=10.0.0.0/4", "net=foo", "host=10.0.0.1", "host=192.168.177.255",
                           "forward=tcp:0-192.168.177.5:80", "forward=tcp:80", "forward=icmp:1-192.168.177.5:1",
                           "forward=tcp:1-192.168.178.5:1", "forward=tcp:1-192.168.177.1:1", "stp=maybe", "delay=1",
                           "hello=99", "mac=foo", "bogus=1", "word"})
    EXPECT_NE(refusal({"nat", "x", word}), "") << word;
  EXPECT_NE(refusal({"nat", "x", "forwrd=1"}).find("did you mean 'forward'"), std::string::npos);
  EXPECT_NE(refusal({"host-only", "x", "forward=tcp:1-192.168.177.5:1"}), "");
}

TEST(NetPlan, Records) {
  const auto is = [](const char* text) { return is_record(config::parse_json(text).take()); };
  EXPECT_TRUE(is(R"({"do": "address", "name": "x", "address": "10.0.0.1", "length": 24})"));
  EXPECT_TRUE(is(R"({"do": "sysctl", "name": "net/ipv4/ip_forward", "was": "0", "now": "1"})"));
  for (const char* bad :
       {"[]", "{}", R"({"do": 1})", R"({"do": "bridge", "name": "x"})", R"({"do": "rm", "name": "/"})",
        R"({"do": "address", "name": "x", "address": "10.0.0.1", "length": -1})",
        R"({"do": "sysctl", "name": "kernel/panic", "was": "0", "now": "1"})"})
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
  expect("chain ip filter FORWARD", [](HostFacts& f) { f.dropping = {"ip filter FORWARD"}, f.default_route = 9; });
  expect("br0 is down", [](HostFacts& f) { f.links[2].up = false; });
  expect("still has an address of its own", [](HostFacts& f) { f.addresses.push_back({2, IpAddress::v4(1), 8}); });
}

}  // namespace
}  // namespace rhea::tool
