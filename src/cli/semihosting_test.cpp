// SPDX-License-Identifier: MIT
#include "cli/semihosting.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/loop.h"

namespace rhea::cli {
namespace {

class FakeMemory final : public SemihostingMemory {
 public:
  bool read(u32 address, std::span<u8> data) override {
    if (u64{address} + data.size() > bytes.size()) return false;
    std::memcpy(data.data(), bytes.data() + address, data.size());
    return true;
  }
  bool write(u32 address, std::span<const u8> data) override {
    if (u64{address} + data.size() > bytes.size()) return false;
    std::memcpy(bytes.data() + address, data.data(), data.size());
    return true;
  }
  std::vector<u8> bytes = std::vector<u8>(4096);
};

class FakeConsole final : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override { text.append(data.begin(), data.end()); }
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "fake"; }
  std::string text;
};

struct SemihostingTest : testing::Test {
  u32 put(u32 address, std::string_view text) {
    std::memcpy(memory.bytes.data() + address, text.data(), text.size());
    return static_cast<u32>(text.size());
  }
  u32 call(u32 operation, std::initializer_list<u32> words) {
    u32 at = 0;
    for (const u32 word : words) std::memcpy(memory.bytes.data() + 4 * at++, &word, 4);
    return host.call(operation, 0, memory).value;
  }
  u32 open(const std::string& name, u32 mode) { return call(1, {0x400, mode, put(0x400, name)}); }

  core::Loop loop{"test"};
  FakeConsole console;
  int status = -1;
  FakeMemory memory;
  HostSemihosting host{{.loop = loop,
                        .console = &console,
                        .command_line = "prog a b",
                        .ram_base = 0x60000000,
                        .ram_end = 0x68000000,
                        .exit = [this](int code) { status = code; }}};
};

TEST_F(SemihostingTest, Files) {
  const std::string path = testing::TempDir() + "rhea-semihosting-file", other = path + "2";
  const u32 handle = open(path, 6);  // w+
  ASSERT_NE(handle, ~0u);
  EXPECT_EQ(call(5, {handle, 0x500, put(0x500, "hello")}), 0u);
  EXPECT_EQ(call(0xc, {handle}), 5u);
  EXPECT_EQ(call(0xa, {handle, 1}), 0u);
  EXPECT_EQ(call(6, {handle, 0x600, 10}), 6u);  // 4 of 10 came
  EXPECT_EQ(std::memcmp(memory.bytes.data() + 0x600, "ello", 4), 0);
  EXPECT_EQ(call(9, {handle}), 0u);
  EXPECT_EQ(call(2, {handle}), 0u);
  EXPECT_EQ(call(2, {handle}), ~0u);
  const u32 size = put(0x400, path), other_size = put(0x800, other);
  EXPECT_EQ(call(0xf, {0x400, size, 0x800, other_size}), 0u);
  EXPECT_EQ(open(path, 0), ~0u);
  EXPECT_EQ(call(0x13, {}), static_cast<u32>(ENOENT));
  EXPECT_EQ(call(0xe, {0x800, other_size}), 0u);
}

TEST_F(SemihostingTest, Console) {
  const u32 out = open(":tt", 4), in = open(":tt", 0);
  EXPECT_EQ(call(5, {out, 0x500, put(0x500, "text")}), 0u);
  loop.run_once();
  EXPECT_EQ(console.text, "text");
  EXPECT_EQ(call(9, {out}), 1u);
  EXPECT_TRUE(host.call(7, 0, memory).again);
  const u8 typed[] = {'x', 'y'};
  host.receive(typed);
  EXPECT_EQ(host.call(7, 0, memory).value, u32{'x'});
  EXPECT_EQ(call(6, {in, 0x600, 10}), 9u);
  EXPECT_EQ(memory.bytes[0x600], 'y');
}

TEST_F(SemihostingTest, Ends) {
  EXPECT_TRUE(host.call(0x18, 0x20026, memory).again);
  EXPECT_EQ(status, 0);
  host.call(0x18, 0x20024, memory);
  EXPECT_EQ(status, 1);
  call(0x20, {0x20026, 42});
  EXPECT_EQ(status, 42);
}

TEST_F(SemihostingTest, Rest) {
  const u32 features = open(":semihosting-features", 0);
  EXPECT_EQ(call(0xc, {features}), 5u);
  EXPECT_EQ(call(6, {features, 0x600, 5}), 0u);
  EXPECT_EQ(std::memcmp(memory.bytes.data() + 0x600, "SHFB\x03", 5), 0);
  EXPECT_EQ(call(0x15, {0x600, 80}), 0u);
  EXPECT_STREQ(reinterpret_cast<const char*>(memory.bytes.data() + 0x600), "prog a b");
  EXPECT_EQ(call(0x15, {0x600, 4}), ~0u);
  EXPECT_EQ(call(0x16, {0x600}), 0u);
  EXPECT_EQ(call(0x31, {}), 1000000000u);
}

TEST_F(SemihostingTest, BadPointersAndNumbers) {
  for (u32 operation = 0; operation < 0x40; ++operation) {
    host.call(operation, 0xfffffff0, memory);
    call(operation, {0xfffffff0, 0xffffffff, 0xffffffff, 0xffffffff});
    call(operation, {0, 0, 0, 0});
  }
  for (u32 i = 0; i < 1000; ++i) open(":tt", 0);
  EXPECT_EQ(open(":tt", 0), ~0u);
}

}  // namespace
}  // namespace rhea::cli
