// SPDX-License-Identifier: MIT
// Virtual time: real time while the machine runs, or the number of instructions (icount).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "core/clock.h"
#include "core/event_loop.h"
#include "core/snapshot.h"
#include "ir/guest.h"

namespace rhea::accel {

// What the engine does with either clock. Both calls with all CPUs stopped.
class VirtualClock : public Clock {
 public:
  virtual void run() = 0;
  virtual void stop() = 0;
  // While stopped.
  virtual void fields(Visitor& visitor) = 0;
};

// Runs with the loop's real clock, stands while stopped. Timers are the loop's.
class RealVirtualClock final : public VirtualClock {
 public:
  explicit RealVirtualClock(EventLoop& loop) : loop_(loop) {}
  s64 now() const override;
  std::unique_ptr<Timer> timer(std::function<void()> callback) override;
  void run() override;
  void stop() override;
  void fields(Visitor& visitor) override;

 private:
  class RealTimer;
  EventLoop& loop_;
  std::atomic<s64> offset_{0};      // virtual - real, while running
  std::atomic<s64> standing_{0};    // the time while stopped; kNever: running
  std::vector<RealTimer*> timers_;  // under the loop's lock
};

// Counts instructions: now = (instructions << shift) + what idle CPUs skipped. One thread runs all CPUs; it asks for
// the next deadline before a slice and runs what is due after it.
class InstructionClock final : public VirtualClock {
 public:
  InstructionClock(EventLoop& loop, unsigned shift) : loop_(loop), shift_(shift) {}
  s64 now() const override;
  std::unique_ptr<Timer> timer(std::function<void()> callback) override;
  void run() override {}
  // Waits for a timer's callback that is running.
  void stop() override { std::lock_guard lock(loop_.lock()); }
  void fields(Visitor& visitor) override;

  // A slice of the thread that calls: at most `most` instructions, fewer if a timer is due before. `state` is where
  // the CPU counts down.
  void begin_slice(ir::StateHeader& state, s32 most);
  // Returns how many were executed.
  s64 end_slice();
  // A timer that a CPU arms fires this many instructions later, at least: so that where a block ends does not matter.
  void set_least_wait(s32 instructions) { least_wait_ = instructions; }
  // How many timers have fired: with count and time it tells one place between two instructions from another.
  u64 fired() const { return fired_; }
  bool in_slice() const { return state_.load(std::memory_order_relaxed) != nullptr; }
  // Runs the timers that are due, under the loop's lock; none once `stopped` says so.
  void run_due(const std::function<bool()>& stopped);
  // Nothing to execute: goes to the next deadline. False: there is none.
  bool skip_to_deadline(const std::function<bool()>& stopped, s64 limit = kNever);
  s64 next_deadline() const;
  // Whether a timer was armed since the last call. `on_armed` is called when it is, on any thread.
  bool take_armed() { return armed_.exchange(false); }
  std::function<void()> on_armed;
  // Those done so far; in the middle of a slice exact for the thread that runs it.
  s64 instructions() const;

 private:
  class CountTimer;
  friend class CountTimer;
  void note_armed(s64 deadline);
  bool on_slice_thread() const;
  s64 slice_for(s64 deadline) const;  // instructions until a deadline, rounded up

  EventLoop& loop_;
  const unsigned shift_;
  std::atomic<s64> base_{0};     // instructions before the current slice
  std::atomic<s64> skipped_{0};  // ns
  std::atomic<ir::StateHeader*> state_{nullptr};
  s32 least_wait_ = 0;
  u64 fired_ = 0;
  std::atomic<s32> slice_{0};  // of the current slice
  std::atomic<u64> slice_thread_{0};
  std::vector<CountTimer*> timers_;  // under the loop's lock; in order of creation
  std::atomic<bool> armed_{false};
};

// Stands until it is told the time ("-accel qtest"). Used on the loop's thread, under its lock.
class SteppedClock final : public VirtualClock {
 public:
  explicit SteppedClock(EventLoop& loop) : loop_(loop) {}
  s64 now() const override { return now_.load(); }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override;
  void run() override {}
  void stop() override {}
  void fields(Visitor& visitor) override {
    s64 time = now_.load();
    visitor.field("time", time);
    if (visitor.restoring()) now_.store(time < 0 ? 0 : time);
  }
  // Runs the timers up to that time in order, each at its deadline. Never goes back.
  void step_to(s64 time);
  s64 next_deadline() const;

 private:
  class SteppedTimer;
  SteppedTimer* first() const;

  EventLoop& loop_;
  std::atomic<s64> now_{0};
  std::vector<SteppedTimer*> timers_;
  u64 sequence_ = 0;
};

}  // namespace rhea::accel
