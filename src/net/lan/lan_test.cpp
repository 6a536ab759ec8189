// SPDX-License-Identifier: MIT
// LANs of several members in this process, over real sockets and shared memory, in a runtime folder of the test's own;
// and members that say what they like.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>

#include "core/loop.h"
#include "core/property.h"
#include "net/backend.h"
#include "net/lan/guard.h"
#include "net/lan/lan_backend.h"
#include "sys/host_socket.h"
#include "sys/named_socket.h"
#include "sys/pass_descriptor.h"
#include "sys/poller.h"
#include "sys/process.h"
#include "util/bits.h"

namespace rhea::net::lan {
namespace {

using Bytes = std::vector<u8>;

Bytes frame_to(u64 to, u64 from, usize size, u8 mark) {
  Bytes bytes(size, mark);
  for (unsigned i = 0; i < 6; ++i) bytes[i] = static_cast<u8>(to >> (40 - 8 * i));
  for (unsigned i = 0; i < 6; ++i) bytes[6 + i] = static_cast<u8>(from >> (40 - 8 * i));
  bytes[12] = 0x88;  // a type that no stack takes
  bytes[13] = 0xb5;
  return bytes;
}

constexpr u64 kAll = 0xffffffffffff;
constexpr const char* kNet = "net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,ipv6-prefix=fec0::";

class Nic final : public Port {
 public:
  Nic(u64 mac) : Port("nic0"), mac(mac) {}
  Caps caps() const override {
    return {.checksum = true, .tso4 = true, .tso6 = true, .uso = true, .max_frame = kMaxGsoFrame};
  }
  Sent send(const Frame& frame) override {
    if (busy) return Sent::busy;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    // Only the test's own: the router solicits and announces.
    if (bytes[12] == 0x88 && bytes[13] == 0xb5) got.push_back(std::move(bytes));
    offload = frame.offload;
    return Sent::taken;
  }
  void on_room() override { ++rooms; }
  std::string type() const override { return "nic"; }
  std::string info() const override { return "model=test,macaddr=" + format_mac(mac); }
  Sent emit(const Bytes& bytes, const Offload& with = {}) {
    const Piece whole{const_cast<u8*>(bytes.data()), bytes.size()};
    return send_to_peer(*this, Frame{std::span(&whole, 1), with});
  }
  u64 mac;
  bool busy = false;
  unsigned rooms = 0;
  Offload offload;
  std::deque<Bytes> got;
};

struct Machine {
  Machine(core::Loop& loop, std::string name, u64 mac) : network(loop, loop.real_clock(), log), nic(mac) {
    network.machine_name = std::move(name);
    network.on_warning = [this](const std::string& line) { warnings.push_back(line); };
    network.add_nic(&nic);
  }
  ~Machine() {
    network.remove_nic(&nic);
    Port::disconnect(nic);
  }
  std::string add(std::vector<OptionText> options = {}) {
    options.emplace_back("name", "lab");
    auto port = network.add("lan", "n0", options);
    if (!port.ok()) return port.error().message();
    Port::connect(nic, **port);
    lan = dynamic_cast<LanBackend*>(*port);
    return {};
  }
  std::string info() { return lan->info(); }
  bool knows(const std::string& name) {
    for (const auto& record : lan->router().stack().config().records)
      if (record.name == name) return true;
    return false;
  }

  Log log;
  Network network;
  Nic nic;
  LanBackend* lan = nullptr;
  std::vector<std::string> warnings;
};

class Lan : public ::testing::Test {
 protected:
  Lan() : folder_(sys::PrivateFolder::make("rhea-lan-test").take()) {
    ::setenv("XDG_RUNTIME_DIR", folder_.path().c_str(), 1);
  }
  void until(const std::function<bool()>& so, const char* what) {
    const s64 end = sys::monotonic_now() + 20 * kSecond;
    while (!so()) {
      if (sys::monotonic_now() > end) {
        ADD_FAILURE() << "never: " << what;
        return;
      }
      loop.run_once();
    }
  }
  void meet(Machine& machine, usize neighbours) {
    const std::string wanted = fmt::format("neighbours={}", neighbours);
    until([&] { return machine.info().ends_with(wanted); }, "they meet");
  }
  std::string a_socket() { return Place::open("lab").take().sockets().at(0); }

  sys::PrivateFolder folder_;
  core::Loop loop{"lan-test"};
};

TEST_F(Lan, ThreeGuests) {
  Machine a(loop, "alice", 0x525400000001), b(loop, "Bob's", 0x525400000002), c(loop, "", 0x525400000003);
  for (Machine* each : {&a, &b, &c}) ASSERT_EQ(each->add(), "");
  for (Machine* each : {&a, &b, &c}) meet(*each, 2);
  EXPECT_EQ(a.info(), "name=lab,address=10.0.2.15,guest=alice,neighbours=2");
  EXPECT_EQ(b.info(), "name=lab,address=10.0.2.16,guest=bob-s,neighbours=2");
  EXPECT_EQ(c.info(), "name=lab,address=10.0.2.17,guest=vm17,neighbours=2");
  for (const char* name : {"alice", "bob-s", "vm17"}) EXPECT_TRUE(a.knows(name) && c.knows(name));

  EXPECT_EQ(a.nic.emit(frame_to(kAll, a.nic.mac, 60, 1)), Sent::taken);
  until([&] { return b.nic.got.size() == 1 && c.nic.got.size() == 1; }, "a broadcast reaches all others");
  EXPECT_TRUE(a.nic.got.empty());
  // Where alice is is known now: what goes to her goes to her alone. With what is left undone.
  const Bytes large = frame_to(a.nic.mac, b.nic.mac, 60000, 7);
  const Offload offload{.needs_checksum = true,
                        .gso = Offload::tcp4,
                        .header_length = 54,
                        .gso_size = 1460,
                        .checksum_start = 34,
                        .checksum_offset = 16};
  EXPECT_EQ(b.nic.emit(large, offload), Sent::taken);
  until([&] { return a.nic.got.size() == 1; }, "a large segment arrives");
  EXPECT_EQ(a.nic.got[0], large);
  EXPECT_EQ(a.nic.offload.gso_size, 1460);
  EXPECT_EQ(c.nic.got.size(), 1u);
  for (Machine* each : {&a, &b, &c}) EXPECT_TRUE(each->warnings.empty());
}

TEST_F(Lan, AGuestGoesAndComesAgain) {
  Machine a(loop, "alice", 1);
  ASSERT_EQ(a.add(), "");
  {
    Machine b(loop, "bob", 2);
    ASSERT_EQ(b.add(), "");
    meet(a, 1);
    EXPECT_TRUE(a.knows("bob"));
    ASSERT_TRUE(b.network.remove("n0").ok());
  }
  meet(a, 0);
  EXPECT_FALSE(a.knows("bob"));
  // What was bob's is kept for him while there are others.
  Machine c(loop, "carol", 3), b(loop, "bob", 2);
  ASSERT_EQ(c.add(), "");
  ASSERT_EQ(b.add(), "");
  meet(a, 2);
  EXPECT_NE(c.info().find("address=10.0.2.17"), std::string::npos) << c.info();
  EXPECT_NE(b.info().find("address=10.0.2.16"), std::string::npos) << b.info();
}

TEST_F(Lan, ManyFramesBothWays) {
  Machine a(loop, "alice", 0x525400000001), b(loop, "bob", 0x525400000002);
  ASSERT_EQ(a.add(), "");
  ASSERT_EQ(b.add(), "");
  meet(a, 1);
  meet(b, 1);
  a.nic.emit(frame_to(kAll, a.nic.mac, 60, 1));
  b.nic.emit(frame_to(kAll, b.nic.mac, 60, 1));
  until([&] { return a.nic.got.size() == 1 && b.nic.got.size() == 1; }, "they know one another");
  a.nic.got.clear();
  b.nic.got.clear();
  // More than the ring holds, of all sizes, with a guest that is busy now and then.
  for (unsigned i = 0; i < 300; ++i) {
    const usize size = 60 + (i * 7919u) % 65000;
    until([&] { return a.nic.emit(frame_to(b.nic.mac, a.nic.mac, size, static_cast<u8>(i))) == Sent::taken; }, "taken");
    until([&] { return b.nic.emit(frame_to(a.nic.mac, b.nic.mac, size, static_cast<u8>(i))) == Sent::taken; }, "taken");
    b.nic.busy = i % 10 == 5;
    if (!b.nic.busy && b.nic.peer()) b.nic.peer()->on_room();
  }
  b.nic.busy = false;
  b.nic.peer()->on_room();
  until([&] { return a.nic.got.size() == 300 && b.nic.got.size() == 300; }, "all arrive");
  for (unsigned i = 0; i < 300; ++i) {
    ASSERT_EQ(b.nic.got[i], frame_to(b.nic.mac, a.nic.mac, 60 + (i * 7919u) % 65000, static_cast<u8>(i)));
    ASSERT_EQ(a.nic.got[i], frame_to(a.nic.mac, b.nic.mac, 60 + (i * 7919u) % 65000, static_cast<u8>(i)));
  }
}

TEST_F(Lan, ForwardsToAnotherGuest) {
  const auto split = split_forward("tcp:my-host:2222-web-1:22");
  ASSERT_TRUE(split);
  EXPECT_EQ(split->guest, "web-1");
  EXPECT_EQ(split->rule, "tcp:my-host:2222-:22");
  EXPECT_EQ(split_forward("udp::53-10.0.2.16:53")->guest, "10.0.2.16");
  EXPECT_FALSE(split_forward("tcp::2222-:22"));
  EXPECT_FALSE(split_forward("nonsense"));

  Machine a(loop, "alice", 1), b(loop, "bob", 2);
  ASSERT_EQ(a.add({{"hostfwd", "tcp:127.0.0.1:0-bob:22"}, {"hostfwd", "tcp:127.0.0.1:0-alice:23"}}), "");
  EXPECT_NE(a.lan->router().stack().info().find("10.0.2.15    23"), std::string::npos)
      << a.lan->router().stack().info();
  ASSERT_EQ(b.add(), "");
  const auto opened = [&] { return b.lan->router().stack().info().find("TCP[HOST_FORWARD]") != std::string::npos; };
  until(opened, "bob opens the port");
  ASSERT_TRUE(a.network.remove("n0").ok());
  until([&] { return !opened(); }, "bob closes it when alice is gone");
}

TEST_F(Lan, Refusals) {
  Machine a(loop, "alice", 1);
  EXPECT_NE(a.add({{"ipv4", "off"}}).find("a LAN needs IPv4"), std::string::npos);
  EXPECT_NE(a.add({{"hostfwd", "foo"}}).find("Invalid host forwarding rule 'foo'"), std::string::npos);
  EXPECT_NE(a.add({{"bogus", "1"}}).find("bogus"), std::string::npos);
  auto unnamed = a.network.add("lan", "n1", {});
  ASSERT_FALSE(unnamed.ok());
  EXPECT_EQ(unnamed.error().message(), "Parameter 'name' is missing");
  for (const char* bad : {"", "..", "a/b", ".hidden"}) EXPECT_FALSE(is_lan_name(bad));
}

TEST_F(Lan, OneNameOrOneNetworkTwiceIsSaid) {
  Machine a(loop, "alice", 1), b(loop, "alice", 2), c(loop, "carol", 3);
  ASSERT_EQ(a.add(), "");
  ASSERT_EQ(b.add(), "");
  meet(a, 1);
  EXPECT_NE(a.warnings.at(0).find("two guests of LAN 'lab' are named 'alice'"), std::string::npos);
  ASSERT_EQ(c.add({{"net", "10.7.0.0/24"}}), "");
  meet(a, 2);
  EXPECT_NE(a.warnings.at(1).find("guest 'carol' of LAN 'lab' has another network: net=10.7.0.0/24"),
            std::string::npos);
}

// --- hostile neighbours -------------------------------------------------------------------------------------------

// A member that is made by hand.
class Hand {
 public:
  explicit Hand(const std::string& path) {
    int error = 0;
    fd = sys::connect_packets(path, error);
    EXPECT_TRUE(fd) << sys::errno_text(error);
  }
  void say(const Bytes& packet, int along = -1) { sys::send_packet(fd.get(), packet, along); }
  // With a whole pair of rings, or what is given instead.
  void greet(usize bytes = kPairBytes, bool sealed = true) {
    file = sealed ? sys::create_sealed_memory("hand", bytes).take() : sys::create_memory_file("hand", bytes).take();
    memory = sys::map_shared(file.get(), 0, bytes, sys::Protection::read_write).take();
    say(encode({.kind = Kind::hello, .id = 42, .name = "mallory", .address = IpAddress::v4(0x0a000263), .net = kNet}),
        file.get());
  }
  bool gone() {
    Bytes buffer(4096);
    for (;;) {
      const sys::Packet packet = sys::receive_packet(fd.get(), buffer);
      if (packet.got.outcome == sys::ReadOutcome::would_wait) return false;
      if (packet.got.outcome != sys::ReadOutcome::data) return true;
    }
  }
  RingControl& control(unsigned direction) {
    return *reinterpret_cast<RingControl*>(memory.data() + direction * sizeof(RingControl));
  }
  void bell() { say({static_cast<u8>(Kind::bell)}); }
  sys::Fd fd, file;
  sys::MemoryMap memory;
};

// A tool's stream for a port of the guest, which never gets an address: the stack asks who has it.
TEST_F(Lan, DialedStreams) {
  Machine a(loop, "alice", 1);
  ASSERT_EQ(a.add(), "");
  const auto flows = [&] { return a.lan->router().stack().tcp_flows(); };
  const Bytes dial = encode({.kind = Kind::dial, .port = 22});
  int error = 0;
  sys::StreamPair pair = sys::stream_pair(error);
  ASSERT_TRUE(pair.ours);
  Hand hand(a_socket());
  hand.say(dial, pair.theirs.get());
  pair.theirs.reset();
  until([&] { return flows() == 1 && hand.gone(); }, "the stream is taken");
  EXPECT_NE(a.lan->router().stack().info().find("TCP[SYN_SENT]"), std::string::npos);
  // The client goes before the guest answers.
  pair.ours->reset_on_close();
  pair.ours.reset();
  until([&] { return flows() == 0; }, "the flow goes with its client");
  // Without a stream, or with something else.
  Hand none(a_socket()), memory(a_socket()), listener(a_socket());
  none.say(dial);
  memory.say(dial, sys::create_sealed_memory("x", 4096).take().get());
  listener.say(dial, sys::listen_packets(folder_.path() + "/x").take().get());
  for (Hand* each : {&none, &memory, &listener}) until([&] { return each->gone(); }, "it is cut off");
  EXPECT_EQ(flows(), 0u);
}

TEST_F(Lan, MessagesThatMakeNoSense) {
  Machine a(loop, "alice", 1);
  ASSERT_EQ(a.add(), "");
  const Bytes hello = encode({.kind = Kind::hello, .id = 1, .name = "x", .address = IpAddress::v4(1), .net = {}});
  Bytes wrong_version = hello, long_one = hello, bad_name = hello;
  wrong_version[1] = 9;
  long_one.push_back(0);
  bad_name[18] = '/';
  for (const Bytes& packet : {Bytes{0}, Bytes{99}, Bytes(5000, 1), wrong_version, long_one, bad_name, hello,
                              Bytes{3, 1, 'x'}, Bytes{6, '{', '}'}}) {
    Hand hand(a_socket());
    hand.say(packet);
    until([&] { return hand.gone(); }, "it is cut off");
  }
  Hand small(a_socket()), unsealed(a_socket()), none(a_socket());
  small.greet(kRingPage);
  unsealed.greet(kPairBytes, false);
  none.file = std::move(sys::descriptor_channel().take().ours);
  none.say(hello, none.file.get());
  for (Hand* hand : {&small, &unsealed, &none}) until([&] { return hand->gone(); }, "it is cut off");
  EXPECT_TRUE(a.info().ends_with("neighbours=0"));
}

TEST_F(Lan, RingsThatMakeNoSense) {
  Machine a(loop, "alice", 0x525400000001);
  ASSERT_EQ(a.add(), "");
  const auto member = [&] {
    auto hand = std::make_unique<Hand>(a_socket());
    hand->greet();
    meet(a, 1);
    return hand;
  };
  const auto is_cut_off = [&](Hand& hand) {
    hand.bell();
    until([&] { return hand.gone(); }, "it is cut off");
    meet(a, 0);
  };
  {  // a position beyond the ring, and one between frames' places
    auto hand = member();
    hand->control(0).head = kRingBytes + 16;
    is_cut_off(*hand);
  }
  {
    auto hand = member();
    hand->control(0).head = 17;
    is_cut_off(*hand);
  }
  for (const u32 size : {0u, 13u, 65u, ~0u}) {  // sizes that no frame has, or that are not there
    auto hand = member();
    store_le<u32>(hand->memory.data() + kRingPage, size);
    hand->control(0).head = 64;
    is_cut_off(*hand);
  }
  {  // an offload header that points beyond the frame
    auto hand = member();
    store_le<u32>(hand->memory.data() + kRingPage, 48);
    hand->memory.data()[kRingPage + 4] = 1;
    store_le<u16>(hand->memory.data() + kRingPage + 10, 1000);
    hand->control(0).head = 64;
    is_cut_off(*hand);
  }
  {  // a reader that has read what was not written
    auto hand = member();
    hand->control(1).tail = 1 << 30;
    EXPECT_EQ(a.nic.emit(frame_to(kAll, a.nic.mac, 60, 1)), Sent::taken);
    until([&] { return hand->gone(); }, "it is cut off");
  }
  {  // and a good one
    auto hand = member();
    RingWriter writer(hand->memory.data(), 0);
    const Bytes frame = frame_to(kAll, 0x525400000099, 60, 5);
    const Piece piece{const_cast<u8*>(frame.data()), frame.size()};
    EXPECT_EQ(writer.write(Frame{{&piece, 1}, {}}), RingResult::done);
    hand->bell();
    until([&] { return a.nic.got.size() == 1; }, "its frame arrives");
    // What only a gateway says does not.
    for (const Bytes& bad : {frame_to(kAll, 0x52550a000202, 60, 5), frame_to(kAll, 0x010000000000, 60, 5)}) {
      const Piece whole{const_cast<u8*>(bad.data()), bad.size()};
      writer.write(Frame{{&whole, 1}, {}});
    }
    writer.write(Frame{{&piece, 1}, {}});
    hand->bell();
    until([&] { return a.nic.got.size() == 2; }, "the next one arrives");
    hand->say(encode({.kind = Kind::hello, .id = 42, .name = "x", .address = IpAddress::v4(1), .net = {}}));
    until([&] { return hand->gone(); }, "who says hello twice is cut off");
  }
  EXPECT_EQ(a.warnings.size(), 9u);
  EXPECT_NE(a.warnings[0].find("guest 'mallory' of LAN 'lab' is cut off: what it wrote is no frame"),
            std::string::npos);
}

TEST_F(Lan, WhoTakesNothingHoldsNobodyUp) {
  Machine a(loop, "alice", 0x525400000001), b(loop, "bob", 0x525400000002);
  ASSERT_EQ(a.add(), "");
  ASSERT_EQ(b.add(), "");
  meet(a, 1);
  Hand hand(Place::open("lab").take().sockets().at(0));
  hand.greet();
  Hand other(Place::open("lab").take().sockets().at(1));
  other.greet();
  meet(a, 2);
  // Frames come from the hand, so that it is known; then it reads nothing.
  for (Hand* each : {&hand, &other}) {
    RingWriter writer(each->memory.data(), 0);
    const Bytes frame = frame_to(kAll, 0x525400000099, 60, 5);
    const Piece piece{const_cast<u8*>(frame.data()), frame.size()};
    writer.write(Frame{{&piece, 1}, {}});
    each->bell();
  }
  until([&] { return a.nic.got.size() == 1; }, "it is known");
  const Bytes large = frame_to(0x525400000099, a.nic.mac, 60000, 7);
  unsigned taken = 0;
  while (a.nic.emit(large) == Sent::taken) ++taken;
  EXPECT_EQ(taken, kRingBytes / 60016);
  const unsigned rooms = a.nic.rooms;
  until([&] { return a.nic.rooms > rooms; }, "the guest goes on");
  EXPECT_EQ(a.nic.emit(large), Sent::dropped);
  const usize before = b.nic.got.size();
  EXPECT_EQ(a.nic.emit(frame_to(kAll, a.nic.mac, 60, 1)), Sent::taken);
  until([&] { return b.nic.got.size() > before; }, "others get their frames");
}

TEST_F(Lan, AStrangerCannotTakeAMembersPlace) {
  Machine a(loop, "alice", 1);
  ASSERT_EQ(a.add(), "");
  // More connections that say nothing than are kept: the oldest go.
  std::vector<std::unique_ptr<Hand>> silent;
  for (usize i = 0; i < Members::kGreetings + 4; ++i) {
    silent.push_back(std::make_unique<Hand>(a_socket()));
    loop.run_once();
  }
  until([&] { return silent[0]->gone() && silent[3]->gone(); }, "the oldest are cut off");
  EXPECT_FALSE(silent.back()->gone());
  Machine b(loop, "bob", 2);
  ASSERT_EQ(b.add(), "");
  meet(a, 1);
}

TEST(LanGuard, WhatAGatewaySays) {
  const IpAddress own[] = {IpAddress::v4(0x0a000202)};
  Bytes arp = frame_to(kAll, 0x525400000002, 60, 0);
  arp[12] = 8, arp[13] = 6;
  store_be<u32>(&arp[28], 0x0a000202);
  EXPECT_TRUE(is_forgery(arp, own));
  store_be<u32>(&arp[28], 0x0a000210);
  EXPECT_FALSE(is_forgery(arp, own));
  Bytes udp = frame_to(kAll, 0x525400000002, 60, 0);
  udp[12] = 8, udp[13] = 0, udp[14] = 0x45, udp[23] = 17;
  store_be<u16>(&udp[34], 67);
  EXPECT_TRUE(is_forgery(udp, own));
  store_be<u16>(&udp[34], 68);
  EXPECT_FALSE(is_forgery(udp, own));
  Bytes advertisement = frame_to(kAll, 0x525400000002, 80, 0);
  advertisement[12] = 0x86, advertisement[13] = 0xdd, advertisement[20] = 58, advertisement[54] = 134;
  EXPECT_TRUE(is_forgery(advertisement, own));
  advertisement[54] = 135;
  EXPECT_FALSE(is_forgery(advertisement, own));
  for (usize size = 0; size < 60; ++size) is_forgery(std::span<const u8>(udp).first(size), own);
}

TEST(LanMessage, BackAndForth) {
  const Message hello{.kind = Kind::hello, .id = ~u64{0}, .name = "a-b", .address = IpAddress::v4(1), .net = "n"};
  const Message dial{.kind = Kind::dial, .port = 8080};
  EXPECT_EQ(decode(encode(dial))->port, 8080);
  EXPECT_FALSE(decode(encode({.kind = Kind::dial})));
  const auto again = decode(encode(hello));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->id, hello.id);
  EXPECT_EQ(again->name, "a-b");
  EXPECT_EQ(again->address, hello.address);
  EXPECT_EQ(label_of("  My VM (2)! "), "my-vm-2");
  EXPECT_EQ(label_of("--"), "");
}

}  // namespace
}  // namespace rhea::net::lan
