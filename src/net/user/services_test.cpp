// SPDX-License-Identifier: MIT
// TFTP, guestfwd, SMB, and how forwarded ports listen.
#include <gtest/gtest.h>

#include <filesystem>

#include "net/user/smb.h"
#include "net/user/testing.h"
#include "sys/file.h"

namespace rhea::net::user::testing {
namespace {

// A folder with files, a folder in it, and ways that lead out.
class Folder {
 public:
  Folder() : place_(sys::PrivateFolder::make("rhea-tftp-test").take()), root(place_.path() + "/root") {
    namespace fs = std::filesystem;
    fs::create_directories(root + "/sub");
    write("root/hello", bytes_of("hello\n"));
    write("root/sub/file", pattern(512 * 3));
    write("secret", bytes_of("secret"));
    fs::create_symlink("../secret", root + "/out");
    fs::create_symlink(place_.path() + "/secret", root + "/absolute");
    fs::create_symlink("../hello", root + "/sub/inside");
    fs::create_symlink("..", root + "/up");
  }
  void write(const std::string& name, const Bytes& data) {
    EXPECT_TRUE(sys::write_file(place_.path() + "/" + name, data).ok());
  }

 private:
  sys::PrivateFolder place_;

 public:
  std::string root;
};

class TftpTest : public ::testing::Test {
 protected:
  TftpTest() : net_(std::vector<OptionText>{{"tftp", folder_.root}}) {}
  void request(const std::string& name, const std::string& mode = "octet", const std::vector<std::string>& more = {},
               u8 operation = 1) {
    Bytes bytes{0, operation};
    const auto add = [&](const std::string& text) {
      bytes.insert(bytes.end(), text.begin(), text.end());
      bytes.push_back(0);
    };
    add(name);
    add(mode);
    for (const std::string& text : more) add(text);
    net_.send_udp(kGateway, 2000, 69, bytes);
  }
  void acknowledge(u16 block) { net_.send_udp(kGateway, 2000, 69, {0, 4, u8(block >> 8), u8(block)}); }
  Bytes take() {
    const Seen seen = net_.guest.take();
    EXPECT_EQ(seen.from, kGateway);
    EXPECT_EQ(seen.from_port, 69);
    EXPECT_EQ(seen.to_port, 2000);
    return seen.payload;
  }
  static Bytes error(u8 code, const std::string& text) {
    Bytes bytes{0, 5, 0, code};
    bytes.insert(bytes.end(), text.begin(), text.end());
    bytes.push_back(0);
    return bytes;
  }
  Folder folder_;
  Net net_;
};

TEST_F(TftpTest, SendsBlockByBlock) {
  request("hello");
  EXPECT_EQ(take(), (Bytes{0, 3, 0, 1, 'h', 'e', 'l', 'l', 'o', '\n'}));
  acknowledge(1);
  EXPECT_TRUE(net_.guest.empty());
  request("/sub/file", "OCTET");
  Bytes got;
  for (u16 block = 1; block <= 4; ++block) {
    const Bytes data = take();
    EXPECT_EQ(load_be<u16>(&data[2]), block);
    got.insert(got.end(), data.begin() + 4, data.end());
    EXPECT_TRUE(net_.guest.empty());
    acknowledge(block);
  }
  EXPECT_EQ(got, pattern(512 * 3));  // the fourth block is empty
  EXPECT_TRUE(net_.guest.empty());
}

TEST_F(TftpTest, NoWayOut) {
  for (const char* name : {"../secret", "sub/../../secret", "out", "absolute", "up/secret", "/../secret", "sub"}) {
    request(name);
    EXPECT_EQ(take(), error(2, "Access violation")) << name;
  }
  for (const char* name : {"none", "", "sub/none", "hello/x"}) {
    request(name);
    EXPECT_EQ(take(), error(1, "File not found")) << name;
  }
  for (const char* name : {"sub/inside", "sub/../hello"}) {
    request(name);
    EXPECT_EQ(take().at(1), 3) << name;
  }
  request("hello", "netascii");
  EXPECT_EQ(take(), error(4, "Unsupported transfer mode"));
  request("new", "octet", {}, 2);
  EXPECT_EQ(take(), error(2, "Access violation"));
  net_.send_udp(kGateway, 2000, 69, {0, 1, 'x', 'y'});
  EXPECT_EQ(take().at(1), 5);
}

TEST_F(TftpTest, Options) {
  request("sub/file", "octet", {"tsize", "0", "BLKSIZE", "700", "timeout", "3", "windowsize", "2", "odd", "x"});
  const std::string expected("\0\6tsize\0001536\0blksize\000700\0timeout\0003\0windowsize\0002\0", 48);
  const Bytes options = take();
  EXPECT_EQ(std::string(options.begin(), options.end()), expected);
  acknowledge(0);
  EXPECT_EQ(take().size(), 704u);
  EXPECT_EQ(take().size(), 704u);
  EXPECT_TRUE(net_.guest.empty());
  acknowledge(1);  // the second was lost
  EXPECT_EQ(load_be<u16>(&take()[2]), 2);
  EXPECT_EQ(take().size(), 4u + 136);
  acknowledge(3);
  net_.loop.advance(10 * kSecond);
  EXPECT_TRUE(net_.guest.empty());
  request("hello", "octet", {"blksize", "65464"});
  const Bytes largest = take();
  EXPECT_EQ(std::string(largest.begin() + 2, largest.end()), std::string("blksize\0001468\0", 13));
}

TEST_F(TftpTest, SendsAgainUntilItIsHeard) {
  request("hello");
  for (unsigned i = 0; i < 5; ++i) {
    EXPECT_EQ(take().at(3), 1);
    net_.loop.advance(1100 * kMillisecond);
  }
  acknowledge(0);  // an old one
  acknowledge(5);  // of what was never sent
  net_.guest.frames.clear();
  net_.guest.offloads.clear();
  net_.loop.advance(100 * kSecond);
  while (!net_.guest.empty()) EXPECT_EQ(take().at(3), 1);
  acknowledge(1);
  net_.loop.advance(10 * kSecond);
  EXPECT_TRUE(net_.guest.empty());
}

TEST_F(TftpTest, LargeFilesGoRoundTheBlockNumbers) {
  folder_.write("root/large", pattern(8 * 65600));
  request("large", "octet", {"blksize", "8", "windowsize", "64"});
  take();
  acknowledge(0);
  Bytes got;
  u64 block = 0;
  while (block < 65601) {
    const Bytes data = take();
    EXPECT_EQ(load_be<u16>(&data[2]), static_cast<u16>(++block));
    got.insert(got.end(), data.begin() + 4, data.end());
    if (net_.guest.empty()) acknowledge(static_cast<u16>(block));
  }
  EXPECT_EQ(got, pattern(8 * 65600));
}

TEST(Tftp, OffIsNoAccess) {
  Net net;
  net.send_udp(kGateway, 2000, 69, {0, 1, 'x', 0, 'o', 'c', 't', 'e', 't', 0});
  EXPECT_EQ(net.guest.take().payload.at(3), 2);
  EXPECT_TRUE(net.sockets->wires.empty());
}

Bytes segment(u16 from, u16 to, u8 flags, u32 seq, u32 ack, const Bytes& data = {}) {
  Bytes bytes(kTcpHeader);
  store_be<u16>(&bytes[0], from);
  store_be<u16>(&bytes[2], to);
  store_be<u32>(&bytes[4], seq);
  store_be<u32>(&bytes[8], ack);
  bytes[12] = 0x50;
  bytes[13] = flags;
  store_be<u16>(&bytes[14], 60000);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

const IpAddress kService = IpAddress::v4(0x0a000264);

TEST(Guestfwd, AProgramForEachConnection) {
  Net net(std::vector<OptionText>{{"restrict", "on"}, {"guestfwd", "tcp:10.0.2.100:80-cmd:cat -u"}});
  net.send_ip(kService, kTcp, segment(4000, 80, kSyn, 100, 0));
  ASSERT_EQ(net.sockets->wires.size(), 1u);
  EXPECT_EQ(net.last().words, (std::vector<std::string>{"cat", "-u"}));
  const Seen answer = net.guest.take();
  EXPECT_EQ(answer.flags, kSyn | kAck);
  EXPECT_EQ(answer.from, kService);
  net.send_ip(kService, kTcp, segment(4000, 80, kAck | kPsh, 101, answer.seq + 1, bytes_of("ask")));
  EXPECT_EQ(net.last().sent, bytes_of("ask"));
  net.last().receive_queue = bytes_of("told");
  net.event(net.last(), kSocketReadable);
  Bytes told;
  while (!net.guest.empty()) {
    const Seen seen = net.guest.take();
    told.insert(told.end(), seen.payload.begin(), seen.payload.end());
  }
  EXPECT_EQ(told, bytes_of("told"));
  // Another port there is refused, as is everything else for a restricted guest.
  net.send_ip(kService, kTcp, segment(4001, 81, kSyn, 100, 0));
  EXPECT_EQ(net.guest.take().flags, kRst | kAck);
  net.send_ip(kGateway, kTcp, segment(4001, 80, kSyn, 100, 0));
  EXPECT_EQ(net.guest.take().flags, kRst | kAck);
}

TEST(Guestfwd, AProgramThatCannotStartIsARefusalAndSaid) {
  Net net(std::vector<OptionText>{{"guestfwd", "tcp:10.0.2.100:80-cmd:nonesuch"}});
  net.sockets->refuse_start = true;
  net.send_ip(kService, kTcp, segment(4000, 80, kSyn, 100, 0));
  EXPECT_EQ(net.guest.take().flags, kRst | kAck);
  ASSERT_EQ(net.warnings.size(), 1u);
  EXPECT_EQ(net.warnings[0], "guestfwd=tcp:10.0.2.100:80-cmd:nonesuch: no such program");
  EXPECT_EQ(net.stack().tcp_flows(), 0u);
}

TEST(Guestfwd, AConnectionEachTime) {
  Net net(std::vector<OptionText>{{"restrict", "on"}, {"guestfwd", "tcp:10.0.2.100:80-tcp:127.0.0.1:8080"}});
  net.send_ip(kService, kTcp, segment(4000, 80, kSyn, 100, 0));
  ASSERT_EQ(net.sockets->wires.size(), 1u);
  EXPECT_EQ(net.last().to.text(), "127.0.0.1:8080");
  net.event(net.last(), kSocketWritable);
  EXPECT_EQ(net.guest.take().flags, kSyn | kAck);
  Net nowhere(std::vector<OptionText>{{"guestfwd", "tcp:10.0.2.100:80-tcp:nonesuch.test:8080"}});
  nowhere.stack().look_up_names();
  nowhere.send_ip(kService, kTcp, segment(4000, 80, kSyn, 100, 0));
  EXPECT_EQ(nowhere.guest.take().flags, kRst | kAck);
  ASSERT_EQ(nowhere.warnings.size(), 2u);
  EXPECT_EQ(nowhere.warnings[0],
            "guestfwd=tcp:10.0.2.100:80-tcp:nonesuch.test:8080: no address of 'nonesuch.test' is known");
}

class FakeLine final : public ByteLine {
 public:
  FakeLine(Bytes& written, usize& waiting) : written_(written), waiting_(waiting) {}
  void write(std::vector<u8> data) override { written_.insert(written_.end(), data.begin(), data.end()); }
  usize waiting() const override { return waiting_; }

 private:
  Bytes& written_;
  usize& waiting_;
};

TEST(Guestfwd, ADeviceThatConnectionsShare) {
  Net net(std::vector<OptionText>{{"guestfwd", "tcp:10.0.2.100:80-chardev:c0"}});
  Bytes written;
  usize waiting = 0;
  std::function<void(std::span<const u8>)> says;
  const OpenDevice none;
  EXPECT_EQ(net.stack().open_devices(none).error().message(),
            "Could not open guest forwarding device 'guestfwd.tcp.80': there are no character devices");
  ASSERT_TRUE(
      net.stack()
          .open_devices([&](const std::string& device, const std::string& id,
                            std::function<void(std::span<const u8>)> on_data) -> Result<std::unique_ptr<ByteLine>> {
            EXPECT_EQ(device, "chardev:c0");
            EXPECT_EQ(id, "guestfwd.tcp.80");
            says = std::move(on_data);
            return std::unique_ptr<ByteLine>(std::make_unique<FakeLine>(written, waiting));
          })
          .ok());
  says(bytes_of("kept"));  // before anybody has connected
  net.send_ip(kService, kTcp, segment(4000, 80, kSyn, 100, 0));
  const Seen answer = net.guest.take();
  EXPECT_EQ(answer.flags, kSyn | kAck);
  ASSERT_EQ(net.sockets->wires.size(), 2u);
  testing::Wire& guests = *net.sockets->wires[0];
  testing::Wire& devices = *net.sockets->wires[1];
  EXPECT_EQ(devices.sent, bytes_of("kept"));
  waiting = usize{2} << 20;  // the device is slow: what the guest says waits
  net.send_ip(kService, kTcp, segment(4000, 80, kAck | kPsh, 101, answer.seq + 1, bytes_of("ask")));
  EXPECT_EQ(guests.sent, bytes_of("ask"));
  net.event(devices, kSocketReadable);
  EXPECT_TRUE(written.empty());
  waiting = 0;
  net.loop.advance(10 * kMillisecond);
  EXPECT_EQ(written, bytes_of("ask"));
  // The next connection takes the device over.
  net.send_ip(kService, kTcp, segment(4001, 80, kSyn, 100, 0));
  ASSERT_EQ(net.sockets->wires.size(), 4u);
  EXPECT_EQ(devices.socket, nullptr);
  says(bytes_of("new"));
  EXPECT_EQ(net.sockets->wires[3]->sent, bytes_of("new"));
}

TEST(Smb, ConfigurationAndRefusals) {
  const std::string text = SmbShare::configuration("/srv/x", "/tmp/place", "someone");
  for (const char* line : {"[qemu]\npath = /srv/x\n", "force user = someone\n", "pid directory = /tmp/place\n",
                           "bind interfaces only = yes\n", "guest ok = yes\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line;
  if (!sys::is_executable("/usr/sbin/smbd")) {
    EXPECT_EQ(SmbShare::make("/tmp").error().message(), "Could not find '/usr/sbin/smbd', please install it");
  } else {
    EXPECT_EQ(SmbShare::make("/nonexistent").error().message(),
              "Error accessing shared directory '/nonexistent': No such file or directory");
  }
}

void learn(Net& net) {
  net.send_udp(kGateway, 9, 9, {});
  while (!net.guest.empty()) net.guest.take();
}

TEST(Forwards, RangesNamesAndPaths) {
  Net net;
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("tcp:127.0.0.1:8000..8009-:9000")).ok());
  ASSERT_EQ(net.sockets->wires.size(), 10u);
  EXPECT_EQ(net.wire(9).bound.port, 8009);
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("tcp:both.test:80-:80")).ok());
  ASSERT_EQ(net.sockets->wires.size(), 12u);
  EXPECT_TRUE(net.wire(11).v6);
  auto refused = net.stack().add_forward(*parse_forward("tcp:none.test:80-:80"));
  EXPECT_EQ(refused.error().message(),
            "Could not set up host forwarding rule 'tcp:none.test:80-:80': no address of 'none.test' is known");
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("unix:/run/a-b-:22")).ok());
  EXPECT_EQ(net.last().path, "/run/a-b");
  EXPECT_NE(net.backend->info_usernet(-1).find("unix:/run/a-b"), std::string::npos);
  EXPECT_TRUE(net.stack().remove_forward(*parse_forward_removal("tcp:127.0.0.1:8003..8004")));
  EXPECT_EQ(net.wire(3).socket, nullptr);
  EXPECT_NE(net.wire(5).socket, nullptr);
  EXPECT_TRUE(net.stack().remove_forward(*parse_forward_removal("unix:/run/a-b")));
  EXPECT_FALSE(net.stack().remove_forward(*parse_forward_removal("unix:/run/a-b")));
}

TEST(Forwards, OneOfARangeThatIsTakenUndoesTheOthers) {
  Net net;
  net.sockets->next_error = EADDRINUSE;
  const auto refused = net.stack().add_forward(*parse_forward("tcp:127.0.0.1:8000..8009-:9000"));
  EXPECT_EQ(refused.error().message(),
            "Could not set up host forwarding rule 'tcp:127.0.0.1:8000..8009-:9000': Address already in use");
  EXPECT_NE(refused.error().hint().find("TCP port 8000"), std::string::npos);
  for (const auto& wire : net.sockets->wires) EXPECT_EQ(wire->socket, nullptr);
}

// A client over IPv6 of a guest that has IPv4: the gateway is its peer.
TEST(Forwards, ClientsOfTheOtherFamilyAreTheGateway) {
  Net net;
  learn(net);
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("tcp:[::]:8000-:80")).ok());
  Wire& port = net.last();
  auto client = std::make_shared<Wire>();
  port.pending.push_back({client, {*parse_ipv6("2001:db8::9"), 40000, 0}});
  net.event(port, kSocketReadable);
  const Seen syn = net.guest.take();
  EXPECT_EQ(syn.flags, kSyn);
  EXPECT_EQ(syn.from, kGateway);
  EXPECT_EQ(syn.from_port, 40000);
}

TEST(Forwards, AClientIsHeldAsLongAsSaid) {
  Net net(std::vector<OptionText>{{"hostfwd-hold", "20"}});
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("tcp:127.0.0.1:8000-:80")).ok());
  Wire& port = net.last();
  auto client = std::make_shared<Wire>();
  port.pending.push_back({client, {IpAddress::v4(0x7f000001), 40000, 0}});
  net.event(port, kSocketReadable);  // nobody knows the guest: it boots
  net.loop.advance(19 * kSecond);
  EXPECT_NE(client->socket, nullptr);
  net.loop.advance(2 * kSecond);
  EXPECT_EQ(client->socket, nullptr);
  EXPECT_TRUE(client->reset);
}

TEST(Forwards, ProbedPortsListenWhileTheGuestDoes) {
  Net net(std::vector<OptionText>{{"hostfwd-listen", "probe"}});
  learn(net);
  ASSERT_TRUE(net.stack().add_forward(*parse_forward("tcp:127.0.0.1:8000-:80")).ok());
  net.loop.settle();
  EXPECT_EQ(net.last().bound.port, 8000);
  EXPECT_FALSE(net.last().listening);
  const auto answer = [&](u8 flags) {
    const Seen probe = net.guest.take();
    EXPECT_EQ(probe.flags, kSyn);
    EXPECT_EQ(probe.to_port, 80);
    net.send_ip(probe.from, kTcp, segment(80, probe.from_port, flags, 1, probe.seq + 1));
    if (flags & kRst) return;
    const Seen reset = net.guest.take();
    EXPECT_EQ(reset.flags, kRst);
    EXPECT_EQ(reset.seq, probe.seq + 1);
  };
  answer(kRst | kAck);
  EXPECT_FALSE(net.last().listening);
  net.loop.advance(2100 * kMillisecond);
  answer(kSyn | kAck);
  EXPECT_TRUE(net.last().listening);
  EXPECT_NE(net.backend->info_usernet(-1).find("TCP[HOST_FORWARD]"), std::string::npos);
  net.loop.advance(2100 * kMillisecond);
  answer(kRst | kAck);
  EXPECT_FALSE(net.last().listening);
  EXPECT_NE(net.last().socket, nullptr);  // the port stays ours
  EXPECT_NE(net.backend->info_usernet(-1).find("TCP[FORWARD_CLOSED]"), std::string::npos);
  // A guest that says nothing is asked twice.
  net.loop.advance(2100 * kMillisecond);
  net.guest.take();
  net.loop.advance(10 * kSecond);
  EXPECT_FALSE(net.last().listening);
  EXPECT_EQ(net.stack().tcp_flows(), 1u);  // the probe of now
}

using Rules = std::vector<OptionText>;

TEST(Policy, TheFirstRuleThatFitsDecides) {
  Net net(Rules{{"deny", "93.184.216.34"}, {"allow", "tcp:93.184.216.0/24:80..90"}, {"allow", "host"}});
  const auto syn = [&](const IpAddress& to, u16 port) {
    const usize before = net.sockets->wires.size();
    net.send_ip(to, kTcp, segment(static_cast<u16>(4000 + before), port, kSyn, 100, 0));
    if (net.sockets->wires.size() > before) return true;
    const Seen error = net.guest.take();
    EXPECT_EQ(error.protocol, kIcmp);
    EXPECT_EQ(error.payload.at(1), 13);  // administratively prohibited
    return false;
  };
  EXPECT_FALSE(syn(kOutside, 80));
  EXPECT_TRUE(syn(IpAddress::v4(0x5db8d823), 80));
  EXPECT_TRUE(syn(IpAddress::v4(0x5db8d823), 90));
  EXPECT_FALSE(syn(IpAddress::v4(0x5db8d823), 91));
  EXPECT_FALSE(syn(IpAddress::v4(0x01020304), 80));
  EXPECT_TRUE(syn(kGateway, 22));
  net.send_udp(IpAddress::v4(0x5db8d823), 5000, 80, bytes_of("x"));
  EXPECT_EQ(net.guest.take().payload.at(1), 13);
  net.send_udp(kGateway, 5000, 80, bytes_of("x"));
  EXPECT_EQ(net.last().sent_to.size(), 1u);
  net.send_udp(kNameServer, 5001, 53, {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1});
  EXPECT_EQ(net.last().sent_to.at(0).first.port, 53);  // names may be asked for
  const auto blocked = net.stack().blocked_list();
  ASSERT_EQ(blocked.size(), 4u);
  EXPECT_EQ(blocked[0].what, "tcp 93.184.216.34:80");
  EXPECT_EQ(blocked[0].rule, "deny=93.184.216.34");
  EXPECT_EQ(blocked[3].what, "udp 93.184.216.35:80");
  EXPECT_EQ(blocked[3].rule, "");
  EXPECT_EQ(blocked[3].times, 1u);
}

TEST(Policy, DomainsPinTheAddressesOfTheirAnswers) {
  Net net(Rules{{"allow", "*.good.test"}});
  const auto ask = [&](const std::string& first) {
    Bytes query{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, static_cast<u8>(first.size())};
    query.insert(query.end(), first.begin(), first.end());
    const Bytes rest{4, 'g', 'o', 'o', 'd', 4, 't', 'e', 's', 't', 0, 0, 1, 0, 1};
    query.insert(query.end(), rest.begin(), rest.end());
    net.send_udp(kNameServer, 3333, 53, query);
  };
  net.send_udp(kNameServer, 3334, 53, {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'b', 'a', 'd', 0, 0, 1, 0, 1});
  EXPECT_EQ(net.guest.take().payload.at(3) & 15, 5);  // refused
  EXPECT_TRUE(net.sockets->wires.empty());
  ask("www");
  ASSERT_EQ(net.sockets->wires.size(), 1u);
  Wire& wire = net.last();
  Bytes answer = wire.sent_to.at(0).second;
  answer[2] |= 0x80;
  answer[7] = 1;
  const Bytes record{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 93, 184, 216, 34};
  answer.insert(answer.end(), record.begin(), record.end());
  const auto connects = [&](u16 from) {
    const usize before = net.sockets->wires.size();
    net.send_ip(kOutside, kTcp, segment(from, 80, kSyn, 100, 0));
    return net.sockets->wires.size() > before;
  };
  EXPECT_FALSE(connects(4000));
  wire.datagrams.push_back({wire.sent_to[0].first, answer});
  net.event(wire, kSocketReadable);
  EXPECT_TRUE(connects(4001));
  net.loop.advance(89 * kSecond);
  EXPECT_TRUE(connects(4002));
  net.loop.advance(2 * kSecond);  // 30 seconds and a minute
  EXPECT_FALSE(connects(4003));
  EXPECT_EQ(net.stack().blocked_list().at(0).what, "name bad");
}

TEST(Policy, AnswersThatMakeNoSense) {
  EXPECT_FALSE(parse_dns_answer(Bytes{}).has_value());
  EXPECT_FALSE(parse_dns_answer(Bytes(12)).has_value());
  Bytes loop{0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1, 0xc0};
  EXPECT_FALSE(parse_dns_answer(loop).has_value());
}

TEST(Rates, DatagramsBeyondTheRateAreNotSent) {
  Net net(Rules{{"rate-out", "80k"}});  // 10,000 bytes a second and a small burst
  for (unsigned i = 0; i < 100; ++i) net.send_udp(kOutside, 5000, 6000, pattern(1000));
  const usize first = net.last().sent_to.size();
  EXPECT_GE(first, 1u);
  EXPECT_LE(first, 6u);
  net.loop.advance(kSecond);
  for (unsigned i = 0; i < 100; ++i) net.send_udp(kOutside, 5000, 6000, pattern(1000));
  EXPECT_GT(net.last().sent_to.size(), first);
  EXPECT_LE(net.last().sent_to.size(), 16u);
}

TEST(Rates, TowardsTheGuestTheHostsQueueWaits) {
  Net net(Rules{{"rate-in", "80k"}});
  net.send_udp(kOutside, 5000, 6000, bytes_of("x"));
  Wire& wire = net.last();
  for (unsigned i = 0; i < 40; ++i) wire.datagrams.push_back({{kOutside, 6000, 0}, pattern(1000)});
  net.event(wire, kSocketReadable);
  EXPECT_LE(net.guest.frames.size(), 6u);
  net.loop.advance(kSecond);
  EXPECT_GE(net.guest.frames.size(), 8u);
  EXPECT_LE(net.guest.frames.size(), 17u);
  net.loop.advance(10 * kSecond);
  EXPECT_EQ(net.guest.frames.size(), 40u);
}

TEST(Metrics, ACounterForWhatHappened) {
  Net net(Rules{{"metrics", "/run/x.sock"}});
  ASSERT_TRUE(net.stack().open_metrics("n0").ok());
  Wire& listener = net.last();
  EXPECT_EQ(listener.path, "/run/x.sock");
  net.send_udp(kOutside, 5000, 6000, bytes_of("x"));
  auto client = std::make_shared<Wire>();
  listener.pending.push_back({client, {}});
  net.event(listener, kSocketReadable);
  client->receive_queue = bytes_of("GET /metrics HTTP/1.1\r\n\r\n");
  net.event(*client, kSocketReadable);
  const std::string answer(client->sent.begin(), client->sent.end());
  EXPECT_TRUE(answer.starts_with("HTTP/1.0 200 OK\r\n"));
  EXPECT_NE(answer.find("\nrhea_usernet_udp_datagrams_to_host_total{netdev=\"n0\"} 1\n"), std::string::npos) << answer;
  EXPECT_TRUE(client->shut_down);
  client->end = true;
  net.event(*client, kSocketHangup);
  EXPECT_EQ(client->socket, nullptr);
}

// The guest's FIN comes again because our acknowledgement of it was lost: it is no reason for a reset.
TEST(Tcp, TheEndOfAConnectionIsAcknowledgedAgain) {
  Net net;
  net.send_ip(kGateway, kTcp, segment(4000, 80, kSyn, 100, 0));
  Wire& wire = net.last();
  net.event(wire, kSocketWritable);
  const u32 next = net.guest.take().seq + 1;
  net.send_ip(kGateway, kTcp, segment(4000, 80, kAck, 101, next));
  wire.end = true;
  net.event(wire, kSocketReadable | kSocketHangup);
  while (!net.guest.empty()) net.guest.take();
  const Bytes fin = segment(4000, 80, kFin | kAck, 101, next + 1);
  net.send_ip(kGateway, kTcp, fin);
  EXPECT_EQ(net.stack().tcp_flows(), 0u);
  EXPECT_EQ(net.guest.take().ack, 102u);
  net.send_ip(kGateway, kTcp, fin);
  const Seen again = net.guest.take();
  EXPECT_EQ(again.flags, kAck);
  EXPECT_EQ(again.ack, 102u);
  EXPECT_EQ(again.seq, next + 1);
  net.send_ip(kGateway, kTcp, segment(4000, 80, kAck, 102, next + 1));
  EXPECT_TRUE(net.guest.empty());
  net.send_ip(kGateway, kTcp, segment(4000, 80, kSyn, 500, 0));  // the port is free at once
  EXPECT_EQ(net.stack().tcp_flows(), 1u);
  net.event(net.last(), kSocketWritable);
  EXPECT_EQ(net.guest.take().ack, 501u);
  net.loop.advance(5 * kSecond);
  net.send_ip(kGateway, kTcp, segment(4001, 80, kFin | kAck, 101, next + 1));
  while (net.guest.frames.size() > 1) net.guest.take();
  EXPECT_EQ(net.guest.take().flags, kRst);
}

}  // namespace
}  // namespace rhea::net::user::testing
