// SPDX-License-Identifier: MIT
// The accesses of generated code that may fault on the host, and where each goes on.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "sys/host_fault.h"
#include "sys/memory_map.h"
#include "util/types.h"

namespace rhea::accel {

// Two sites are at least 4 bytes apart: their instructions have displacements of 32 bits.
class FaultSites final : public sys::FaultHandler {
 public:
  // Of code that runs at [run, run+size), at most 1 GiB. Where the host has no memory for it, active() stays false.
  void open(const u8* run, u64 size);
  bool active() const { return registration_ != nullptr; }

  // The instruction at `at` goes on at `slow` (offsets from `run`). By one thread at a time; others may be faulting.
  void add(u32 at, u32 slow);
  // Code that nobody runs any more.
  void remove(u32 at) { word(at).store(0, std::memory_order_relaxed); }
  void clear();
  // A fault is for nothing when no page was mapped because of it until the CPU's next one. An access that faults for
  // nothing for the kPatience'th time is put into StateHeader::worn_site, and its CPU asked to look up.
  u64 handle(const sys::HostFault& fault) noexcept override;
  static constexpr unsigned kPatience = 16;

 private:
  // In a word for each four bytes of code: where the site goes on, and which of the four bytes it begins at. 0: none.
  static constexpr unsigned kPlaceBits = 2;
  static u32 word_of(u32 at, u32 slow) { return slow << kPlaceBits | (at & 3); }
  std::atomic<u32>& word(u64 offset) const;
  // Faults for nothing, by sites, which may share a counter.
  static constexpr usize kCounters = 4096;
  std::atomic<u8>& counter(u32 at) { return counters_[at / 4 % kCounters]; }

  u64 run_ = 0, size_ = 0;
  sys::MemoryMap map_;  // words
  std::unique_ptr<sys::FaultRegistration> registration_;
  std::array<std::atomic<u8>, kCounters> counters_{};
};

}  // namespace rhea::accel
