// SPDX-License-Identifier: MIT
// The rest of the table of TCP's cases (docs/user-network.md), each from both ends.
#include <gtest/gtest.h>

#include "net/user/tcp_fixture.h"

namespace rhea::net::user::testing {
namespace {

Bytes timestamp(u32 value, u32 echo) {
  Bytes option{1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0};
  store_be<u32>(&option[4], value);
  store_be<u32>(&option[8], echo);
  return option;
}

Bytes with(Bytes options, const Bytes& more) {
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

// --- opening ------------------------------------------------------------------------------------------------------

TEST_F(TcpTest, ASynAckIsSentAgainUntilTheGuestIsGivenUp) {
  send_syn();
  wire_ = net_.sockets->wires.back();
  net_.event(*wire_, kSocketWritable);
  const Seen first = take();
  unsigned again = 0;
  for (unsigned i = 0; i < 120; ++i) {
    net_.loop.advance(kSecond);
    while (!quiet()) {
      const Seen answer = take();
      if (answer.flags & kRst) continue;
      EXPECT_EQ(answer.flags, kSyn | kAck);
      EXPECT_EQ(answer.seq, first.seq);
      ++again;
    }
  }
  EXPECT_GE(again, 4u);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_TRUE(wire_->reset);
}

TEST_F(TcpTest, AWrongAcknowledgementOfTheSynAckIsReset) {
  send_syn();
  wire_ = net_.sockets->wires.back();
  net_.event(*wire_, kSocketWritable);
  const Seen answer = take();
  send({.seq = kGuestSeq + 1, .ack = answer.seq + 77});
  const Seen reset = take();
  EXPECT_EQ(reset.flags, kRst);
  EXPECT_EQ(reset.seq, answer.seq + 77);
  send({.seq = kGuestSeq + 1, .ack = answer.seq + 1});  // the right one still opens it
  EXPECT_TRUE(quiet());
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
}

TEST_F(TcpTest, AResetEndsAConnectionThatIsBeingOpened) {
  send_syn();
  wire_ = net_.sockets->wires.back();
  send({.flags = kRst, .seq = kGuestSeq + 1});
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_EQ(wire_->socket, nullptr);
  EXPECT_TRUE(quiet());
}

TEST_F(TcpTest, SegmentsKeepToTheGuestsMss) {
  syn_options_ = {2, 4, 0x02, 0x18};  // 536, no scale
  open();
  guest_acks(host_seq_, 60000);
  host_sends(pattern(5000));
  usize got = 0;
  while (!quiet()) {
    const usize size = take().payload.size();
    EXPECT_LE(size, 536u);
    got += size;
  }
  EXPECT_EQ(got, 5000u);
}

TEST_F(TcpTest, AnAbsurdMssIsNotTaken) {
  syn_options_ = {2, 4, 0, 1};
  open();
  guest_acks(host_seq_, 60000);
  host_sends(pattern(1000));
  EXPECT_GE(take().payload.size(), 64u);
}

TEST_F(TcpTest, InitialSequenceNumbersDoNotFollowFromOneAnother) {
  // Of one moment, for neighbouring ports: as far apart as random numbers are (RFC 6528).
  std::vector<u32> numbers;
  for (u16 port = 1; port <= 32; ++port) {
    port_ = port;
    send_syn();
    net_.event(net_.last(), kSocketWritable);
    numbers.push_back(take().seq);
  }
  std::vector<u32> steps;
  for (usize i = 1; i < numbers.size(); ++i) steps.push_back(numbers[i] - numbers[i - 1]);
  std::sort(steps.begin(), steps.end());
  EXPECT_EQ(std::unique(steps.begin(), steps.end()), steps.end());
  unsigned near = 0;
  for (const u32 step : steps) near += step + 0x100000 < 0x200000;
  EXPECT_LE(near, 2u);
}

TEST_F(TcpTest, InitialSequenceNumbersOfAConnectionMoveOn) {
  const auto next = [this] {
    send_syn();
    net_.event(net_.last(), kSocketWritable);
    const u32 seq = take().seq;
    send({.flags = kRst, .seq = kGuestSeq + 1});
    return seq;
  };
  const u32 first = next();
  net_.loop.advance(kSecond);
  EXPECT_EQ(next() - first, 250000u);  // a step each 4 microseconds
}

// --- data ---------------------------------------------------------------------------------------------------------

TEST_F(TcpTest, TheWindowOfASynIsNotScaledOthersAre) {
  syn_options_ = {2, 4, 0x05, 0xb4, 1, 3, 3, 14};
  send({.flags = kSyn, .seq = kGuestSeq, .window = 1000, .options = syn_options_});
  wire_ = net_.sockets->wires.back();
  net_.event(*wire_, kSocketWritable);
  const Seen answer = take();
  host_seq_ = answer.seq + 1;
  guest_seq_ = kGuestSeq + 1;
  wire_->receive_queue = pattern(300000);
  send({.seq = guest_seq_, .ack = host_seq_, .window = 10});  // 10 << 14
  net_.event(*wire_, kSocketReadable);
  usize got = 0;
  while (!quiet()) got += take().payload.size();
  EXPECT_GT(got, 100000u);
  EXPECT_LE(got, 163840u);
}

TEST_F(TcpTest, DataThatComesTwiceIsTakenOnce) {
  open();
  guest_sends(pattern(1000));
  take();
  send({.seq = guest_seq_ - 1000, .ack = host_seq_, .payload = pattern(1000)});
  EXPECT_EQ(take().ack, guest_seq_);
  send({.flags = kAck | kPsh, .seq = guest_seq_ - 500, .ack = host_seq_, .payload = pattern(1000, 500)});
  guest_seq_ += 500;
  EXPECT_EQ(take().ack, guest_seq_);
  EXPECT_EQ(wire_->sent, pattern(1500));
}

TEST_F(TcpTest, DataBeyondTheWindowIsNotTaken) {
  open();
  send({.seq = guest_seq_ + (1u << 22), .ack = host_seq_, .payload = pattern(100)});
  const Seen answer = take();
  EXPECT_EQ(answer.ack, guest_seq_);
  EXPECT_EQ(answer.options.sack_count, 0u);
  EXPECT_TRUE(wire_->sent.empty());
  EXPECT_STREQ(net_.stack().flow_list().at(0).last_drop.c_str(), "outside the window");
}

TEST_F(TcpTest, AProbeOfAClosedWindowIsAnsweredAndNotTaken) {
  open();
  wire_->room = 0;
  u32 window = 65535;
  for (unsigned i = 0; i < 5000 && window; ++i) {
    guest_sends(pattern(std::min<u32>(window, 1460)));
    while (!quiet()) window = u32{take().window} << 5;
  }
  ASSERT_EQ(window, 0u);
  send({.flags = kAck | kPsh, .seq = guest_seq_, .ack = host_seq_, .payload = pattern(64)});
  const Seen answer = take();
  EXPECT_LT(answer.ack - guest_seq_, 32u);  // what the scale hides of the window
  EXPECT_EQ(answer.window, 0);
}

TEST_F(TcpTest, TwoHolesAreToldAndFilled) {
  open();
  const Bytes data = pattern(5000);
  const auto part = [&](u32 from, u32 to) {
    send({.flags = kAck | kPsh,
          .seq = guest_seq_ + from,
          .ack = host_seq_,
          .payload = Bytes(data.begin() + from, data.begin() + to)});
    return take();
  };
  part(1000, 2000);
  const Seen two = part(3000, 4000);
  EXPECT_EQ(two.ack, guest_seq_);
  EXPECT_EQ(two.options.sack_count, 2u);
  part(2000, 3000);
  EXPECT_EQ(part(0, 1000).ack, guest_seq_ + 4000);
  EXPECT_EQ(part(4000, 5000).options.sack_count, 0u);
  EXPECT_EQ(wire_->sent, data);
}

TEST_F(TcpTest, AnUrgentByteOfTheGuestIsUrgentForTheHost) {
  open();
  send({.flags = kAck | kPsh | kUrg, .seq = guest_seq_, .ack = host_seq_, .payload = bytes_of("ab!cd"), .urgent = 3});
  EXPECT_EQ(wire_->sent, bytes_of("ab!cd"));
  EXPECT_EQ(wire_->urgent_sent, std::vector<usize>{2});
  EXPECT_EQ(take().ack, guest_seq_ + 5);
}

TEST_F(TcpTest, AnUrgentPointerToNowhereChangesNothing) {
  open();
  for (const u16 urgent : {u16{0}, u16{4}, u16{65535}}) {
    send({.flags = kAck | kPsh | kUrg,
          .seq = guest_seq_,
          .ack = host_seq_,
          .payload = bytes_of("abc"),
          .urgent = urgent});
    guest_seq_ += 3;
    EXPECT_EQ(take().ack, guest_seq_);
  }
  EXPECT_EQ(wire_->sent, bytes_of("abcabcabc"));
  EXPECT_TRUE(wire_->urgent_sent.empty());
}

TEST_F(TcpTest, AnUrgentByteOfTheHostIsUrgentForTheGuest) {
  open();
  wire_->receive_queue = bytes_of("ab!cd");
  wire_->urgent_at = 2;
  net_.event(*wire_, kSocketReadable | kSocketUrgent);
  EXPECT_EQ(take().payload, bytes_of("ab"));
  EXPECT_TRUE(quiet());  // what is before it must have arrived
  guest_acks(host_seq_ + 2);
  const Seen urgent = take();
  EXPECT_EQ(urgent.payload, bytes_of("!"));
  EXPECT_TRUE(urgent.flags & kUrg);
  EXPECT_EQ(urgent.options.urgent, 1);
  wire_->urgent_at = ~usize{0};
  guest_acks(host_seq_ + 3);
  EXPECT_EQ(take().payload, bytes_of("cd"));
}

// --- timestamps (RFC 7323) ----------------------------------------------------------------------------------------

class TimestampTest : public TcpTest {
 protected:
  void open_with_time(u32 now) {
    syn_options_ = with(syn_options_, timestamp(now, 0));
    send_syn();
    wire_ = net_.sockets->wires.back();
    net_.event(*wire_, kSocketWritable);
    const Seen answer = take();
    ASSERT_TRUE(answer.options.timestamp);
    EXPECT_EQ(answer.options.time_echo, now);
    host_time_ = answer.options.time;
    host_seq_ = answer.seq + 1;
    guest_seq_ = kGuestSeq + 1;
    send({.seq = guest_seq_, .ack = host_seq_, .window = 512, .options = timestamp(now, host_time_)});
  }
  void sends_at(u32 now, const Bytes& data) {
    send({.flags = kAck | kPsh,
          .seq = guest_seq_,
          .ack = host_seq_,
          .window = 512,
          .options = timestamp(now, host_time_),
          .payload = data});
  }
  u32 host_time_ = 0;
};

TEST_F(TimestampTest, AreEchoedInEverySegment) {
  open_with_time(1000);
  sends_at(1001, bytes_of("x"));
  Seen answer = take();
  EXPECT_EQ(answer.options.time_echo, 1001u);
  guest_seq_ += 1;
  net_.loop.advance(5 * kMillisecond);
  host_sends(bytes_of("answer"));
  answer = take();
  EXPECT_TRUE(answer.options.timestamp);
  EXPECT_EQ(answer.options.time_echo, 1001u);
  EXPECT_EQ(answer.options.time - host_time_, 5u);  // milliseconds
  EXPECT_EQ(answer.payload, bytes_of("answer"));
}

TEST_F(TimestampTest, TakeTheirRoomFromThePayload) {
  open_with_time(1);
  host_sends(pattern(3000));
  EXPECT_EQ(take().payload.size(), 1448u);
  EXPECT_EQ(take().payload.size(), 1448u);
  EXPECT_EQ(take().payload.size(), 104u);
}

TEST_F(TimestampTest, LargeSegmentsCarryThemToo) {
  net_.guest.caps_ = {.checksum = true, .tso4 = true, .tso6 = true};
  open_with_time(7);
  send({.seq = guest_seq_, .ack = host_seq_, .window = 2000, .options = timestamp(8, host_time_)});
  host_sends(pattern(50000));
  const Offload offload = net_.guest.offloads.front();
  const Seen whole = take();
  EXPECT_EQ(whole.payload, pattern(50000));
  EXPECT_EQ(whole.options.time_echo, 8u);
  EXPECT_EQ(offload.gso_size, 1448);
  EXPECT_EQ(offload.header_length, 14 + 20 + 32);
}

TEST_F(TimestampTest, ASegmentOfThePastIsNotTaken) {
  open_with_time(1000);
  sends_at(2000, bytes_of("new"));
  guest_seq_ += 3;
  take();
  sends_at(1500, bytes_of("old"));
  const Seen answer = take();
  EXPECT_EQ(answer.ack, guest_seq_);
  EXPECT_EQ(answer.options.time_echo, 2000u);
  EXPECT_EQ(wire_->sent, bytes_of("new"));
  EXPECT_STREQ(net_.stack().flow_list().at(0).last_drop.c_str(), "an old timestamp");
}

TEST_F(TimestampTest, OfASegmentOutOfOrderAreNotEchoed) {
  open_with_time(1000);
  send({.seq = guest_seq_ + 100,
        .ack = host_seq_,
        .window = 512,
        .options = timestamp(3000, host_time_),
        .payload = pattern(10)});
  const Seen answer = take();
  EXPECT_EQ(answer.options.time_echo, 1000u);
  EXPECT_EQ(answer.options.sack_count, 1u);
}

TEST_F(TimestampTest, AreNotUsedWhereTheGuestDoesNotOfferThem) {
  open();
  guest_sends(bytes_of("x"));
  EXPECT_FALSE(take().options.timestamp);
}

TEST_F(ForwardTest, TimestampsAreOfferedToTheGuest) {
  meet_guest();
  while (!quiet()) take();
  client_connects();
  const Seen syn = take();
  ASSERT_EQ(syn.flags, kSyn);
  EXPECT_TRUE(syn.options.timestamp);
  EXPECT_TRUE(syn.options.sack_permitted);
  EXPECT_GE(syn.options.scale, 0);
}

// --- ends ---------------------------------------------------------------------------------------------------------

TEST_F(TcpTest, BothEndAtTheSameTime) {
  open();
  host_ends();
  const Seen fin = take();
  EXPECT_EQ(fin.flags, kFin | kAck);
  // The guest's FIN was on its way, and acknowledges nothing of it.
  send({.flags = kFin | kAck, .seq = guest_seq_, .ack = host_seq_, .window = 512});
  EXPECT_TRUE(wire_->shut_down);
  EXPECT_EQ(take().ack, guest_seq_ + 1);
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
  send({.seq = guest_seq_ + 1, .ack = host_seq_ + 1, .window = 512});
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  EXPECT_FALSE(wire_->reset);
  EXPECT_TRUE(quiet());
}

TEST_F(TcpTest, AFinThatOvertakesItsDataWaitsForIt) {
  open();
  send({.flags = kFin | kAck, .seq = guest_seq_ + 4, .ack = host_seq_, .window = 512});
  EXPECT_EQ(take().ack, guest_seq_);
  EXPECT_FALSE(wire_->shut_down);
  guest_sends(bytes_of("data"), kFin | kAck | kPsh);
  EXPECT_EQ(wire_->sent, bytes_of("data"));
  EXPECT_TRUE(wire_->shut_down);
  EXPECT_EQ(take().ack, guest_seq_);
}

TEST_F(TcpTest, HalfClosedByTheHostTheGuestSendsOnForAsLongAsItLikes) {
  open();
  host_ends();
  take();
  guest_acks(++host_seq_);
  for (unsigned hour = 0; hour < 5; ++hour) {
    net_.loop.advance(3600 * kSecond);
    while (!quiet()) take();
    guest_sends(pattern(100, hour * 100));
    EXPECT_EQ(take().ack, guest_seq_);
  }
  EXPECT_EQ(wire_->sent, pattern(500));
  EXPECT_EQ(net_.stack().tcp_flows(), 1u);
}

TEST_F(TcpTest, AResetOfTheGuestWithDataOnItsWayResetsTheHost) {
  open();
  host_sends(pattern(100000));
  while (!quiet()) take();
  send({.flags = kRst | kAck, .seq = guest_seq_, .ack = host_seq_ + 1460});
  EXPECT_TRUE(wire_->reset);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  guest_acks(host_seq_ + 2920);  // what was on its way comes to nothing
  EXPECT_EQ(take().flags, kRst);
}

TEST_F(TcpTest, AResetOfTheHostWithDataOfTheGuestOnItsWay) {
  open();
  wire_->room = 0;
  guest_sends(pattern(1000));
  while (!quiet()) take();
  wire_->end = true;
  wire_->error = ECONNRESET;
  net_.event(*wire_, kSocketReadable | kSocketHangup | kSocketError);
  const Seen reset = take();
  EXPECT_TRUE(reset.flags & kRst);
  EXPECT_EQ(reset.seq, host_seq_);
  EXPECT_EQ(net_.stack().tcp_flows(), 0u);
  guest_sends(pattern(1000));
  EXPECT_TRUE(take().flags & kRst);
}

TEST_F(TcpTest, DataAfterTheGuestsFinIsNotTaken) {
  open();
  guest_sends(bytes_of("all"), kFin | kAck | kPsh);
  take();
  send({.flags = kAck | kPsh, .seq = guest_seq_, .ack = host_seq_, .window = 512, .payload = bytes_of("more")});
  EXPECT_EQ(wire_->sent, bytes_of("all"));
  while (!quiet()) EXPECT_EQ(take().ack, guest_seq_);
}

}  // namespace
}  // namespace rhea::net::user::testing
