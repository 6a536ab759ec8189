// SPDX-License-Identifier: MIT
// Any bytes as a qcow2 image: opened, read, written, zeroed, discarded, resized, with snapshots, checked, repaired.
// What was repaired has to be sound.
#include <cstdlib>
#include <random>

#include "block/qcow2/qcow2_node.h"
#include "block/testing.h"

using namespace rhea;
using namespace rhea::block;

namespace {

// The input is a file: its bytes, with a run of zeros for "0xff 0xfe count" so that a small input reaches far.
std::shared_ptr<block::testing::Storage> unpack(const u8* data, usize size) {
  auto storage = std::make_shared<block::testing::Storage>();
  storage->limit = 4096;
  u64 at = 0;
  for (usize i = 0; i < size; ++i) {
    if (data[i] == 0xff && i + 2 < size && data[i + 1] == 0xfe) {
      at += u64{data[i + 2]} * 512;
      i += 2;
      continue;
    }
    if (!storage->write(at++, data + i, 1)) break;
  }
  storage->size = std::max(storage->size, at);
  return storage;
}

void use(qcow2::Qcow2Node& node, std::mt19937_64& random) {
  const u64 size = std::min<u64>(node.size(), u64{1} << 40);
  if (!size) return;
  std::vector<u8> buffer(1 + random() % 70000, 0x77);
  const Segment all{buffer.data(), buffer.size()};
  const u64 offset = random() % 3 ? random() % std::min<u64>(size, 1 << 20) : random() % size;
  if (offset + buffer.size() > size) return;
  switch (random() % 10) {
    case 0:
    case 1:
    case 2: (void)node.write(offset, {&all, 1}); break;
    case 3: (void)node.write_zeroes(offset, buffer.size(), random() % 2); break;
    case 4: (void)node.discard(offset, buffer.size()); break;
    case 5: (void)node.flush(); break;
    case 6: (void)node.map(offset, size - offset); break;
    case 7: (void)node.create_snapshot({.name = "s"}); break;
    case 8: (void)(random() % 2 ? node.apply_snapshot("s") : node.delete_snapshot("s")); break;
    default: (void)node.read(offset, {&all, 1});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size > 65536) return 0;
  std::mt19937_64 random(size ? data[size - 1] * 31 + size : 0);
  auto storage = unpack(data, size);
  {
    auto node = qcow2::Qcow2Node::open(std::make_unique<block::testing::MemoryNode>(storage), {});
    if (node.ok()) {
      for (int i = 0; i < 12; ++i) use(**node, random);
    }
  }
  storage->limit = 16384;  // the repair is to have room
  auto node = qcow2::Qcow2Node::open(std::make_unique<block::testing::MemoryNode>(storage),
                                     {.check_dirty = false, .allow_corrupt = true});
  if (!node.ok()) return 0;
  const auto repaired = (*node)->check(Repair::all);
  if (!repaired.ok() || repaired->corruptions > repaired->corruptions_fixed) return 0;
  const auto again = (*node)->check(Repair::none);
  if (again.ok() && (again->corruptions || again->leaks)) {
    for (const auto& message : again->messages) fmt::print(stderr, "{}\n", message);
    std::abort();
  }
  return 0;
}
