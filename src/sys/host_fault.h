// SPDX-License-Identifier: MIT
// Faults of the host's MMU in generated code, which goes on elsewhere then.
#pragma once

#include <atomic>

#include "util/types.h"

namespace rhea::sys {

// An instruction that touched what it may not (SIGSEGV, SIGBUS).
struct HostFault {
  u64 instruction = 0;             // its address
  const u64* registers = nullptr;  // the sixteen, by their x86-64 numbers
};

// Knows which instructions may fault. Called in a signal handler, on any thread: no locks, no allocation.
class FaultHandler {
 public:
  // Where to go on, all registers as they are; 0: not one of its instructions.
  virtual u64 handle(const HostFault& fault) noexcept = 0;

 protected:
  ~FaultHandler() = default;
};

// From its construction to its end a handler is asked about every such signal of the process. What none of them knows
// goes where it went before the first one came: to a sanitizer's report, or to the end of the process.
class FaultRegistration {
 public:
  explicit FaultRegistration(FaultHandler& handler);
  ~FaultRegistration();
  FaultRegistration(const FaultRegistration&) = delete;
  FaultRegistration& operator=(const FaultRegistration&) = delete;
  // False: there are too many already, and nothing will be asked of this one.
  bool active() const { return slot_ != nullptr; }

 private:
  std::atomic<FaultHandler*>* slot_ = nullptr;
};

// How many separate mappings a process may have (vm.max_map_count).
u64 most_mappings();

}  // namespace rhea::sys
