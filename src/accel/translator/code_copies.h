// SPDX-License-Identifier: MIT
// Translations of the same code at another virtual address: a library is somewhere else in each process. The first one
// is translated, the second one too; what differs between the two says which fields of the host code depend on where
// the guest's and the host's code lie. From then on such code is copied from the first one, and these fields are set.
// What was learnt goes to the file of translations with it (code_file.h).
//
// A field is four bytes. What it may differ by is known: the distance of the guest's addresses, that of
// their entries in the execution table, those of the host's code (of its two parts, and between them), and that of the
// exits' ids. Each difference has to be one of these, in one way only; where two of them are equal by chance, nothing
// is learnt from that pair. A block that differs otherwise is never copied.
//
// What is made for another address goes to the ring (code_cache.h): its process will end.
// All members are called with the translator's lock held.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "accel/translator/code_cache.h"
#include "accel/translator/code_origins.h"
#include "host/x64/compiler.h"

namespace rhea::accel {

class CodeCopies {
 public:
  CodeCopies(const CodeCache& cache, CodeOrigins& origins) : cache_(cache), origins_(origins) {}

  // Whether a block that was made from the same code can be copied to an address, and whether it is worth comparing
  // what is made there with it.
  bool can_copy(u32 block, u64 pc) const;
  bool can_learn(u32 block, u64 pc) const;
  // Compares a block with `made`, whose host code is as it was just compiled, and knows how to copy the first one if
  // all is explained. Whether anything was learnt.
  bool learn(u32 from, u32 made, const x64::CompiledBlock& compiled, const x64::Compiler& compiler);

  // A block's host code at a new place in the buffer for `to`, no exit linked: entry and cold_entry of `out` say where,
  // its first exit has the id `first_exit`. Fills the rest of `out`.
  void copy(u32 from, const ir::Key& to, u32 first_exit, x64::Compiler& compiler, x64::CompiledBlock& out) const;
  // The sizes that a copy has.
  void measure(u32 from, x64::CompiledBlock& out) const;
  // Whether a block, whose host code is as it was just compiled, is what a copy of `from` would be.
  bool is_copy(u32 from, u32 made, const x64::CompiledBlock& compiled, const x64::Compiler& compiler) const;

 private:
  enum Kind : u8 { address, table, exit, to_fixed, to_other_part, kKinds };
  // What a field of each kind differs by, in the hot and in the cold part.
  using Differences = std::array<std::array<u32, kKinds>, 2>;
  struct Place {
    u64 pc;
    u32 entry, cold_entry, first_exit;
  };
  struct Body {
    const Translation& block;
    u32 hot_bytes, cold_entry, cold_bytes, second_check;
    std::span<const x64::FaultSite> faults;
  };
  using Code = std::array<std::vector<u8>, 2>;  // the hot and the cold part

  Body body_of(u32 block) const;
  Body body_of(u32 made, const x64::CompiledBlock& compiled) const;
  static Place place_of(const Body& body);
  static Differences differences(const Place& from, const Place& to);
  static bool are_distinct(const Differences& differences);
  Code pristine(const Body& body, const x64::Compiler& compiler) const;
  bool have_same_form(const Body& a, const Body& b) const;
  std::optional<bool> find_fields(const std::vector<u8>& a, const std::vector<u8>& b, const std::array<u32, kKinds>& by,
                                  u8 part);
  void apply(u32 from, const Differences& by, std::span<u8> hot, std::span<u8> cold) const;
  static u32 moved(u32 at, const Place& from, u32 hot_bytes, u32 entry, u32 cold_entry);

  const CodeCache& cache_;
  CodeOrigins& origins_;
  std::vector<CodeField> found_;
};

}  // namespace rhea::accel
