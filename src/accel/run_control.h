// SPDX-License-Identifier: MIT
// Stops and starts the CPUs of an engine.
//
// Two kinds of stop: a stop (pause, safe point) waits until no CPU is running, and holds them where they are, be it
// outside or blocked within an access to a device; an exclusive section of a CPU waits until all others are outside,
// and lets a blocked one go on to its next poll.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "accel/soft_mmu.h"
#include "core/clock.h"

namespace rhea::accel {

class VirtualCpu;

class RunControl {
 public:
  void add(VirtualCpu& cpu, SoftMmu& mmu) {
    cpus_.push_back(&cpu);
    mmus_.push_back(&mmu);
  }
  std::span<VirtualCpu* const> cpus() const { return cpus_; }
  std::span<SoftMmu* const> mmus() const { return mmus_; }

  // From any thread but a CPU's. stop() returns when no CPU is running; go() takes one stop back.
  void stop();
  void go();
  bool stopped() const { return stops_.load(std::memory_order_seq_cst) != 0; }
  // The CPUs' threads are to end.
  void end();
  bool ending() const { return ending_.load(std::memory_order_seq_cst); }

  // For a CPU on its own thread, from outside.
  void exclusive(VirtualCpu& self, const std::function<void()>& work);
  // Waits until no other CPU that runs has maintenance to do.
  void wait_for_flushes(VirtualCpu& self);

  // Whether anybody waits for a CPU to change its place.
  bool has_waiters() const { return waiters_.load(std::memory_order_seq_cst) != 0; }
  void notify();
  // Until the CPU may run: no stop, and (from outside) no exclusive section.
  void wait_until_free(bool from_outside);
  bool must_wait(bool from_outside) const {
    return !ending() && (stopped() || (from_outside && exclusives_.load(std::memory_order_seq_cst)));
  }

  Clock* virtual_clock = nullptr;

  // The thread that runs all CPUs with icount, when it waits for work.
  bool single_thread = false;
  void notify_work();
  void wait_for_work(const std::function<bool()>& ready);

 private:
  template <typename Ready>
  void wait(std::unique_lock<std::mutex>& lock, Ready ready);
  void kick_all();

  std::vector<VirtualCpu*> cpus_;
  std::vector<SoftMmu*> mmus_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> stops_{0};
  std::atomic<int> exclusives_{0};
  std::atomic<int> waiters_{0};
  std::atomic<bool> ending_{false};
  bool exclusive_running_ = false;
  std::mutex work_mutex_;
  std::condition_variable work_;
};

}  // namespace rhea::accel
