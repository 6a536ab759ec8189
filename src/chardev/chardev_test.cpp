// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "chardev/backends.h"
#include "chardev/mux.h"
#include "chardev/spec.h"
#include "core/loop.h"

namespace rhea::chardev {
namespace {

class FakeBackend final : public Backend {
 public:
  void write(std::span<const u8> data) override { written.append(data.begin(), data.end()); }
  void set_frontend(Frontend* f) override { frontend = f; }
  void accept_input() override { ++accepted; }
  std::string description() const override { return "fake"; }
  void type(std::string_view text) { frontend->receive({reinterpret_cast<const u8*>(text.data()), text.size()}); }
  std::string written;
  Frontend* frontend = nullptr;
  int accepted = 0;
};

class FakeFrontend final : public Frontend {
 public:
  usize can_receive() override { return room; }
  void receive(std::span<const u8> data) override {
    got.append(data.begin(), data.end());
    room -= data.size();
  }
  void event(Event event) override { events.push_back(event); }
  usize room = 1000;
  std::string got;
  std::vector<Event> events;
};

struct MuxTest : testing::Test {
  MuxTest() {
    auto owned = std::make_unique<FakeBackend>();
    backend = owned.get();
    mux = std::make_unique<Mux>(
        std::move(owned),
        MuxOptions{
            .program = "QEMU", .clock = &loop.real_clock(), .terminate = [this] { ++terminated; }, .save_disks = {}});
    serial_port = mux->add_port();
    monitor_port = mux->add_port();
    serial_port->set_frontend(&serial);
    monitor_port->set_frontend(&monitor);
  }
  core::Loop loop{"test"};
  FakeBackend* backend;
  std::unique_ptr<Mux> mux;
  Backend* serial_port;
  Backend* monitor_port;
  FakeFrontend serial, monitor;
  int terminated = 0;
};

TEST_F(MuxTest, InputFollowsTheFocus) {
  backend->type("a\001cb\001cc");
  EXPECT_EQ(serial.got, "ac");
  EXPECT_EQ(monitor.got, "b");
  EXPECT_EQ(serial.events, (std::vector<Event>{Event::mux_in, Event::mux_out, Event::mux_in}));
  EXPECT_EQ(monitor.events, (std::vector<Event>{Event::mux_in, Event::mux_out}));
}

TEST_F(MuxTest, Keys) {
  backend->type("\001\001\001b\001z!");
  EXPECT_EQ(serial.got, "\001!");
  EXPECT_EQ(serial.events, (std::vector<Event>{Event::mux_in, Event::line_break}));
  backend->type("\001x");
  EXPECT_EQ(terminated, 1);
  EXPECT_EQ(backend->written, "QEMU: Terminated\n\r");
  backend->written.clear();
  backend->type("\001h");
  EXPECT_NE(backend->written.find("C-a x    exit emulator"), std::string::npos);
}

TEST_F(MuxTest, FullFrontendLosesNothing) {
  serial.room = 2;
  backend->type("abcdef");
  EXPECT_EQ(serial.got, "ab");
  serial.room = 3;
  serial_port->accept_input();
  EXPECT_EQ(serial.got, "abcde");
  serial.room = 3;
  serial_port->accept_input();
  EXPECT_EQ(serial.got, "abcdef");
  EXPECT_GT(backend->accepted, 0);
  serial.room = 0;
  while (backend->frontend->can_receive()) backend->type("x");
  EXPECT_EQ(backend->frontend->can_receive(), 0u);
}

TEST_F(MuxTest, TimeStamps) {
  const std::string text = "one\ntwo\n";
  backend->type("\001t");
  serial_port->write({reinterpret_cast<const u8*>(text.data()), text.size()});
  EXPECT_EQ(backend->written.find("one\n[00:00:0"), 0u) << backend->written;
}

TEST_F(MuxTest, PortsAreBounded) {
  usize count = 2;
  while (mux->add_port()) ++count;
  EXPECT_EQ(count, Mux::kMaxPorts);
}

TEST(Spec, Forms) {
  EXPECT_EQ(parse_spec("stdio")->kind, BackendKind::stdio);
  EXPECT_TRUE(parse_spec("stdio")->signals);
  const auto mon = parse_spec("mon:stdio");
  ASSERT_TRUE(mon.ok());
  EXPECT_TRUE(mon->with_monitor);
  EXPECT_FALSE(mon->signals);
  EXPECT_EQ(parse_spec("file:a:b")->path, "a:b");
  EXPECT_EQ(parse_spec("null")->kind, BackendKind::null);
  EXPECT_EQ(parse_spec("none")->kind, BackendKind::none);
}

TEST(Spec, Refusals) {
  EXPECT_EQ(parse_spec("foo").error().message(), "'foo' is not a valid char driver");
  EXPECT_EQ(parse_spec("stdoi").error().message(), "'stdoi' is not a valid char driver (did you mean 'stdio'?)");
  for (const char* text : {"msmouse", "braille", "con:80x24"})
    EXPECT_NE(parse_spec(text).error().message().find("known to QEMU"), std::string::npos) << text;
  for (const char* text :
       {"file:",        "mon:none",     "",      "tcp:",       "tcp:1.2.3.4",     "tcp:::",
        "udp:",         "udp:x:1@y",    "unix:", "tcp::1,foo", "tcp::1,wait=off", "tcp::1,server,reconnect=3",
        "websocket::1", "vc:0x0",       "vc:10", "vc:80Cx",    "pipe:",           "stdio,foo=on",
        "tcp:[::1:5",   "mon:chardev:x"})
    EXPECT_FALSE(parse_spec(text).ok()) << text;
}

TEST(Spec, Sockets) {
  const auto telnet = parse_spec("telnet:127.0.0.1:3441,server,nowait");
  ASSERT_TRUE(telnet.ok()) << telnet.error().message();
  EXPECT_EQ(telnet->kind, BackendKind::socket);
  EXPECT_EQ(telnet->socket.name.text(), "127.0.0.1:3441");
  EXPECT_TRUE(telnet->socket.server && telnet->socket.telnet && !telnet->socket.wait);
  const auto six = parse_spec("tcp:[::1]:ssh,nodelay,reconnect=2");
  ASSERT_TRUE(six.ok()) << six.error().message();
  EXPECT_EQ(six->socket.name.host, "::1");
  EXPECT_EQ(six->socket.name.port, "ssh");
  EXPECT_EQ(six->socket.reconnect_ms, 2000);
  EXPECT_TRUE(six->socket.no_delay);
  const auto unix_socket = parse_spec("unix:/a,,b=c,server=on,wait=off,logfile=/l");
  ASSERT_TRUE(unix_socket.ok()) << unix_socket.error().message();
  EXPECT_EQ(unix_socket->socket.name.path, "/a,b=c");
  EXPECT_EQ(unix_socket->log_file, "/l");
  const auto udp = parse_spec("udp:host:1@:2");
  ASSERT_TRUE(udp.ok());
  EXPECT_EQ(udp->udp.remote.text(), "host:1");
  EXPECT_EQ(udp->udp.local->port, "2");
  EXPECT_EQ(parse_spec("vc:1280x720")->console.width, 1280u);
  EXPECT_EQ(parse_spec("vc:80Cx24C")->console.rows, 24u);
  EXPECT_EQ(parse_spec("chardev:c0")->id, "c0");
  EXPECT_EQ(parse_spec("/dev/ttyS0")->path, "/dev/ttyS0");
}

TEST(Spec, ChardevOption) {
  const auto socket = parse_chardev("socket,id=c0,path=/x,server=on,wait=off,mux=on,logfile=l,logappend=on");
  ASSERT_TRUE(socket.ok()) << socket.error().message();
  EXPECT_EQ(socket->id, "c0");
  EXPECT_TRUE(socket->mux && socket->log_append);
  EXPECT_EQ(parse_chardev("socket,id=c,host=h,port=1,server")->short_booleans, std::vector<std::string>{"server=on"});
  EXPECT_EQ(parse_chardev("ringbuf,id=r,size=4k")->ring_size, 4096u);
  const std::pair<const char*, const char*> wrong[] = {
      {"null", "chardev: no id specified"},
      {"foo,id=a", "'foo' is not a valid char driver name"},
      {"sokcet,id=a", "'sokcet' is not a valid char driver name (did you mean 'socket'?)"},
      {"socket,id=a,path=/x,host=b", "None or one of 'path', 'fd' or 'host' option required."},
      {"file,id=a", "chardev: file: no filename given"},
      {"ringbuf,id=a,size=3", "size of ringbuf chardev must be power of two"},
      {"udp,id=a", "chardev: udp: remote port not specified"},
      {"null,id=a,bogus=1", "Invalid parameter 'bogus'"},
      {"socket,id=a,host=1,port=2,server=on,reconnect=4",
       "'reconnect' option is incompatible with socket in server listen mode"},
  };
  for (const auto& [text, message] : wrong) EXPECT_EQ(parse_chardev(text).error().message(), message);
}

TEST(FileBackend, Writes) {
  const std::string path = testing::TempDir() + "rhea_chardev_file";
  {
    auto file = make_file(path, false);
    ASSERT_TRUE(file.ok());
    const std::string text = "hello";
    (*file)->write({reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  std::FILE* file = std::fopen(path.c_str(), "r");
  char buffer[16] = {};
  ASSERT_EQ(std::fread(buffer, 1, sizeof buffer, file), 5u);
  EXPECT_STREQ(buffer, "hello");
  std::fclose(file);
  std::remove(path.c_str());
  EXPECT_EQ(make_file("/nonexistent/x", false).error().message(),
            "Could not open '/nonexistent/x': No such file or directory");
}

}  // namespace
}  // namespace rhea::chardev
