// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <random>

#include "block/create.h"
#include "block/qcow2/qcow2_node.h"
#include "block/testing.h"

namespace rhea::block::qcow2 {
namespace {

using testing::MemoryNode;
using testing::Storage;

std::shared_ptr<Storage> created(const CreateSpec& spec) {
  auto storage = std::make_shared<Storage>();
  auto node = create_qcow2(std::make_unique<MemoryNode>(storage), spec);
  EXPECT_TRUE(node.ok()) << node.error().message();
  return storage;
}

std::unique_ptr<Qcow2Node> opened(const std::shared_ptr<Storage>& storage, OpenFlags flags = {}) {
  auto node = Qcow2Node::open(std::make_unique<MemoryNode>(storage, flags.read_only), flags);
  EXPECT_TRUE(node.ok()) << node.error().message();
  return node.ok() ? node.take() : nullptr;
}

void write(Node& node, u64 offset, std::vector<u8> data) {
  const Segment all{data.data(), data.size()};
  const auto written = node.write(offset, {&all, 1});
  ASSERT_TRUE(written.ok()) << written.error().message();
}

std::vector<u8> read(Node& node, u64 offset, u64 size) {
  std::vector<u8> data(size);
  const Segment all{data.data(), size};
  const auto done = node.read(offset, {&all, 1});
  EXPECT_TRUE(done.ok()) << done.error().message();
  return data;
}

void expect_sound(Qcow2Node& node) {
  const auto result = node.check(Repair::none);
  ASSERT_TRUE(result.ok()) << result.error().message();
  EXPECT_EQ(result->corruptions, 0u) << (result->messages.empty() ? "" : result->messages[0]);
  EXPECT_EQ(result->leaks, 0u) << (result->messages.empty() ? "" : result->messages[0]);
}

TEST(Qcow2Layout, RefcountsOfAllWidths) {
  for (u32 order = 0; order <= 6; ++order) {
    std::vector<u8> block(512);
    const u64 most = max_refcount(order);
    for (u64 i = 0; i < u64{4096} >> order; ++i) set_refcount(block.data(), i, order, (i * 7 + 1) & most);
    for (u64 i = 0; i < u64{4096} >> order; ++i) EXPECT_EQ(get_refcount(block.data(), i, order), (i * 7 + 1) & most);
  }
}

TEST(Qcow2Layout, CompressedEntries) {
  for (u32 bits = 9; bits <= 21; ++bits) {
    for (const u64 offset : {u64{512}, u64{65536 + 17}, u64{0x123456789}}) {
      for (const u64 size : {u64{1}, u64{100}, (u64{1} << bits) - 1}) {
        const u64 entry = compressed_entry(offset, size, bits);
        const CompressedPlace place = compressed_place(entry & ~kCompressed, bits);
        EXPECT_EQ(place.offset, offset);
        EXPECT_GE(place.size, size);
        EXPECT_LT(place.size, size + 512);
      }
    }
  }
}

TEST(Qcow2Layout, CompressionThereAndBack) {
  for (const u8 method : {kZlib, kZstd}) {
    std::vector<u8> cluster(65536, 5), back(65536);
    for (usize i = 0; i < 3000; ++i) cluster[i * 11] = static_cast<u8>(i);
    auto packed = compress_cluster(cluster, method);
    ASSERT_FALSE(packed.empty());
    packed.resize(packed.size() + 300, 0xee);  // the rest of a sector
    ASSERT_TRUE(decompress_cluster(packed, back, method).ok());
    EXPECT_EQ(back, cluster);
    packed.resize(packed.size() / 3);
    EXPECT_FALSE(decompress_cluster(packed, back, method).ok());
  }
}

TEST(Qcow2Header, Refusals) {
  const auto message = [](const std::function<void(std::vector<u8>&)>& change) {
    Header header;
    header.l1_offset = 0x30000;
    header.l1_size = 1;
    header.refcount_table_offset = 0x10000;
    header.refcount_table_clusters = 1;
    auto bytes = build_header(header, {}, "");
    change(*bytes);
    const auto parsed = parse_header(*bytes);
    return parsed.ok() ? std::string("ok") : parsed.error().message();
  };
  EXPECT_EQ(message([](auto&) {}), "ok");
  EXPECT_EQ(message([](auto& bytes) { bytes[0] = 0; }), "Image is not in qcow2 format");
  EXPECT_EQ(message([](auto& bytes) { bytes[7] = 4; }), "Unsupported qcow2 version 4");
  EXPECT_EQ(message([](auto& bytes) { bytes[23] = 30; }), "Unsupported cluster size: 2^30");
  EXPECT_NE(message([](auto& bytes) { bytes[35] = 1; }).find("encrypted"), std::string::npos);
  EXPECT_NE(message([](auto& bytes) { bytes[79] = 16; }).find("extended L2"), std::string::npos);
  EXPECT_NE(message([](auto& bytes) { bytes[78] = 1; }).find("unknown incompatible feature"), std::string::npos);
  EXPECT_EQ(message([](auto& bytes) { bytes[24] = 1; }), "L1 table is too small");
  EXPECT_EQ(message([](auto& bytes) { bytes[99] = 9; }),
            "Reference count entry width too large; may not exceed 64 bits");
  EXPECT_EQ(message([](auto& bytes) { bytes[47] = 1; }), "Active L1 table offset invalid");
}

TEST(Qcow2, SnapshotKeepsWhatWasThere) {
  auto storage = created({.format = "qcow2", .size = 1 << 20, .cluster_size = 4096});
  auto node = opened(storage);
  write(*node, 5000, std::vector<u8>(9000, 1));
  const std::vector<u8> state(10000, 0x5a);
  ASSERT_TRUE(node->write_vm_state(0, state).ok());
  ASSERT_TRUE(node->create_snapshot({.name = "one", .vm_state_size = state.size(), .vm_clock_nanoseconds = 77}).ok());
  write(*node, 8000, std::vector<u8>(9000, 2));
  expect_sound(*node);
  node = opened(storage);
  EXPECT_EQ(read(*node, 8000, 9000), std::vector<u8>(9000, 2));
  ASSERT_EQ(node->snapshots()->size(), 1u);
  EXPECT_EQ(node->snapshots()->at(0).vm_clock_nanoseconds, 77u);
  EXPECT_EQ(node->snapshots()->at(0).id, "1");
  EXPECT_FALSE(node->apply_snapshot("two").ok());
  ASSERT_TRUE(node->apply_snapshot("one").ok());
  EXPECT_EQ(read(*node, 5000, 9000), std::vector<u8>(9000, 1));
  EXPECT_EQ(read(*node, 14000, 3000), std::vector<u8>(3000, 0));
  std::vector<u8> back(state.size());
  ASSERT_TRUE(node->read_vm_state(0, back).ok());
  EXPECT_EQ(back, state);
  ASSERT_TRUE(node->delete_snapshot("1").ok());
  expect_sound(*node);
}

TEST(Qcow2, FullDiskIsAnErrorAndLosesNothing) {
  auto storage = created({.format = "qcow2", .size = 4 << 20});
  auto node = opened(storage);
  write(*node, 0, std::vector<u8>(65536, 7));
  ASSERT_TRUE(node->flush().ok());
  storage->limit = storage->pages.size() + 8;
  std::vector<u8> data(1 << 20, 9);
  const Segment all{data.data(), data.size()};
  const auto written = node->write(1 << 20, {&all, 1});
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(IoResult::from(written).code, IoCode::no_space);
  storage->limit = SIZE_MAX;
  EXPECT_EQ(read(*node, 0, 65536), std::vector<u8>(65536, 7));
  write(*node, 1 << 20, data);
  EXPECT_EQ(read(*node, 1 << 20, 1 << 20), data);
  expect_sound(*node);
}

TEST(Qcow2, DamageIsNotWrittenOver) {
  auto storage = created({.format = "qcow2", .size = 4 << 20});
  {
    auto node = opened(storage);
    write(*node, 0, std::vector<u8>(65536, 7));
  }
  // The cluster's entry leads to the header.
  std::vector<u8> l1(8);
  storage->read(3 * 65536, l1.data(), 8);
  const u64 l2 = load_be<u64>(l1.data()) & kOffsetMask;
  u8 entry[8];
  store_be<u64>(entry, kCopied | 0);
  store_be<u64>(entry, kCopied | 0x10000);  // the refcount table
  storage->write(l2, entry, 8);
  {
    auto node = opened(storage);
    std::vector<u8> data(512, 1);
    const Segment all{data.data(), data.size()};
    const auto written = node->write(0, {&all, 1});
    ASSERT_FALSE(written.ok());
    EXPECT_NE(written.error().message().find("preventing an invalid write on metadata"), std::string::npos);
  }
  auto again = Qcow2Node::open(std::make_unique<MemoryNode>(storage), {});
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message(), "qcow2: Image is corrupt; cannot be opened read/write");
  EXPECT_TRUE(Qcow2Node::open(std::make_unique<MemoryNode>(storage, true), {.read_only = true}).ok());
}

// --- What is left behind ------------------------------------------------------------------------------------------

struct Promise {
  usize events;             // when the flush had ended
  std::vector<u8> content;  // of the disk
};

// Random use of an image; `promises` says after which events the disk must have what.
std::vector<Promise> use(const std::shared_ptr<Storage>& storage, u64 seed, bool with_snapshots) {
  std::vector<Promise> promises;
  std::mt19937_64 random(seed);
  storage->logging = true;
  auto node = opened(storage);
  std::vector<u8> model(node->size());
  for (int i = 0; i < 60; ++i) {
    const u64 size = (1 + random() % 40) * 512, offset = random() % ((model.size() - size) / 512) * 512;
    switch (random() % 8) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const std::vector<u8> data(size, static_cast<u8>(1 + random() % 255));
        write(*node, offset, data);
        std::copy(data.begin(), data.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
        break;
      }
      case 4:
        EXPECT_TRUE(node->write_zeroes(offset, size, random() % 2).ok());
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), size, u8{0});
        break;
      case 5:
        if (!with_snapshots) break;
        EXPECT_TRUE(node->create_snapshot({.name = std::to_string(i)}).ok());
        break;
      case 6:
        if (!with_snapshots || node->snapshots()->empty()) break;
        EXPECT_TRUE(node->delete_snapshot(node->snapshots()->front().id).ok());
        break;
      default: EXPECT_TRUE(node->flush().ok()); promises.push_back({storage->log.size(), model});
    }
  }
  node.reset();
  promises.push_back({storage->log.size(), model});
  storage->logging = false;
  return promises;
}

std::shared_ptr<Storage> copy_of(const Storage& storage) {
  auto copy = std::make_shared<Storage>();
  copy->pages = storage.pages;
  copy->size = storage.size;
  return copy;
}

void expect_left_sound(const std::shared_ptr<Storage>& left, const std::string& when, bool flags_may_lag) {
  auto node = opened(left);
  ASSERT_TRUE(node) << when;
  const auto result = node->check(Repair::none);
  ASSERT_TRUE(result.ok()) << when << ": " << result.error().message();
  u64 wrong = result->corruptions;
  if (flags_may_lag) {  // a snapshot was being deleted: flags that allow writing in place come after the refcounts
    wrong = static_cast<u64>(std::count_if(result->messages.begin(), result->messages.end(),
                                           [](const std::string& text) { return text.starts_with("ERROR cluster"); }));
  }
  EXPECT_EQ(wrong, 0u) << when << ": " << result->messages[0];
}

class LeftBehind : public ::testing::TestWithParam<CreateSpec> {};

// A process that is killed: all writes up to some moment are in the file.
TEST_P(LeftBehind, ByAKilledProcess) {
  for (u64 seed = 1; seed <= 4; ++seed) {
    const bool with_snapshots = seed % 2 == 0 && GetParam().refcount_bits > 1;
    auto storage = created(GetParam());
    auto now = copy_of(*storage);
    const auto promises = use(storage, seed, with_snapshots);
    usize next_promise = 0;
    for (usize i = 0; i < storage->log.size(); ++i) {
      now->apply(storage->log[i]);
      while (next_promise < promises.size() && promises[next_promise].events <= i + 1) ++next_promise;
      if (i % 3 && i + 1 < storage->log.size()) continue;
      auto left = copy_of(*now);
      expect_left_sound(left, fmt::format("seed {}, killed after event {}", seed, i), with_snapshots);
    }
    for (const Promise& promise : promises) {
      auto left = copy_of(*created(GetParam()));
      for (usize i = 0; i < promise.events; ++i) left->apply(storage->log[i]);
      EXPECT_EQ(read(*opened(left), 0, promise.content.size()), promise.content) << "seed " << seed;
    }
    if (::testing::Test::HasFailure()) return;
  }
}

// A machine that loses power: of what was written since the last flush, any part is there.
TEST_P(LeftBehind, ByALossOfPower) {
  std::mt19937_64 random(99);
  for (u64 seed = 11; seed <= 13; ++seed) {
    auto storage = created(GetParam());
    auto flushed = copy_of(*storage);
    const auto promises = use(storage, seed, false);
    std::vector<const Storage::Event*> pending;
    for (usize i = 0; i < storage->log.size(); ++i) {
      const Storage::Event& event = storage->log[i];
      if (event.kind != Storage::Event::Kind::flush) {
        pending.push_back(&event);
        if (random() % 6) continue;
      }
      auto left = copy_of(*flushed);
      for (const auto* written : pending) {
        if (random() % 2) left->apply(*written);
      }
      expect_left_sound(left, fmt::format("seed {}, power lost after event {}", seed, i), false);
      if (event.kind == Storage::Event::Kind::flush) {
        for (const auto* written : pending) flushed->apply(*written);
        pending.clear();
      }
      if (::testing::Test::HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Images, LeftBehind,
    ::testing::Values(CreateSpec{.format = "qcow2", .size = 2 << 20},
                      CreateSpec{.format = "qcow2", .size = 1 << 20, .cluster_size = 512},
                      CreateSpec{.format = "qcow2", .size = 1 << 20, .cluster_size = 4096, .refcount_bits = 64},
                      CreateSpec{.format = "qcow2", .size = 1 << 20, .cluster_size = 1024, .compat = "0.10"},
                      CreateSpec{.format = "qcow2", .size = 1 << 20, .cluster_size = 4096, .lazy_refcounts = true},
                      CreateSpec{.format = "qcow2", .size = 1 << 20, .cluster_size = 4096, .refcount_bits = 1}));

}  // namespace
}  // namespace rhea::block::qcow2
