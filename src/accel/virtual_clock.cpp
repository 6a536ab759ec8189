// SPDX-License-Identifier: MIT
#include "accel/virtual_clock.h"

#include <algorithm>
#include <limits>

#include "sys/thread.h"

namespace rhea::accel {

// ---- real time -----------------------------------------------------------------------------------------------------
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

void RealVirtualClock::fields(Visitor& visitor) {
  s64 time = now();
  visitor.field("time", time);
  if (visitor.restoring()) standing_.store(std::clamp<s64>(time, 0, kNever / 4), std::memory_order_release);
}

// ---- instructions --------------------------------------------------------------------------------------------------
class InstructionClock::CountTimer final : public Timer {
 public:
  CountTimer(InstructionClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {
    clock_.timers_.push_back(this);
  }
  ~CountTimer() override { std::erase(clock_.timers_, this); }

  void arm(s64 deadline) override {
    deadline_ = deadline;
    clock_.note_armed(deadline);
  }
  void cancel() override { deadline_ = kNever; }
  s64 deadline() const override { return deadline_; }
  void fire() {
    deadline_ = kNever;
    callback_();
  }

 private:
  InstructionClock& clock_;
  std::function<void()> callback_;
  s64 deadline_ = kNever;
};

s64 InstructionClock::instructions() const {
  s64 count = base_.load(std::memory_order_relaxed);
  if (ir::StateHeader* state = state_.load(std::memory_order_acquire)) {
    count += slice_.load(std::memory_order_relaxed) - __atomic_load_n(&state->budget, __ATOMIC_RELAXED);
    if (on_slice_thread()) count -= state->ahead;
  }
  return count;
}

s64 InstructionClock::now() const { return (instructions() << shift_) + skipped_.load(std::memory_order_relaxed); }

std::unique_ptr<Timer> InstructionClock::timer(std::function<void()> callback) {
  std::lock_guard lock(loop_.lock());
  return std::make_unique<CountTimer>(*this, std::move(callback));
}

void InstructionClock::fields(Visitor& visitor) {
  s64 count = base_.load(), skipped = skipped_.load();
  visitor.field("fired", fired_);
  visitor.field("instructions", count);
  visitor.field("skipped", skipped);
  if (!visitor.restoring()) return;
  base_.store(std::clamp<s64>(count, 0, kNever >> (shift_ + 2)));
  skipped_.store(std::clamp<s64>(skipped, 0, kNever / 4));
}

s64 InstructionClock::slice_for(s64 deadline) const {
  const s64 left = deadline - now();
  if (left <= 0) return 0;
  return (left >> shift_) + ((left & ((s64{1} << shift_) - 1)) != 0);
}

// A device armed a timer in the middle of a slice: the slice ends there.
void InstructionClock::note_armed(s64 deadline) {
  if (deadline >= kNever / 2) return;
  ir::StateHeader* state = state_.load(std::memory_order_acquire);
  if (!on_slice_thread()) {
    armed_.store(true);
    if (on_armed) on_armed();
    return;
  }
  if (!state) return;
  // From behind the running block on; the least wait is not less than a block.
  const s64 wanted = std::max<s64>(slice_for(deadline), least_wait_) - state->ahead;
  if (wanted >= state->budget) return;
  slice_.fetch_sub(state->budget - static_cast<s32>(wanted), std::memory_order_relaxed);
  state->budget = static_cast<s32>(wanted);
}

bool InstructionClock::on_slice_thread() const {
  return slice_thread_.load(std::memory_order_relaxed) == static_cast<u64>(sys::current_thread_id());
}

void InstructionClock::begin_slice(ir::StateHeader& state, s32 most) {
  const s64 deadline = next_deadline();
  s64 count = most;
  if (deadline < kNever / 2) count = std::clamp<s64>(slice_for(deadline), 1, most);
  state.budget = static_cast<s32>(count);
  state.ahead = 0;
  slice_.store(static_cast<s32>(count), std::memory_order_relaxed);
  slice_thread_.store(static_cast<u64>(sys::current_thread_id()), std::memory_order_relaxed);
  state_.store(&state, std::memory_order_release);
}

s64 InstructionClock::end_slice() {
  ir::StateHeader* state = state_.exchange(nullptr);
  const s64 executed = slice_.load(std::memory_order_relaxed) - state->budget;
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
      // Of equal ones the one that was made first: the order of arming is not a part of snapshots.
      if (!first || timer->deadline() < first->deadline()) first = timer;
    }
    if (!first) return;
    fired_++;
    first->fire();
  }
}

bool InstructionClock::skip_to_deadline(const std::function<bool()>& stopped, s64 limit) {
  std::lock_guard lock(loop_.lock());
  if (stopped()) return true;
  const s64 deadline = std::min(next_deadline(), limit);
  if (deadline >= kNever / 2) return false;
  const s64 left = deadline - now();
  if (left > 0) skipped_.fetch_add(left, std::memory_order_relaxed);
  return true;
}

// ---- stepped -------------------------------------------------------------------------------------------------------
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
