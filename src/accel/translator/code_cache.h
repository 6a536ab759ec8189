// SPDX-License-Identifier: MIT
// The translations there are: found by key and page, linked with each other, dropped when their code is written.
//
// A block is made from one or two pages of RAM (ids as in the execution table; lists of a page's blocks are by its own
// id, without kWindowedCode). It is found by (pc, mode, first
// page). Exits to known keys are linked to their target's code; each block lists the exits that are linked to it, so
// that dropping a block takes exactly these links back. Dead blocks keep their code until everything is emptied
// (clear(), with all CPUs stopped): a CPU may still be in one. One that is made from the same code again comes back to
// life (revive()). Blocks of a code file (code_file.h) are such dead ones, with the lowest numbers and exit ids, which
// are reserved until they have been read.
//
// Blocks of the ring are of use for a short time: what is there already is made for another address once more
// (code_copies.h). The ring has pieces; when all are full, the one that was filled first is emptied. Their numbers, and
// those of their exits, have the bit kRing, the piece, and count from 0 in each piece.
//
// All members are called with the translator's lock held, but may_have_code().
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "accel/soft_mmu.h"
#include "host/x64/compiler.h"
#include "ir/ir.h"
#include "util/zeroed_array.h"

namespace rhea::accel {

constexpr u32 kNoBlock = ~0u;
constexpr u32 kRing = 1u << 31;
constexpr bool is_in_ring(u32 number) { return number & kRing; }

struct Translation {
  ir::Key key;
  std::array<u32, 2> pages{};         // ids; the second one is 0 when the code is in one page
  std::array<u16, 2> begin{}, end{};  // bytes of each page that it was made from
  u32 entry = 0;                      // offset in the buffer
  u32 first_exit = 0;
  u32 exits = 0;
  u32 incoming = 0;     // id of the first exit that is linked to it, 0: none
  u32 next = kNoBlock;  // in its hash chain
  bool dead = false;
};

struct ExitRecord {
  x64::ExitSite site;
  ir::Key target;
  u32 from = kNoBlock;
  u32 to = kNoBlock;           // what it is linked to
  u32 next = 0, previous = 0;  // in that block's list of incoming exits
};

class CodeCache {
 public:
  CodeCache();

  u32 find(const ir::Key& key, u32 page, u32 second_page) const;
  // The first one of a key and page whose second page is any; goes on with next_of().
  u32 first_of(const ir::Key& key, u32 page) const;
  u32 next_of(u32 block) const;
  Translation& block(u32 index) {
    if (is_in_ring(index)) return pieces_[piece_of(index)].blocks[index & kInPiece];
    return index < reserved_ ? read_[index] : blocks_[index - reserved_];
  }
  const Translation& block(u32 index) const { return const_cast<CodeCache&>(*this).block(index); }
  ExitRecord& exit(u32 id) {
    if (is_in_ring(id)) return pieces_[piece_of(id)].exits[id & kInPiece];
    return id < first_exit_ ? read_exits_[id] : exits_[id - first_exit_];
  }
  const ExitRecord& exit(u32 id) const { return const_cast<CodeCache&>(*this).exit(id); }
  u32 end_exit() const { return first_exit_ + static_cast<u32>(exits_.size()); }
  // Ids one behind the other for the exits of a block that will be added, or not. `in_ring`: of the open piece.
  u32 take_exits(u32 count, bool in_ring);
  // Numbers go from first_block(), which is past those that are reserved and have not been read, to end_block().
  u32 first_block() const { return read_.empty() ? reserved_ : 0; }
  u32 end_block() const { return reserved_ + static_cast<u32>(blocks_.size()); }

  // Numbers and ids (0 included) that the blocks of a code file will have. While it is empty.
  void reserve(u32 blocks, u32 exits);
  // What they are: all dead, no exit linked.
  void adopt(std::vector<Translation>&& blocks, std::vector<ExitRecord>&& exits);
  // A dead block is one of these pages again.
  void revive(u32 index, const std::array<u32, 2>& pages);

  // `in_ring`: into the ring's open piece. The block's exits are taken.
  u32 add(const Translation& translation, std::span<const x64::ExitSite> sites, const ir::Block& block, bool in_ring);
  // One of the ring whose exits (taken) go where those of `like` do, by `distance` in the guest's addresses.
  u32 add_like(u32 like, u32 distance, const Translation& translation, std::span<const x64::ExitSite> sites);
  void link(u32 exit_id, u32 target, x64::Compiler& compiler);
  // Drops what overlaps [begin, end) of a page. Calls `dropped` with each number. Returns whether the page has code
  // left.
  template <typename F>
  bool drop(u32 page, u32 begin, u32 end, x64::Compiler& compiler, F&& dropped) {
    std::vector<u32>& list = this->page(page).blocks;
    std::vector<u32> victims;
    for (const u32 index : list) {
      const Translation& translation = block(index);
      const unsigned part = (translation.pages[0] & ~kWindowedCode) == page ? 0 : 1;
      if (translation.begin[part] < end && begin < translation.end[part]) victims.push_back(index);
    }
    for (const u32 index : victims) {
      remove(index, compiler);
      dropped(index);
    }
    return !list.empty();
  }
  // The block with an offset in its code that runs often, or kNoBlock: the one that begins there or last before.
  u32 block_at(u32 offset);
  void drop(u32 block, x64::Compiler& compiler) { remove(block, compiler); }
  // Drops what has instructions at virtual addresses in [begin, end). Calls `dropped` with each number.
  template <typename F>
  void drop_addresses(u64 begin, u64 end, x64::Compiler& compiler, F&& dropped) {
    for (u32 index = first_block(); index < end_block(); index++) {
      if (block(index).dead || !has_address(block(index), begin, end)) continue;
      remove(index, compiler);
      dropped(index);
    }
    for (u32 piece = 0; piece < pieces_.size(); piece++) {
      for (u32 i = 0; i < pieces_[piece].blocks.size(); i++) {
        const u32 index = first_in_piece(piece) + i;
        if (block(index).dead || !has_address(block(index), begin, end)) continue;
        remove(index, compiler);
        dropped(index);
      }
    }
  }
  bool has_code(u32 page) const {
    const u32 group = page / kGroup;
    return group < pages_.size() && pages_[group] && !(*pages_[group])[page % kGroup].blocks.empty();
  }
  void clear();
  // Forgets all but a file's blocks, which are dead again, their exits as they were read. Only when it has been read.
  void keep_read(x64::Compiler& compiler);

  // The ring is `pieces` pieces (at most 128) of `bytes` of the buffer from `begin` on; the first one is open. While
  // the ring is empty.
  void open_ring(u32 begin, u32 bytes, u32 pieces);
  bool has_ring() const { return !pieces_.empty(); }
  u32 filled_piece() const { return piece_; }
  u32 next_piece() const { return (piece_ + 1) % static_cast<u32>(pieces_.size()); }
  u32 piece_begin(u32 piece) const { return ring_ + piece * piece_bytes_; }
  u32 piece_bytes() const { return piece_bytes_; }
  static bool is_in_piece(u32 number, u32 piece) { return is_in_ring(number) && piece_of(number) == piece; }
  bool is_empty(u32 piece) const { return pieces_[piece].blocks.empty(); }
  // What new blocks of the ring go to, which has to be empty.
  void open_piece(u32 piece) { piece_ = piece; }
  // Drops all blocks of a piece, whose code nobody runs and no jump table has any more.
  void clear_piece(u32 piece, x64::Compiler& compiler);

 private:
  static constexpr u32 kPieceShift = 24, kInPiece = (1u << kPieceShift) - 1;
  struct Page {
    std::vector<u32> blocks;
    u32 swept = 0;  // clear_piece() that looked at it last
  };
  struct Piece {
    std::vector<Translation> blocks;
    std::vector<ExitRecord> exits;
  };
  static u32 piece_of(u32 number) { return (number & ~kRing) >> kPieceShift; }
  static u32 first_in_piece(u32 piece) { return kRing | piece << kPieceShift; }
  static bool has_address(const Translation& block, u64 begin, u64 end) {
    const u64 size = u64{block.end[0]} - block.begin[0] + block.end[1] - block.begin[1];
    return block.key.pc < end && begin < block.key.pc + size;
  }
  static constexpr usize kBuckets = 1u << 18;
  // Most lookups find nothing, and a block is far from the cache by then: a bucket knows a bit of each one that it ever
  // had.
  struct Bucket {
    u32 head = 0;  // the first block of its chain, plus 1
    u32 had = 0;
  };
  struct Hash {
    usize bucket;
    u32 bit;
  };
  // The blocks of a page lie beside each other, in 4 KiB of buckets: most of what is looked up is near what was just
  // made.
  static Hash hash(const ir::Key& key, u32 page) {
    const u64 place = (key.pc >> memory::kPageBits) * 0x9e3779b97f4a7c15;
    const u64 h = place ^ (key.mode * 0xc2b2ae3d27d4eb4f) ^ (u64{page} * 0x9e3779b1);
    const u64 in_page = key.pc & (memory::kPageSize - 1);
    return {((h >> 17) + in_page / 8) & (kBuckets - 1), 1u << ((h >> 35 ^ in_page / 2) & 31)};
  }
  // Ids are those of all RAM, code is in few places.
  static constexpr u32 kGroup = 256;
  Page& page(u32 id) {
    id &= ~kWindowedCode;
    const u32 group = id / kGroup;
    if (group >= pages_.size()) pages_.resize(group + 1);
    if (!pages_[group]) pages_[group] = std::make_unique<std::array<Page, kGroup>>();
    return (*pages_[group])[id % kGroup];
  }
  void list_places();
  void list_places(u32 from, u32 end);
  void remove(u32 index, x64::Compiler& compiler);
  void unlist(u32 exit_id);
  void enlist(u32 index);
  void take_out(u32 block, u32 piece, x64::Compiler& compiler);
  void sweep_bucket(Bucket& bucket, u32 piece);

  std::vector<Translation> read_, blocks_;  // those of a code file, and those made since
  std::vector<ExitRecord> read_exits_, exits_;
  u32 reserved_ = 0, first_exit_ = 0;
  // Blocks by their place in the buffer, for block_at(), which is rare: 64 KiB each; and how many of each kind are
  // there.
  static constexpr u32 kPlaceBits = 16;
  std::vector<std::vector<u32>> places_;
  u32 read_placed_ = 0, placed_ = 0;
  std::vector<Piece> pieces_;
  u32 piece_ = 0, ring_ = 0, piece_bytes_ = 0, sweeps_ = 0;
  ZeroedArray<Bucket> buckets_;
  std::vector<std::unique_ptr<std::array<Page, kGroup>>> pages_;
};

}  // namespace rhea::accel
