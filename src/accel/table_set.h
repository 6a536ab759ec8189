// SPDX-License-Identifier: MIT
// One set of soft tables (soft_mmu.h) and what is known of its contents.
#pragma once

#include <atomic>
#include <bitset>
#include <memory>

#include "accel/soft_mmu.h"

namespace rhea::accel {

struct SoftMmu::TableSet {
  // A chunk is 4 KiB of a table.
  static constexpr usize kReadChunks = kWriteTable / 4096;
  static constexpr usize kExecChunks = (kTableSetBytes - kExecTable) / 4096;
  static constexpr usize kChunks = 2 * kReadChunks + kExecChunks;

  sys::MemoryMap map;
  bool user = false;
  u32 index = 0;
  u64 key = 0;    // user: the whole space word; privileged: its high half
  u64 space = 0;  // privileged: the low half that the local entries belong to
  u64 last_use = 0;
  bool huge = false;  // an entry came from a mapping of more than 2 MiB
  std::bitset<kChunks> touched;
  std::bitset<2048> large;       // by 2 MiB of guest addresses: an entry came from a mapping of more than 4 KiB
  std::vector<u32> local_pages;  // privileged: pages with entries that are not global

  u64* base() const { return reinterpret_cast<u64*>(map.data()); }
  u64* read() const { return base(); }
  u64* write() const { return reinterpret_cast<u64*>(map.data() + kWriteTable); }
  u32* exec() const { return reinterpret_cast<u32*>(map.data() + kExecTable); }
  bool has_window_space() const { return map.size() > kWindow; }
  // As the execution table of this set has it.
  u32 code_key(u32 id) const { return open ? id | kWindowedCode : id; }
  u8* window() const { return map.data() + kWindow; }

  // ---- the window; all under the MMU's lock while it is open, but `heat`, `local` and what is atomic ----
  struct Window {
    std::bitset<kTableEntries> mapped, writable;  // guest pages
    std::bitset<kTableEntries> local;             // privileged: have entries that are not global, and are never mapped
    // Also other CPUs count: those that take a page with code away from it.
    std::atomic<usize> pieces{0};   // host mappings that it may have made separate, at most
    std::atomic<bool> full{false};  // there are too many
    std::atomic<u32> changes{0};    // host mappings changed since the last look
    u32 faults = 0;                 // accesses that took the slow path since then
  };
  std::unique_ptr<Window> open;  // nullptr: it is closed
  s64 heat = 0;                  // ns of running in this set that count for opening it

  // Whether anything around a page (2 MiB) was ever entered: kernels drop long ranges page by page, most of them
  // nowhere mapped.
  bool touches(u64 page) const {
    return touched.test(page / 512) || touched.test(kReadChunks + page / 512) ||
           touched.test(2 * kReadChunks + page / 1024);
  }
  void touch_read(u64 page) { touched.set(page / 512); }
  void touch_write(u64 page) { touched.set(kReadChunks + page / 512); }
  void touch_exec(u64 page) { touched.set(2 * kReadChunks + page / 1024); }
};

}  // namespace rhea::accel
