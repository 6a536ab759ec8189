// SPDX-License-Identifier: MIT
// Every row of the decode tables decodes to itself and translates to blocks that the verifier accepts.
#include "guest/arm/decode.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "guest/arm/cpu.h"

namespace rhea::arm {
namespace {

constexpr Table kTables[] = {Table::a32, Table::t16, Table::t32, Table::vfp, Table::neon};

// Code in a buffer; fetches outside of it fail.
class BufferReader final : public ir::CodeReader {
 public:
  explicit BufferReader(u32 base) : base_(base) {}
  void put16(u16 value) { code_.push_back(value); }
  void put32(u32 value) {
    put16(static_cast<u16>(value));
    put16(static_cast<u16>(value >> 16));
  }
  void put_thumb32(u32 value) {
    put16(static_cast<u16>(value >> 16));
    put16(static_cast<u16>(value));
  }
  bool fetch16(u64 address, u16& value) override {
    const u64 index = (address - base_) / 2;
    if (address < base_ || index >= code_.size()) return false;
    value = code_[index];
    return true;
  }

 private:
  u32 base_;
  std::vector<u16> code_;
};

u32 width_mask(Table table) { return table == Table::t16 ? 0xffffu : ~0u; }

// Random fields, should-be bits as they should be, and no condition 1111.
u32 random_encoding(const Row& row, std::mt19937& random) {
  u32 insn = random();
  insn = (insn & ~row.mask & ~row.zero_mask) | row.value | row.one_mask;
  if (row.table != Table::t16 && row.table != Table::t32 && row.mask >> 28 != 15 && insn >> 28 == 15) {
    insn &= ~(0xf0000000u & ~row.mask);
    insn |= row.value;
  }
  return insn & width_mask(row.table);
}

const Row* decode(Table table, u32 insn) {
  switch (table) {
    case Table::t16: return decode_t16(static_cast<u16>(insn));
    case Table::t32: return decode_t32(insn);
    default: return decode_a32(insn);
  }
}

TEST(Decode, RowsDecodeToThemselves) {
  std::mt19937 random(1);
  for (const Table table : kTables) {
    for (const Row& row : decode_rows(table)) {
      ASSERT_EQ(row.pattern.size(), table == Table::t16 ? 16u : 32u) << row.name;
      int found = 0;
      for (int i = 0; i < 200; i++) {
        const u32 insn = random_encoding(row, random);
        const Row* decoded = decode(table, insn);
        ASSERT_TRUE(decoded) << row.name << std::hex << " " << insn;
        if (decoded == &row) found++;
        // What takes an encoding from a row is more specific.
        else ASSERT_GT(std::popcount(decoded->mask), std::popcount(row.mask)) << row.name << " " << decoded->name;
      }
      EXPECT_GT(found, 0) << row.name << " is never decoded";
    }
  }
}

// Two rows of the same number of fixed bits must not match the same encoding.
TEST(Decode, OverlapsAreResolved) {
  for (const Table table : kTables) {
    const auto rows = decode_rows(table);
    for (usize i = 0; i < rows.size(); i++) {
      for (usize j = i + 1; j < rows.size(); j++) {
        const Row &a = rows[i], &b = rows[j];
        if (std::popcount(a.mask) != std::popcount(b.mask)) continue;
        if ((a.mask >> 28 == 15) != (b.mask >> 28 == 15) && table == Table::a32) continue;
        EXPECT_TRUE((a.value ^ b.value) & a.mask & b.mask) << a.name << " and " << b.name;
      }
    }
  }
}

TEST(Decode, ExtractGathersBits) {
  EXPECT_EQ(extract(0x80000001, 0x80000001), 3u);
  EXPECT_EQ(extract(0x00ab0000, 0x00ff0000), 0xabu);
  EXPECT_EQ(extract(0x0087, 0x0087), 15u);
}

// ---- translation ----

class Translation : public ::testing::Test {
 protected:
  Log log;
  std::unique_ptr<Cpu> cpu = make_cpu("cortex-a9", 0, 1, 0, 0x1e000000, log);
  std::unique_ptr<Cpu> a7 = make_cpu("cortex-a7", 0, 1, 0, 0x1e000000, log);

  void check(Cpu& cpu, BufferReader& code, u32 mode, unsigned count, std::string_view what, u32 insn) {
    ir::Block block;
    cpu.translate({0x8000, mode}, code, count, block);
    ASSERT_GT(block.guest_insns, 0) << what;
    const std::string wrong = ir::verify(block);
    ASSERT_EQ(wrong, "") << what << std::hex << " " << insn << " mode " << mode << "\n" << ir::print(block);
  }
};

// Mode words of all kinds: privileges, FP on and off, short vectors, big endian, alignment checks.
u32 random_mode(std::mt19937& random, bool thumb) {
  constexpr u32 kModes[] = {0, 3, 15, 2, 1, 6};
  u32 mode = kModes[random() % std::size(kModes)] << kModeCpuShift;
  if (random() % 8) mode |= kModeFpAccess;
  if (random() % 8) mode |= kModeFpEnabled;
  if (random() % 8 == 0) mode |= kModeNeonOff;
  if (random() % 8 == 0) mode |= random() & kModeFpscrMask;
  if (random() % 4 == 0) mode |= kModeBigEndian;
  if (random() % 4 == 0) mode |= kModeAlign;
  if (random() % 2) mode |= kModeSecure;
  return mode | (thumb ? u32{kModeThumb} : 0u);
}

TEST_F(Translation, EveryRowVerifies) {
  std::mt19937 random(2);
  for (const Table table : kTables) {
    for (const Row& row : decode_rows(table)) {
      for (int i = 0; i < 60; i++) {
        const u32 insn = random_encoding(row, random);
        const bool thumb = table == Table::t16 || table == Table::t32;
        BufferReader code(0x8000);
        if (table == Table::t16) code.put16(static_cast<u16>(insn));
        else if (thumb) code.put_thumb32(insn);
        else code.put32(insn);
        u32 mode = random_mode(random, thumb);
        if (thumb && i & 1) mode |= (random() & 0xff) << kModeItShift;
        check(i & 2 ? *a7 : *cpu, code, mode, 1, row.name, insn);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(Translation, RunsOfRandomInstructionsVerify) {
  std::mt19937 random(3);
  for (int i = 0; i < 3000; i++) {
    const bool thumb = i & 1;
    BufferReader code(0x8000);
    u32 first = 0;
    for (int n = 0; n < 24; n++) {
      const Table table = kTables[thumb ? 1 + random() % 2 : (random() % 4 == 0 ? 3 + random() % 2 : 0)];
      const auto rows = decode_rows(table);
      const u32 insn = random_encoding(rows[random() % rows.size()], random);
      if (n == 0) first = insn;
      if (table == Table::t16) code.put16(static_cast<u16>(insn));
      else if (thumb) code.put_thumb32(insn);
      else code.put32(insn);
    }
    check(i & 2 ? *a7 : *cpu, code, random_mode(random, thumb), 64, "run", first);
    if (HasFatalFailure()) return;
  }
}

TEST_F(Translation, AnythingTranslates) {
  std::mt19937 random(4);
  for (int i = 0; i < 20000; i++) {
    BufferReader code(0x8000);
    for (int n = 0; n < 8; n++) code.put16(static_cast<u16>(random()));
    check(*cpu, code, random_mode(random, i & 1), 8, "random", 0);
    if (HasFatalFailure()) return;
  }
}

TEST_F(Translation, ItBlockSelectsAndCounts) {
  BufferReader code(0x8000);
  code.put16(0xbf0c);  // ite eq
  code.put16(0x2001);  // moveq r0, #1
  code.put16(0x2002);  // movne r0, #2
  code.put16(0x4770);  // bx lr
  ir::Block block;
  cpu->translate({0x8000, kModeThumb | 3 << kModeCpuShift}, code, 64, block);
  EXPECT_EQ(ir::verify(block), "");
  EXPECT_EQ(block.guest_insns, 4);
  EXPECT_EQ(block.guest_bytes, 8u);
  ASSERT_EQ(block.exits.size(), 1u);
  EXPECT_EQ(block.exits[0].kind, ir::ExitKind::ret);
  EXPECT_EQ(block.exits[0].insns, 4);
}

TEST_F(Translation, BlockEndsInsideItBlockWithItsState) {
  BufferReader code(0x8000);
  code.put16(0xbf08);  // it eq
  code.put16(0x2001);  // moveq r0, #1
  ir::Block block;
  cpu->translate({0x8000, kModeThumb}, code, 1, block);
  ASSERT_EQ(block.exits.size(), 1u);
  EXPECT_EQ(block.exits[0].target.pc, 0x8002u);
  EXPECT_EQ(block.exits[0].target.mode, kModeThumb | 0x08u << kModeItShift);
}

TEST_F(Translation, DeadFlagsAreSeen) {
  BufferReader code(0x8000);
  code.put32(0xe3500000);  // cmp r0, #0
  code.put32(0x0a000001);  // beq 0x8010
  code.put32(0xe3510000);  // 0x8008: cmp r1, #0
  code.put32(0xe12fff1e);  // bx lr
  code.put32(0x33a00001);  // 0x8010: movcc r0, #1
  code.put32(0xe3520000);  // cmp r2, #0
  ir::Block block;
  cpu->translate({0x8000, 3 << kModeCpuShift}, code, 2, block);
  ASSERT_EQ(block.exits.size(), 2u);
  EXPECT_EQ(block.exits[0].live_flags, ir::kFlagC);
  EXPECT_EQ(block.exits[1].live_flags, 0);
}

}  // namespace
}  // namespace rhea::arm
