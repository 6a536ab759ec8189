// SPDX-License-Identifier: MIT
// Filters between a NIC and a backend, under a clock that is stepped by hand.
#include <gtest/gtest.h>

#include "net/backends/frame_decoder.h"
#include "net/filters/make_filter.h"
#include "net/filters/mirror.h"
#include "net/filters/rewriter.h"
#include "net/filters/shape.h"
#include "net/user/testing.h"

namespace rhea::net {
namespace {

using user::testing::Bytes;
using user::testing::FakeLoop;
using user::testing::pattern;

class End final : public Port {
 public:
  explicit End(FakeLoop& loop, std::string name) : Port(std::move(name)), loop_(loop) {}
  Caps caps() const override { return caps_; }
  Sent send(const Frame& frame) override {
    if (busy) return Sent::busy;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    got.push_back(std::move(bytes));
    times.push_back(loop_.clock.now());
    if (takes) loop_.clock.advance(takes);
    return Sent::taken;
  }
  void on_room() override { ++rooms; }
  std::string type() const override { return "nic"; }
  std::string info() const override { return ""; }
  Sent emit(const Bytes& bytes, const Offload& offload = {}) {
    const Piece whole{const_cast<u8*>(bytes.data()), bytes.size()};
    return send_to_peer(*this, Frame{std::span(&whole, 1), offload});
  }
  Caps caps_{.max_frame = kMaxGsoFrame};
  bool busy = false;
  s64 takes = 0;  // of a frame
  unsigned rooms = 0;
  std::vector<Bytes> got;
  std::vector<s64> times;

 private:
  FakeLoop& loop_;
};

struct FakeLines {
  struct Line {
    Bytes written;
    std::function<void(std::span<const u8>)> on_data;
    bool open = true;
  };
  class Handle final : public ByteLine {
   public:
    explicit Handle(Line& line) : line_(line) {}
    ~Handle() override { line_.open = false; }
    void write(std::vector<u8> data) override { line_.written.insert(line_.written.end(), data.begin(), data.end()); }

   private:
    Line& line_;
  };
  std::map<std::string, Line> lines;
  OpenLine opener() {
    return [this](const std::string& name,
                  std::function<void(std::span<const u8>)> on_data) -> Result<std::unique_ptr<ByteLine>> {
      if (name == "none") return Error("Chardev 'none' not found");
      lines[name].on_data = std::move(on_data);
      return std::unique_ptr<ByteLine>(std::make_unique<Handle>(lines[name]));
    };
  }
};

class Filters : public ::testing::Test {
 protected:
  Filters() { Port::connect(nic, backend); }
  Filter& add(const std::string& type, std::vector<std::pair<std::string, std::string>> options,
              const Filter* beside = nullptr) {
    options.emplace_back("netdev", "n0");
    auto made =
        make_filter({loop, loop.clock, lines.opener(), false}, {"f" + std::to_string(all.size()), type, options});
    EXPECT_TRUE(made.ok()) << made.error().message();
    (*made)->insert(backend, beside);
    all.push_back(made.take());
    return *all.back();
  }
  std::string error(const std::string& type, std::vector<std::pair<std::string, std::string>> options) {
    options.emplace_back("netdev", "n0");
    auto made = make_filter({loop, loop.clock, lines.opener(), false}, {"f", type, options});
    return made.ok() ? "" : made.error().message();
  }

  FakeLoop loop;
  FakeLines lines;
  End nic{loop, "nic"}, backend{loop, "n0"};
  std::vector<std::unique_ptr<Filter>> all;
};

TEST_F(Filters, DelayAndRateAreExact) {
  add("filter-shape", {{"delay", "20ms"}, {"rate", "8M"}});
  const s64 start = loop.clock.now();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(nic.emit(pattern(1000)), Sent::taken);  // 1 ms each on the line
  EXPECT_TRUE(backend.got.empty());
  loop.advance(kSecond);
  ASSERT_EQ(backend.got.size(), 3u);
  for (s64 i = 0; i < 3; ++i) EXPECT_EQ(backend.times[static_cast<usize>(i)] - start, (21 + i) * kMillisecond);
  EXPECT_EQ(backend.got[2], pattern(1000));
}

// Frames that become due while one is sent, as on a host where time goes on.
TEST_F(Filters, WhatBecomesDueMeanwhileGoesToo) {
  add("filter-shape", {{"rate", "8M"}});
  backend.takes = 3 * kMillisecond / 2;
  for (int i = 0; i < 20; ++i) nic.emit(pattern(1000));
  loop.advance(kSecond);
  EXPECT_EQ(backend.got.size(), 20u);
  backend.takes = 0;
  backend.busy = true;
  for (int i = 0; i < 2; ++i) nic.emit(pattern(1000));
  loop.advance(kMillisecond);
  backend.busy = false;
  backend.peer()->on_room();
  EXPECT_EQ(backend.got.size(), 21u);
  loop.advance(kSecond);
  EXPECT_EQ(backend.got.size(), 22u);
}

TEST_F(Filters, EachWayByQueue) {
  add("filter-shape", {{"delay", "5ms"}, {"queue", "tx"}});  // what the netdev sends
  nic.emit(pattern(100));
  EXPECT_EQ(backend.got.size(), 1u);
  backend.emit(pattern(100));
  EXPECT_TRUE(nic.got.empty());
  loop.advance(5 * kMillisecond);
  EXPECT_EQ(nic.got.size(), 1u);
}

TEST_F(Filters, LossDuplicatesAndReorderAsTheDiceSay) {
  auto& shape = dynamic_cast<ShapeFilter&>(
      add("filter-shape", {{"loss", "10%"}, {"duplicate", "5"}, {"reorder", "20"}, {"delay", "1ms"}, {"seed", "1"}}));
  constexpr unsigned kFrames = 10'000;
  for (unsigned i = 0; i < kFrames; ++i) {
    Bytes bytes(60);
    store_be<u32>(bytes.data(), i);
    nic.emit(bytes);
    loop.advance(100'000);
  }
  loop.advance(kSecond);
  const auto& counts = shape.counts(true);
  EXPECT_NEAR(static_cast<double>(counts.lost), kFrames * 0.1, kFrames * 0.01);
  EXPECT_NEAR(static_cast<double>(counts.duplicated), kFrames * 0.9 * 0.05, kFrames * 0.01);
  EXPECT_NEAR(static_cast<double>(counts.reordered), kFrames * 0.95 * 0.2, kFrames * 0.02);
  EXPECT_EQ(backend.got.size(), kFrames - counts.lost + counts.duplicated);
  unsigned backwards = 0;
  for (usize i = 1; i < backend.got.size(); ++i)
    backwards += load_be<u32>(backend.got[i].data()) < load_be<u32>(backend.got[i - 1].data());
  EXPECT_GT(backwards, kFrames / 20);
}

TEST_F(Filters, JitterKeepsTheOrder) {
  add("filter-shape", {{"delay", "10ms"}, {"jitter", "5ms"}, {"seed", "3"}});
  const s64 start = loop.clock.now();
  for (unsigned i = 0; i < 200; ++i) {
    Bytes bytes(60);
    bytes[0] = static_cast<u8>(i);
    nic.emit(bytes);
  }
  loop.advance(kSecond);
  ASSERT_EQ(backend.got.size(), 200u);
  for (unsigned i = 0; i < 200; ++i) {
    EXPECT_EQ(backend.got[i][0], static_cast<u8>(i));
    EXPECT_GE(backend.times[i] - start, 5 * kMillisecond);
    EXPECT_LE(backend.times[i] - start, 15 * kMillisecond);
  }
}

TEST_F(Filters, TheLimitDropsWhatComesLast) {
  auto& shape = dynamic_cast<ShapeFilter&>(add("filter-shape", {{"rate", "1M"}, {"limit", "3000"}}));
  for (u8 i = 0; i < 5; ++i) nic.emit(Bytes(1000, i));
  loop.advance(kSecond);
  ASSERT_EQ(backend.got.size(), 3u);
  EXPECT_EQ(backend.got[2][0], 2);
  EXPECT_EQ(shape.counts(true).over_limit, 2u);
}

TEST_F(Filters, ABusyFarSideWaitsWithoutLoss) {
  add("filter-shape", {{"delay", "1ms"}});
  backend.busy = true;
  for (u8 i = 0; i < 5; ++i) EXPECT_EQ(nic.emit(Bytes(100, i)), Sent::taken);
  loop.advance(kSecond);
  EXPECT_TRUE(backend.got.empty());
  backend.busy = false;
  backend.peer()->on_room();
  ASSERT_EQ(backend.got.size(), 5u);
  EXPECT_EQ(backend.got[4][0], 4);
}

TEST_F(Filters, ChangedAndTurnedOffLive) {
  Filter& shape = add("filter-shape", {{"delay", "10ms"}});
  nic.emit(Bytes(100, 1));
  ASSERT_TRUE(shape.set("delay", "1ms").ok());
  EXPECT_EQ(shape.set("delay", "1 day").error().message(),
            "Property 'filter-shape.delay' takes a time up to an hour, like 20ms, 500us or 1.5s, not '1 day'");
  EXPECT_EQ(shape.set("rat", "1").error().message(), "Property 'filter-shape.rat' not found (did you mean 'rate'?)");
  shape.set_status(false);  // what it holds goes on at once
  EXPECT_EQ(backend.got.size(), 1u);
  nic.emit(Bytes(100, 2));
  EXPECT_EQ(backend.got.size(), 2u);
  shape.set_status(true);
  nic.emit(Bytes(100, 3));
  EXPECT_EQ(backend.got.size(), 2u);
  loop.advance(kMillisecond);
  EXPECT_EQ(backend.got.size(), 3u);
  EXPECT_EQ(shape.info(),
            "type=filter-shape,rate=0,delay=1ms,jitter=0ms,loss=0%,duplicate=0%,reorder=0%,limit=1048576,seed=0,"
            "position=tail,status=on,insert=behind,netdev=n0,queue=all");
}

TEST_F(Filters, LargeSegmentsAreCutBeforeTheShaper) {
  backend.caps_ = {.checksum = true, .tso4 = true, .max_frame = kMaxGsoFrame};
  EXPECT_TRUE(nic.peer()->caps().tso4);
  Filter& shape = add("filter-shape", {{"loss", "0"}});
  EXPECT_FALSE(nic.peer()->caps().tso4);
  shape.set_status(false);
  EXPECT_TRUE(nic.peer()->caps().tso4);
}

TEST_F(Filters, BufferReleasesAtItsInterval) {
  const s64 start = loop.clock.now();
  add("filter-buffer", {{"interval", "1000"}});
  loop.advance(300'000);
  nic.emit(Bytes(100, 1));
  loop.advance(300'000);
  nic.emit(Bytes(100, 2));
  EXPECT_TRUE(backend.got.empty());
  loop.advance(kMillisecond);
  ASSERT_EQ(backend.got.size(), 2u);
  EXPECT_EQ(backend.times[0] - start, kMillisecond);
  EXPECT_EQ(backend.times[1] - start, kMillisecond);
}

TEST_F(Filters, MirrorCopiesWithLengths) {
  add("filter-mirror", {{"outdev", "m"}, {"queue", "rx"}});
  nic.emit(pattern(60));
  backend.emit(pattern(80));
  EXPECT_EQ(backend.got.size(), 1u);
  EXPECT_EQ(nic.got.size(), 1u);
  Bytes expected{0, 0, 0, 60};
  const Bytes frame = pattern(60);
  expected.insert(expected.end(), frame.begin(), frame.end());
  EXPECT_EQ(lines.lines["m"].written, expected);
  all.clear();
  EXPECT_FALSE(lines.lines["m"].open);
  EXPECT_EQ(nic.peer(), &backend);
}

TEST_F(Filters, RedirectorStealsAndInjects) {
  add("filter-redirector", {{"outdev", "out"}, {"queue", "rx"}});
  add("filter-redirector", {{"indev", "in"}, {"queue", "rx"}});
  nic.emit(pattern(60));
  EXPECT_TRUE(backend.got.empty());
  const Bytes stream = lines.lines["out"].written;
  ASSERT_EQ(stream.size(), 64u);
  // Back in by the other one, in pieces: it walks past the first, which steals it again where it stands behind it.
  for (const u8 byte : stream) lines.lines["in"].on_data(std::span(&byte, 1));
  EXPECT_EQ(lines.lines["out"].written.size(), 128u);
  all.erase(all.begin());
  for (const u8 byte : stream) lines.lines["in"].on_data(std::span(&byte, 1));
  ASSERT_EQ(backend.got.size(), 1u);
  EXPECT_EQ(backend.got[0], pattern(60));
  EXPECT_TRUE(nic.got.empty());
  // What is no stream of frames is thrown away.
  const Bytes bad(100, 0xff);
  lines.lines["in"].on_data(bad);
  lines.lines["in"].on_data(stream);
  EXPECT_EQ(backend.got.size(), 2u);
}

TEST_F(Filters, PositionsInAChain) {
  Filter& first = add("filter-mirror", {{"outdev", "a"}});
  add("filter-redirector", {{"outdev", "b"}, {"position", "id=f0"}, {"insert", "before"}}, &first);
  // "before" is nearer to the backend: the guest's frames meet the mirror first, and are stolen then.
  nic.emit(pattern(60));
  EXPECT_EQ(lines.lines["a"].written.size(), 64u);
  EXPECT_EQ(lines.lines["b"].written.size(), 64u);
  EXPECT_TRUE(backend.got.empty());
  // What the backend sends meets the redirector first: the mirror sees nothing of it.
  backend.emit(pattern(60));
  EXPECT_EQ(lines.lines["a"].written.size(), 64u);
  EXPECT_EQ(lines.lines["b"].written.size(), 128u);
}

// A TCP segment in a frame, with its checksum right.
Bytes segment(bool from_guest, u8 flags, u32 seq, u32 ack) {
  Bytes frame(60);
  store_be<u16>(&frame[12], user::kTypeIpv4);
  u8* ip = &frame[14];
  ip[0] = 0x45;
  store_be<u16>(ip + 2, 40);
  ip[8] = 64;
  ip[9] = user::kTcp;
  const u32 guest = 0x0a000001, other = 0x0a000002;
  store_be<u32>(ip + 12, from_guest ? guest : other);
  store_be<u32>(ip + 16, from_guest ? other : guest);
  store_be<u16>(ip + 10, checksum(ip, 20));
  u8* tcp = ip + 20;
  store_be<u16>(tcp, from_guest ? 80 : 4000);
  store_be<u16>(tcp + 2, from_guest ? 4000 : 80);
  store_be<u32>(tcp + 4, seq);
  store_be<u32>(tcp + 8, ack);
  tcp[12] = 0x50;
  tcp[13] = flags;
  ChecksumSum sum;
  sum.add_pseudo_header(IpAddress::from_wire(ip + 12, true), IpAddress::from_wire(ip + 16, true), user::kTcp, 20);
  sum.add(tcp, 20);
  store_be<u16>(tcp + 16, sum.checksum());
  return frame;
}

TEST_F(Filters, RewriterMovesASecondMachinesNumbers) {
  add("filter-rewriter", {});
  enum : u8 { kFin = 1, kSyn = 2, kAck = 16 };
  const u32 first = 1000, second = 0xfffffff0;  // first numbers of both machines
  backend.emit(segment(false, kSyn, 77, 0));
  nic.emit(segment(true, kSyn | kAck, second, 78));
  EXPECT_EQ(backend.got.back(), segment(true, kSyn | kAck, second, 78));
  backend.emit(segment(false, kAck, 78, first + 1));
  EXPECT_EQ(nic.got.back(), segment(false, kAck, 78, second + 1));
  nic.emit(segment(true, kAck, second + 1, 78));
  EXPECT_EQ(backend.got.back(), segment(true, kAck, first + 1, 78));
  backend.emit(segment(false, kAck | kFin, 78, first + 100));
  EXPECT_EQ(nic.got.back(), segment(false, kAck | kFin, 78, second + 100));
  nic.emit(segment(true, kAck | kFin, second + 100, 79));
  EXPECT_EQ(backend.got.back(), segment(true, kAck | kFin, first + 100, 79));
  backend.emit(segment(false, kAck, 79, first + 101));
  EXPECT_EQ(nic.got.back(), segment(false, kAck, 79, second + 101));
  nic.emit(segment(true, kAck, 5, 6));  // it is over: nothing is changed
  EXPECT_EQ(backend.got.back(), segment(true, kAck, 5, 6));
}

TEST_F(Filters, WhatIsWrongIsSaid) {
  EXPECT_EQ(error("filter-mirror", {}), "Parameter 'outdev' is missing");
  EXPECT_EQ(error("filter-mirror", {{"outdev", "none"}}), "Chardev 'none' not found");
  EXPECT_EQ(error("filter-redirector", {}), "filter redirector needs 'indev' or 'outdev' at least one property set");
  EXPECT_EQ(error("filter-redirector", {{"indev", "a"}, {"outdev", "a"}}),
            "'indev' and 'outdev' could not be same for filter redirector");
  EXPECT_EQ(error("filter-buffer", {}), "Parameter 'interval' is missing");
  EXPECT_EQ(error("filter-buffer", {{"interval", "0"}}),
            "Property 'filter-buffer.interval' requires a positive value (microseconds), not '0'");
  EXPECT_EQ(error("filter-replay", {}), "filter-replay is for -icount ...,rr=record or rr=replay, which is not in use");
  EXPECT_EQ(error("filter-shape", {{"loss", "101"}}),
            "Property 'filter-shape.loss' takes a percentage from 0 to 100, like 0.5%, not '101'");
  EXPECT_EQ(error("filter-shape", {{"rate", "10X"}}),
            "Property 'filter-shape.rate' takes bits a second up to 1000G, like 10M; 0 for no limit, not '10X'");
  EXPECT_EQ(error("filter-shape", {{"limit", "1"}}),
            "Property 'filter-shape.limit' is at least one frame, 1514, and at most 1G, not '1'");
  EXPECT_EQ(error("filter-shape", {{"los", "1"}}), "Invalid parameter 'los' (did you mean 'loss'?)");
  EXPECT_EQ(error("filter-shape", {{"position", "middle"}}),
            "Parameter 'position' expects 'head', 'tail' or 'id=<id>', not 'middle'");
  EXPECT_EQ(error("filter-shap", {}),
            "Parameter 'qom-type' does not accept value 'filter-shap' (did you mean "
            "'filter-shape'?)");
}

}  // namespace
}  // namespace rhea::net
