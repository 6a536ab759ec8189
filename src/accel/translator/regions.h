// SPDX-License-Identifier: MIT
// Regions: hot paths through several blocks, compiled once more as one block each (decision 0058).
//
// Where a CPU is found when it looks up from generated code (kPoll) is where a loop closes or a function is called:
// each such place is counted, and one that is met often is hot (HotPlaces). From there the interpreter runs one block
// after the other until it is back, or has gone far enough: that is the path. Its blocks are joined (ir/join.h) and
// compiled as one, which takes the place of the first block. Where the guest leaves the path it goes on in blocks.
//
// A region lives as long as all blocks of its path do: what drops one of them, because its code was written, drops the
// region. Pages other than the first are looked up in the execution table on the way, as links between pages are. The
// same holds while it is made, which takes its time: it comes to nothing then.
#pragma once

#include <array>
#include <map>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "accel/translator/code_cache.h"
#include "ir/ir.h"

namespace rhea::accel {

// Places that a CPU is found at, of which the most frequent ones stay. A CPU's own, without a lock.
class HotPlaces {
 public:
  // True: the place is hot. It is counted anew then.
  bool meet(const ir::Key& key, u32 page, unsigned threshold);

 private:
  struct Place {
    ir::Key key;
    u32 page = 0, count = 0;
  };
  static constexpr usize kPlaces = 256;
  std::array<Place, kPlaces> places_{};
};

// What a region that is being made is made of.
struct RegionParts {
  u32 head = kNoBlock;
  std::vector<u32> others;
  bool died = false;  // one of them did: the code that was read may be old
};

// Which blocks regions are made of. All members are called with the translator's lock held.
class Regions {
 public:
  // How often a path from the same place is tried, whatever came of it.
  static constexpr unsigned kTries = 4;

  // False: it was tried often enough.
  bool may_try(const ir::Key& key, u32 page);
  bool is_region(u32 block) const { return parts_.contains(block); }
  // A region that took the place of `head`, with the other blocks of its path.
  void add(u32 region, u32 head, std::span<const u32> others);
  // From now until forget() it is known when one of these blocks, which live, dies. The parts stay where they are.
  void await(RegionParts& parts);
  void forget(RegionParts& parts) { std::erase(awaited_, &parts); }
  // Whether a region with this head is being made.
  bool is_awaited(u32 head) const;
  // A block or a region died: the regions that are made of it are to die.
  void block_died(u32 block);
  // The same of all those for which it holds.
  template <typename F>
  void blocks_die(F&& which) {
    std::vector<u32> dying;
    for (const auto& [block, through] : regions_) {
      if (which(block)) dying.push_back(block);
    }
    for (const auto& [region, parts] : parts_) {
      if (which(region)) dying.push_back(region);
    }
    for (const RegionParts* parts : awaited_) {
      if (which(parts->head)) dying.push_back(parts->head);
      for (const u32 block : parts->others) {
        if (which(block)) dying.push_back(block);
      }
    }
    for (const u32 block : dying) block_died(block);
  }
  // Regions to drop; some may be dead.
  std::vector<u32> take_doomed() { return std::exchange(doomed_, {}); }
  usize count() const { return parts_.size(); }
  void clear();

 private:
  std::unordered_map<u32, std::vector<u32>> parts_;    // of a region that lives, the blocks of its path but the first
  std::unordered_map<u32, std::vector<u32>> regions_;  // of a block, the regions that it is a part of
  std::vector<u32> doomed_;
  std::vector<RegionParts*> awaited_;
  std::map<std::tuple<u64, u64, u32>, unsigned> tries_;
};

}  // namespace rhea::accel
