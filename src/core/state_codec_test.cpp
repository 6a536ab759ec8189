// SPDX-License-Identifier: MIT
#include "core/state_codec.h"

#include <gtest/gtest.h>

namespace rhea::core {
namespace {

struct Part {
  u16 small = 7;
  bool on = true;
  s32 negative = -5;
  std::vector<u8> data = {1, 2, 3};
  std::array<u32, 3> words = {10, 20, 30};
  unsigned version = 1, seen = 0;
  bool has_new_field = false;
  u32 fresh = 99;

  void fields(Visitor& visitor) {
    visitor.field("small", small);
    seen = visitor.begin("inner", version);
    visitor.field("on", on);
    visitor.field("negative", negative);
    visitor.bytes("data", data, 16);
    visitor.end();
    visitor.field("words", words);
    if (has_new_field) visitor.field("fresh", fresh);
  }
};

Result<void> load(Part& part, const std::vector<u8>& bytes) {
  const StateTree tree = RHEA_TRY(StateTree::parse(bytes));
  return load_state(part, tree);
}

TEST(StateCodec, KeepsEveryKindOfField) {
  Part from, to;
  from.small = 0x1234;
  from.on = false;
  from.negative = INT32_MIN;
  from.data = {9};
  from.words = {1, 2, ~0u};
  ASSERT_TRUE(load(to, save_state(from)).ok());
  EXPECT_EQ(save_state(to), save_state(from));
  EXPECT_EQ(to.negative, INT32_MIN);
}

TEST(StateCodec, FieldsMayComeAndGo) {
  Part old, newer;
  newer.has_new_field = true;
  ASSERT_TRUE(load(newer, save_state(old)).ok());
  EXPECT_EQ(newer.fresh, 99u) << "what the stream has not keeps its value";
  newer.fresh = 5;
  ASSERT_TRUE(load(old, save_state(newer)).ok()) << "what the device has not is passed over";
}

TEST(StateCodec, VersionsAreKnown) {
  Part old, newer;
  newer.version = 2;
  ASSERT_TRUE(load(newer, save_state(old)).ok());
  EXPECT_EQ(newer.seen, 1u);
  const Result<void> loaded = load(old, save_state(newer));
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message(), "inner: it has version 2, the newest known one is 1");
}

TEST(StateCodec, WhatDoesNotFitIsSaidAndKept) {
  StateWriter writer;
  u64 wide = 0x12345;
  std::vector<u8> long_data(17);
  u32 word = 0;
  writer.number("small", wide, 8);
  writer.begin("inner", 1);
  writer.bytes("data", long_data, 100);
  writer.end();
  writer.raw("words", &word, 4);
  const std::vector<u8> bytes = writer.take();
  Part part;
  const Result<void> loaded = load(part, bytes);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message(), "small: 0x12345 does not fit into 2 bytes");
  EXPECT_EQ(save_state(part), save_state(*std::make_unique<Part>()));
  const StateTree tree = StateTree::parse(bytes).take();
  EXPECT_FALSE(check_state(part, tree).ok());
}

TEST(StateCodec, DamagedBuffersAreRefused) {
  Part part;
  const std::vector<u8> whole = save_state(part);
  for (usize size = 1; size < whole.size(); ++size) {
    const auto tree = StateTree::parse(std::span(whole).first(size));
    if (!tree.ok()) continue;
    Part victim;
    EXPECT_TRUE(load_state(victim, *tree).ok()) << "cut between two fields: the rest keeps its value";
  }
  for (usize at = 0; at < whole.size(); ++at) {
    for (const u8 bit : {1, 0x80}) {
      std::vector<u8> damaged = whole;
      damaged[at] ^= bit;
      const auto tree = StateTree::parse(damaged);
      if (!tree.ok()) continue;
      Part victim;
      (void)load_state(victim, *tree);
      EXPECT_LE(victim.data.size(), 16u);
    }
  }
  std::vector<u8> deep;
  for (int i = 0; i < 40; ++i) {
    std::vector<u8> outer = {4, 0};
    const u32 size = static_cast<u32>(deep.size() + 4);
    for (int byte = 0; byte < 4; ++byte) outer.push_back(static_cast<u8>(size >> 8 * byte));
    outer.insert(outer.end(), {1, 0, 0, 0});
    outer.insert(outer.end(), deep.begin(), deep.end());
    deep = outer;
  }
  EXPECT_FALSE(StateTree::parse(deep).ok());
}

}  // namespace
}  // namespace rhea::core
