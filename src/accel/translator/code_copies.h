// SPDX-License-Identifier: MIT
// Translations of the same code at another virtual address: a library is somewhere else in each process. The first one
// is translated, the second one too; what differs between the two says which fields of the host code depend on where
// the guest's and the host's code lie. From then on such code is copied, and these fields are set.
//
// A field is four bytes. What it may differ by is known: the distance of the guest's addresses, that of
// their entries in the execution table, those of the host's code (of its two parts, and between them), and that of the
// exits' ids. Each difference has to be one of these, in one way only; where two of them are equal by chance, nothing
// is learnt from that pair. A block that differs otherwise is never copied.
//
// The source is made from the same page of RAM, and lives: stores to that page would have dropped it.
// All members are called with the translator's lock held.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "accel/translator/code_cache.h"
#include "host/x64/compiler.h"

namespace rhea::accel {

class CodeCopies {
 public:
  explicit CodeCopies(CodeCache& cache) : cache_(cache), latest_(kPlaces) {}

  // Where the blocks of the buffer lie; one for each block, in the order they are made, those of a file left out.
  void note(u32 block, const x64::CompiledBlock& compiled, bool windowed);
  // A live block that has a key's place in a page but another address, and the second page as it is here; or kNoBlock.
  u32 find(const ir::Key& key, u32 page, u32 second_page, bool windowed) const;
  bool can_copy(u32 block) const { return shape(block).fields != kUnknown && shape(block).fields != kNever; }
  // Whether it is worth comparing a new block with it.
  bool can_learn(u32 block) const { return shape(block).fields == kUnknown; }
  // Compares a block, as it was just made, with one at another address, and knows how to copy it if all is explained.
  void learn(u32 from, u32 made, const x64::Compiler& compiler);

  // A block's host code at a new place in the buffer for `to`, no exit linked: entry and cold_entry of `out` say where,
  // its first exit has the id `first_exit`. Fills the rest of `out`.
  void copy(u32 from, const ir::Key& to, u32 first_exit, x64::Compiler& compiler, x64::CompiledBlock& out) const;
  // The sizes that a copy has.
  void measure(u32 from, x64::CompiledBlock& out) const;
  // Whether a block, as it was just made, is what a copy of `from` would be.
  bool is_copy(u32 from, u32 made, const x64::Compiler& compiler) const;
  void clear();

 private:
  static constexpr usize kPlaces = 1u << 18;
  static constexpr u32 kUnknown = 0, kNever = ~0u;
  enum Kind : u8 { address, table, exit, to_fixed, to_other_part, kKinds };
  // What a field of each kind differs by, in the hot and in the cold part.
  using Differences = std::array<std::array<u32, kKinds>, 2>;
  struct Shape {
    u32 hot_bytes = 0, cold_entry = 0, cold_bytes = 0;
    u32 second_check = 0;
    u32 first_fault = 0, faults = 0;
    u32 fields = kUnknown;  // in fields_, plus 1
    u32 field_count = 0;
    bool windowed = false;
  };
  struct Field {
    u32 at;  // from the beginning of its part
    u8 part;
    Kind kind;
  };
  struct Place {
    u64 pc;
    u32 entry, cold_entry, first_exit;
  };
  using Code = std::array<std::vector<u8>, 2>;  // the hot and the cold part

  Shape& shape(u32 block) { return shapes_[block - first_]; }
  const Shape& shape(u32 block) const { return shapes_[block - first_]; }
  static bool is_like(const Translation& block, const ir::Key& key, u32 page);
  static usize hash(const ir::Key& key, u32 page);
  Place place_of(u32 block) const;
  static Differences differences(const Place& from, const Place& to);
  static bool are_distinct(const Differences& differences);
  Code pristine(u32 block, const x64::Compiler& compiler) const;
  bool have_same_form(u32 a, u32 b) const;
  std::optional<bool> find_fields(const std::vector<u8>& a, const std::vector<u8>& b, const std::array<u32, kKinds>& by,
                                  u8 part);
  void apply(const Shape& from, const Differences& by, std::span<u8> hot, std::span<u8> cold) const;
  static u32 moved(u32 at, const Place& from, u32 hot_bytes, u32 entry, u32 cold_entry);

  CodeCache& cache_;
  u32 first_ = 0;  // number of the first block that was noted
  std::vector<Shape> shapes_;
  std::vector<x64::FaultSite> faults_;
  std::vector<Field> fields_, found_;
  ZeroedArray<u32> latest_;  // number + 1 of the last block of each place
};

}  // namespace rhea::accel
