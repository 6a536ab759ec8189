// SPDX-License-Identifier: MIT
#include "accel/translator/code_cache.h"

#include <algorithm>

namespace rhea::accel {

CodeCache::CodeCache() : buckets_(kBuckets) { exits_.resize(1); }

u32 CodeCache::next_of(u32 index) const {
  const Translation& last = blocks_[index];
  for (u32 at = last.next; at != kNoBlock; at = blocks_[at].next) {
    if (blocks_[at].key == last.key && blocks_[at].pages[0] == last.pages[0]) return at;
  }
  return kNoBlock;
}

u32 CodeCache::first_of(const ir::Key& key, u32 page) const {
  for (u32 at = buckets_[bucket(key, page)] - 1; at != kNoBlock; at = blocks_[at].next) {
    if (blocks_[at].key == key && blocks_[at].pages[0] == page) return at;
  }
  return kNoBlock;
}

u32 CodeCache::find(const ir::Key& key, u32 page, u32 second_page) const {
  for (u32 at = first_of(key, page); at != kNoBlock; at = next_of(at)) {
    if (blocks_[at].pages[1] == second_page) return at;
  }
  return kNoBlock;
}

u32 CodeCache::block_at(u32 offset) const {
  // They are made one behind the other.
  const auto next = std::upper_bound(blocks_.begin(), blocks_.end(), offset,
                                     [](u32 at, const Translation& block) { return at < block.entry; });
  return next == blocks_.begin() ? kNoBlock : static_cast<u32>(next - blocks_.begin()) - 1;
}

u32 CodeCache::add(const Translation& translation, std::span<const x64::ExitSite> sites, const ir::Block& block) {
  const u32 index = static_cast<u32>(blocks_.size());
  blocks_.push_back(translation);
  Translation& added = blocks_.back();
  added.exits = static_cast<u32>(sites.size());
  for (const x64::ExitSite& site : sites) {
    ExitRecord record;
    record.site = site;
    record.target = block.exits[site.exit].target;
    record.from = index;
    exits_.push_back(record);
  }
  u32& head = buckets_[bucket(translation.key, translation.pages[0])];
  added.next = head - 1;
  head = index + 1;
  for (const u32 id : translation.pages) {
    if (id) page(id).blocks.push_back(index);
  }
  return index;
}

void CodeCache::link(u32 exit_id, u32 target, x64::Compiler& compiler) {
  ExitRecord& exit = exits_[exit_id];
  Translation& to = blocks_[target];
  exit.to = target;
  exit.previous = 0;
  exit.next = to.incoming;
  if (to.incoming) exits_[to.incoming].previous = exit_id;
  to.incoming = exit_id;
  compiler.link(exit.site, to.entry, to.pages[0]);
}

void CodeCache::unlist(u32 exit_id) {
  ExitRecord& exit = exits_[exit_id];
  if (exit.to == kNoBlock) return;
  if (exit.previous) exits_[exit.previous].next = exit.next;
  else blocks_[exit.to].incoming = exit.next;
  if (exit.next) exits_[exit.next].previous = exit.previous;
  exit.to = kNoBlock;
  exit.next = exit.previous = 0;
}

void CodeCache::remove(u32 index, x64::Compiler& compiler) {
  Translation& dead = blocks_[index];
  dead.dead = true;
  while (dead.incoming) {
    const u32 id = dead.incoming;
    compiler.unlink(exits_[id].site);
    unlist(id);
  }
  // Its own exits leave from now on: who is still in it comes back soon.
  for (u32 id = dead.first_exit; id < dead.first_exit + dead.exits; id++) {
    if (exits_[id].to == kNoBlock) continue;
    compiler.unlink(exits_[id].site);
    unlist(id);
  }
  u32& head = buckets_[bucket(dead.key, dead.pages[0])];
  if (head == index + 1) {
    head = dead.next + 1;
  } else {
    u32* at = &blocks_[head - 1].next;
    while (*at != index) at = &blocks_[*at].next;
    *at = dead.next;
  }
  for (const u32 id : dead.pages) {
    if (!id) continue;
    std::vector<u32>& list = page(id).blocks;
    const auto found = std::find(list.begin(), list.end(), index);
    if (found == list.end()) continue;
    *found = list.back();
    list.pop_back();
  }
}

void CodeCache::clear() {
  blocks_.clear();
  exits_.resize(1);
  buckets_.reset(kBuckets);
  pages_.clear();
}

}  // namespace rhea::accel
