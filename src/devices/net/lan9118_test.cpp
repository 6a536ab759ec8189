// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "devices/net/ethernet_crc.h"
#include "devices/net/lan9118_registers.h"
#include "devices/testing.h"

namespace rhea::devices {
namespace {

using namespace lan9118;
using testing::Bench;

// Does what a driver does: smsc911x of Linux, as far as the chip sees it.
struct Lan9118Test : ::testing::Test {
  Bench bench;
  std::unique_ptr<SysbusDevice> nic = bench.make("lan9118", {{"mac", "52:54:00:12:34:56"}});

  u32 get(u32 offset) { return Bench::read(*nic, 0, offset); }
  void put(u32 offset, u32 value) { Bench::write(*nic, 0, offset, value); }
  u32 mac(u32 index) {
    put(kMacCsrCmd, kBusy | kRead | index);
    return get(kMacCsrData);
  }
  void mac(u32 index, u32 value) {
    put(kMacCsrData, value);
    put(kMacCsrCmd, kBusy | index);
  }
  u16 phy(u32 index) {
    mac(6, 1 << 11 | index << 6);
    return static_cast<u16>(mac(7));
  }
  void phy(u32 index, u16 value) {
    mac(7, value);
    mac(6, 1 << 11 | index << 6 | 2);
  }
  void start() {
    put(kHwCfg, 0x00150000);
    put(kIntCfg, kIrqEn | kIrqPol | kIrqType);
    put(kFifoInt, 0xff000000);
    put(kRxCfg, 2 << 8);
    put(kIntEn, kRsfl | kTdfa);
    mac(1, 0x1000000c | 1u << 20);
    put(kTxCfg, kTxOn);
    settle();
  }
  void settle() {
    for (int i = 0; i < 10; ++i) {
      bench.net_loop.run();
      bench.loop.run();
    }
  }
  static std::vector<u8> frame(usize size, u8 fill, u8 first = 0x52) {
    std::vector<u8> bytes(size, fill);
    const u8 header[] = {first, 0x54, 0x00, 0x12, 0x34, 0x56, 2, 2, 2, 2, 2, 2, 8, 0};
    std::copy(std::begin(header), std::end(header), bytes.begin());
    return bytes;
  }
  void send(const std::vector<u8>& bytes, unsigned offset = 0) {
    put(0x20, offset << 16 | 3 << 12 | static_cast<u32>(bytes.size()));
    put(0x20, static_cast<u32>(bytes.size() << 16 | bytes.size()));
    std::vector<u8> raw(offset, 0xee);
    raw.insert(raw.end(), bytes.begin(), bytes.end());
    raw.resize(align_up(raw.size(), 4));
    for (usize at = 0; at < raw.size(); at += 4) put(0x20, load_le<u32>(raw.data() + at));
  }
  std::vector<u8> take() {
    const u32 status = get(kRxStatus);
    const usize size = status >> 16 & 0x3fff;
    const unsigned offset = get(kRxCfg) >> 8 & 31;
    std::vector<u8> raw(align_up(size + offset, 4));
    for (usize at = 0; at < raw.size(); at += 4) store_le(raw.data() + at, get(0));
    raw.erase(raw.begin(), raw.begin() + offset);
    raw.resize(size - 4);
    return raw;
  }
};

TEST_F(Lan9118Test, Identifies) {
  EXPECT_EQ(get(kByteTest), 0x87654321u);
  EXPECT_EQ(get(kIdRev), 0x01180001u);
  EXPECT_EQ(get(kPmtCtrl) & 1, 1u);
  EXPECT_EQ(mac(3), 0x12005452u);
  EXPECT_EQ(mac(2), 0x5634u);
  EXPECT_EQ(phy(2), 0x0007);
  EXPECT_EQ(phy(3), 0xc0d1);
  EXPECT_EQ(phy(1) & 0x24, 0x24);
  EXPECT_EQ(nic->port()->info(), "model=lan9118,macaddr=52:54:00:12:34:56");
}

TEST_F(Lan9118Test, Sends) {
  start();
  const auto bytes = frame(101, 0x5a);
  send(bytes, 2);
  EXPECT_EQ(get(kTxStatus), 101u << 16);
  settle();
  ASSERT_EQ(bench.peer.frames.size(), 1u);
  EXPECT_EQ(bench.peer.frames[0], bytes);
  send(frame(42, 1));
  settle();
  EXPECT_EQ(bench.peer.frames[1].size(), 60u) << "padded";
  EXPECT_EQ(get(kTxFifoInf) & 0xffff, 4608u);
}

TEST_F(Lan9118Test, SendsBuffersWithAlignment) {
  start();
  const auto bytes = frame(100, 7);
  put(0x20, 1u << 24 | 3u << 16 | 1u << 13 | 33);  // first: 33 bytes behind 3, to 16 bytes
  put(0x20, 0x1234u << 16 | 100);
  std::vector<u8> raw(48);
  std::copy_n(bytes.begin(), 33, raw.begin() + 3);
  for (usize at = 0; at < 48; at += 4) put(0x3c, load_le<u32>(raw.data() + at));
  put(0x20, 1u << 31 | 1u << 12 | 67);  // last, with an interrupt
  put(0x20, 0x1234u << 16 | 100);
  raw.assign(bytes.begin() + 33, bytes.end());
  raw.resize(68);
  for (usize at = 0; at < 68; at += 4) put(0x20, load_le<u32>(raw.data() + at));
  settle();
  ASSERT_EQ(bench.peer.frames.size(), 1u);
  EXPECT_EQ(bench.peer.frames[0], bytes);
  EXPECT_TRUE(get(kIntSts) & kTxIoc);
  EXPECT_EQ(get(kTxStatus), 0x1234u << 16);
}

TEST_F(Lan9118Test, PeerThatIsBusyHoldsTheTransmitter) {
  start();
  bench.peer.busy = true;
  unsigned sent = 0;
  for (; sent < 1000 && (get(kTxFifoInf) & 0xffff) > 1600; ++sent) {
    send(frame(1514, static_cast<u8>(sent)));
    get(kTxStatus);
    settle();
  }
  EXPECT_GT(sent, 50u);
  EXPECT_LT(sent, 1000u) << "the FIFO fills";
  put(kFifoInt, 0x32000000);
  EXPECT_FALSE(get(kIntSts) & kTdfa);
  bench.peer.busy = false;
  nic->port()->on_room();
  for (int i = 0; i < 4; ++i) settle();
  EXPECT_EQ(bench.peer.frames.size(), sent);
  for (unsigned i = 0; i < sent; ++i) EXPECT_EQ(bench.peer.frames[i][100], static_cast<u8>(i));
  EXPECT_TRUE(get(kIntSts) & kTdfa) << "there is room again";
}

TEST_F(Lan9118Test, Receives) {
  start();
  const auto bytes = frame(99, 0xa5);
  EXPECT_EQ(bench.peer.give(bytes), net::Sent::taken);
  EXPECT_FALSE(bench.irqs.levels[0]);
  settle();
  EXPECT_TRUE(bench.irqs.levels[0]);
  EXPECT_EQ(get(kRxFifoInf), 1u << 16 | 104);
  EXPECT_EQ(get(kRxStatusPeek), 103u << 16 | 0x20);
  EXPECT_EQ(take(), bytes);
  EXPECT_EQ(get(kRxFifoInf), 0u);
  EXPECT_EQ(get(kRxStatus), 0u);
  EXPECT_EQ(bench.peer.give(frame(42, 1)), net::Sent::taken);
  settle();
  EXPECT_EQ(take().size(), 60u);
}

TEST_F(Lan9118Test, EndsWithTheCheckSequence) {
  start();
  put(kRxCfg, 0);
  const auto bytes = frame(60, 3);
  bench.peer.give(bytes);
  settle();
  for (unsigned i = 0; i < 15; ++i) get(0);
  EXPECT_EQ(get(0), frame_check_sequence(bytes));
  const u8 check[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  EXPECT_EQ(frame_check_sequence(check), 0xcbf43926u);
}

TEST_F(Lan9118Test, LosesNothingWhenTheGuestIsSlow) {
  start();
  unsigned given = 0, taken = 0;
  bool was_busy = false;
  while (taken < 600) {
    while (given < 600 && bench.peer.give(frame(1514, static_cast<u8>(given))) == net::Sent::taken) ++given;
    was_busy |= given < 600;
    settle();
    for (unsigned i = 0; i < 5 && (get(kRxFifoInf) >> 16); ++i, ++taken)
      ASSERT_EQ(take()[700], static_cast<u8>(taken)) << taken;
  }
  EXPECT_TRUE(was_busy);
  EXPECT_GT(bench.peer.rooms, 0u);
  EXPECT_EQ(nic->port()->counters().dropped, 0u);
}

TEST_F(Lan9118Test, AlignsWhatIsRead) {
  start();
  put(kRxCfg, 1u << 30 | 3 << 8);  // 16 bytes, offset 3
  bench.peer.give(frame(60, 9));
  bench.peer.give(frame(61, 8));
  settle();
  for (unsigned i = 0; i < 20; ++i) get(0);  // 3 + 64 bytes, up to 80
  get(kRxStatus);
  EXPECT_EQ(get(0) >> 24, 0x52u);
}

TEST_F(Lan9118Test, FastForwardAndDump) {
  start();
  for (u8 i = 0; i < 4; ++i) bench.peer.give(frame(200, i));
  settle();
  get(0);
  get(kRxStatus);
  put(kRxDpCtrl, kFastForward);
  EXPECT_EQ(get(kRxDpCtrl), 0u);
  EXPECT_EQ(take()[50], 1);
  put(kRxCfg, kRxDump | 2 << 8);
  EXPECT_EQ(get(kRxFifoInf), 0u);
}

TEST_F(Lan9118Test, FiltersAddresses) {
  start();
  const auto comes = [&](u8 first, u32 control) {
    mac(1, control | 0xc);
    bench.peer.give(frame(60, 0, first));
    settle();
    const bool there = get(kRxFifoInf) >> 16;
    if (there) take();
    return there;
  };
  EXPECT_TRUE(comes(0x52, 0));
  EXPECT_FALSE(comes(0x50, 0));
  EXPECT_TRUE(comes(0x50, 1u << 18)) << "promiscuous";
  EXPECT_FALSE(comes(0x52, 1u << 17)) << "inverse";
  EXPECT_TRUE(comes(0x50, 1u << 17));
  EXPECT_FALSE(comes(0x53, 0));
  EXPECT_TRUE(comes(0x53, 1u << 19)) << "all multicast";
  EXPECT_FALSE(comes(0x53, 1u << 13)) << "hash";
  const u8 group[] = {0x53, 0x54, 0x00, 0x12, 0x34, 0x56};
  const unsigned hash = address_hash(group);
  mac(hash & 32 ? 4 : 5, 1u << (hash & 31));
  EXPECT_TRUE(comes(0x53, 1u << 13));
  // 01:00:5e:00:00:01 is bit 31, as the chip's driver documents.
  const u8 all_hosts[] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};
  EXPECT_EQ(address_hash(all_hosts), 31u);
}

TEST_F(Lan9118Test, BroadcastHasItsBits) {
  start();
  auto bytes = frame(60, 0);
  std::fill_n(bytes.begin(), 6, u8{0xff});
  bench.peer.give(bytes);
  settle();
  EXPECT_TRUE(get(kRxStatusPeek) & 1u << 13);
  take();
  mac(1, 0xc | 1u << 11);
  bench.peer.give(bytes);
  settle();
  EXPECT_EQ(get(kRxStatus), 0u);
}

TEST_F(Lan9118Test, LoopsBackInThePhy) {
  start();
  phy(0, 0x4100);
  const auto bytes = frame(64, 0x77);
  send(bytes);
  EXPECT_EQ(get(kTxStatus), 64u << 16);
  EXPECT_EQ(take(), bytes);
  settle();
  EXPECT_TRUE(bench.peer.frames.empty());
}

TEST_F(Lan9118Test, HoldsFramesWhileTheReceiverPauses) {
  start();
  put(kIntEn, kRxStop);
  mac(1, mac(1) & ~4u);
  EXPECT_TRUE(bench.irqs.levels[0]);
  bench.peer.give(frame(60, 5));
  settle();
  EXPECT_EQ(get(kRxFifoInf), 0u);
  mac(1, mac(1) | 4);
  EXPECT_EQ(get(kRxFifoInf) >> 16, 1u);
  put(kHwCfg, 1);
  EXPECT_EQ(bench.peer.give(frame(60, 5)), net::Sent::dropped) << "after a reset nothing is received";
}

TEST_F(Lan9118Test, DeassertionInterval) {
  start();
  put(kIntCfg, 10u << 24 | kIrqEn | kIrqPol | kIrqType);
  put(kIntEn, kSwInt);
  EXPECT_TRUE(bench.irqs.levels[0]);
  put(kIntEn, 0);
  put(kIntSts, ~0u);
  EXPECT_FALSE(bench.irqs.levels[0]);
  put(kIntEn, kSwInt);
  EXPECT_FALSE(bench.irqs.levels[0]);
  EXPECT_TRUE(get(kIntCfg) & kDeasSts);
  bench.clock.advance(100'000);
  EXPECT_TRUE(bench.irqs.levels[0]);
}

TEST_F(Lan9118Test, LevelsComeBackAfterClearing) {
  start();
  bench.peer.give(frame(60, 5));
  settle();
  put(kIntSts, ~0u);
  EXPECT_TRUE(get(kIntSts) & kRsfl);
  take();
  put(kIntSts, ~0u);
  EXPECT_FALSE(get(kIntSts) & kRsfl);
}

TEST_F(Lan9118Test, PinIsActiveLowUntilConfigured) {
  EXPECT_TRUE(bench.irqs.levels[0]);
  put(kIntCfg, kIrqPol | kIrqType);
  EXPECT_FALSE(bench.irqs.levels[0]);
  put(kHwCfg, 1);
  EXPECT_FALSE(bench.irqs.levels[0]) << "a soft reset keeps the polarity";
}

TEST_F(Lan9118Test, LinkGoesDown) {
  start();
  phy(30, 0x10);
  put(kIntEn, kPhy);
  nic->port()->on_link(false);
  settle();
  EXPECT_TRUE(bench.irqs.levels[0]);
  EXPECT_EQ(phy(1) & 4, 0);
  EXPECT_EQ(phy(29) & 0x10, 0x10);
  put(kIntSts, kPhy);
  EXPECT_FALSE(bench.irqs.levels[0]);
  send(frame(60, 1));
  EXPECT_TRUE(get(kTxStatus) & kNoCarrier);
  nic->port()->on_link(true);
  settle();
  EXPECT_EQ(phy(1) & 4, 4) << "up again";
}

TEST_F(Lan9118Test, EepromAndTimers) {
  put(kE2pCmd, kBusy | 1);
  EXPECT_EQ(get(kE2pData), 0x52u);
  put(kE2pData, 0x99);
  put(kE2pCmd, kBusy | 3u << 28 | 6);
  put(kE2pCmd, kBusy | 2u << 28);
  put(kE2pCmd, kBusy | 3u << 28 | 6);
  put(kE2pCmd, kBusy | 7u << 28);
  EXPECT_EQ(mac(2), 0x9934u);
  put(kGptCfg, kTimerEn | 10);
  bench.clock.advance(500'000);
  EXPECT_EQ(get(kGptCnt), 5u);
  bench.clock.advance(600'000);
  EXPECT_TRUE(get(kIntSts) & kGpt);
  const u32 before = get(kFreeRun);
  bench.clock.advance(kMillisecond);
  EXPECT_EQ(get(kFreeRun) - before, 25'000u);
}

TEST(Lan9118Wide, SixteenBitBus) {
  Bench bench;
  auto nic = bench.make("lan9118", {{"mac", "52:54:00:12:34:56"}, {"mode_16bit", "1"}});
  EXPECT_EQ(Bench::read(*nic, 0, kByteTest, 2), 0x4321u);
  EXPECT_EQ(Bench::read(*nic, 0, kByteTest + 2, 2), 0x8765u);
  Bench::write(*nic, 0, kAfcCfg, 0x3740, 2);
  Bench::write(*nic, 0, kAfcCfg + 2, 0x006e, 2);
  EXPECT_EQ(Bench::read(*nic, 0, kAfcCfg), 0x006e3740u);
}

}  // namespace
}  // namespace rhea::devices
