// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>

#include "loader/arm_boot.h"
#include "loader/kernel.h"
#include "util/bits.h"

namespace rhea::loader {
namespace {

constexpr u64 kRam = 0x60000000;

struct KernelFile : testing::Test {
  std::string path = testing::TempDir() + "kernel_under_test";
  BlobList blobs;
  Result<Kernel> load(const std::vector<u8>& data) {
    EXPECT_TRUE(sys::write_file(path, data).ok());
    return load_kernel(path, kRam, blobs);
  }
  void expect_error(const std::vector<u8>& data, const std::string& part) {
    const auto result = load(data);
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message().find(part), std::string::npos) << result.error().message();
  }
  void TearDown() override { std::filesystem::remove(path); }
};

std::vector<u8> zimage(u32 size, u32 claimed) {
  std::vector<u8> data(size);
  store_le<u32>(&data[0x24], 0x016f2818);
  store_le<u32>(&data[0x2c], claimed);
  store_le<u32>(&data[0x30], 0x04030201);
  return data;
}

std::vector<u8> elf(u16 machine) {
  std::vector<u8> data(52 + 32 + 16, 0xee);
  std::memcpy(data.data(),
              "\x7f"
              "ELF\1\1\1",
              7);
  store_le<u16>(&data[16], 2);
  store_le<u16>(&data[18], machine);
  store_le<u32>(&data[24], 0x60001000);
  store_le<u32>(&data[28], 52);
  store_le<u16>(&data[42], 32);
  store_le<u16>(&data[44], 1);
  u8* segment = &data[52];
  store_le<u32>(segment, 1);
  store_le<u32>(segment + 4, 84);
  store_le<u32>(segment + 12, 0x60001000);
  store_le<u32>(segment + 16, 16);
  store_le<u32>(segment + 20, 64);
  return data;
}

TEST_F(KernelFile, ZImage) {
  const auto kernel = load(zimage(0x1000, 0x1000));
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(kernel->kind, KernelKind::zimage);
  EXPECT_TRUE(kernel->takes_device_tree);
  EXPECT_EQ(kernel->entry, kRam + 0x10000);
  EXPECT_EQ(kernel->end, kRam + 0x11000);
  EXPECT_TRUE(kernel->appended_dtb.empty());
}

TEST_F(KernelFile, ZImageWithDeviceTreeBehindIt) {
  std::vector<u8> data = zimage(0x1000, 0x1000);
  std::vector<u8> dtb(64);
  store_be<u32>(&dtb[0], 0xd00dfeed);
  store_be<u32>(&dtb[4], 64);
  data.insert(data.end(), dtb.begin(), dtb.end());
  const auto kernel = load(data);
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(kernel->appended_dtb, dtb);
  EXPECT_EQ(kernel->end, kRam + 0x11000);
  data.resize(data.size() - 8);
  expect_error(data, "cut off");
}

TEST_F(KernelFile, WhatIsDamagedIsSaid) {
  expect_error(zimage(0x1000, 0x2000), "the file has 4096: it is cut off");
  expect_error(zimage(0x1000, 0x10), "damaged");
  expect_error({}, "empty");
  std::vector<u8> cut = elf(40);
  cut.resize(90);
  expect_error(cut, "cut off");
  cut.resize(20);
  expect_error(cut, "cut off");
}

TEST_F(KernelFile, WhatIsNoKernelIsNamed) {
  expect_error(elf(62), "x86-64");
  expect_error({'r', 'o', 'o', 't', ':', 'x', '\n'}, "text");
  expect_error({0x1f, 0x8b, 8, 0, 0}, "-initrd");
  expect_error({0xd0, 0x0d, 0xfe, 0xed, 0, 0}, "-dtb");
  std::vector<u8> bzimage(0x400);
  std::memcpy(&bzimage[0x202], "HdrS", 4);
  expect_error(bzimage, "x86");
}

TEST_F(KernelFile, Elf) {
  const auto kernel = load(elf(40));
  ASSERT_TRUE(kernel.ok());
  EXPECT_FALSE(kernel->linux_boot);
  EXPECT_EQ(kernel->entry, 0x60001000u);
  ASSERT_EQ(blobs.blobs().size(), 1u);
  EXPECT_EQ(blobs.blobs()[0].size, 64u);
  EXPECT_EQ(blobs.blobs()[0].file_size, 16u);
}

TEST_F(KernelFile, RawCodeIsTakenWithAWarning) {
  const auto kernel = load({0x00, 0x00, 0xa0, 0xe3, 0xfe, 0xff, 0xff, 0xea});
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(kernel->kind, KernelKind::raw);
  EXPECT_EQ(kernel->warnings.size(), 1u);
}

TEST(ArmBoot, Atags) {
  const auto list = atags({kRam, 128 << 20, 0x64000000, 0x1234, "console=ttyAMA0"});
  const auto word = [&](usize index) { return load_le<u32>(&list[index * 4]); };
  EXPECT_EQ(word(0), 5u);
  EXPECT_EQ(word(1), 0x54410001u);
  EXPECT_EQ(word(6), 0x54410002u);
  EXPECT_EQ(word(8), kRam);
  EXPECT_EQ(word(10), 0x54420005u);
  EXPECT_EQ(word(13), 6u);
  EXPECT_EQ(word(14), 0x54410009u);
  EXPECT_EQ(std::memcmp(&list[15 * 4], "console=ttyAMA0", 16), 0);
  EXPECT_EQ(list.size(), 21u * 4);
}

TEST(ArmBoot, BlobsThatDoNotFit) {
  Log log;
  memory::AddressSpace space("test", log);
  auto ram = memory::RamBlock::create("ram", 0x10000).take();
  space.begin();
  space.add_ram(kRam, *ram, 0, 0x10000, false, "ram");
  space.commit();
  BlobList good;
  good.add_bytes("a", kRam, {1, 2, 3});
  good.add_bytes("b", kRam + 3, {4});
  EXPECT_TRUE(good.check(space).ok());
  EXPECT_TRUE(good.load(space).ok());
  EXPECT_EQ(space.read(kRam, 4, {}).value, 0x04030201u);
  BlobList overlapping;
  overlapping.add_bytes("a", kRam, {1, 2, 3});
  overlapping.add_bytes("b", kRam + 2, {4});
  EXPECT_FALSE(overlapping.check(space).ok());
  BlobList outside;
  outside.add_bytes("a", kRam + 0xffff, {1, 2});
  EXPECT_FALSE(outside.check(space).ok());
}

}  // namespace
}  // namespace rhea::loader
