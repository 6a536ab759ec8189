// SPDX-License-Identifier: MIT
// Backends against real sockets, pipes and terminals of this host; telnet and websocket as byte sequences.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "chardev/codec.h"
#include "chardev/registry.h"
#include "core/loop.h"
#include "sys/file.h"
#include "sys/host_socket.h"
#include "sys/serial_line.h"

namespace rhea::chardev {
namespace {

using namespace std::string_view_literals;

class FakeFrontend final : public Frontend {
 public:
  usize can_receive() override { return room; }
  void receive(std::span<const u8> data) override {
    got.append(data.begin(), data.end());
    room -= data.size();
  }
  void event(Event event) override {
    constexpr const char* kNames[] = {"<opened>", "<closed>", "<break>", "<in>", "<out>"};
    got += kNames[static_cast<int>(event)];
  }
  usize room = 100000;
  std::string got;
};

std::span<const u8> bytes(std::string_view text) { return {reinterpret_cast<const u8*>(text.data()), text.size()}; }

struct Backends : testing::Test {
  Backends() : folder(testing::TempDir() + "rhea-backends-" + std::to_string(sys::random_number() % 1000000)) {
    std::filesystem::create_directory(folder);
  }
  ~Backends() override { std::filesystem::remove_all(folder); }
  void turn(unsigned times = 20) {
    for (unsigned i = 0; i < times; ++i) loop.run_once();
  }
  // Until something holds, at most a few seconds.
  template <typename Holds>
  bool until(Holds holds) {
    for (unsigned i = 0; i < 20000 && !holds(); ++i) {
      if (!loop.run_once()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return holds();
  }
  sys::Fd client(const std::string& path) {
    sys::SocketName name;
    name.family = sys::SocketName::Family::unix_path;
    name.path = path;
    auto fd = sys::connect_stream(name);
    EXPECT_TRUE(fd.ok());
    return fd.ok() ? fd.take() : sys::Fd();
  }
  std::string read(const sys::Fd& fd) {
    std::vector<u8> data(1 << 16);
    const sys::ReadSome got = sys::read_now(fd.get(), data);
    return std::string(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(got.count));
  }
  void write(const sys::Fd& fd, std::string_view text) {
    EXPECT_EQ(sys::write_now(fd.get(), bytes(text)).count, text.size());
  }
  Backend* open(const std::string& form, const std::string& id = "c0") {
    const auto spec = parse_spec(form);
    EXPECT_TRUE(spec.ok()) << spec.error().message();
    auto port = registry.open(*spec, id);
    EXPECT_TRUE(port.ok()) << form << ": " << (port.ok() ? "" : port.error().message());
    return port.ok() ? *port : nullptr;
  }

  std::string folder;
  core::Loop loop{"test"};
  FakeFrontend frontend;
  Registry registry{loop};
};

TEST_F(Backends, ServerServesOneClientAfterTheOther) {
  const std::string path = folder + "/s";
  Backend* port = open("unix:" + path + ",server=on,wait=off");
  EXPECT_EQ(port->description(), "disconnected:unix:" + path + ",server=on");
  port->set_frontend(&frontend);
  port->write(bytes("nobody"));
  sys::Fd one = client(path), two = client(path);
  turn();
  EXPECT_EQ(port->description(), "unix:" + path + ",server=on");
  port->write(bytes("hello"));
  EXPECT_EQ(read(one), "hello");
  write(two, "second");
  write(one, "first");
  turn();
  EXPECT_EQ(frontend.got, "<opened>first");
  one.reset();
  turn();
  EXPECT_EQ(frontend.got, "<opened>first<closed><opened>second");
  two.reset();
  turn();
  port->set_frontend(nullptr);
  registry.detach(port);
  EXPECT_TRUE(registry.remove("c0").ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Backends, InputWaitsForRoomAndOutlivesTheClient) {
  const std::string path = folder + "/s";
  Backend* port = open("unix:" + path + ",server=on,wait=off");
  frontend.room = 3;
  port->set_frontend(&frontend);
  sys::Fd one = client(path);
  write(one, "abcdef");
  turn();
  EXPECT_EQ(frontend.got, "<opened>abc");
  one.reset();
  turn();
  frontend.room = 100;
  port->accept_input();
  turn();
  EXPECT_EQ(frontend.got.substr(0, 14), "<opened>abc<cl");
  EXPECT_NE(frontend.got.find("def"), std::string::npos);
  port->set_frontend(nullptr);
}

TEST_F(Backends, OutputThatNobodyReadsIsBounded) {
  const std::string path = folder + "/s";
  Backend* port = open("unix:" + path + ",server=on,wait=off");
  sys::Fd one = client(path);
  turn();
  const std::string block(100000, 'x');
  for (int i = 0; i < 100; ++i) port->write(bytes(block));
  EXPECT_LE(port->queued(), usize{4} << 20);
  EXPECT_GT(port->queued(), usize{1} << 20);
  usize got = 0;
  until([&] {
    got += read(one).size();
    return port->queued() == 0;
  });
  EXPECT_EQ(port->queued(), 0u);
  one.reset();
}

TEST_F(Backends, ReconnectsWhenTheServerComesBack) {
  const std::string path = folder + "/s";
  Backend* port = open("unix:" + path + ",reconnect-ms=20");
  port->set_frontend(&frontend);
  turn();
  EXPECT_EQ(frontend.got, "");
  for (int round = 0; round < 2; ++round) {
    Registry other(loop);
    const auto server = other.open(*parse_spec("unix:" + path + ",server=on,wait=off"), "s");
    ASSERT_TRUE(server.ok());
    frontend.got.clear();
    ASSERT_TRUE(until([&] { return frontend.got.ends_with("<opened>"); })) << round;
  }
  EXPECT_TRUE(until([&] { return frontend.got.ends_with("<closed>"); }));
  port->set_frontend(nullptr);
}

TEST_F(Backends, SocketErrors) {
  const auto fails = [&](const std::string& form) {
    auto port = registry.open(*parse_spec(form), "x");
    return port.ok() ? std::string("no error") : port.error().message();
  };
  EXPECT_EQ(fails("unix:/nonexistent/x"), "Failed to connect to '/nonexistent/x': No such file or directory");
  EXPECT_EQ(fails("unix:/nonexistent/x,server=on,wait=off"),
            "Failed to bind socket to /nonexistent/x: No such file or directory");
  EXPECT_EQ(fails("tcp:127.0.0.1:1"), "Failed to connect to '127.0.0.1:1': Connection refused");
  EXPECT_EQ(fails("pipe:/nonexistent/x"), "Could not open '/nonexistent/x': No such file or directory");
  EXPECT_EQ(fails("/dev/ttyNONE"), "Could not open '/dev/ttyNONE': No such file or directory");
  EXPECT_EQ(fails("unix:" + std::string(200, 'x')).find("UNIX socket path"), 0u);
  Backend* first = open("tcp:127.0.0.1:0,server=on,wait=off");
  const std::string shown = first->description();  // "disconnected:tcp:127.0.0.1:PORT,server=on"
  const unsigned port = static_cast<unsigned>(std::stoul(shown.substr(shown.find("1:") + 2)));
  EXPECT_NE(fails(fmt::format("tcp:127.0.0.1:{},server=on,wait=off", port)).find("Address already in use"),
            std::string::npos);
  EXPECT_EQ(fails(fmt::format("tcp:127.0.0.1:{},server=on,wait=off,to={}", port, port + 50)), "no error");
}

TEST_F(Backends, TcpBothWays) {
  Backend* server = open("tcp:127.0.0.1:0,server=on,wait=off,nodelay", "s");
  server->set_frontend(&frontend);
  const std::string shown = server->description();
  Backend* client = open("tcp:" + shown.substr(shown.find("127"), shown.find(",") - shown.find("127")), "c");
  client->write(bytes("ping"));
  EXPECT_TRUE(until([&] { return frontend.got == "<opened>ping"; })) << frontend.got;
  EXPECT_EQ(server->description().find("tcp:127.0.0.1:"), 0u);
  EXPECT_NE(server->description().find(",server=on <-> 127.0.0.1:"), std::string::npos);
  server->set_frontend(nullptr);
}

TEST_F(Backends, Udp) {
  int error = 0;
  const auto peer = sys::Socket::open(sys::SocketKind::datagram, false, error);
  Endpoint here;
  here.address = *parse_ip("127.0.0.1");
  ASSERT_EQ(peer->bind(here), 0);
  Backend* port = open(fmt::format("udp:127.0.0.1:{}@127.0.0.1:0", peer->local().port));
  port->set_frontend(&frontend);
  port->write(bytes("out"));
  u8 buffer[16];
  Endpoint from;
  u16 segment = 0;
  ASSERT_EQ(peer->receive_from(from, sys::IoPiece{buffer, sizeof buffer}, segment).count, 3);
  frontend.room = 2;
  for (const std::string_view text : {"abcd", "ef"}) {
    std::string copy(text);
    const sys::IoPiece piece{reinterpret_cast<u8*>(copy.data()), copy.size()};
    EXPECT_EQ(peer->send_to(from, std::span(&piece, 1)).error, 0);
  }
  EXPECT_TRUE(until([&] { return frontend.got == "ab"; }));
  frontend.room = 10;
  port->accept_input();
  EXPECT_TRUE(until([&] { return frontend.got == "abcdef"; }));
  port->set_frontend(nullptr);
}

TEST_F(Backends, PseudoTerminal) {
  std::string said;
  registry.surroundings.redirect = [&](const std::string& text) { said = text; };
  Backend* port = open("pty", "serial0");
  port->set_frontend(&frontend);
  const std::string name = port->description().substr(4);
  EXPECT_EQ(said, "char device redirected to " + name + " (label serial0)");
  port->write(bytes("early\n"));
  sys::Fd fd = std::move(*sys::open_both(name));
  ASSERT_TRUE(fd);
  EXPECT_EQ(read(fd), "early\n");
  write(fd, "in\r");
  EXPECT_TRUE(until([&] { return frontend.got == "in\r"; }));
  fd.reset();
  turn();
  fd = std::move(*sys::open_both(name));
  port->write(bytes("again"));
  EXPECT_EQ(read(fd), "again");
  fd.reset();
  port->set_frontend(nullptr);
}

TEST_F(Backends, Pipes) {
  const std::string path = folder + "/p";
  ASSERT_EQ(std::system(fmt::format("mkfifo {0}.in {0}.out", path).c_str()), 0);
  Backend* port = open("pipe:" + path);
  port->set_frontend(&frontend);
  sys::Fd in = std::move(*sys::open_both(path + ".in")), out = std::move(*sys::open_input(path + ".out"));
  write(in, "x");
  port->write(bytes("y"));
  EXPECT_TRUE(until([&] { return frontend.got == "x"; }));
  EXPECT_EQ(read(out), "y");
  in.reset();
  out.reset();
  port->set_frontend(nullptr);
}

TEST_F(Backends, RegistryRules) {
  ASSERT_TRUE(registry.add(*parse_chardev("ringbuf,id=r,size=8"), "r").ok());
  ASSERT_TRUE(registry.add(*parse_chardev("null,id=m,mux=on"), "m").ok());
  EXPECT_EQ(registry.add(*parse_chardev("null,id=r"), "r").error().message(), "Chardev with id 'r' already exists");
  EXPECT_EQ(registry.attach("q").error().message().find("chardev \"q\" not found"), 0u);
  Backend* ring = *registry.attach("r");
  EXPECT_EQ(registry.attach("r").error().message(), "Device 'r' is in use");
  EXPECT_EQ(registry.remove("r").error().message(), "Chardev 'r' is busy");
  ring->write(bytes("0123456789"));
  const std::vector<u8> kept = (*registry.ring_buffer("r"))->read(5);
  EXPECT_EQ(std::string(kept.begin(), kept.end()), "23456");
  EXPECT_EQ(registry.ring_buffer("m").error().message(), "m is not a ringbuf device");
  Backend *one = *registry.attach("m"), *two = *registry.attach("m");
  EXPECT_TRUE(one != two && registry.is_shared(one) && !registry.is_shared(ring));
  ring->set_frontend(&frontend);
  EXPECT_TRUE(registry.send_break("r").ok());
  EXPECT_EQ(frontend.got, "<break>");
  ASSERT_TRUE(registry.change("r", *parse_chardev("null", false)).ok());
  EXPECT_EQ(registry.filename("r"), "null");
  EXPECT_EQ(registry.change("zz", *parse_chardev("null", false)).error().message(), "Chardev 'zz' does not exist");
  EXPECT_FALSE(registry.change("m", *parse_chardev("null", false)).ok());
  EXPECT_FALSE(registry.change("r", *parse_spec("unix:/nonexistent/x")).ok());
  EXPECT_EQ(registry.filename("r"), "null");
  std::string rows;
  for (const Registry::Row& row : registry.rows()) rows += row.id + "=" + row.filename + " ";
  EXPECT_EQ(rows, "r=null m=mux m-base=null ");
  ring->set_frontend(nullptr);
}

TEST_F(Backends, LogFile) {
  const std::string path = folder + "/log";
  ASSERT_TRUE(registry.add(*parse_chardev("null,id=l,logfile=" + path), "l").ok());
  (*registry.attach("l"))->write(bytes("logged"));
  const auto logged = sys::read_file(path);
  ASSERT_TRUE(logged.ok());
  EXPECT_EQ(std::string(logged->begin(), logged->end()), "logged");
}

std::string decode(Codec& codec, std::string_view in, std::string* reply = nullptr, bool* close = nullptr) {
  Codec::Decoded decoded;
  for (const char c : in) {  // byte by byte: the state is kept
    codec.decode(bytes(std::string_view(&c, 1)), decoded);
  }
  std::string text(decoded.data.begin(), decoded.data.end());
  for (auto at = decoded.breaks.rbegin(); at != decoded.breaks.rend(); ++at) text.insert(*at, "<break>");
  if (reply) reply->assign(decoded.reply.begin(), decoded.reply.end());
  if (close) *close = decoded.close;
  return text;
}

TEST(Telnet, Server) {
  const auto codec = make_telnet_codec(true);
  const std::vector<u8> greeting = codec->greeting();
  EXPECT_EQ(std::string(greeting.begin(), greeting.end()), "\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00"sv);
  std::string reply;
  EXPECT_EQ(decode(*codec,
                   "a\xff\xfd\x01"
                   "b\xff\xff\xff\xf3"
                   "c\xff\xfa\x18\x00zz\xff\xff\xff\xf0"
                   "d\xff\xf1"sv,
                   &reply),
            "ab\xff<break>cd");
  EXPECT_EQ(reply, "");
  std::vector<u8> out;
  codec->encode(bytes("x\xff"), out);
  EXPECT_EQ(std::string(out.begin(), out.end()), "x\xff\xff");
}

TEST(Telnet, ClientAnswersEachOfferOnce) {
  const auto codec = make_telnet_codec(false);
  std::string reply;
  decode(*codec, "\xff\xfb\x01\xff\xfd\x18\xff\xfb\x01", &reply);
  EXPECT_EQ(reply, "\xff\xfd\x01\xff\xfc\x18");
}

constexpr std::string_view kUpgrade =
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

TEST(Websocket, HandshakeAndFrames) {
  const auto codec = make_websocket_codec();
  std::string reply;
  bool close = false;
  EXPECT_EQ(decode(*codec, kUpgrade, &reply), "");
  EXPECT_NE(reply.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            std::string::npos);  // RFC 6455, 1.3
  EXPECT_TRUE(codec->open());
  // "Hello" masked (RFC 6455, 5.7), in one frame and in two with a ping between.
  EXPECT_EQ(decode(*codec, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "Hello");
  EXPECT_EQ(decode(*codec,
                   "\x02\x81\x00\x00\x00\x00"
                   "a\x89\x81\x00\x00\x00\x00p\x80\x81\x00\x00\x00\x00"
                   "b"sv,
                   &reply),
            "ab");
  EXPECT_EQ(reply, "\x8a\x01p");
  std::vector<u8> out;
  codec->encode(bytes(std::string(300, 'x')), out);
  EXPECT_EQ(std::string(out.begin(), out.begin() + 5), "\x82\x7e\x01\x2cx");
  decode(*codec, "\x88\x80\x00\x00\x00\x00"sv, &reply, &close);
  EXPECT_TRUE(close);
  EXPECT_EQ(reply, "\x88\x00"sv);
}

TEST(Websocket, BrokenPeers) {
  for (const std::string_view request : {"POST / HTTP/1.1\r\n\r\n"sv, "GET / HTTP/1.1\r\n\r\n"sv, "\r\n\r\n"sv}) {
    const auto codec = make_websocket_codec();
    std::string reply;
    bool close = false;
    decode(*codec, request, &reply, &close);
    EXPECT_EQ(reply.find("HTTP/1.1 400"), 0u);
    EXPECT_TRUE(close);
  }
  bool close = false;
  decode(*make_websocket_codec(), std::string(10000, 'x'), nullptr, &close);
  EXPECT_TRUE(close);
  for (const std::string_view frame :
       {"\x82\x01x"sv, "\xc2\x81\x00\x00\x00\x00x"sv, "\x80\x81\x00\x00\x00\x00x"sv, "\x09\x81\x00\x00\x00\x00x"sv,
        "\x89\xfe\x00\xff\x00\x00\x00\x00"sv, "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"sv,
        "\x83\x80\x00\x00\x00\x00"sv}) {
    const auto codec = make_websocket_codec();
    decode(*codec, kUpgrade);
    close = false;
    std::string padded(frame);
    padded.resize(std::max<usize>(padded.size(), 14), '\0');
    decode(*codec, padded, nullptr, &close);
    EXPECT_TRUE(close) << frame.size();
  }
}

}  // namespace
}  // namespace rhea::chardev
