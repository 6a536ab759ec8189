// SPDX-License-Identifier: MIT
// What each translation was made from, so that a dead one is found again when the same code is to be translated:
// where other code was there meanwhile, on another page of RAM, or in another run of the program (code_file.h); and so
// that any one is found when the same code is to be translated at another address (code_copies.h). Those in the ring
// (code_cache.h) have none.
//
// A translation depends on its key, on the code that was fetched for it (all of it, also what was only looked at to
// see which flags are read behind the block), on whether it goes through a window, and on what Compiler::fingerprint()
// and the translator's options say.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "accel/code_reader.h"
#include "accel/translator/code_cache.h"
#include "host/x64/compiler.h"
#include "util/zeroed_array.h"

namespace rhea::accel {

struct Origin {
  enum Form : u8 { unknown, fixed, movable };
  u32 next = 0;  // number + 1 of the next one with its hash
  u32 first_run = 0, first_fault = 0, first_field = 0;
  u16 runs = 0, faults = 0, fields = 0;
  u8 form = unknown;  // whether it can be copied to other addresses; `fields` say how, then
  u8 windowed = 0;    // goes through the window
  u8 kept = 0;        // may be found again
  u8 unproven = 0;    // comes from a file, and its host code has not been compared with the checksum yet
  u8 used = 0;        // comes from a file, and was of use in this run
  u8 reserved[5] = {};
  u32 hot_bytes = 0, cold_entry = 0, cold_bytes = 0;
  u32 second_check = 0;  // CompiledBlock's
  u32 code = 0;          // first_code()
  u64 checksum = 0;      // of its host code while no exit is linked
};
static_assert(sizeof(Origin) == 64);
// Of a block that was just compiled.
Origin origin_of(const x64::CompiledBlock& compiled, bool windowed, bool kept);

// Four bytes of host code that depend on where the guest's or the host's code lies.
struct CodeField {
  u32 at = 0;  // from the beginning of its part
  u16 part = 0, kind = 0;
};

// A run of guest code, as PageReader::for_each_run gives it; the bytes are at `text` of the part's.
struct CodeRun {
  u16 page = 0, begin = 0, bytes = 0, reserved = 0;
  u32 text = 0;
};

class CodeOrigins {
 public:
  // As CodeCache numbers blocks: those of a file, and those made since.
  struct Part {
    std::vector<Origin> origins;
    std::vector<CodeRun> runs;
    std::vector<x64::FaultSite> faults;
    std::vector<CodeField> fields;
    std::vector<u8> text;
  };

  CodeOrigins() : heads_(kBuckets) {}
  // Blocks are found by their place in a page alone, else by their address.
  void find_at_other_addresses() { address_ = memory::kPageSize - 1; }
  void reserve(u32 blocks) { reserved_ = blocks; }
  // The file's; all are dead, and found from now on.
  void adopt(Part&& part, const CodeCache& cache);
  // Of the block that was made last.
  void add(const Origin& origin, const PageReader& reader, std::span<const x64::FaultSite> faults,
           const CodeCache& cache);
  // What was made from the code that the reader has, at this place in a page.
  struct Found {
    u32 dead = kNoBlock;   // of this key; or kNoBlock, then
    u32 other = kNoBlock;  // one of another key, or alive
  };
  Found find(const ir::Key& key, bool windowed, const PageReader& reader, const CodeCache& cache) const;

  Origin& origin(u32 block) { return part(block).origins[index(block)]; }
  const Origin& origin(u32 block) const { return part(block).origins[index(block)]; }
  std::span<const x64::FaultSite> faults(u32 block) const;
  std::span<const CodeField> fields(u32 block) const;
  // How a block can be copied.
  void set_fields(u32 block, std::span<const CodeField> fields);
  const Part& read() const { return read_; }
  const Part& made() const { return made_; }
  void clear();
  // Forgets all but the file's, which are dead again.
  void keep_read(const CodeCache& cache);

 private:
  static constexpr usize kBuckets = 1u << 18;
  usize bucket(const ir::Key& key, u32 code) const;
  // The first words of the code at a pc, in the first page alone: what differs early needs no longer look.
  static u32 first_code(u64 pc, const PageReader& reader);
  Part& part(u32 block) { return block < reserved_ ? read_ : made_; }
  const Part& part(u32 block) const { return block < reserved_ ? read_ : made_; }
  u32 index(u32 block) const { return block < reserved_ ? block : block - reserved_; }
  void list(u32 block, const CodeCache& cache);
  void list_read(const CodeCache& cache);
  bool is_made_from(u32 block, const PageReader& reader) const;

  Part read_, made_;
  u32 reserved_ = 0;
  u64 address_ = ~u64{0};   // bits of the address that blocks are found by
  ZeroedArray<u32> heads_;  // number + 1 of the last block of each hash
};

}  // namespace rhea::accel
