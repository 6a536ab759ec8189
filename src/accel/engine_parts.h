// SPDX-License-Identifier: MIT
// An engine from its parts: create_engine() joins an ARM CPU with a runner by name, tests join what they like.
#pragma once

#include <functional>
#include <memory>

#include "accel/accel.h"
#include "accel/block_runner.h"
#include "accel/virtual_cpu.h"

namespace rhea::accel {

struct EngineParts {
  unsigned cpus = 1;
  std::function<Result<std::unique_ptr<GuestCpu>>(unsigned index)> make_cpu;
  std::function<Result<std::unique_ptr<BlockRunner>>(const RunnerContext& context)> make_runner;
};

Result<std::unique_ptr<Engine>> create_engine(const Options& options, const EngineParts& parts,
                                              memory::AddressSpace& memory, EventLoop& loop, Log& log);

}  // namespace rhea::accel
