// SPDX-License-Identifier: MIT
#include "accel/virtual_clock.h"

#include <algorithm>
#include <limits>

#include "sys/thread.h"

namespace rhea::accel {

// ---- real time --------------------------------------------------------------------------------------------------------
class RealVirtualClock::RealTimer final : public Timer {
 public:
  RealTimer(RealVirtualClock& clock, std::function<void()> callback) : clock_(clock) {
    timer_ = clock.loop_.real_clock().timer([this, callback = std::move(callback)] {
      deadline_ = kNever;
      callback();
    });
    clock_.timers_.push_back(this);
  }
  ~RealTimer() override { std::erase(clock_.timers_, this); }

  void arm(s64 deadline) override {
    deadline_ = deadline;
    start();
  }
  void cancel() override {
    deadline_ = kNever;
    timer_->cancel();
  }
  s64 deadline() const override { return deadline_; }

  // By the clock: while it runs.
  void start() {
    if (deadline_ == kNever || clock_.standing_.load() != kNever) return;
    const s64 real = deadline_ - clock_.offset_.load();
    timer_->arm(deadline_ >= kNever / 2 ? kNever / 2 : real);
  }
  void halt() { timer_->cancel(); }

 private:
  RealVirtualClock& clock_;
  std::unique_ptr<Timer> timer_;
  s64 deadline_ = kNever;
};

s64 RealVirtualClock::now() const {
  const s64 standing = standing_.load(std::memory_order_acquire);
  if (standing != kNever) return standing;
  return loop_.real_clock().now() + offset_.load(std::memory_order_acquire);
}

std::unique_ptr<Timer> RealVirtualClock::timer(std::function<void()> callback) {
  std::lock_guard lock(loop_.lock());
  return std::make_unique<RealTimer>(*this, std::move(callback));
}

void RealVirtualClock::run() {
  std::lock_guard lock(loop_.lock());
  const s64 standing = standing_.load();
  if (standing == kNever) return;
  offset_.store(standing - loop_.real_clock().now(), std::memory_order_release);
  standing_.store(kNever, std::memory_order_release);
  for (RealTimer* timer : timers_) timer->start();
}

void RealVirtualClock::stop() {
  std::lock_guard lock(loop_.lock());
  if (standing_.load() != kNever) return;
  standing_.store(now(), std::memory_order_release);
  for (RealTimer* timer : timers_) timer->halt();
}

// ---- instructions -------------------------------------------------------------------------------------------------------
class InstructionClock::CountTimer final : public Timer {
 public:
  CountTimer(InstructionClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {
    clock_.timers_.push_back(this);
  }
  ~CountTimer() override { std::erase(clock_.timers_, this); }

  void arm(s64 deadline) override {
    deadline_ = deadline;
    order = clock_.sequence_++;
    clock_.note_armed(deadline);
  }
  void cancel() override { deadline_ = kNever; }
  s64 deadline() const override { return deadline_; }
  void fire() {
    deadline_ = kNever;
    callback_();
  }
  u64 order = 0;  // of those with one deadline

 private:
  InstructionClock& clock_;
  std::function<void()> callback_;
  s64 deadline_ = kNever;
};

s64 InstructionClock::now() const {
  s64 count = base_.load(std::memory_order_relaxed);
  if (s32* budget = budget_.load(std::memory_order_acquire)) {
    count += slice_.load(std::memory_order_relaxed) - __atomic_load_n(budget, __ATOMIC_RELAXED);
  }
  return (count << shift_) + skipped_.load(std::memory_order_relaxed);
}

std::unique_ptr<Timer> InstructionClock::timer(std::function<void()> callback) {
  std::lock_guard lock(loop_.lock());
  return std::make_unique<CountTimer>(*this, std::move(callback));
}

s64 InstructionClock::slice_for(s64 deadline) const {
  const s64 left = deadline - now();
  if (left <= 0) return 0;
  return (left >> shift_) + ((left & ((s64{1} << shift_) - 1)) != 0);
}

// A device armed a timer in the middle of a slice: the slice ends there.
void InstructionClock::note_armed(s64 deadline) {
  if (deadline >= kNever / 2) return;
  s32* budget = budget_.load(std::memory_order_acquire);
  if (slice_thread_.load(std::memory_order_relaxed) != static_cast<u64>(sys::current_thread_id())) {
    armed_.store(true);
    if (on_armed) on_armed();
    return;
  }
  if (!budget) return;
  const s64 wanted = slice_for(deadline);
  if (wanted >= *budget) return;
  slice_.fetch_sub(*budget - static_cast<s32>(wanted), std::memory_order_relaxed);
  *budget = static_cast<s32>(wanted);
}

void InstructionClock::begin_slice(s32* budget, s32 most) {
  const s64 deadline = next_deadline();
  s64 count = most;
  if (deadline < kNever / 2) count = std::clamp<s64>(slice_for(deadline), 1, most);
  *budget = static_cast<s32>(count);
  slice_.store(static_cast<s32>(count), std::memory_order_relaxed);
  slice_thread_.store(static_cast<u64>(sys::current_thread_id()), std::memory_order_relaxed);
  budget_.store(budget, std::memory_order_release);
}

s64 InstructionClock::end_slice() {
  s32* budget = budget_.exchange(nullptr);
  const s64 executed = slice_.load(std::memory_order_relaxed) - *budget;
  base_.fetch_add(executed, std::memory_order_relaxed);
  return executed;
}

s64 InstructionClock::next_deadline() const {
  std::lock_guard lock(loop_.lock());
  s64 next = kNever;
  for (CountTimer* timer : timers_) next = std::min(next, timer->deadline());
  return next;
}

void InstructionClock::run_due(const std::function<bool()>& stopped) {
  std::lock_guard lock(loop_.lock());
  while (!stopped()) {
    CountTimer* first = nullptr;
    for (CountTimer* timer : timers_) {
      if (timer->deadline() > now()) continue;
      if (!first || timer->deadline() < first->deadline() ||
          (timer->deadline() == first->deadline() && timer->order < first->order)) {
        first = timer;
      }
    }
    if (!first) return;
    first->fire();
  }
}

bool InstructionClock::skip_to_deadline(const std::function<bool()>& stopped) {
  std::lock_guard lock(loop_.lock());
  if (stopped()) return true;
  const s64 deadline = next_deadline();
  if (deadline >= kNever / 2) return false;
  const s64 left = deadline - now();
  if (left > 0) skipped_.fetch_add(left, std::memory_order_relaxed);
  return true;
}

// ---- stepped --------------------------------------------------------------------------------------------------------------
class SteppedClock::SteppedTimer final : public Timer {
 public:
  SteppedTimer(SteppedClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {
    clock_.timers_.push_back(this);
  }
  ~SteppedTimer() override { std::erase(clock_.timers_, this); }
  // What is due already runs at the next turn of the loop.
  void arm(s64 deadline) override {
    deadline_ = deadline;
    order = clock_.sequence_++;
    if (deadline <= clock_.now()) clock_.loop_.post([clock = &clock_] { clock->step_to(clock->now()); });
  }
  void cancel() override { deadline_ = kNever; }
  s64 deadline() const override { return deadline_; }
  void fire() {
    deadline_ = kNever;
    callback_();
  }
  u64 order = 0;

 private:
  SteppedClock& clock_;
  std::function<void()> callback_;
  s64 deadline_ = kNever;
};

std::unique_ptr<Timer> SteppedClock::timer(std::function<void()> callback) {
  std::lock_guard lock(loop_.lock());
  return std::make_unique<SteppedTimer>(*this, std::move(callback));
}

SteppedClock::SteppedTimer* SteppedClock::first() const {
  SteppedTimer* first = nullptr;
  for (SteppedTimer* timer : timers_)
    if (timer->deadline() != kNever && (!first || timer->deadline() < first->deadline() ||
                                        (timer->deadline() == first->deadline() && timer->order < first->order)))
      first = timer;
  return first;
}

s64 SteppedClock::next_deadline() const {
  const SteppedTimer* timer = first();
  return timer ? timer->deadline() : kNever;
}

// A device may arm a timer for the time that it is: so many in a row without time passing are one too many.
void SteppedClock::step_to(s64 time) {
  constexpr unsigned kMostAtOnce = 1u << 20;
  unsigned count = 0;
  for (;;) {
    SteppedTimer* timer = first();
    if (!timer || timer->deadline() > time || ++count > kMostAtOnce) break;
    if (timer->deadline() > now()) now_.store(timer->deadline());
    timer->fire();
  }
  if (time > now()) now_.store(time);
}

}  // namespace rhea::accel
