// SPDX-License-Identifier: MIT
// Hubs, filters and what the monitor prints.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "net/backend.h"
#include "net/filters/dump.h"
#include "net/pcap.h"
#include "net/user/testing.h"

namespace rhea::net {
namespace {

using user::testing::Bytes;
using user::testing::FakeLoop;
using user::testing::pattern;

class TestPort final : public Port {
 public:
  explicit TestPort(std::string name, Caps caps = {}) : Port(std::move(name)), caps_(caps) {}
  Caps caps() const override { return caps_; }
  Sent send(const Frame& frame) override {
    if (busy) return Sent::busy;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    got.push_back(bytes);
    return Sent::taken;
  }
  bool can_reserve() const override { return lends; }
  bool reserve(usize bytes, Reservation& reservation) override {
    if (busy || !lends) return false;
    buffer.assign(bytes, 0);
    piece = {buffer.data(), buffer.size()};
    reservation.pieces = std::span(&piece, 1);
    return true;
  }
  void commit(Reservation&, usize used, const Offload&) override {
    got.emplace_back(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(used));
  }
  void on_room() override { ++room; }
  std::string type() const override { return "nic"; }
  std::string info() const override { return "model=test,macaddr=52:54:00:12:34:56"; }
  Sent emit(const Bytes& bytes) {
    const Piece whole{const_cast<u8*>(bytes.data()), bytes.size()};
    return send_to_peer(*this, Frame{std::span(&whole, 1), {}});
  }

  Caps caps_;
  bool busy = false, lends = false;
  unsigned room = 0;
  std::vector<Bytes> got;
  Bytes buffer;
  Piece piece{};
};

TEST(Port, WithoutAPeerFramesAreDropped) {
  TestPort port("a");
  EXPECT_EQ(port.emit(pattern(60)), Sent::dropped);
  EXPECT_EQ(port.counters().dropped, 1u);
}

TEST(Hub, CopiesToAllOthers) {
  Hub hub(0);
  TestPort a("a"), b("b"), c("c");
  for (TestPort* port : {&a, &b, &c}) Port::connect(*port, hub.add_port());
  EXPECT_EQ(hub.ports()[1]->name(), "hub0port1");
  EXPECT_EQ(a.emit(pattern(100)), Sent::taken);
  EXPECT_TRUE(a.got.empty());
  EXPECT_EQ(b.got.size(), 1u);
  EXPECT_EQ(c.got.size(), 1u);
  b.busy = true;
  EXPECT_EQ(a.emit(pattern(100)), Sent::taken);  // one got it
  c.busy = true;
  EXPECT_EQ(a.emit(pattern(100)), Sent::busy);
  hub.ports()[1]->on_room();
  EXPECT_EQ(a.room, 1u);
  EXPECT_EQ(c.room, 1u);
}

TEST(Hub, TwoPortsAreAWire) {
  Hub hub(3);
  TestPort a("a"), b("b", {.checksum = true, .tso4 = true, .max_frame = 9000});
  Port::connect(a, hub.add_port());
  Port::connect(b, hub.add_port());
  b.lends = true;
  EXPECT_TRUE(a.peer()->caps().tso4);
  EXPECT_EQ(a.peer()->caps().max_frame, 9000u);
  Reservation reservation;
  ASSERT_TRUE(a.peer()->reserve(500, reservation));
  reservation.pieces[0].data[0] = 42;
  a.peer()->commit(reservation, 100, {});
  EXPECT_EQ(b.got.at(0).size(), 100u);
  TestPort c("c");
  Port::connect(c, hub.add_port());
  EXPECT_FALSE(a.peer()->caps().tso4);
  EXPECT_FALSE(a.peer()->can_reserve());
  Port::disconnect(c);
}

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

struct Record {
  u32 seconds, microseconds, captured, length;
  Bytes data;
};

std::vector<Record> read_pcap(const std::string& path, u32 snap_length) {
  const Bytes file = read_file(path);
  std::vector<Record> records;
  EXPECT_GE(file.size(), 24u);
  const u32 header[] = {0xa1b2c3d4, 0x00040002, 0, 0, snap_length, 1};
  EXPECT_EQ(std::memcmp(file.data(), header, 24), 0);
  for (usize at = 24; at + 16 <= file.size();) {
    Record record;
    std::memcpy(&record.seconds, &file[at], 16);
    record.data.assign(file.begin() + static_cast<std::ptrdiff_t>(at + 16),
                       file.begin() + static_cast<std::ptrdiff_t>(at + 16 + record.captured));
    at += 16 + record.captured;
    records.push_back(record);
  }
  return records;
}

class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest() : path_(::testing::TempDir() + "rhea_network_test.pcap") {}
  ~NetworkTest() override { std::remove(path_.c_str()); }
  Port* add_user(const char* id, std::vector<OptionText> options = {}) {
    auto port = network_.add("user", id, options);
    EXPECT_TRUE(port.ok()) << port.error().message();
    return *port;
  }
  std::string error(std::string_view type, const std::string& id, std::vector<OptionText> options = {}) {
    auto port = network_.add(type, id, options);
    return port ? "" : port.error().message();
  }
  std::string filter_error(std::vector<OptionText> options, std::string type = "filter-dump") {
    auto added = network_.add_filter({"f0", type, options});
    return added ? "" : added.error().message();
  }
  FakeLoop loop_;
  Log log_;
  std::string path_;
  TestPort nic_{"lan9118.0"};
  Network network_{loop_, loop_.clock, log_};
};

TEST_F(NetworkTest, InfoOfANicAndItsBackend) {
  Port* n0 = add_user("n0");
  Port::connect(nic_, *n0);
  network_.add_nic(&nic_);
  EXPECT_EQ(network_.info_network(),
            "lan9118.0: index=0,type=nic,model=test,macaddr=52:54:00:12:34:56\n"
            " \\ n0: index=0,type=user,net=10.0.2.0,restrict=off\n"
            "traffic:\n"
            "  lan9118.0: link=up in=0 frames, 0 bytes out=0 frames, 0 bytes dropped=0\n"
            "  n0: link=up in=0 frames, 0 bytes out=0 frames, 0 bytes dropped=0\n");
  EXPECT_EQ(network_.info_usernet(),
            "Hub -1 (n0):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n");
  EXPECT_TRUE(network_.check().empty());
}

TEST_F(NetworkTest, InfoOfAHub) {
  Port* nic_side = network_.add_hub_port(0);
  Port::connect(nic_, *nic_side);
  network_.add_nic(&nic_);
  auto backend = network_.add_on_hub(0, "user", "", {});
  ASSERT_TRUE(backend.ok());
  const std::string id = (*backend)->name();
  EXPECT_EQ(id.substr(0, 4), "#net");
  const std::string text = network_.info_network();
  EXPECT_EQ(text.substr(0, text.find("traffic:")),
            "hub 0\n \\ hub0port1: " + id +
                ": index=0,type=user,net=10.0.2.0,restrict=off\n"
                " \\ hub0port0: lan9118.0: index=0,type=nic,model=test,macaddr=52:54:00:12:34:56\n");
  EXPECT_EQ(network_.info_usernet().substr(0, 7), "Hub 0 (");
  EXPECT_TRUE(network_.check().empty());
}

TEST_F(NetworkTest, ChecksWhatLeadsNowhere) {
  add_user("n0");
  EXPECT_EQ(network_.check(), std::vector<std::string>{"netdev n0 has no peer"});
  Port::connect(nic_, *network_.add_hub_port(1));
  network_.add_nic(&nic_);
  EXPECT_EQ(network_.check().at(0), "hub 1 is not connected to host network");
  ASSERT_TRUE(network_.add_on_hub(2, "user", "n2", {}).ok());
  EXPECT_EQ(network_.check().at(1), "hub 2 with no nics");
  ASSERT_TRUE(network_.add("hubport", "h0", std::vector<OptionText>{{"hubid", "5"}}).ok());
  EXPECT_EQ(network_.check().at(2), "hub port h0 has no peer");
}

TEST_F(NetworkTest, Refusals) {
  add_user("n0");
  EXPECT_EQ(error("user", "n0"), "Duplicate ID 'n0' for netdev");
  EXPECT_EQ(error("usr", "n1"), "Parameter 'type' does not accept value 'usr' (did you mean 'user'?)");
  EXPECT_EQ(error("vhost-vdpa", "n1"), "network backend 'vhost-vdpa' is not supported yet; use -netdev user");
  EXPECT_EQ(error("hubport", "n1"), "Parameter 'hubid' is missing");
  EXPECT_EQ(filter_error({{"netdev", "n0"}}), "Parameter 'file' is missing");
  EXPECT_EQ(filter_error({{"netdev", "zz"}, {"file", path_}}), "Parameter 'netdev' expects a network backend id");
  EXPECT_EQ(filter_error({{"netdev", "n0"}, {"file", path_}, {"maxlen", "0"}}),
            "Property 'filter-dump.maxlen' doesn't take value '0'");
  EXPECT_EQ(filter_error({{"netdev", "n0"}, {"file", path_}, {"queue", "xx"}}),
            "Parameter 'queue' does not accept value 'xx'");
  EXPECT_EQ(filter_error({}, "foo"), "Parameter 'qom-type' does not accept value 'foo'");
  EXPECT_EQ(network_.hostfwd_add("zz", "tcp::1-:2"), "unrecognized netdev id 'zz'\n");
}

TEST_F(NetworkTest, DumpsBothDirections) {
  Port* n0 = add_user("n0");
  Port::connect(nic_, *n0);
  network_.add_nic(&nic_);
  ASSERT_EQ(filter_error({{"netdev", "n0"}, {"file", path_}, {"maxlen", "64"}}), "");
  EXPECT_NE(network_.info_network().find("filters:\n  - f0: type=filter-dump,file=" + path_ +
                                         ",maxlen=64,position=tail,status=on,insert=behind,netdev=n0,queue=all\n"),
            std::string::npos);
  EXPECT_NE(network_.info_network().find(" \\ n0: index=0,type=user"), std::string::npos);
  Bytes arp(60);
  const Bytes body{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0,  1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                   1,    0x52, 0x54, 0,    0,    0,    1,    10,   0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2};
  std::copy(body.begin(), body.end(), arp.begin());
  nic_.emit(arp);
  nic_.emit(pattern(1000));
  loop_.settle();
  ASSERT_EQ(nic_.got.size(), 1u);
  const auto records = read_pcap(path_, 64);
  ASSERT_EQ(records.size(), 3u);
  const Record* request = nullptr;
  const Record* reply = nullptr;
  for (const Record& record : records) {
    if (record.data == Bytes(arp.begin(), arp.end())) request = &record;
    if (record.data == nic_.got[0]) reply = &record;
  }
  EXPECT_TRUE(request && reply);
  EXPECT_EQ(records.back().length, 1000u);
  EXPECT_EQ(records.back().captured, 64u);
  EXPECT_EQ(records[0].seconds, 1000u);
}

TEST_F(NetworkTest, AFilterMayComeBeforeTheNic) {
  Port* n0 = add_user("n0");
  ASSERT_EQ(filter_error({{"netdev", "n0"}, {"file", path_}}), "");
  EXPECT_EQ(network_.check(), std::vector<std::string>{"netdev n0 has no peer"});
  Port::connect(nic_, *network_.attach_point(n0));
  network_.add_nic(&nic_);
  EXPECT_TRUE(network_.check().empty());
  nic_.emit(pattern(100));
  EXPECT_EQ(read_pcap(path_, 65536).size(), 0u);  // one write for what comes together
  nic_.emit(pattern(100));
  loop_.settle();
  EXPECT_EQ(read_pcap(path_, 65536).size(), 2u);
}

TEST(FilterDump, QueuesAndStatus) {
  FakeLoop loop;
  TestPort nic("nic"), backend("n0");
  Port::connect(nic, backend);
  const std::string path = ::testing::TempDir() + "rhea_filter_test.pcap";
  for (const auto queue : {Filter::Queue::rx, Filter::Queue::tx}) {
    auto dump =
        FilterDump::create({.place = {.id = "f", .netdev = "n0", .queue = queue}, .file = path}, loop, loop.clock);
    ASSERT_TRUE(dump.ok());
    (*dump)->insert(backend, nullptr);
    nic.emit(pattern(100));      // the netdev receives it: rx
    backend.emit(pattern(200));  // the netdev sends it: tx
    (*dump)->set_status(false);
    nic.emit(pattern(100));
    backend.emit(pattern(200));
    dump->reset();
    const auto records = read_pcap(path, 65536);
    ASSERT_EQ(records.size(), 1u);
    EXPECT_EQ(records[0].length, queue == Filter::Queue::rx ? 100u : 200u);
    EXPECT_EQ(nic.peer(), &backend);  // the filter is gone
  }
  std::remove(path.c_str());
  EXPECT_FALSE(PcapWriter::create("/nonexistent/x.pcap", 1).ok());
}

}  // namespace
}  // namespace rhea::net
