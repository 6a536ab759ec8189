// SPDX-License-Identifier: MIT
// The accesses of generated code that may fault on the host, and where each goes on.
#pragma once

#include <atomic>
#include <memory>

#include "sys/host_fault.h"
#include "sys/memory_map.h"
#include "util/types.h"

namespace rhea::accel {

// Two sites are at least 4 bytes apart: their instructions have displacements of 32 bits.
class FaultSites final : public sys::FaultHandler {
 public:
  // Of code that runs at [run, run+size). Where the host has no memory for it, active() stays false.
  void open(const u8* run, u64 size);
  bool active() const { return registration_ != nullptr; }

  // The instruction at `at` goes on at `slow` (offsets from `run`). By one thread at a time; others may be faulting.
  void add(u32 at, u32 slow);
  // Code that nobody runs any more.
  void remove(u32 at) { site(at).at.store(0, std::memory_order_relaxed); }
  void clear();
  // A fault is for nothing when no page was mapped because of it until the CPU's next one. An access that faults for
  // nothing for the kPatience'th time is put into StateHeader::worn_site, and its CPU asked to look up.
  u64 handle(const sys::HostFault& fault) noexcept override;
  static constexpr unsigned kPatience = 16;

 private:
  struct Site {
    std::atomic<u32> at;  // its offset + 1, 0: none here
    std::atomic<u32> slow;
    std::atomic<u32> faults;
  };
  Site& site(u64 offset) const;

  u64 run_ = 0, size_ = 0;
  sys::MemoryMap map_;  // Sites, by offset / 4
  std::unique_ptr<sys::FaultRegistration> registration_;
};

}  // namespace rhea::accel
