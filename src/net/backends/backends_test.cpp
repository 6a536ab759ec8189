// SPDX-License-Identifier: MIT
// Backends between processes, over real sockets of this host (loopback and unix only) and a real loop.
#include <gtest/gtest.h>

#include <deque>

#include "core/loop.h"
#include "net/backend.h"
#include "net/backends/frame_decoder.h"
#include "net/backends/options.h"
#include "sys/frame_socket.h"
#include "sys/process.h"
#include "util/bits.h"

namespace rhea::net {
namespace {

using Bytes = std::vector<u8>;

Bytes frame_of(usize size, u8 mark) {
  Bytes bytes(size, mark);
  for (usize i = 0; i < 6 && i < size; ++i) bytes[i] = 0xff;
  return bytes;
}

class Nic final : public Port {
 public:
  explicit Nic(std::string name, std::string mac = "52:54:00:12:34:56") : Port(std::move(name)), mac_(std::move(mac)) {}
  Caps caps() const override { return {.max_frame = kMaxGsoFrame}; }
  Sent send(const Frame& frame) override {
    if (busy) return Sent::busy;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    got.push_back(std::move(bytes));
    return Sent::taken;
  }
  void on_room() override { ++rooms; }
  std::string type() const override { return "nic"; }
  std::string info() const override { return "model=test,macaddr=" + mac_; }
  Sent emit(const Bytes& bytes) {
    const Piece whole{const_cast<u8*>(bytes.data()), bytes.size()};
    return send_to_peer(*this, Frame{std::span(&whole, 1), {}});
  }
  bool busy = false;
  unsigned rooms = 0;
  std::deque<Bytes> got;

 private:
  std::string mac_;
};

// A machine's network with one NIC on one backend.
struct Machine {
  explicit Machine(core::Loop& loop, const std::string& mac = "52:54:00:12:34:56")
      : network(loop, *clock_of(loop), log), nic("nic0", mac) {
    network.on_warning = [this](const std::string& line) { warnings.push_back(line); };
    network.on_event = [this](const std::string& name, const std::string& data) {
      events.push_back(name + " " + data);
    };
    network.add_nic(&nic);
  }
  ~Machine() {
    network.remove_nic(&nic);
    Port::disconnect(nic);
  }
  static Clock* clock_of(core::Loop& loop) { return &loop.real_clock(); }

  std::string add(const std::string& type, std::vector<OptionText> options) {
    auto port = network.add(type, "n0", options);
    if (!port.ok()) return port.error().message();
    Port::connect(nic, **port);
    return {};
  }
  std::string info() { return network.find("n0")->info(); }

  Log log;
  Network network;
  Nic nic;
  std::vector<std::string> warnings, events;
};

class Backends : public ::testing::Test {
 protected:
  // Turns the loop until it is so; fails when it never is.
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
  void exchange(Machine& a, Machine& b) {
    const auto crosses = [&](Machine& from, Machine& to, const Bytes& frame) {
      to.nic.got.clear();
      until([&] { return from.nic.emit(frame) == Sent::taken; }, "taken");
      until([&] { return !to.nic.got.empty(); }, "arrived");
      if (!to.nic.got.empty()) { EXPECT_EQ(to.nic.got.front(), frame); }
    };
    crosses(a, b, frame_of(60, 1));
    crosses(b, a, frame_of(1514, 2));
    crosses(a, b, frame_of(9014, 3));
  }
  std::string path(const char* name) { return folder.path() + "/" + name; }

  core::Loop loop{"test"};
  sys::PrivateFolder folder = sys::PrivateFolder::make("rhea-backends-test").take();
};

TEST(FrameDecoder, TakesAStreamInPieces) {
  Bytes stream;
  for (const usize size : {usize{60}, usize{0}, usize{1514}, FrameDecoder::kLargest}) {
    u8 head[4];
    store_be<u32>(head, static_cast<u32>(size));
    stream.insert(stream.end(), head, head + 4);
    stream.resize(stream.size() + size, static_cast<u8>(size));
  }
  for (const usize step : {usize{1}, usize{7}, usize{1000}, stream.size()}) {
    FrameDecoder decoder;
    std::vector<usize> sizes;
    for (usize at = 0; at < stream.size();) {
      const std::span<u8> room = decoder.room();
      const usize part = std::min({step, room.size(), stream.size() - at});
      ASSERT_GT(part, 0u);
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(at), part, room.begin());
      decoder.filled(part);
      at += part;
      DecodedFrame frame;
      while (decoder.next(frame) == FrameDecoder::Step::frame) {
        sizes.push_back(frame.bytes.size());
        for (const u8 byte : frame.bytes) ASSERT_EQ(byte, static_cast<u8>(frame.bytes.size()));
      }
    }
    EXPECT_EQ(sizes, (std::vector<usize>{60, 0, 1514, FrameDecoder::kLargest}));
    EXPECT_EQ(decoder.begun(), 0u);
  }
}

TEST(FrameDecoder, ALengthThatIsTooLargeEndsIt) {
  FrameDecoder decoder;
  store_be<u32>(decoder.room().data(), static_cast<u32>(FrameDecoder::kLargest + 1));
  decoder.filled(4);
  DecodedFrame frame;
  EXPECT_EQ(decoder.next(frame), FrameDecoder::Step::broken);
  EXPECT_EQ(decoder.next(frame), FrameDecoder::Step::broken);
  EXPECT_EQ(decoder.bad_length(), FrameDecoder::kLargest + 1);
}

TEST(FrameDecoder, OffloadHeadersGoBothWays) {
  const Offload offload{.needs_checksum = true,
                        .gso = Offload::tcp4,
                        .ecn = true,
                        .header_length = 54,
                        .gso_size = 1448,
                        .checksum_start = 34,
                        .checksum_offset = 16};
  u8 raw[kVnetHeader];
  write_vnet_header(offload, raw);
  Offload back;
  ASSERT_TRUE(read_vnet_header(raw, 100, back));
  EXPECT_TRUE(back.needs_checksum && back.ecn);
  EXPECT_EQ(back.gso, Offload::tcp4);
  EXPECT_EQ(back.gso_size, 1448);
  EXPECT_EQ(back.checksum_start, 34);
  EXPECT_FALSE(read_vnet_header(raw, 51, back));  // the checksum would lie outside
  raw[1] = 9;
  EXPECT_FALSE(read_vnet_header(raw, 100, back));
}

TEST_F(Backends, SocketListensAndConnects) {
  Machine a(loop), b(loop, "52:54:00:12:34:57");
  ASSERT_EQ(a.add("socket", {{"listen", "127.0.0.1:0"}}), "");
  const std::string where = a.info().substr(a.info().rfind(' ') + 1);
  ASSERT_EQ(b.add("socket", {{"connect", where}}), "");
  until([&] { return b.info() == "socket: connect to " + where; }, "connected");
  until([&] { return a.info().starts_with("socket: connection from 127.0.0.1:"); }, "accepted");
  exchange(a, b);
  EXPECT_TRUE(a.events.empty());
  EXPECT_TRUE(a.network.take_warnings().empty());
}

TEST_F(Backends, AClientWaitsForItsServerAndComesBack) {
  Machine b(loop, "52:54:00:12:34:57");
  const std::vector<OptionText> address = {{"addr.type", "unix"}, {"addr.path", path("s")}};
  std::vector<OptionText> server = address, client = address;
  server.emplace_back("server", "on");
  client.emplace_back("reconnect-ms", "1");
  ASSERT_EQ(b.add("stream", client), "");
  EXPECT_EQ(b.nic.emit(frame_of(60, 1)), Sent::dropped);
  ASSERT_EQ(b.warnings.size(), 1u);
  EXPECT_NE(b.warnings[0].find("trying again"), std::string::npos) << b.warnings[0];
  for (unsigned i = 1; i <= 2; ++i) {
    Machine a(loop);
    ASSERT_EQ(a.add("stream", server), "");
    until([&] { return b.info() == "unix:" + path("s"); }, "connected");
    exchange(a, b);
    EXPECT_EQ(a.events.at(0), "NETDEV_STREAM_CONNECTED {\"netdev-id\": \"n0\", \"addr\": {\"path\": \"" + path("s") +
                                  "\", \"type\": \"unix\"}}");
    EXPECT_EQ(b.events.size(), 2 * i - 1);
  }
  until([&] { return b.events.size() == 4; }, "told of the end");
  EXPECT_EQ(b.events[3], "NETDEV_STREAM_DISCONNECTED {\"netdev-id\": \"n0\"}");
}

TEST_F(Backends, AServerTakesOneClientAfterTheOther) {
  Machine a(loop);
  ASSERT_EQ(a.add("stream", {{"server", "on"}, {"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  sys::SocketName name;
  name.family = sys::SocketName::Family::unix_path;
  name.path = path("s");
  sys::Fd first = sys::connect_stream(name).take(), second = sys::connect_stream(name).take();
  until([&] { return a.events.size() == 1; }, "the first");
  const u8 hello[] = {0, 0, 0, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
  sys::send_now(second.get(), hello);
  sys::send_now(first.get(), std::span(hello).first(10));  // half a frame, and gone
  for (int i = 0; i < 20; ++i) loop.run_once();
  EXPECT_TRUE(a.nic.got.empty());
  first.reset();
  until([&] { return a.nic.got.size() == 1; }, "the second's frame");
  ASSERT_EQ(a.warnings.size(), 1u);
  EXPECT_NE(a.warnings[0].find("in the middle of a frame"), std::string::npos);
}

TEST_F(Backends, ALengthThatNobodySendsEndsTheConnection) {
  Machine a(loop);
  ASSERT_EQ(a.add("stream", {{"server", "on"}, {"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  sys::SocketName name;
  name.family = sys::SocketName::Family::unix_path;
  name.path = path("s");
  const sys::Fd client = sys::connect_stream(name).take();
  const u8 text[] = "GET / HTTP/1.0\r\n\r\n";
  sys::send_now(client.get(), text);
  until([&] { return a.events.size() == 2; }, "refused");
  ASSERT_EQ(a.warnings.size(), 1u);
  EXPECT_NE(a.warnings[0].find("1195725856 bytes was announced"), std::string::npos) << a.warnings[0];
  EXPECT_EQ(a.info(), "listening on " + path("s"));
}

TEST_F(Backends, ABusyGuestHoldsUpTheOtherSide) {
  Machine a(loop), b(loop, "52:54:00:12:34:57");
  ASSERT_EQ(a.add("stream", {{"server", "on"}, {"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  ASSERT_EQ(b.add("stream", {{"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  until([&] { return a.events.size() == 1; }, "connected");
  b.nic.busy = true;
  unsigned sent = 0;
  for (bool waits = false; !waits && sent < 5000;) {
    switch (a.nic.emit(frame_of(9000, static_cast<u8>(sent)))) {
      case Sent::taken: ++sent; break;
      default: waits = true; break;
    }
    loop.run_once();
  }
  ASSERT_LT(sent, 5000u);
  EXPECT_EQ(a.nic.rooms, 1u);  // at the connection
  b.nic.busy = false;
  b.network.find("n0")->on_room();
  until([&] { return b.nic.got.size() == sent && a.nic.rooms > 1; }, "all arrived, and there is room");
  for (unsigned i = 0; i < sent; ++i) ASSERT_EQ(b.nic.got[i], frame_of(9000, static_cast<u8>(i)));
}

TEST_F(Backends, UnixDatagrams) {
  Machine a(loop), b(loop, "52:54:00:12:34:57");
  ASSERT_EQ(
      a.add("dgram",
            {{"local.type", "unix"}, {"local.path", path("a")}, {"remote.type", "unix"}, {"remote.path", path("b")}}),
      "");
  EXPECT_EQ(a.nic.emit(frame_of(60, 1)), Sent::dropped);  // nobody there yet
  ASSERT_EQ(
      b.add("dgram",
            {{"local.type", "unix"}, {"local.path", path("b")}, {"remote.type", "unix"}, {"remote.path", path("a")}}),
      "");
  exchange(a, b);
  b.nic.busy = true;
  unsigned sent = 0;
  for (bool waits = false; !waits && sent < 5000;) {
    if (a.nic.emit(frame_of(9000, static_cast<u8>(sent))) == Sent::taken) ++sent;
    else waits = true;
    loop.run_once();
  }
  ASSERT_LT(sent, 5000u);
  b.nic.got.clear();
  b.nic.busy = false;
  b.network.find("n0")->on_room();
  until([&] { return b.nic.got.size() == sent; }, "none was lost");
}

TEST_F(Backends, UdpBothSpellings) {
  Machine a(loop), b(loop, "52:54:00:12:34:57");
  // The kernel chooses free ports; they are known when the sockets are closed again.
  sys::SocketName any;
  any.host = "127.0.0.1";
  any.port = "0";
  std::string left, right;
  {
    const auto address = (*sys::resolve(any, true, true))[0];
    const sys::Fd one = sys::bind_datagram(address, any).take(), two = sys::bind_datagram(address, any).take();
    left = sys::address_text(sys::local_address(one.get()));
    right = sys::address_text(sys::local_address(two.get()));
  }
  ASSERT_EQ(a.add("socket", {{"udp", left}, {"localaddr", right}}), "");
  EXPECT_EQ(a.info(), "socket: udp=" + left);
  const auto port = [](const std::string& text) { return text.substr(text.rfind(':') + 1); };
  ASSERT_EQ(b.add("dgram", {{"local.type", "inet"},
                            {"local.host", "127.0.0.1"},
                            {"local.port", port(left)},
                            {"remote.type", "inet"},
                            {"remote.host", "127.0.0.1"},
                            {"remote.port", port(right)}}),
            "");
  EXPECT_EQ(b.info(), fmt::format("udp={}/{}", left, right));
  exchange(a, b);
}

TEST_F(Backends, AMulticastGroupHasManyMembersAndNoEcho) {
  Machine a(loop), b(loop, "52:54:00:12:34:57"), c(loop, "52:54:00:12:34:58");
  const std::vector<OptionText> group = {{"mcast", "230.0.0.1:27182"}, {"localaddr", "127.0.0.1"}};
  ASSERT_EQ(a.add("socket", group), "");
  ASSERT_EQ(b.add("socket", group), "");
  ASSERT_EQ(c.add("dgram", {{"remote.type", "inet"},
                            {"remote.host", "230.0.0.1"},
                            {"remote.port", "27182"},
                            {"local.type", "inet"},
                            {"local.host", "127.0.0.1"},
                            {"local.port", "0"}}),
            "");
  exchange(a, b);
  exchange(b, c);
  a.nic.got.clear();
  ASSERT_EQ(a.nic.emit(frame_of(60, 9)), Sent::taken);
  until([&] { return !b.nic.got.empty() && b.nic.got.back() == frame_of(60, 9); }, "b got it");
  for (int i = 0; i < 50; ++i) loop.run_once();
  EXPECT_TRUE(a.nic.got.empty());
}

TEST_F(Backends, AClashOfAddressesIsSaidOnce) {
  Machine a(loop), b(loop);
  ASSERT_EQ(a.add("stream", {{"server", "on"}, {"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  ASSERT_EQ(b.add("stream", {{"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  until([&] { return a.events.size() == 1; }, "connected");
  Bytes frame = frame_of(60, 0);
  const u8 mac[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
  std::copy(mac, mac + 6, frame.begin() + 6);
  for (int i = 0; i < 3; ++i) b.nic.emit(frame);
  until([&] { return a.nic.got.size() == 3; }, "arrived");
  ASSERT_EQ(a.warnings.size(), 1u);
  EXPECT_NE(a.warnings[0].find("52:54:00:12:34:56 of NIC nic0"), std::string::npos) << a.warnings[0];
}

TEST_F(Backends, ALinkThatIsDownCarriesNothing) {
  Machine a(loop), b(loop, "52:54:00:12:34:57");
  ASSERT_EQ(a.add("stream", {{"server", "on"}, {"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  ASSERT_EQ(b.add("stream", {{"addr.type", "unix"}, {"addr.path", path("s")}}), "");
  until([&] { return a.events.size() == 1; }, "connected");
  a.network.find("n0")->on_link(false);
  EXPECT_EQ(a.nic.emit(frame_of(60, 1)), Sent::dropped);
  EXPECT_EQ(b.nic.emit(frame_of(60, 1)), Sent::taken);
  for (int i = 0; i < 20; ++i) loop.run_once();
  EXPECT_TRUE(a.nic.got.empty());
  a.network.find("n0")->on_link(true);
  exchange(a, b);
}

TEST_F(Backends, WhatIsWrongIsSaid) {
  const struct {
    const char* type;
    std::vector<OptionText> options;
    const char* message;
  } cases[] = {
      {"socket", {}, "exactly one of listen=, connect=, mcast= or udp= is required"},
      {"socket", {{"listen", ":1"}, {"connect", ":1"}}, "exactly one of listen=, connect=, mcast= or udp= is required"},
      {"socket", {{"listen", "abc"}}, "host address 'abc' doesn't contain ':' separating host from port"},
      {"socket", {{"listen", ":abc"}}, "port number 'abc' is invalid"},
      {"socket", {{"listen", "::1:5"}}, "host address '::1:5': an IPv6 address goes in brackets, like [::1]:1234"},
      {"socket",
       {{"mcast", "10.0.0.1:1234"}},
       "specified mcastaddr 10.0.0.1 (0x0a000001) does not contain a multicast address"},
      {"socket", {{"udp", "127.0.0.1:1"}}, "localaddr= is mandatory with udp="},
      {"socket", {{"listen", ":1"}, {"localaddr", ":1"}}, "localaddr= is only valid with mcast= or udp="},
      {"socket", {{"conect", ":1"}}, "Invalid parameter 'conect' (did you mean 'connect'?)"},
      {"socket", {{"fd", "977"}}, "file descriptor 977 is not open"},
      {"stream", {}, "Parameter 'addr' is missing"},
      {"stream", {{"addr.type", "inet"}}, "Parameter 'addr.host' is missing"},
      {"stream", {{"addr.type", "foo"}}, "Parameter 'type' does not accept value 'foo': addr.type is inet, unix or fd"},
      {"stream", {{"server", "maybe"}}, "Parameter 'server' expects 'on' or 'off'"},
      {"stream",
       {{"addr.type", "unix"}, {"addr.path", "/x"}, {"addr.host", "y"}},
       "Parameter 'addr.host' is unexpected: an address of type unix does not have it"},
      {"stream",
       {{"addr.type", "unix"}, {"addr.path", "/x"}, {"server", "on"}, {"reconnect-ms", "5"}},
       "'reconnect-ms' option is incompatible with socket in server mode"},
      {"dgram", {}, "dgram requires local= parameter"},
      {"dgram", {{"local.type", "unix"}, {"local.path", "/x"}}, "type=inet or type=unix requires remote parameter"},
  };
  for (const auto& item : cases) {
    Machine a(loop);
    EXPECT_EQ(a.add(item.type, item.options), item.message);
  }
}

}  // namespace
}  // namespace rhea::net
