// SPDX-License-Identifier: MIT
// The IR interpreter as a block runner.
//
// Each CPU has decoded blocks of its own: a table by (pc, mode, page) behind a small direct-mapped one. A page of RAM
// has a version, raised when code of it was written; a block is entered while the versions of its pages are those
// it was made from and the execution table leads to these pages. Which 64-byte lines of a page have code is noted, so
// that data beside code does not cost translations.
#pragma once

#include <mutex>
#include <unordered_map>

#include "accel/interpreter/decoded.h"
#include "accel/virtual_cpu.h"

namespace rhea::accel {

class Interpreter final : public BlockRunner {
 public:
  explicit Interpreter(const RunnerContext& context) : options_(context.options), log_(context.log) {}

  void attach(VirtualCpu& cpu) override;
  Leave run(VirtualCpu& cpu) override;
  void code_written(memory::RamBlock& ram, u64 offset, u64 size) override;
  void forget_code(u64, u64) override { epoch_.fetch_add(1); }
  std::string statistics() const override;
  // Runs one block of at most so many instructions, translated anew and not kept; works beside any engine. Returns
  // whether the poll word would be looked at behind it.
  bool run_once(VirtualCpu& cpu, unsigned max_insns);

 private:
  struct PageCode {
    std::atomic<u32> version{1};
    u64 lines = 0;  // with code, under mutex_
  };
  struct KeyHash {
    usize operator()(const std::pair<ir::Key, u32>& key) const {
      return (key.first.pc * 0x9e3779b97f4a7c15) ^ (key.first.mode * 0xc2b2ae3d27d4eb4f) ^ (u64{key.second} << 17);
    }
  };
  static constexpr usize kFrontSize = 1u << 15;
  struct Data final : RunnerData {
    std::array<DecodedBlock*, kFrontSize> front{};
    std::unordered_map<std::pair<ir::Key, u32>, std::unique_ptr<DecodedBlock>, KeyHash> blocks;
    std::vector<ir::Value> frame;
    u64 epoch = 0;
    u64 translated = 0;
  };

  static usize front_index(const ir::StateHeader& state) {
    return (state.pc >> 1 ^ state.mode * 0x9e37 ^ state.pc >> 14) % kFrontSize;
  }
  bool valid(const DecodedBlock& block, const ir::StateHeader& state);
  // The block at the CPU's pc and mode; nullptr: the fetch faulted and the exception was entered.
  DecodedBlock* find(VirtualCpu& cpu, Data& data);
  DecodedBlock* translate(VirtualCpu& cpu, Data& data);
  // Runs one block; pc and mode are those of the next one. True: the poll word is to be looked at.
  bool execute(VirtualCpu& cpu, const DecodedBlock& block, ir::Value* frame);
  PageCode& page(u32 id);
  static void note_lines(PageCode& page, u64 begin, u64 end);

  const Options& options_;
  Log& log_;
  std::mutex mutex_;                                // versions and lines change, blocks are made
  std::vector<std::unique_ptr<PageCode[]>> pages_;  // by id / kPagesPerPart
  std::atomic<u64> epoch_{1};                       // raised by forget_code
  std::atomic<u64> blocks_{0};
};

}  // namespace rhea::accel
