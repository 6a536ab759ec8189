// SPDX-License-Identifier: MIT
// Guest memory as the monitors see it: through a CPU's MMU, or physical, with devices left undisturbed.
#pragma once

#include <span>
#include <string>

#include "machine/machine.h"
#include "util/result.h"

namespace rhea::monitor {

// Reads at a safe point; false where nothing answers.
class GuestMemory {
 public:
  GuestMemory(machine::Machine& machine, unsigned cpu, bool physical)
      : machine_(machine), cpu_(cpu), physical_(physical) {}
  bool read(u64 address, std::span<u8> data);
  Cpu& cpu() { return machine_.engine().cpu(cpu_); }

 private:
  bool read_bytewise(u64 address, std::span<u8> data);
  bool read_device(u64 address, std::span<u8> data);

  machine::Machine& machine_;
  unsigned cpu_;
  bool physical_;
};

// memsave and pmemsave. The file is not made when the memory is not there.
Result<void> save_memory(machine::Machine& machine, unsigned cpu, u64 address, u64 size, const std::string& path,
                         bool physical);

}  // namespace rhea::monitor
