// SPDX-License-Identifier: MIT
#include "net/user/config.h"

#include <gtest/gtest.h>

namespace rhea::net::user {
namespace {

std::string message(const std::vector<OptionText>& options) {
  std::vector<std::string> warnings;
  const auto config = parse_user_options(options, warnings);
  return config ? "" : config.error().message();
}

UserConfig parsed(const std::vector<OptionText>& options) {
  std::vector<std::string> warnings;
  auto config = parse_user_options(options, warnings);
  EXPECT_TRUE(config.ok()) << config.error().message();
  return config ? config.take() : UserConfig();
}

TEST(UserOptions, MessagesAreQemus) {
  struct Case {
    std::vector<OptionText> options;
    const char* message;
  };
  const Case cases[] = {
      {{{"bogus", "1"}}, "Invalid parameter 'bogus'"},
      {{{"hostfw", "1"}}, "Invalid parameter 'hostfw' (did you mean 'hostfwd'?)"},
      {{{"restrict", "maybe"}}, "Parameter 'restrict' expects 'on' or 'off'"},
      {{{"net", "300.1.1.0/24"}}, "Failed to parse netmask"},
      {{{"net", "10.0.2.0/33"}}, "Invalid netmask provided (must be in range 4-32)"},
      {{{"net", "10.0.2.0/24x"}}, "Failed to parse netmask (trailing chars)"},
      {{{"host", "1.2.3.4"}}, "Host doesn't belong to network"},
      {{{"host", "zz"}}, "Failed to parse host"},
      {{{"dns", "10.0.2.2"}}, "DNS must be different from host"},
      {{{"dns", "zz"}}, "Failed to parse DNS"},
      {{{"dns", "1.1.1.1"}, {"restrict", "on"}}, "DNS doesn't belong to network"},
      {{{"dhcpstart", "1.1.1.1"}}, "DHCP doesn't belong to network"},
      {{{"dhcpstart", "10.0.2.3"}}, "DHCP must be different from host and DNS"},
      {{{"dhcpstart", "zz"}}, "Failed to parse DHCP start address"},
      {{{"ipv4", "off"}, {"ipv6", "off"}}, "IPv4 and IPv6 disabled"},
      {{{"ipv4", "off"}, {"net", "10.0.0.0/24"}}, "IPv4 disabled but netmask/host/dns provided"},
      {{{"ipv6", "off"}, {"ipv6-host", "fec0::5"}}, "IPv6 disabled but prefix/host6/dns6 provided"},
      {{{"ipv6-prefix", "zz"}}, "Failed to parse IPv6 prefix"},
      {{{"ipv6-prefixlen", "129"}}, "Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)"},
      {{{"ipv6-host", "fe80::1"}}, "IPv6 Host doesn't belong to network"},
      {{{"ipv6-dns", "zz"}}, "Failed to parse IPv6 DNS"},
      {{{"hostname", std::string(256, 'x')}}, "'vhostname' parameter cannot exceed 255 bytes"},
      {{{"domainname", ""}}, "'domainname' parameter cannot be empty"},
      {{{"hostfwd", "foo"}}, "Invalid host forwarding rule 'foo' (No : separators)"},
      {{{"smbserver", "zz"}}, "Failed to parse SMB address"},
      {{{"smb", "/x"}, {"smbserver", "10.0.2.2"}}, "Conflicting/invalid smbserver address"},
      {{{"tftp-server-name", std::string(256, 'x')}}, "'tftp-server-name' parameter cannot exceed 255 bytes"},
      {{{"bootfile", std::string(128, 'x')}}, "'bootfile' parameter cannot exceed 127 bytes"},
      {{{"guestfwd", "foo"}}, "Invalid guest forwarding rule 'foo'"},
      {{{"guestfwd", "udp:10.0.2.9:80-cmd:cat"}}, "Invalid guest forwarding rule 'udp:10.0.2.9:80-cmd:cat'"},
      {{{"guestfwd", "tcp:zz:80-cmd:cat"}}, "Invalid guest forwarding rule 'tcp:zz:80-cmd:cat'"},
      {{{"guestfwd", "tcp:10.0.2.9:0-cmd:cat"}}, "Invalid guest forwarding rule 'tcp:10.0.2.9:0-cmd:cat'"},
      {{{"guestfwd", "tcp:10.0.2.9:80-cmd:"}}, "Invalid guest forwarding rule 'tcp:10.0.2.9:80-cmd:'"},
      {{{"guestfwd", "tcp:10.0.2.9:80-cmd:'x"}}, "Invalid guest forwarding rule 'tcp:10.0.2.9:80-cmd:'x'"},
      {{{"guestfwd", "tcp:10.0.2.9:80-"}}, "Invalid guest forwarding rule 'tcp:10.0.2.9:80-'"},
      {{{"guestfwd", "tcp:10.0.2.2:80-cmd:cat"}},
       "Conflicting/invalid host:port in guest forwarding rule 'tcp:10.0.2.2:80-cmd:cat'"},
      {{{"guestfwd", "tcp:1.2.3.4:80-cmd:cat"}},
       "Conflicting/invalid host:port in guest forwarding rule 'tcp:1.2.3.4:80-cmd:cat'"},
      {{{"guestfwd", "tcp::80-cmd:cat"}, {"guestfwd", "tcp:10.0.2.4:80-cmd:cat"}},
       "Conflicting/invalid host:port in guest forwarding rule 'tcp:10.0.2.4:80-cmd:cat'"},
      {{{"mtu", "9000"}}, "Parameter 'mtu' expects a number from 576 to 1500, not '9000'"},
      {{{"ntp", "zz"}}, "Parameter 'ntp' expects an IP address, not 'zz'"},
      {{{"dns-server", "a:b"}}, "Parameter 'dns-server' expects ADDRESS or ADDRESS:PORT, not 'a:b'"},
      {{{"dns-record", "x"}}, "Parameter 'dns-record': 'x' has no '='"},
      {{{"dns-record", ".=1.2.3.4"}}, "Parameter 'dns-record': '.=1.2.3.4' does not begin with a domain name"},
      {{{"dns-record", "x=y"}}, "Parameter 'dns-record': 'x=y' has neither address nor type"},
      {{{"dns-record", "x=cname:*.y"}}, "Parameter 'dns-record': 'x=cname:*.y' does not end with a domain name"},
      {{{"dns-record", "x=cname:y"}}, "Parameter 'dns-record': 'y' has no record of its own, which an alias needs"},
      {{{"dhcp-lease", "52:54:00:12:34:56"}},
       "Parameter 'dhcp-lease' expects MAC=ADDRESS[=NAME], not '52:54:00:12:34:56'"},
      {{{"dhcp-lease", "52:54:00:12:34:56=10.0.3.1"}},
       "Parameter 'dhcp-lease': 10.0.3.1 is no address for a guest in this network"},
      {{{"hostfwd-listen", "never"}}, "Parameter 'hostfwd-listen' expects 'always' or 'probe', not 'never'"},
      {{{"allow", "tcp:"}}, "Parameter 'allow': 'tcp:' has no address, network, domain, host or *"},
      {{{"deny", "1.2.3.0/33"}}, "Parameter 'deny': '1.2.3.0/33' has no address, network, domain, host or *"},
      {{{"deny", "[::1"}}, "Parameter 'deny': '[::1' has no ']'"},
      {{{"deny", "*:0"}}, "Parameter 'deny': '*:0' has no port or range of ports at its end"},
      {{{"deny", "icmp:*:1"}}, "Parameter 'deny': 'icmp:*:1' has a port, which icmp has not"},
      {{{"rate-in", "fast"}}, "Parameter 'rate-in' expects bits a second from 8k to 1000G, not 'fast'"},
      {{{"rate-out", "7k"}}, "Parameter 'rate-out' expects bits a second from 8k to 1000G, not '7k'"},
      {{{"hostfwd-hold", "0"}}, "Parameter 'hostfwd-hold' expects a number from 1 to 3600, not '0'"},
  };
  for (const Case& item : cases) EXPECT_EQ(message(item.options), item.message);
}

TEST(UserOptions, AddressesFollowTheNetwork) {
  UserConfig config = parsed({});
  EXPECT_EQ(config.dhcp_start.text(), "10.0.2.15");
  config = parsed({{"net", "192.168.76.0/24"}, {"dhcpstart", "192.168.76.9"}});
  EXPECT_EQ(config.host.text(), "192.168.76.2");
  EXPECT_EQ(config.dns.text(), "192.168.76.3");
  EXPECT_EQ(config.dhcp_start.text(), "192.168.76.9");
  config = parsed({{"net", "10.1.2.0"}});
  EXPECT_EQ(config.prefix_length, 8u);
  EXPECT_EQ(config.network.text(), "10.0.0.0");
  EXPECT_EQ(config.host.text(), "10.0.2.2");
  EXPECT_EQ(parsed({{"net", "172.16.5.0"}}).prefix_length, 12u);
  EXPECT_EQ(parsed({{"net", "192.168.7.0"}}).network.text(), "192.168.0.0");
  EXPECT_EQ(parsed({{"ip", "10.0.5.0"}}).network.text(), "10.0.5.0");
  EXPECT_EQ(parsed({{"net", "10.9.0.0/255.255.0.0"}}).prefix_length, 16u);
  config = parsed({{"ipv6-net", "fd00:1::/48"}});
  EXPECT_EQ(config.host6.text(), "fd00:1::2");
  EXPECT_EQ(config.prefix6_length, 48u);
  EXPECT_FALSE(parsed({{"ipv4", "on"}}).ipv6);
  EXPECT_TRUE(parsed({{"ipv6", "off"}}).ipv4);
}

TEST(Hostfwd, Grammar) {
  struct Case {
    const char* text;
    const char* why;
  };
  const Case wrong[] = {
      {"foo", "No : separators"},
      {"xyz::1-:2", "Bad protocol name"},
      {"tcp:1", "Missing : separator"},
      {"tcp:1.2.3:1-:2", "Bad host address"},
      {"tcp::x-:2", "Bad host port"},
      {"tcp::22", "Bad host port separator"},
      {"tcp::70000-:2", "Bad host port"},
      {"tcp::1-2", "Missing guest address"},
      {"tcp::1-a:2", "Bad guest address"},
      {"tcp::1-:x", "Bad guest port"},
      {"tcp::1-:0", "Bad guest port"},
      {"tcp::1-:65536", "Bad guest port"},
      {"tcp:[::1:1-:2", "Missing : separator"},
      {"tcp:[zz]:1-:2", "Bad host address"},
      {"tcp::9..8-:2", "Bad host port"},
      {"tcp::8..-:2", "Bad host port"},
      {"tcp::0..4-:2", "Bad host port"},
      {"tcp::1..2-:65535", "Bad guest port"},
      {"tcp::1..3-:1..2", "Bad guest port"},
      {"tcp::1-[fec0::z]:2", "Bad guest address"},
      {"unix:/tmp/x", "Missing - separator"},
      {"unix:-:22", "Missing unix socket path"},
      {"unix:rel-:22", "unix socket path must be absolute"},
  };
  for (const Case& item : wrong) {
    const auto rule = parse_forward(item.text);
    ASSERT_FALSE(rule.ok()) << item.text;
    EXPECT_EQ(rule.error().message(), fmt::format("Invalid host forwarding rule '{}' ({})", item.text, item.why));
  }
  struct Right {
    const char* text;
    bool udp;
    const char* host;
    u16 host_port;
    const char* guest;
    u16 guest_port;
  };
  const Right right[] = {
      {"tcp::5555-:22", false, "0.0.0.0", 5555, "0.0.0.0", 22},
      {"udp:127.0.0.1:53-10.0.2.16:5353", true, "127.0.0.1", 53, "10.0.2.16", 5353},
      {"::5555-:22", false, "0.0.0.0", 5555, "0.0.0.0", 22},
      {":127.0.0.1:5555-:22", false, "127.0.0.1", 5555, "0.0.0.0", 22},
      {"127.0.0.1:5555-10.0.2.15:22", false, "127.0.0.1", 5555, "10.0.2.15", 22},
      {":5555-:22", false, "0.0.0.0", 5555, "0.0.0.0", 22},
      {"tcp::0-:0x16", false, "0.0.0.0", 0, "0.0.0.0", 22},
  };
  for (const Right& item : right) {
    const auto rule = parse_forward(item.text);
    ASSERT_TRUE(rule.ok()) << item.text << rule.error().message();
    EXPECT_EQ(rule->udp, item.udp);
    EXPECT_EQ(rule->host_address.text(), item.host);
    EXPECT_EQ(rule->host_port, item.host_port);
    EXPECT_EQ(rule->guest_address.text(), item.guest);
    EXPECT_EQ(rule->guest_port, item.guest_port);
  }
}

TEST(Hostfwd, WarnsOfAllInterfaces) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(parse_user_options(std::vector<OptionText>{{"hostfwd", "tcp::5022-:22"}}, warnings).ok());
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("hostfwd=tcp:127.0.0.1:5022-10.0.2.15:22"), std::string::npos);
  warnings.clear();
  ASSERT_TRUE(parse_user_options(std::vector<OptionText>{{"hostfwd", "tcp:127.0.0.1:5022-:22"}}, warnings).ok());
  EXPECT_TRUE(warnings.empty());
}

TEST(Hostfwd, BeyondQemus) {
  auto rule = parse_forward("tcp:[::1]:8080-[fec0::15]:80");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->host_address, *parse_ipv6("::1"));
  EXPECT_EQ(rule->guest_address, *parse_ipv6("fec0::15"));
  rule = parse_forward("[::1]:8080-:80");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->host_port, 8080);
  rule = parse_forward("udp:my-host.test:8000..8099-:9000..9099");
  ASSERT_TRUE(rule.ok());
  EXPECT_TRUE(rule->udp);
  EXPECT_EQ(rule->host_name, "my-host.test");
  EXPECT_EQ(rule->ports, 100);
  EXPECT_EQ(rule->guest_port, 9000);
  rule = parse_forward("tcp::1..65535-:1");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->ports, 65535);
  rule = parse_forward("unix:/run/my-vm/ssh-1.sock-10.0.2.15:22");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->unix_path, "/run/my-vm/ssh-1.sock");
  EXPECT_EQ(rule->guest_port, 22);
  EXPECT_FALSE(parse_forward("unix:/" + std::string(107, 'x') + "-:22").ok());
  EXPECT_TRUE(parse_forward("unix:/" + std::string(106, 'x') + "-:22").ok());
  EXPECT_EQ(parse_forward_removal("tcp:[::1]:80..82")->ports, 3);
  EXPECT_EQ(parse_forward_removal("unix:/a-b")->unix_path, "/a-b");
}

TEST(Guestfwd, CommandsAreSplitAsAShellDoes) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(split_command("nc 127.0.0.1  8080"), (Words{"nc", "127.0.0.1", "8080"}));
  EXPECT_EQ(split_command(R"(sh -c 'echo "a b"; cat' "x\"y\z" a\ b "")"),
            (Words{"sh", "-c", "echo \"a b\"; cat", "x\"y\\z", "a b", ""}));
  EXPECT_EQ(split_command("'open"), std::nullopt);
  EXPECT_EQ(split_command("end\\"), std::nullopt);
  EXPECT_EQ(split_command("  "), Words{});
  const auto rule = parse_guest_forward("tcp:10.0.2.100:80-cmd:nc -U /a-b");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->address.text(), "10.0.2.100");
  EXPECT_EQ(rule->command, (Words{"nc", "-U", "/a-b"}));
  EXPECT_EQ(parsed({{"guestfwd", "tcp::80-cmd:cat"}}).guest_forwards.at(0).address.text(), "10.0.2.4");
  const GuestForward direct = parsed({{"guestfwd", "tcp:10.0.2.9:80-tcp:[::1]:8080"}}).guest_forwards.at(0);
  EXPECT_EQ(direct.target.text(), "[::1]:8080");
  EXPECT_EQ(direct.device, "");
  const GuestForward named = parsed({{"guestfwd", "tcp:10.0.2.9:80-tcp:localhost:8080"}}).guest_forwards.at(0);
  EXPECT_EQ(named.target_name, "localhost");
  EXPECT_EQ(named.target.port, 8080);
  for (const char* device : {"chardev:c0", "unix:/tmp/x", "tcp:127.0.0.1:80,server=on", "tcp::80", "stdio"}) {
    const GuestForward rule = parsed({{"guestfwd", std::string("tcp:10.0.2.9:80-") + device}}).guest_forwards.at(0);
    EXPECT_EQ(rule.device, device);
    EXPECT_EQ(rule.target.port, 0);
  }
}

TEST(UserOptions, Services) {
  const UserConfig config = parsed({{"net", "192.168.5.0/24"},
                                    {"mtu", "1400"},
                                    {"dns-server", "[fd00::1]:5353"},
                                    {"dns-record", "*.Lab.Test.=192.168.5.9"},
                                    {"dns-record", "t.test=txt:a=b"},
                                    {"dhcp-lease", "52:54:00:12:34:56=192.168.5.77=web"}});
  EXPECT_EQ(config.mtu, 1400);
  EXPECT_EQ(config.smb_server.text(), "192.168.5.4");
  EXPECT_EQ(config.resolvers.at(0), (Endpoint{*parse_ipv6("fd00::1"), 5353, 0}));
  EXPECT_EQ(config.records.at(0).name, "*.lab.test");
  EXPECT_EQ(config.records.at(1).text, "a=b");
  EXPECT_EQ(config.leases.at(0).address.text(), "192.168.5.77");
  EXPECT_EQ(config.leases.at(0).name, "web");
  const auto access = parsed({{"allow", "tcp:[2001:db8::]/32:80..443"}, {"deny", "*.Example.org"}, {"rate-in", "10M"}});
  EXPECT_EQ(access.access.at(0).protocol, 6);
  EXPECT_EQ(access.access.at(0).length, 32u);
  EXPECT_EQ(access.access.at(0).last_port, 443);
  EXPECT_EQ(access.access.at(1).domain_name, "*.example.org");
  EXPECT_EQ(access.rate_in, 10'000'000u);
}

}  // namespace
}  // namespace rhea::net::user
