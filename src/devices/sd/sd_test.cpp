// SPDX-License-Identifier: MIT
// The SD card by its commands, and the PL181 with a card in its slot as a driver uses it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "devices/sd/sd_card.h"
#include "devices/testing.h"

namespace rhea::devices {
namespace {

using sd::SdCard;
using sd::State;
using testing::Bench;
using testing::FieldStore;

struct CardTest : ::testing::Test {
  void insert(u64 bytes) {
    card.reset();
    bench.insert_disk(bytes);
    card = std::make_unique<SdCard>(bench.drive.get(), "sd", SdCard::Wiring{[this] { ++changes; }, [this] { ++slots; }},
                                    bench.log);
    card->medium_changed();
  }
  std::optional<u32> send(u8 index, u32 argument = 0) {
    const auto reply = card->command(index, argument);
    if (!reply) return std::nullopt;
    return reply->word();
  }
  std::optional<u32> app(u8 index, u32 argument = 0) {
    send(55, rca << 16);
    return send(index, argument);
  }
  void select() {
    send(0);
    send(8, 0x1aa);
    app(41, 0x40ff8000);
    send(2);
    rca = *send(3) >> 16;
    send(7, rca << 16);
  }
  std::vector<u8> take(usize size) {
    std::vector<u8> data(size);
    data.resize(card->read(data, 0));
    return data;
  }
  Bench bench;
  std::unique_ptr<SdCard> card;
  u32 rca = 0;
  unsigned changes = 0, slots = 0;
};

TEST(SdRegisters, ChecksSumsAsTheSpecificationDoes) {
  const u8 cmd0[] = {0x40, 0, 0, 0, 0}, cmd17[] = {0x51, 0, 0, 0, 0};
  EXPECT_EQ(sd::crc7(cmd0, 5), 0x4a);  // section 4.5
  EXPECT_EQ(sd::crc7(cmd17, 5), 0x2a);
}

TEST(SdRegisters, SizesArePowersOfTwo) {
  EXPECT_TRUE(sd::check_capacity(u64{512} << 20, "x").ok());
  const auto odd = sd::check_capacity(u64{63} << 20, "x.img");
  ASSERT_FALSE(odd.ok());
  EXPECT_EQ(odd.error().message(), "Invalid SD card size: 63 MiB");
  EXPECT_NE(odd.error().hint().find("rhea-img resize x.img 64M"), std::string::npos) << odd.error().hint();
  EXPECT_FALSE(sd::check_capacity(0, "x").ok());
  EXPECT_FALSE(sd::check_capacity(u64{4} << 40, "x").ok());
}

TEST(SdRegisters, CapacityAsDriversComputeIt) {
  for (unsigned power = 12; power <= 31; ++power) {
    const sd::Register128 csd = sd::make_csd(u64{1} << power, false);
    const u32 size = (csd[6] & 3u) << 10 | csd[7] << 2 | csd[8] >> 6;
    const u32 multiplier = (csd[9] & 3u) << 1 | csd[10] >> 7, length = csd[5] & 15;
    EXPECT_EQ((u64{size} + 1) << (multiplier + 2 + length), u64{1} << power) << power;
  }
  const sd::Register128 csd = sd::make_csd(u64{1} << 40, true);
  const u64 size = (csd[7] & 0x3fu) << 16 | csd[8] << 8 | csd[9];
  EXPECT_EQ((size + 1) * 512 * 1024, u64{1} << 40);
}

TEST_F(CardTest, IsFoundAndSelected) {
  insert(u64{1} << 20);
  EXPECT_EQ(slots, 1u);
  EXPECT_FALSE(send(17)) << "not in the idle state";
  EXPECT_EQ(send(8, 0x1aa), 0x1aau);
  EXPECT_EQ(*app(41, 0) & 0x80000000, 0u) << "asked, not started";
  EXPECT_EQ(*app(41, 0x40ff8000) & 0xc0000000, 0x80000000u) << "standard capacity";
  EXPECT_TRUE(send(2));
  rca = *send(3) >> 16;
  EXPECT_NE(rca, 0u);
  EXPECT_FALSE(send(9, 0)) << "somebody else is meant";
  EXPECT_EQ(card->command(9, rca << 16)->kind, sd::Reply::Kind::r2);
  EXPECT_TRUE(send(7, rca << 16));
  EXPECT_EQ(card->state(), State::transfer);
  EXPECT_EQ(*send(13, rca << 16) >> 9 & 15, 4u);
}

TEST_F(CardTest, HighCapacityNeedsAHostThatKnowsIt) {
  const std::string path = ::testing::TempDir() + "rhea-sd-high-capacity.img";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, u64{4} << 30);  // a hole
  auto image = block::open_image({.filename = path, .format = "raw"});
  ASSERT_TRUE(image.ok()) << image.error().message();
  insert(u64{1} << 20);
  bench.drive->insert(image.take());
  card->medium_changed();
  EXPECT_EQ(*app(41, 0x00ff8000) >> 31, 0u);
  send(0);
  send(8, 0x1aa);
  EXPECT_EQ(*app(41, 0x40ff8000) >> 30, 3u);
  send(2);
  rca = *send(3) >> 16;
  send(7, rca << 16);
  send(24, 0x700000);  // blocks
  EXPECT_EQ(card->write(std::vector<u8>(512, 0x33), 0), 512u);
  send(17, 0x700000);
  EXPECT_EQ(take(512), std::vector<u8>(512, 0x33));
  bench.drive->remove();
  std::filesystem::remove(path);
}

TEST_F(CardTest, IllegalCommandsAreToldOfOnce) {
  insert(u64{1} << 20);
  select();
  EXPECT_FALSE(send(41));
  EXPECT_TRUE(*send(13, rca << 16) & sd::kIllegalCommand);
  EXPECT_FALSE(*send(13, rca << 16) & sd::kIllegalCommand);
  EXPECT_FALSE(send(12)) << "nothing to stop";
}

TEST_F(CardTest, ReadsAndWritesBlocks) {
  insert(u64{1} << 20);
  select();
  for (usize i = 0; i < 1024; ++i) bench.disk->bytes[512 + i] = static_cast<u8>(i);
  send(17, 512);
  EXPECT_EQ(take(512), std::vector<u8>(bench.disk->bytes.begin() + 512, bench.disk->bytes.begin() + 1024));
  EXPECT_EQ(card->state(), State::transfer);
  send(23, 2);
  send(18, 512);
  EXPECT_EQ(take(2000).size(), 1024u) << "as many as CMD23 said";
  const unsigned reads = bench.disk->reads;
  send(18, 0);
  std::array<u8, 8> few;
  EXPECT_EQ(card->read(few, 65536 - 8), 8u);
  EXPECT_EQ(take(65536 - 8).size(), 65536u - 8);
  EXPECT_EQ(bench.disk->reads, reads + 1) << "in one request";
  send(12);
  EXPECT_EQ(card->state(), State::transfer);

  std::vector<u8> data(1024, 0x5a);
  send(25, 4096);
  EXPECT_EQ(card->write(data, 0), 1024u);
  EXPECT_EQ(card->write({data.data(), 100}, 0), 100u);
  send(12);
  EXPECT_EQ(bench.disk->bytes[4096 + 1023], 0x5a);
  EXPECT_EQ(bench.disk->bytes[4096 + 1024], 0) << "half a block is no block";
  app(22);
  EXPECT_EQ(take(4), (std::vector<u8>{0, 0, 0, 2}));
}

TEST_F(CardTest, RefusesWhatIsBeyondItsEnd) {
  insert(u64{1} << 20);
  select();
  EXPECT_TRUE(*send(17, 1 << 20) & sd::kOutOfRange);
  EXPECT_EQ(card->state(), State::transfer);
  send(18, (1 << 20) - 512);
  EXPECT_EQ(take(1024).size(), 512u);
  EXPECT_FALSE(card->delivers());
  EXPECT_TRUE(*send(12) & sd::kOutOfRange);
  EXPECT_FALSE(*send(13, rca << 16) & sd::kOutOfRange) << "told once";
  EXPECT_TRUE(*send(24, 100) & sd::kAddressError);
}

TEST_F(CardTest, ErasesAndProtects) {
  insert(u64{1} << 20);
  select();
  std::fill(bench.disk->bytes.begin(), bench.disk->bytes.end(), 1);
  EXPECT_TRUE(*send(38) & sd::kEraseSequenceError);
  send(32, 1024);
  send(33, 2048);
  send(38);
  EXPECT_EQ(bench.disk->bytes[1023], 1);
  EXPECT_EQ(bench.disk->bytes[1024], 0);
  EXPECT_EQ(bench.disk->bytes[2048 + 511], 0);
  EXPECT_EQ(bench.disk->bytes[2048 + 512], 1);
  send(32, 1024);
  send(16, 512);
  EXPECT_TRUE(*send(38) & (sd::kEraseReset | sd::kEraseSequenceError));
  bench.disk->read_only = true;
  EXPECT_TRUE(card->write_protected());
  EXPECT_TRUE(*send(24, 0) & sd::kWriteProtectViolation);
}

TEST_F(CardTest, TellsOfABrokenDisk) {
  insert(u64{1} << 20);
  select();
  bench.disk->failures = 1;
  send(17, 0);
  EXPECT_TRUE(take(512).empty());
  EXPECT_FALSE(card->delivers());
  EXPECT_TRUE(*send(12) & sd::kCardEccFailed);
  bench.disk->failures = 1;
  send(24, 0);
  card->write(std::vector<u8>(512), 0);
  EXPECT_TRUE(*send(13, rca << 16) & sd::kGeneralError);
  EXPECT_EQ(card->state(), State::transfer);
}

TEST_F(CardTest, Locks) {
  insert(u64{1} << 20);
  select();
  const auto lock = [&](std::vector<u8> data) {
    send(16, static_cast<u32>(data.size()));
    send(42);
    card->write(data, 0);
    const u32 status = *send(13, rca << 16);
    send(16, 512);
    return status;
  };
  EXPECT_FALSE(lock({5, 2, 'a', 'b'}) & sd::kLockUnlockFailed);
  EXPECT_TRUE(*send(13, rca << 16) & sd::kCardIsLocked);
  EXPECT_FALSE(send(17, 0));
  EXPECT_TRUE(lock({0, 2, 'a', 'x'}) & sd::kLockUnlockFailed);
  EXPECT_FALSE(lock({0, 2, 'a', 'b'}) & sd::kLockUnlockFailed);
  EXPECT_TRUE(send(17, 0));
}

TEST_F(CardTest, HasACacheThatIsFlushed) {
  insert(u64{4} << 20);
  select();
  send(48, 0u << 27 | 511);
  const std::vector<u8> general = take(512);
  ASSERT_EQ(general.size(), 512u);
  EXPECT_EQ(general[4], 1);
  EXPECT_EQ(load_le<u16>(&general[16]), 2);
  const auto put = [&](u32 offset) {
    send(49, 2u << 27 | offset << 9);
    std::vector<u8> block(512);
    block[0] = 1;
    EXPECT_EQ(card->write(block, 0), 512u);
  };
  put(260);
  EXPECT_EQ(bench.disk->flushes, 0u);
  put(261);
  EXPECT_EQ(bench.disk->flushes, 1u);
  send(48, 2u << 27 | 511);
  const std::vector<u8> page = take(512);
  EXPECT_EQ(page[260], 1);
  EXPECT_EQ(page[261], 0);
}

TEST_F(CardTest, ComesAndGoes) {
  insert(u64{1} << 20);
  select();
  bench.drive->remove();
  card->medium_changed();
  EXPECT_FALSE(card->inserted());
  EXPECT_FALSE(send(13, rca << 16));
  bench.disk->bytes.resize(3 << 20);
  bench.drive->insert(bench.fake_image());
  card->medium_changed();
  EXPECT_FALSE(card->inserted()) << "3 MiB is no card";
}

struct Pl181Test : ::testing::Test {
  Pl181Test() {
    bench.insert_disk(u64{1} << 20);
    host = bench.make("pl181");
  }
  u32 get(u32 offset) { return Bench::read(*host, 0, offset); }
  void put(u32 offset, u32 value) { Bench::write(*host, 0, offset, value); }
  u32 command(u32 index, u32 argument, u32 flags = 0x40) {
    put(0x38, 0x7ff);
    put(0x08, argument);
    put(0x0c, index | flags | 0x400);
    return get(0x34);
  }
  void select() {
    command(0, 0, 0);
    command(8, 0x1aa);
    command(55, 0);
    command(41, 0x40ff8000);
    command(2, 0, 0xc0);
    command(3, 0);
    rca = get(0x14) >> 16 << 16;
    command(7, rca);
  }
  Bench bench;
  std::unique_ptr<SysbusDevice> host;
  u32 rca = 0;
};

TEST_F(Pl181Test, Identifies) {
  EXPECT_EQ(get(0xfe0), 0x81u);
  EXPECT_TRUE(bench.irqs.levels[3]) << "a card is there";
  EXPECT_FALSE(bench.irqs.levels[2]) << "and can be written";
  EXPECT_EQ(command(0, 0, 0), 0x80u) << "sent";
  EXPECT_EQ(command(17, 0), 0x4u) << "no answer";
  command(8, 0x1aa);
  EXPECT_EQ(get(0x14), 0x1aau);
  EXPECT_EQ(get(0x10), 8u);
  select();
  EXPECT_EQ(command(9, rca) & 4, 4u) << "not in this state";
}

TEST_F(Pl181Test, ReadsThroughTheFifo) {
  select();
  for (usize i = 0; i < 1024; ++i) bench.disk->bytes[i] = static_cast<u8>(i * 7);
  put(0x24, 1000);
  put(0x28, 1024);
  put(0x3c, 0x100);
  put(0x40, 0x8000);
  put(0x2c, 9 << 4 | 3);
  EXPECT_EQ(get(0x34) & 0x200000, 0u);
  command(18, 0);
  EXPECT_TRUE(bench.irqs.levels[1]) << "half full";
  std::vector<u8> data;
  while (get(0x34) & 0x200000) {
    const u32 word = get(0x80);
    for (unsigned i = 0; i < 4; ++i) data.push_back(static_cast<u8>(word >> 8 * i));
  }
  EXPECT_EQ(data, std::vector<u8>(bench.disk->bytes.begin(), bench.disk->bytes.begin() + 1024));
  EXPECT_EQ(get(0x34) & 0x500, 0x500u) << "the data has ended, and the block";
  EXPECT_TRUE(bench.irqs.levels[0]);
  EXPECT_FALSE(bench.irqs.levels[1]);
  EXPECT_EQ(get(0x30), 0u);
  command(12, 0);
}

TEST_F(Pl181Test, WritesThroughTheFifo) {
  select();
  put(0x28, 1024);
  command(25, 2048);
  put(0x24, 1000);
  put(0x2c, 9 << 4 | 1);
  EXPECT_EQ(get(0x34) & 0x45000, 0x45000u) << "active, half empty, empty";
  for (u32 i = 0; i < 256; ++i) put(0x80 + i % 16 * 4, i);
  EXPECT_EQ(get(0x34) & 0x100, 0x100u);
  command(12, 0);
  EXPECT_EQ(load_le<u32>(&bench.disk->bytes[2048 + 255 * 4]), 255u);
  EXPECT_EQ(bench.disk->writes, 1u);
}

TEST_F(Pl181Test, TimesOutWithoutData) {
  select();
  put(0x24, 24'000);
  put(0x28, 512);
  put(0x04, 1 << 10);
  put(0x2c, 9 << 4 | 3);
  bench.clock.advance(999'000);
  EXPECT_EQ(get(0x34) & 8, 0u);
  bench.clock.advance(2'000);
  EXPECT_EQ(get(0x34) & 8, 8u);
}

TEST_F(Pl181Test, WaitsWithACommandForTheData) {
  select();
  put(0x28, 512);
  put(0x2c, 9 << 4 | 3);
  command(18, 0);
  EXPECT_EQ(command(12, 0, 0x240) & 0x40, 0u);
  for (unsigned i = 0; i < 128; ++i) get(0x80);
  EXPECT_EQ(get(0x34) & 0x40, 0x40u) << "the card has sent all";
}

TEST_F(Pl181Test, KeepsATransferInASnapshot) {
  select();
  put(0x28, 512);
  put(0x2c, 9 << 4 | 3);
  bench.disk->bytes[508] = 0x77;
  command(17, 0);
  for (unsigned i = 0; i < 50; ++i) get(0x80);
  FieldStore store;
  store.save(*host);
  host->reset(ResetKind::warm);
  store.restore(*host);
  for (unsigned i = 50; i < 127; ++i) get(0x80);
  EXPECT_EQ(get(0x80), 0x77u);
  EXPECT_EQ(get(0x34) & 0x200500, 0x500u);
}

TEST_F(Pl181Test, FollowsTheSlot) {
  bench.drive->remove();
  EXPECT_FALSE(bench.irqs.levels[3]);
  EXPECT_EQ(command(13, rca), 4u);
  bench.disk->read_only = true;
  bench.drive->insert(bench.fake_image());
  EXPECT_TRUE(bench.irqs.levels[3]);
  EXPECT_TRUE(bench.irqs.levels[2]);
}

}  // namespace
}  // namespace rhea::devices
