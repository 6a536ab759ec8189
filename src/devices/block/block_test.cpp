// SPDX-License-Identifier: MIT
// NOR flash as boot loaders use it, and virtio-blk by its rings.
#include <gtest/gtest.h>

#include "devices/virtio/fake_driver.h"

namespace rhea::devices {
namespace {

using testing::Bench;
using testing::DriverQueue;
using testing::DriverSide;
using testing::FieldStore;

// --- flash --------------------------------------------------------------------------------------------------------

constexpr u64 kFlashSize = u64{64} << 20;

struct FlashTest : ::testing::Test {
  FlashTest() {
    bench.insert_disk(kFlashSize);
    std::fill_n(bench.disk->bytes.begin(), 0x100000, 0xff);
    flash = bench.make("cfi.pflash01");
  }
  u32 get(u32 offset, unsigned size = 4) { return Bench::read(*flash, 0, offset, size); }
  void put(u32 offset, u32 value, unsigned size = 4) { Bench::write(*flash, 0, offset, value, size); }
  void both(u32 offset, u16 command) { put(offset, command | u32{command} << 16); }
  u32 status() {
    both(0, 0x70);
    return get(0);
  }
  bool direct() { return flash->windows()[0].direct->load(); }
  Bench bench;
  std::unique_ptr<SysbusDevice> flash;
};

TEST_F(FlashTest, ReadsItsImage) {
  EXPECT_TRUE(direct());
  EXPECT_EQ(get(0), 0xffffffffu);
  EXPECT_EQ(get(0x100000), 0u);
  EXPECT_EQ(flash->windows()[0].rom->data()[5], 0xff);
}

TEST_F(FlashTest, IsIdentified) {
  both(0x55 * 4, 0x98);
  EXPECT_FALSE(direct());
  EXPECT_EQ(get(0x10 * 4), 0x00510051u);
  EXPECT_EQ(get(0x13 * 4, 2), 1u) << "Intel's command set";
  EXPECT_EQ(1u << (get(0x27 * 4) & 0xff), 32u << 20);
  EXPECT_EQ((get(0x2d * 4) & 0xff) + 1, 256u);
  EXPECT_EQ((get(0x30 * 4) & 0xff) << 16, 128u << 10);
  EXPECT_EQ(get(0x31 * 4) & 0xff, u32{'P'});
  both(0, 0x90);
  EXPECT_EQ(get(0), 0x00890089u);
  both(0, 0xff);
  EXPECT_TRUE(direct());
}

TEST_F(FlashTest, ProgramsClearsAndErases) {
  both(0x1000, 0x40);
  put(0x1000, 0x12345678);
  EXPECT_EQ(get(0), 0x00800080u) << "ready";
  both(0, 0xff);
  EXPECT_EQ(get(0x1000), 0x12345678u);
  EXPECT_EQ(load_le<u32>(&bench.disk->bytes[0x1000]), 0x12345678u) << "the image has it";
  both(0x1000, 0x40);
  put(0x1000, 0xff00ff00);
  both(0, 0xff);
  EXPECT_EQ(get(0x1000), 0x12005600u) << "bits only go to 0";
  both(0x1000, 0x20);
  both(0x1000, 0xd0);
  both(0, 0xff);
  EXPECT_EQ(get(0x1000), 0xffffffffu);
  EXPECT_EQ(bench.disk->bytes[0x3ffff], 0xff);
  both(0x1000, 0x20);
  both(0x1000, 0xff);
  EXPECT_EQ(status() & 0xff, 0xb0u) << "a wrong sequence";
  both(0, 0x50);
  EXPECT_EQ(status(), 0x00800080u);
}

TEST_F(FlashTest, ProgramsBuffers) {
  both(0x2000, 0xe8);
  EXPECT_EQ(get(0) & 0x80, 0x80u);
  both(0x2000, 3);
  for (u32 i = 0; i < 4; ++i) put(0x2000 + 4 * i, 0x1000 + i);
  both(0x2000, 0xd0);
  EXPECT_EQ(get(0), 0x00800080u);
  both(0, 0xff);
  EXPECT_EQ(get(0x200c), 0x1003u);
  // A buffer beyond its block, and one that is given up.
  both(0x3fffc, 0xe8);
  both(0x3fffc, 1);
  put(0x3fffc, 0);
  put(0x40000, 0);
  both(0x3fffc, 0xd0);
  EXPECT_EQ(get(0) & 0x30, 0x30u);
  both(0, 0xff);
  EXPECT_EQ(get(0x3fffc), 0xffffffffu);
}

TEST_F(FlashTest, LocksBlocks) {
  both(0x40000, 0x60);
  both(0x40000, 0x01);
  both(0, 0x90);
  EXPECT_EQ(get(0x40008), 0x00010001u);
  EXPECT_EQ(get(0x8), 0u);
  both(0x40000, 0x40);
  put(0x40000, 0);
  EXPECT_EQ(get(0) & 0xff, 0x92u);
  both(0, 0x50);
  both(0x40000, 0x20);
  both(0x40000, 0xd0);
  EXPECT_EQ(status() & 0xff, 0xa2u);
  both(0x40000, 0x60);
  both(0x40000, 0xd0);
  both(0, 0x50);
  both(0x40000, 0x40);
  put(0x40000, 0);
  EXPECT_EQ(get(0), 0x00800080u);
}

TEST_F(FlashTest, HalvesAreChipsOfTheirOwn) {
  put(0x154, 0x98, 2);
  EXPECT_TRUE(direct()) << "not when software looks for the bank's width";
  put(0, 0x90, 2);
  EXPECT_EQ(get(0), 0xffff0089u);
  put(2, 0x70, 2);
  EXPECT_EQ(get(2, 2), 0x80u);
  put(0, 0xff, 2);
  EXPECT_FALSE(direct());
  put(2, 0xff, 2);
  EXPECT_TRUE(direct());
}

TEST_F(FlashTest, ReadOnlyOrBrokenImages) {
  bench.disk->failures = 1;
  both(0, 0x40);
  put(0, 0);
  EXPECT_EQ(get(0) & 0x90, 0x90u) << "ready, not programmed";
  flash.reset();
  bench.disk->read_only = true;
  flash = bench.make("cfi.pflash01");
  both(0, 0x20);
  both(0, 0xd0);
  EXPECT_EQ(get(0) & 0xff, 0xa2u);
}

TEST_F(FlashTest, WantsAnImageOfItsSize) {
  flash.reset();
  bench.insert_disk(1 << 20);
  const DeviceType* type = find_device_type("cfi.pflash01");
  const auto made = type->create(bench.context(), type->make_config().get());
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().message(), "device requires 67108864 bytes, block backend provides 1048576 bytes");
}

TEST_F(FlashTest, KeepsItsModeInASnapshot) {
  both(0, 0xe8);
  both(0, 1);
  put(0, 0x11);
  FieldStore store;
  store.save(*flash);
  flash->reset(ResetKind::warm);
  EXPECT_TRUE(direct());
  store.restore(*flash);
  EXPECT_FALSE(direct());
  put(4, 0x22);
  both(0, 0xd0);
  both(0, 0xff);
  EXPECT_EQ(get(4), 0x22u);
}

// --- virtio-blk ---------------------------------------------------------------------------------------------------

constexpr u64 kQueueAt = Bench::kRamBase + 0x10000, kHeaderAt = Bench::kRamBase + 0x20000,
              kDataAt = Bench::kRamBase + 0x30000, kStatusAt = Bench::kRamBase + 0x28000;

struct Blk : ::testing::Test {
  Blk() {
    driver.bench.insert_disk(u64{1} << 20);
    driver.device.reset();
    driver.slot = driver.bench.make("virtio-mmio", {{"force-legacy", "off"}});
    driver.device = driver.bench.make<VirtioDevice>("virtio-blk-device", {{"serial", "disk-7"}});
    plugged = driver.device && driver.slot->plug(*driver.device).ok();
  }
  void start(u64 features = ~u64{0}) {
    driver.negotiate((driver.offered() & features) | virtio::kVersion1);
    driver.start_queue(0, queue);
    driver.ready();
  }
  // The status of a request with one buffer of data.
  u8 request(u32 type, u64 sector, u32 size, bool write) {
    queue.put32(kHeaderAt, type);
    queue.put32(kHeaderAt + 4, 0);
    queue.put64(kHeaderAt + 8, sector);
    *queue.host(kStatusAt) = 0xee;
    std::vector<DriverQueue::Part> parts = {{kHeaderAt, 16, false}};
    if (size) parts.push_back({kDataAt, size, !write});
    parts.push_back({kStatusAt, 1, true});
    queue.add(parts);
    driver.notify(0);
    u32 head = 0;
    EXPECT_TRUE(queue.take_used(head, length));
    return *queue.host(kStatusAt);
  }
  DriverSide driver{"virtio-rng-device"};  // and then the disk in its place
  DriverQueue queue{driver.bench, kQueueAt};
  bool plugged = false;
  u32 length = 0;
};

TEST_F(Blk, TellsOfItself) {
  ASSERT_TRUE(plugged);
  EXPECT_EQ(driver.get(0x8), 2u);
  EXPECT_EQ(driver.get(0x100), 2048u);
  EXPECT_EQ(driver.get(0x100 + 20), 512u);
  EXPECT_EQ(driver.get(0x100 + 32, 1), 1u);
  EXPECT_TRUE(driver.offered() & 1u << 13);
}

TEST_F(Blk, ReadsWritesAndNames) {
  start();
  std::fill_n(queue.host(kDataAt), 1024, 0x42);
  EXPECT_EQ(request(1, 3, 1024, true), 0);
  EXPECT_EQ(length, 1u);
  EXPECT_EQ(driver.bench.disk->bytes[3 * 512 + 1023], 0x42);
  std::fill_n(queue.host(kDataAt), 1024, 0);
  EXPECT_EQ(request(0, 3, 1024, false), 0);
  EXPECT_EQ(length, 1025u);
  EXPECT_EQ(*queue.host(kDataAt + 1023), 0x42);
  EXPECT_EQ(request(8, 0, 20, false), 0);
  EXPECT_STREQ(reinterpret_cast<char*>(queue.host(kDataAt)), "disk-7");
  EXPECT_EQ(request(4, 0, 0, false), 0);
  EXPECT_EQ(driver.bench.disk->flushes, 1u);
  EXPECT_TRUE(driver.bench.irqs.levels[0]);
}

TEST_F(Blk, RefusesNonsense) {
  start();
  EXPECT_EQ(request(0, 2047, 1024, false), 1) << "beyond the end";
  EXPECT_EQ(request(0, ~u64{0}, 512, false), 1);
  EXPECT_EQ(request(0, 0, 100, false), 1) << "no whole sector";
  EXPECT_EQ(request(77, 0, 512, false), 2);
  driver.bench.disk->failures = 1;
  EXPECT_EQ(request(0, 0, 512, false), 1);
  driver.bench.disk->read_only = true;
  EXPECT_EQ(request(1, 0, 512, true), 1);
}

TEST_F(Blk, DiscardsAndZeroes) {
  start();
  std::fill(driver.bench.disk->bytes.begin(), driver.bench.disk->bytes.end(), 9);
  queue.put64(kDataAt, 8);
  queue.put32(kDataAt + 8, 4);
  queue.put32(kDataAt + 12, 1);
  EXPECT_EQ(request(13, 0, 16, true), 0);
  EXPECT_EQ(driver.bench.disk->bytes[8 * 512], 0);
  EXPECT_EQ(driver.bench.disk->bytes[12 * 512], 9);
  EXPECT_EQ(request(11, 0, 16, true), 2) << "a discard has no flags";
  queue.put32(kDataAt + 12, 0);
  EXPECT_EQ(request(11, 0, 16, true), 0);
  queue.put32(kDataAt + 8, 0x400000);
  EXPECT_EQ(request(13, 0, 16, true), 1) << "too many";
}

TEST_F(Blk, WritesThroughForDriversThatDoNotFlush) {
  start(~(u64{1} << 9 | u64{1} << 11));
  EXPECT_EQ(request(1, 0, 512, true), 0);
  EXPECT_GE(driver.bench.disk->flushes, 1u);
}

TEST_F(Blk, TurnsItsCacheOff) {
  start();
  EXPECT_EQ(request(1, 0, 512, true), 0);
  EXPECT_EQ(driver.bench.disk->flushes, 0u);
  driver.put(0x100 + 32, 0, 1);
  EXPECT_EQ(request(1, 0, 512, true), 0);
  EXPECT_GE(driver.bench.disk->flushes, 1u);
}

TEST_F(Blk, TakesIndirectChainsAndOddPieces) {
  start();
  queue.put32(kHeaderAt, 1);
  queue.put64(kHeaderAt + 8, 1);
  std::fill_n(queue.host(kDataAt), 512, 7);
  queue.add_indirect(Bench::kRamBase + 0x40000, {{kHeaderAt, 10, false},
                                                 {kHeaderAt + 10, 6, false},
                                                 {kDataAt, 100, false},
                                                 {kDataAt + 100, 412, false},
                                                 {kStatusAt, 1, true}});
  driver.notify(0);
  EXPECT_EQ(*queue.host(kStatusAt), 0);
  EXPECT_EQ(driver.bench.disk->bytes[512 + 511], 7);
}

TEST_F(Blk, AChainWithoutAStatusBreaksTheQueue) {
  start();
  queue.add({{kHeaderAt, 16, false}});
  driver.notify(0);
  EXPECT_TRUE(driver.get(0x70) & virtio::kNeedsReset);
}

TEST_F(Blk, HoldsBackWhatAnErrorStopped) {
  driver.bench.drive->set_error_actions(block::ErrorAction::stop, block::ErrorAction::stop);
  start();
  driver.bench.disk->failures = 1;
  queue.put32(kHeaderAt, 0);
  queue.put64(kHeaderAt + 8, 0);
  *queue.host(kStatusAt) = 0xee;
  queue.add({{kHeaderAt, 16, false}, {kDataAt, 512, true}, {kStatusAt, 1, true}});
  driver.notify(0);
  EXPECT_EQ(*queue.host(kStatusAt), 0xee);
  EXPECT_TRUE(driver.bench.drive->held());
  FieldStore before, after;
  before.save(*driver.device);
  driver.bench.drive->resume();
  driver.settle();
  EXPECT_EQ(*queue.host(kStatusAt), 0);
  // Restored, it is started again.
  *queue.host(kStatusAt) = 0xee;
  before.restore(*driver.device);
  after.save(*driver.device);
  driver.settle();
  EXPECT_EQ(*queue.host(kStatusAt), 0);
}

TEST_F(Blk, SeesANewSize) {
  start();
  ASSERT_TRUE(driver.bench.drive->resize(2 << 20).ok());
  EXPECT_TRUE(driver.get(0x60) & 2);
  EXPECT_EQ(driver.get(0x100), 4096u);
}

}  // namespace
}  // namespace rhea::devices
