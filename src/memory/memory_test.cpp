// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "memory/address_space.h"
#include "memory/register_map.h"

namespace rhea::memory {
namespace {

struct Echo : MmioHandler {
  u64 last_offset = 0, last_value = 0;
  unsigned last_size = 0;
  ReadResult read(u64 offset, unsigned size, const Attributes&) override {
    last_offset = offset;
    last_size = size;
    return {0x11223344, offset < 0x100};
  }
  bool write(u64 offset, u64 value, unsigned size, const Attributes&) override {
    last_offset = offset;
    last_value = value;
    last_size = size;
    return true;
  }
};

struct Space : testing::Test {
  Log log;
  AddressSpace space{"test", log};
  std::unique_ptr<RamBlock> ram = RamBlock::create("ram", 0x10000).take();
  Echo device;
  void SetUp() override {
    space.begin();
    space.add_ram(0x1000, *ram, 0, 0x10000, false, "ram");
    space.add_device(0x4000, 0x1000, device, nullptr, "device");
    space.commit();
  }
};

TEST_F(Space, LaterRangesLieAbove) {
  ASSERT_EQ(space.ranges().size(), 3u);
  EXPECT_EQ(space.find(0x3fff)->ram, ram.get());
  EXPECT_EQ(space.find(0x4000)->device, &device);
  EXPECT_EQ(space.find(0x5000)->ram_offset, 0x4000u);
  EXPECT_EQ(space.find(0xfff), nullptr);
  EXPECT_EQ(space.find(0x11000), nullptr);
  EXPECT_EQ(space.find(~u64{0}), nullptr);
}

TEST_F(Space, ReadsAndWrites) {
  EXPECT_TRUE(space.write(0x1004, 0xcafe, 4, {}));
  EXPECT_EQ(space.read(0x1004, 2, {}).value, 0xcafeu);
  EXPECT_TRUE(space.write(0x4010, 7, 1, {}));
  EXPECT_EQ(device.last_offset, 0x10u);
  EXPECT_FALSE(space.read(0x4200, 4, {}).ok);
  EXPECT_FALSE(space.read(0x0, 4, {}).ok);
  EXPECT_FALSE(space.read(0x10ffe, 4, {}).ok);
}

TEST_F(Space, BytesCrossRangesAndHoles) {
  std::vector<u8> data(0x2000, 0xaa);
  EXPECT_TRUE(space.write_bytes(0x3800, data));
  EXPECT_EQ(device.last_offset, 0xffcu);
  std::vector<u8> back(16);
  EXPECT_TRUE(space.read_bytes(0x5000, back));
  EXPECT_EQ(back[15], 0xaa);
  EXPECT_FALSE(space.read_bytes(0x10ff8, back));
  EXPECT_EQ(space.map(0x3ff0, 0x100, false).size(), 0x10u);
  EXPECT_TRUE(space.map(0x4000, 4, false).empty());
}

struct Watcher : Listener {
  u64 offset = 0, size = 0;
  unsigned calls = 0;
  void code_written(RamBlock&, u64 o, u64 s) override {
    offset = o;
    size = s;
    ++calls;
  }
};

TEST_F(Space, AnnouncesWritesToCodeOnly) {
  Watcher watcher;
  space.add_listener(watcher);
  ram->page_flags(0x1000) |= kPageHasCode;
  space.write(0x1000, 1, 4, {});
  EXPECT_EQ(watcher.calls, 0u);
  std::vector<u8> data(0x100);
  space.write_bytes(0x1f80, data);
  EXPECT_EQ(watcher.calls, 1u);
  EXPECT_EQ(watcher.offset, 0x1000u);
  EXPECT_EQ(watcher.size, 0x80u);
  space.wrote(space.map(0x2010, 8, true), 0x2010);
  EXPECT_EQ(watcher.calls, 2u);
  space.remove_listener(watcher);
}

struct Chip {
  u32 hooked = 0;
  u32 read_id() { return 0x1234; }
  void write_go(u32 value) { hooked = value; }
};
constexpr Register kRegisters[] = {
    {0x0, "ID", 0, 0, hook<Chip, &Chip::read_id>(), nullptr},
    {0x4, "CTRL", 0x80, 0xff},
    {0x8, "GO", 0, 0, nullptr, hook<Chip, &Chip::write_go>()},
    {0xc, "STATUS", 0xf0, 0, nullptr, nullptr, 0x30},
};

TEST(RegisterFile, PlainHookedAndNarrow) {
  Log log;
  Chip chip;
  RegisterFile file(kRegisters, &chip, "chip", log);
  EXPECT_EQ(file.read(0, 4), 0x1234u);
  EXPECT_EQ(file.read(1, 1), 0x12u);
  file.write(4, 0xabc, 4);
  EXPECT_EQ(file.read(4, 4), 0xbcu);
  file.write(8, 77, 4);
  EXPECT_EQ(chip.hooked, 77u);
  file.write(0xc, 0xff, 4);
  EXPECT_EQ(file[0xc], 0xc0u);
  EXPECT_EQ(file.read(0x10, 4), 0u);
  EXPECT_EQ(file.read(0x1000, 4), 0u);
  file.write(0, 5, 4);
  file.write(0x7, 1, 4);
  file.reset();
  EXPECT_EQ(file[4], 0x80u);
}

}  // namespace
}  // namespace rhea::memory
