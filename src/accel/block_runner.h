// SPDX-License-Identifier: MIT
// What the run loop asks of an execution back end (the interpreter, the translator), and what it offers to it.
//
// One runner serves all CPUs of an engine. The loop calls run() on a CPU's thread with StateHeader::pc and mode
// set; the runner executes blocks until the CPU's poll word is not zero at a place that polls, and comes back with
// pc and mode (and every slot of the state) up to date. Exceptions do not end run(): after a helper or a memory
// operation has set StateHeader::exception, the runner clears it and goes on at the new pc and mode.
//
// Where the poll word is read: exits with `poll` set, every ExitDispatch, and after each exception.
//
// Instruction counting (Options::icount): at each block's entry, before anything else:
//   if (state.budget < block.guest_insns) return Leave::budget;   state.budget -= block.guest_insns;
// and at an exit, state.budget += block.guest_insns - exit.insns; after an exception, state.budget += state.ahead - 1
// (the instruction that raised it is done). What is left of a budget then is less than a block, and is run by
// Interpreter::run_once: a slice ends exactly, however the code was cut into blocks. In the middle of a block
// StateHeader::ahead says how many instructions `budget` is ahead, so that a device reads exact time. One block is at
// most Options::max_block instructions from its key on, made by Guest::translate alone.
#pragma once

#include <memory>
#include <string>

#include "accel/accel.h"
#include "accel/code_tracker.h"
#include "ir/guest.h"

namespace rhea::accel {

class VirtualCpu;

enum class Leave : u8 {
  poll,    // the poll word is not zero
  budget,  // icount: less is left than the next block has instructions
};

class BlockRunner : public CodeTracker {
 public:
  // Makes what the runner keeps for a CPU (VirtualCpu::runner_data). Before any run().
  virtual void attach(VirtualCpu& cpu) = 0;
  virtual Leave run(VirtualCpu& cpu) = 0;

  // Mappings for execution of this CPU were dropped: all, or the page of an address. On the CPU's thread, or while
  // it is stopped. Who checks the execution table (soft_mmu.h) at each lookup by virtual address needs nothing here.
  virtual void exec_mappings_dropped(VirtualCpu& cpu) {}
  // Translations of instructions in [begin, end), virtual addresses in any space, are not entered any more. While no
  // CPU is running (one may be blocked within a block).
  virtual void forget_code(u64 begin, u64 end) = 0;
  // EngineHooks::sync_fp_flags.
  virtual void sync_fp_flags(VirtualCpu& cpu) {}
  // The CPUs have ended and will soon be gone: no thread of the runner looks at them from now on. Any number of times.
  virtual void end() {}
  virtual std::string statistics() const = 0;
};

struct RunnerContext {
  const Options& options;
  memory::AddressSpace& memory;
  Log& log;
  unsigned cpus = 1;
};

std::unique_ptr<BlockRunner> make_interpreter(const RunnerContext& context);
Result<std::unique_ptr<BlockRunner>> make_translator(const RunnerContext& context);

}  // namespace rhea::accel
