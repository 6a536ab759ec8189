// SPDX-License-Identifier: MIT
// For tests: a machine of MiniGuests around an engine, with 64 KiB of RAM at address 0.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <initializer_list>
#include <memory>
#include <thread>
#include <vector>

#include "accel/engine_parts.h"
#include "accel/mini_guest.h"
#include "core/loop.h"
#include "util/bits.h"

namespace rhea::accel {

// Waits for what another thread brings about; 20 s are for builds with sanitizers on a busy host. Whether it is so.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 4000; i++) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::microseconds(i < 50 ? 200 : 5000));
  }
  return condition();
}

class MiniMachine {
 protected:
  static constexpr u64 kRam = 1u << 16;

  explicit MiniMachine(const Options& options) : options_(options) {
    memory_.begin();
    memory_.add_ram(0, *ram_, 0, kRam, false, "ram");
    memory_.commit();
  }
  // An engine in place of the last one, paused, with the options as they are. `prepare` gets the guest of each CPU
  // before the engine does.
  void create(unsigned cpus, const std::function<void(MiniGuest& guest, unsigned cpu)>& prepare = {}) {
    engine_.reset();
    guests_.clear();
    EngineParts parts;
    parts.cpus = cpus;
    parts.make_cpu = [&](unsigned index) -> Result<std::unique_ptr<GuestCpu>> {
      auto cpu = std::make_unique<MiniCpu>();
      if (prepare) prepare(cpu->mini(), index);
      guests_.push_back(&cpu->mini());
      return std::unique_ptr<GuestCpu>(std::move(cpu));
    };
    parts.make_runner = [this](const RunnerContext& context) -> Result<std::unique_ptr<BlockRunner>> {
      return options_.engine == "interp" ? make_interpreter(context) : make_translator(context);
    };
    Result<std::unique_ptr<Engine>> engine = create_engine(options_, parts, memory_, loop_.loop(), log_);
    ASSERT_TRUE(engine.ok()) << engine.error().message();
    engine_ = engine.take();
  }
  // Instructions from an address on. The engine is not told: for what has not run yet.
  void program(u32 address, std::initializer_list<u16> code) {
    for (const u16 instruction : code) {
      store_raw(ram_->data() + address, instruction);
      address += 2;
    }
  }
  u32 word(u32 address) { return __atomic_load_n(reinterpret_cast<u32*>(ram_->data() + address), __ATOMIC_ACQUIRE); }

  Log log_;
  core::LoopThread loop_{"test"};
  std::unique_ptr<memory::RamBlock> ram_ = memory::RamBlock::create("ram", kRam).take();
  memory::AddressSpace memory_{"system", log_};
  Options options_;
  std::vector<MiniGuest*> guests_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace rhea::accel
