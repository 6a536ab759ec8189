// SPDX-License-Identifier: MIT
// The protocol against a target in memory.
#include <gtest/gtest.h>

#include "gdbstub/fake_target.h"
#include "gdbstub/stub.h"

namespace rhea::gdbstub {
namespace {

struct StubTest : ::testing::Test {
  FakeLine line;
  FakeTarget target;
  Stub stub{line, target};

  // Sends a packet; the answer's payload, with the acknowledgement checked.
  std::string ask(const std::string& payload) {
    line.output.clear();
    const std::string packet = make_packet(payload);
    stub.receive({reinterpret_cast<const u8*>(packet.data()), packet.size()});
    EXPECT_EQ(line.output.substr(0, 1), "+") << payload;
    return payload_of(line.output.substr(std::min<usize>(1, line.output.size())));
  }
  static std::string payload_of(const std::string& packet) {
    PacketReader reader;
    for (const char c : packet)
      if (reader.take(static_cast<u8>(c)) == PacketReader::Event::packet) return reader.payload();
    return "<none>";
  }
  void send(std::string_view bytes) { stub.receive({reinterpret_cast<const u8*>(bytes.data()), bytes.size()}); }
};

TEST_F(StubTest, FramesAreChecked) {
  send("$?#00");
  EXPECT_EQ(line.output, "-");
  line.output.clear();
  send("garbage$?#3");
  send("f");
  EXPECT_EQ(line.output, "+" + make_packet("T02thread:1;"));
  line.output.clear();
  send("-");
  EXPECT_EQ(line.output, make_packet("T02thread:1;")) << "sent again";
  line.output.clear();
  send(make_packet(std::string(2 * kMaxPacket, 'q')));
  EXPECT_EQ(line.output, "-") << "too long";
}

TEST_F(StubTest, EscapesAreUndone) {
  EXPECT_EQ(ask(std::string("X100,4:") + "#$}*"), "OK");
  EXPECT_EQ(target.memory[0x100], '#');
  EXPECT_EQ(target.memory[0x103], '*');
  EXPECT_EQ(ask("m100,4"), "23247d2a");
}

TEST_F(StubTest, AttachingStops) {
  target.is_running = true;
  stub.event(chardev::Event::opened);
  EXPECT_FALSE(target.is_running);
  EXPECT_EQ(ask("?"), "T02thread:1;");
}

TEST_F(StubTest, Registers) {
  target.cpus_[0].values[3] = 0x11223344;
  EXPECT_EQ(ask("p3"), "44332211");
  EXPECT_EQ(ask("P3=78563412"), "OK");
  EXPECT_EQ(target.cpus_[0].values[3], 0x12345678u);
  EXPECT_EQ(ask("P3=7856"), "E14");
  EXPECT_EQ(ask("P3=7856341g"), "E22");
  EXPECT_EQ(ask("p10"), "E14");
  EXPECT_EQ(ask("pfffffff0"), "E22");
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("p3"), "00000000");
  EXPECT_EQ(ask("Hg4"), "E22");
  const std::string old_layout = ask("g");
  EXPECT_EQ(old_layout.size(), (16 * 4 + 100 + 4) * 2u);
  ask("qXfer:features:read:target.xml:0,ffb");
  const std::string all = ask("g");
  EXPECT_EQ(all.size(), 17 * 8u);
  EXPECT_EQ(ask("G" + std::string(17 * 8, '1')), "OK");
  EXPECT_EQ(target.cpus_[1].values[15], 0x11111111u);
  EXPECT_EQ(ask("G1234"), "E22");
}

TEST_F(StubTest, Memory) {
  EXPECT_EQ(ask("M200,3:010203"), "OK");
  EXPECT_EQ(ask("m200,3"), "010203");
  EXPECT_EQ(ask("M200,3:0102"), "E22");
  EXPECT_EQ(ask("mffe,8"), "0000") << "as far as there is memory";
  EXPECT_EQ(ask("m1000,4"), "E14");
  EXPECT_EQ(ask("m0,ffffffffffff"), "E22");
  EXPECT_EQ(ask("M1000,1:00"), "E14");
  EXPECT_EQ(ask("m,"), "E22");
  EXPECT_EQ(ask("qqemu.PhyMemMode"), "0");
  EXPECT_EQ(ask("Qqemu.PhyMemMode:1"), "OK");
  EXPECT_EQ(ask("m200,1"), "ee") << "another memory";
  EXPECT_EQ(ask("Qqemu.PhyMemMode:2"), "E22");
}

TEST_F(StubTest, RunningIsAnsweredByTheStop) {
  EXPECT_EQ(ask("vCont?"), "vCont;c;C;s;S;t");
  EXPECT_EQ(ask("vCont;s:2;c"), "<none>");
  EXPECT_EQ(target.actions, (std::vector<CpuAction>{CpuAction::go, CpuAction::step, CpuAction::go}));
  line.output.clear();
  target.stop({.why = DebugStop::Why::stepped, .cpu = 1});
  EXPECT_EQ(payload_of(line.output), "T05thread:2;");
  EXPECT_EQ(ask("s"), "<none>");
  EXPECT_EQ(target.actions, (std::vector<CpuAction>{CpuAction::stay, CpuAction::step, CpuAction::stay}));
  line.output.clear();
  target.stop({.why = DebugStop::Why::watchpoint, .cpu = 0, .address = 0xabc, .watch = WatchKind::access});
  EXPECT_EQ(payload_of(line.output), "T05thread:1;awatch:abc;");
  for (const char* wrong : {"vCont", "vCont;", "vCont;x", "vCont;c:9", "vCont;C", "vCont;t", "vCont;c:1x"})
    EXPECT_EQ(ask(wrong), "E22") << wrong;
}

TEST_F(StubTest, InterruptAndImpatience) {
  ask("c");
  EXPECT_TRUE(target.is_running);
  line.output.clear();
  send("\x03");
  EXPECT_EQ(target.interrupts, 1u);
  send(make_packet("m200,1"));
  EXPECT_EQ(line.output, "+") << "held until it stands";
  line.output.clear();
  target.stop({.why = DebugStop::Why::interrupted});
  EXPECT_EQ(line.output, make_packet("T02thread:1;") + make_packet("00"));
}

TEST_F(StubTest, BreakpointsAndWatchpoints) {
  EXPECT_EQ(ask("Z0,8000,4"), "OK");
  EXPECT_EQ(ask("Z1,9000,2"), "OK");
  EXPECT_EQ(target.breakpoints, (std::set<u64>{0x8000, 0x9000}));
  EXPECT_EQ(ask("z0,8000,4"), "OK");
  EXPECT_EQ(ask("Z2,100,4"), "OK");
  EXPECT_EQ(ask("Z4,100,8"), "OK");
  EXPECT_EQ(target.watchpoints.size(), 2u);
  EXPECT_EQ(ask("Z3,100,0"), "E22");
  EXPECT_EQ(ask("Z9,100,1"), "");
  EXPECT_EQ(ask("Z0,8000"), "E22");
  stub.event(chardev::Event::closed);
  EXPECT_TRUE(target.breakpoints.empty());
}

TEST_F(StubTest, Queries) {
  const std::string supported = ask("qSupported:multiprocess+");
  EXPECT_NE(supported.find("PacketSize=4000"), supported.npos);
  EXPECT_EQ(supported.find("ReverseStep"), supported.npos);
  target.has_past = true;
  EXPECT_NE(ask("qSupported").find("ReverseStep+;ReverseContinue+"), supported.npos);
  EXPECT_EQ(ask("qfThreadInfo"), "m1,2,3");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("qC"), "QC1");
  EXPECT_EQ(ask("qAttached"), "1");
  EXPECT_EQ(ask("qAttached:1"), "1");
  EXPECT_EQ(ask("T3"), "OK");
  EXPECT_EQ(ask("T4"), "E22");
  EXPECT_EQ(ask("qThreadExtraInfo,1"), to_hex("CPU#0 [running]"));
  EXPECT_EQ(ask("vMustReplyEmpty"), "");
  EXPECT_EQ(ask("qCRC:0,1"), "");
  EXPECT_EQ(ask("QNonStop:1"), "E22");
  EXPECT_EQ(ask("qqemu.sstep"), "0x7");
  EXPECT_EQ(ask("Qqemu.sstep=0x1"), "OK");
  EXPECT_FALSE(target.mode.mask_interrupts || target.mode.hold_timers);
  EXPECT_EQ(ask("Qqemu.sstep=ff"), "E22");
  EXPECT_EQ(ask("QStartNoAckMode"), "OK");
  line.output.clear();
  send(make_packet("qC"));
  EXPECT_EQ(line.output, make_packet("QC1")) << "without an acknowledgement";
}

TEST_F(StubTest, DocumentsComeInParts) {
  std::string whole;
  for (;;) {
    const std::string part = ask(fmt::format("qXfer:features:read:target.xml:{:x},80", whole.size()));
    ASSERT_FALSE(part.empty());
    whole += part.substr(1);
    if (part[0] == 'l') break;
    ASSERT_EQ(part[0], 'm');
  }
  EXPECT_EQ(whole, target_description(target.cpus_[0]));
  EXPECT_NE(whole.find("<reg name=\"cpsr\" bitsize=\"32\" type=\"int\" regnum=\"25\"/>"), whole.npos);
  EXPECT_EQ(ask("qXfer:features:read:other.xml:0,80"), "E00");
  EXPECT_EQ(ask("qXfer:features:read:target.xml:fffff,80"), "E01");
  EXPECT_EQ(ask("qXfer:features:read:target.xml:zz"), "E00");
}

TEST_F(StubTest, MonitorCommands) {
  line.output.clear();
  send(make_packet("qRcmd," + to_hex("info status")));
  EXPECT_EQ(line.output, "+" + make_packet("O" + to_hex("ran: info status\n")) + make_packet("OK"));
  EXPECT_EQ(ask("qRcmd,zz"), "E22");
}

TEST_F(StubTest, Ends) {
  EXPECT_EQ(ask("D"), "OK");
  EXPECT_TRUE(target.is_running && !target.client);
  EXPECT_EQ(ask("?"), "T02thread:1;") << "attached again";
  EXPECT_EQ(ask("vKill;1"), "OK");
  EXPECT_EQ(target.kills, 1u);
  ask("c");
  line.output.clear();
  target.client->ended(3);
  EXPECT_EQ(payload_of(line.output), "W03");
}

TEST_F(StubTest, BackwardsNeedsAPast) {
  EXPECT_EQ(ask("bs"), "E14");
  target.has_past = true;
  EXPECT_EQ(ask("bc"), "<none>");
  line.output.clear();
  target.stop({.why = DebugStop::Why::history_start});
  EXPECT_EQ(payload_of(line.output), "T05thread:1;replaylog:begin;");
}

}  // namespace
}  // namespace rhea::gdbstub
