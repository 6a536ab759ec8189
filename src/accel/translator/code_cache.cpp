// SPDX-License-Identifier: MIT
#include "accel/translator/code_cache.h"

#include <algorithm>

namespace rhea::accel {

CodeCache::CodeCache() : buckets_(kBuckets) { exits_.resize(1); }

void CodeCache::reserve(u32 blocks, u32 exits) {
  reserved_ = blocks;
  first_exit_ = exits;
  exits_.clear();
}

void CodeCache::adopt(std::vector<Translation>&& blocks, std::vector<ExitRecord>&& exits) {
  read_ = std::move(blocks);
  read_exits_ = std::move(exits);
}

u32 CodeCache::next_of(u32 index) const {
  const Translation& last = block(index);
  for (u32 at = last.next; at != kNoBlock; at = block(at).next) {
    if (block(at).key == last.key && block(at).pages[0] == last.pages[0]) return at;
  }
  return kNoBlock;
}

u32 CodeCache::first_of(const ir::Key& key, u32 page) const {
  const Hash where = hash(key, page);
  const Bucket& bucket = buckets_[where.bucket];
  if (!(bucket.had & where.bit)) return kNoBlock;
  for (u32 at = bucket.head - 1; at != kNoBlock; at = block(at).next) {
    if (block(at).key == key && block(at).pages[0] == page) return at;
  }
  return kNoBlock;
}

u32 CodeCache::find(const ir::Key& key, u32 page, u32 second_page) const {
  for (u32 at = first_of(key, page); at != kNoBlock; at = next_of(at)) {
    if (block(at).pages[1] == second_page) return at;
  }
  return kNoBlock;
}

void CodeCache::list_places(u32 from, u32 end) {
  for (u32 index = from; index < end; index++) {
    const u32 place = block(index).entry >> kPlaceBits;
    if (place >= places_.size()) places_.resize(place + 1);
    places_[place].push_back(index);
  }
}

void CodeCache::list_places() {
  list_places(read_placed_, static_cast<u32>(read_.size()));
  read_placed_ = static_cast<u32>(read_.size());
  list_places(reserved_ + placed_, end_block());
  placed_ = static_cast<u32>(blocks_.size());
}

u32 CodeCache::block_at(u32 offset) {
  if (has_ring() && offset >= ring_) {
    // They are made one behind the other.
    const u32 piece = (offset - ring_) / piece_bytes_;
    const std::vector<Translation>& blocks = pieces_[piece].blocks;
    const auto next = std::upper_bound(blocks.begin(), blocks.end(), offset,
                                       [](u32 at, const Translation& block) { return at < block.entry; });
    return next == blocks.begin() ? kNoBlock : first_in_piece(piece) + static_cast<u32>(next - blocks.begin()) - 1;
  }
  list_places();
  for (usize place = std::min<usize>((offset >> kPlaceBits) + 1, places_.size()); place-- > 0;) {
    u32 last = kNoBlock;
    for (const u32 index : places_[place]) {
      const u32 entry = block(index).entry;
      if (entry <= offset && (last == kNoBlock || entry > block(last).entry)) last = index;
    }
    if (last != kNoBlock) return last;
  }
  return kNoBlock;
}

u32 CodeCache::take_exits(u32 count, bool in_ring) {
  std::vector<ExitRecord>& exits = in_ring ? pieces_[piece_].exits : exits_;
  const u32 first = (in_ring ? first_in_piece(piece_) : first_exit_) + static_cast<u32>(exits.size());
  exits.resize(exits.size() + count);
  return first;
}

u32 CodeCache::add(const Translation& translation, std::span<const x64::ExitSite> sites, const ir::Block& block,
                   bool in_ring) {
  std::vector<Translation>& blocks = in_ring ? pieces_[piece_].blocks : blocks_;
  const u32 index = (in_ring ? first_in_piece(piece_) : reserved_) + static_cast<u32>(blocks.size());
  blocks.push_back(translation);
  blocks.back().exits = static_cast<u32>(sites.size());
  for (u32 i = 0; i < sites.size(); i++) {
    ExitRecord& record = exit(translation.first_exit + i);
    record.site = sites[i];
    record.target = block.exits[sites[i].exit].target;
    record.from = index;
  }
  enlist(index);
  return index;
}

u32 CodeCache::add_like(u32 like, u32 distance, const Translation& translation, std::span<const x64::ExitSite> sites) {
  Piece& piece = pieces_[piece_];
  const u32 index = first_in_piece(piece_) + static_cast<u32>(piece.blocks.size());
  piece.blocks.push_back(translation);
  piece.blocks.back().exits = static_cast<u32>(sites.size());
  for (u32 i = 0; i < sites.size(); i++) {
    ExitRecord& record = exit(translation.first_exit + i);
    record.site = sites[i];
    record.target = exit(block(like).first_exit + i).target;
    record.target.pc = static_cast<u32>(record.target.pc + distance);
    record.from = index;
  }
  enlist(index);
  return index;
}

void CodeCache::revive(u32 index, const std::array<u32, 2>& pages) {
  Translation& translation = block(index);
  translation.pages = pages;
  translation.dead = false;
  enlist(index);
}

void CodeCache::enlist(u32 index) {
  Translation& translation = block(index);
  const Hash at = hash(translation.key, translation.pages[0]);
  Bucket& bucket = buckets_[at.bucket];
  translation.next = bucket.head - 1;
  bucket.head = index + 1;
  bucket.had |= at.bit;
  for (const u32 id : translation.pages) {
    if (id) page(id).blocks.push_back(index);
  }
}

void CodeCache::link(u32 exit_id, u32 target, x64::Compiler& compiler) {
  ExitRecord& exit = this->exit(exit_id);
  Translation& to = block(target);
  exit.to = target;
  exit.previous = 0;
  exit.next = to.incoming;
  if (to.incoming) this->exit(to.incoming).previous = exit_id;
  to.incoming = exit_id;
  compiler.link(exit.site, to.entry, to.pages[0]);
}

void CodeCache::unlist(u32 exit_id) {
  ExitRecord& exit = this->exit(exit_id);
  if (exit.to == kNoBlock) return;
  if (exit.previous) this->exit(exit.previous).next = exit.next;
  else block(exit.to).incoming = exit.next;
  if (exit.next) this->exit(exit.next).previous = exit.previous;
  exit.to = kNoBlock;
  exit.next = exit.previous = 0;
}

void CodeCache::remove(u32 index, x64::Compiler& compiler) {
  Translation& dead = block(index);
  dead.dead = true;
  while (dead.incoming) {
    const u32 id = dead.incoming;
    compiler.unlink(exit(id).site);
    unlist(id);
  }
  // Its own exits leave from now on: who is still in it comes back soon.
  for (u32 id = dead.first_exit; id < dead.first_exit + dead.exits; id++) {
    if (exit(id).to == kNoBlock) continue;
    compiler.unlink(exit(id).site);
    unlist(id);
  }
  u32& head = buckets_[hash(dead.key, dead.pages[0]).bucket].head;
  if (head == index + 1) {
    head = dead.next + 1;
  } else {
    u32* at = &block(head - 1).next;
    while (*at != index) at = &block(*at).next;
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

void CodeCache::open_ring(u32 begin, u32 bytes, u32 pieces) {
  ring_ = begin;
  piece_bytes_ = bytes;
  pieces_.resize(pieces);
}

void CodeCache::clear_piece(u32 piece, x64::Compiler& compiler) {
  Piece& old = pieces_[piece];
  sweeps_++;
  for (const Translation& block : old.blocks) {
    if (!block.dead) take_out(first_in_piece(piece) + static_cast<u32>(&block - old.blocks.data()), piece, compiler);
  }
  for (const Translation& block : old.blocks) {
    if (!block.dead) sweep_bucket(buckets_[hash(block.key, block.pages[0]).bucket], piece);
  }
  old.blocks.clear();
  old.exits.clear();
}

// Out of the lists of links and of its pages, but the hash chain. Code in the piece is not patched: it is gone.
void CodeCache::take_out(u32 index, u32 piece, x64::Compiler& compiler) {
  const auto is_here = [&](u32 number) { return is_in_piece(number, piece); };
  const Translation& old = block(index);
  while (old.incoming) {
    const u32 id = old.incoming;
    if (!is_here(id)) compiler.unlink(exit(id).site);
    unlist(id);
  }
  for (u32 id = old.first_exit; id < old.first_exit + old.exits; id++) unlist(id);
  for (const u32 id : old.pages) {
    if (!id || page(id).swept == sweeps_) continue;
    page(id).swept = sweeps_;
    std::erase_if(page(id).blocks, is_here);
  }
}

// All that a chain has of a piece at once. What the bucket had is what is left in it.
void CodeCache::sweep_bucket(Bucket& bucket, u32 piece) {
  u32 at = bucket.head - 1;
  bucket = {};
  u32* end = nullptr;
  while (at != kNoBlock) {
    Translation& block = this->block(at);
    const u32 next = block.next;
    if (is_in_piece(at, piece)) {
      block.dead = true;
    } else {
      if (end) *end = at;
      else bucket.head = at + 1;
      bucket.had |= hash(block.key, block.pages[0]).bit;
      end = &block.next;
    }
    at = next;
  }
  if (end) *end = kNoBlock;
}

void CodeCache::clear() {
  read_.clear();
  read_exits_.clear();
  reserved_ = first_exit_ = 0;
  blocks_.clear();
  exits_.resize(1);
  places_.clear();
  read_placed_ = placed_ = 0;
  buckets_.reset(kBuckets);
  pages_.clear();
  for (Piece& piece : pieces_) piece = {};
  piece_ = 0;
}

void CodeCache::keep_read(x64::Compiler& compiler) {
  for (u32 id = 1; id < first_exit_; id++) {
    ExitRecord& exit = read_exits_[id];
    if (exit.to == kNoBlock) continue;
    compiler.unlink(exit.site);
    exit.to = kNoBlock;
    exit.next = exit.previous = 0;
  }
  for (Translation& block : read_) {
    block.pages = {};
    block.incoming = 0;
    block.next = kNoBlock;
    block.dead = true;
  }
  std::vector<Translation> blocks = std::move(read_);
  std::vector<ExitRecord> exits = std::move(read_exits_);
  clear();
  reserve(static_cast<u32>(blocks.size()), static_cast<u32>(exits.size()));
  adopt(std::move(blocks), std::move(exits));
}

}  // namespace rhea::accel
