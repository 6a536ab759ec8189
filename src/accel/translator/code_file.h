// SPDX-License-Identifier: MIT
// Translations that outlive the program: a file with the host code of earlier runs and what it was made from.
//
// Host code is independent of where its buffer lies, and of everything else but what a fingerprint tells (the program's
// build, its settings, the host's features). So a file holds the used parts of the buffer as they are, with all exits
// unlinked, and the tables of blocks, exits and origins beside them. The next run puts the code back where it was, and
// takes all blocks as dead ones: each comes to life when a block of the same guest code is wanted.
//
// Layout: Header, Translation[], ExitRecord[], Origin[], CodeRun[], FaultSite[], CodeField[], guest code, host code
// (hot, cold). The tables have one checksum, each block's host code has its own, looked at when it comes to life: a
// damaged file costs translations, never correctness. A file is replaced as a whole, so that programs may read and
// write at a time.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "accel/translator/code_cache.h"
#include "accel/translator/code_origins.h"
#include "sys/file.h"

namespace rhea::accel {

// For what an accident may have changed.
u64 code_checksum(std::span<const u8> data, u64 seed = 0);

class CodeFile {
 public:
  struct Header {
    u64 magic = 0;
    u64 fingerprint = 0;
    u32 blocks = 0, exits = 0, runs = 0, faults = 0;  // how many of each; exits with the unused id 0
    u64 fields = 0;
    u64 text_bytes = 0, hot_bytes = 0, cold_bytes = 0;
    u64 tables_checksum = 0;
    u64 checksum = 0;  // of the header itself, with 0 here
  };
  struct Tables {
    std::vector<Translation> blocks;
    std::vector<ExitRecord> exits;
    CodeOrigins::Part part;
  };

  // Errors: there is none, or it is of another build, damaged, or cut short.
  static Result<std::unique_ptr<CodeFile>> open(const std::string& path, u64 fingerprint);
  const Header& header() const { return header_; }
  // Errors: cut short, or damaged.
  Result<Tables> read_tables() const;
  // Into the buffer's parts, in pieces; ends early when `abandoned`.
  Result<void> read_code(std::span<u8> hot, std::span<u8> cold, const std::atomic<bool>& abandoned) const;

  // Replaces the file. Errors: what the host says.
  static Result<void> write(const std::string& path, u64 fingerprint, const Tables& tables, std::span<const u8> hot,
                            std::span<const u8> cold);

 private:
  std::shared_ptr<sys::InputFile> file_;
  Header header_;
};

}  // namespace rhea::accel
