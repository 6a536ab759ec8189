// SPDX-License-Identifier: MIT
#include "accel/translator/regions.h"

#include <algorithm>

namespace rhea::accel {

bool HotPlaces::meet(const ir::Key& key, u32 page, unsigned threshold) {
  const u64 hash = (key.pc ^ key.mode << 20 ^ u64{page} << 32) * 0x9e3779b97f4a7c15;
  Place& place = places_[hash >> 32 & (kPlaces - 1)];
  if (!(place.key == key) || place.page != page) {
    if (place.count && --place.count) return false;
    place = {key, page, 0};
  }
  if (++place.count < threshold) return false;
  place.count = 0;
  return true;
}

bool Regions::may_try(const ir::Key& key, u32 page) {
  constexpr usize kMostPlaces = 1u << 14;
  if (tries_.size() >= kMostPlaces) tries_.clear();
  unsigned& tries = tries_[{key.pc, key.mode, page}];
  if (tries == kTries) return false;
  tries++;
  return true;
}

void Regions::await(RegionParts& parts) {
  parts.died = false;
  awaited_.push_back(&parts);
}

bool Regions::is_awaited(u32 head) const {
  return std::any_of(awaited_.begin(), awaited_.end(),
                     [&](const RegionParts* parts) { return parts->head == head && !parts->died; });
}

// Regions that go through the head's block, or will, have it in the region from now on.
void Regions::add(u32 region, u32 head, std::span<const u32> others) {
  parts_.emplace(region, std::vector<u32>(others.begin(), others.end()));
  if (const auto found = regions_.find(head); found != regions_.end()) {
    for (const u32 through : found->second) std::replace(parts_[through].begin(), parts_[through].end(), head, region);
    std::vector<u32> moved = std::move(found->second);
    regions_.erase(found);
    regions_[region] = std::move(moved);
  }
  for (const u32 block : others) regions_[block].push_back(region);
  for (RegionParts* parts : awaited_) std::replace(parts->others.begin(), parts->others.end(), head, region);
}

void Regions::block_died(u32 block) {
  for (RegionParts* parts : awaited_) {
    const std::vector<u32>& others = parts->others;
    if (parts->head == block || std::find(others.begin(), others.end(), block) != others.end()) parts->died = true;
  }
  if (const auto found = regions_.find(block); found != regions_.end()) {
    doomed_.insert(doomed_.end(), found->second.begin(), found->second.end());
    regions_.erase(found);
  }
  const auto found = parts_.find(block);
  if (found == parts_.end()) return;
  for (const u32 part : found->second) {
    const auto of = regions_.find(part);
    if (of != regions_.end()) std::erase(of->second, block);
  }
  parts_.erase(found);
}

void Regions::clear() {
  parts_.clear();
  regions_.clear();
  doomed_.clear();
  for (RegionParts* parts : awaited_) parts->died = true;
  tries_.clear();
}

}  // namespace rhea::accel
