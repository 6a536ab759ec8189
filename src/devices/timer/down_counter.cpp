// SPDX-License-Identifier: MIT
#include "devices/timer/down_counter.h"

#include <algorithm>
#include <utility>

namespace rhea::devices {
namespace {

// A guest that asks for a periodic interrupt more often than this gets this: the host must keep up.
constexpr s64 kShortestPeriod = 10'000;

}  // namespace

DownCounter::DownCounter(Clock& clock, u64 hz, unsigned extra, std::function<bool()> on_zero, StartAtZero start_at_zero)
    : clock_(clock), rate_(hz), extra_(extra), start_at_zero_(start_at_zero), on_zero_(std::move(on_zero)),
      timer_(clock.timer([this] { on_timer(); })) {}

void DownCounter::on_timer() {
  sync();
  if (replay_at_ <= clock_.now()) {
    replay_at_ = kNever;
    if (missed_) --missed_, fire();
  }
  rearm();
}

void DownCounter::forget_missed() {
  missed_ = 0;
  replay_at_ = kNever;
}

void DownCounter::add_missed(u64 count) {
  const s64 period = std::max(rate_.nanoseconds(reload_ + extra_), kShortestPeriod);
  missed_ = static_cast<u32>(std::min(missed_ + count, std::max<u64>(static_cast<u64>(kSecond / period), 1)));
}

void DownCounter::fire() {
  if (on_zero_() || !notify_ || mode_ != Mode::periodic) return;
  add_missed(1);
}

void DownCounter::acknowledged() {
  sync();
  if (!missed_ || replay_at_ != kNever || !running_ || !notify_) return;
  replay_at_ = clock_.now() + std::max(rate_.nanoseconds(reload_ + extra_) / 2, kShortestPeriod);
  rearm();
}

void DownCounter::reset() {
  timer_->cancel();
  base_ = 0;
  value_ = reload_ = 0;
  mode_ = Mode::one_shot;
  running_ = notify_ = zero_passed_ = from_zero_ = false;
  forget_missed();
  rate_.set_divisor(1);
}

void DownCounter::fields(Visitor& visitor, std::string_view name) {
  visitor.begin(name, 1);
  u64 divisor = rate_.divisor();
  visitor.field("base", base_);
  visitor.field("value", value_);
  visitor.field("reload", reload_);
  visitor.field("extra", extra_);
  visitor.field("divisor", divisor);
  visitor.field("mode", mode_);
  visitor.field("running", running_);
  visitor.field("notify", notify_);
  visitor.field("zero_passed", zero_passed_);
  visitor.field("from_zero", from_zero_);
  visitor.field("missed", missed_);
  visitor.field("replay_at", replay_at_);
  visitor.end();
  if (visitor.restoring()) {
    rate_.set_divisor(divisor);
    mode_ = mode_ == Mode::periodic ? Mode::periodic : Mode::one_shot;
    rearm();
  }
}

void DownCounter::sync() {
  if (!running_ || zero_passed_) return;
  const s64 now = clock_.now();
  if (rate_.ticks(now - base_) < value_) return;
  const u64 zeros = pass_zeros(now);
  fire();
  if (notify_ && mode_ == Mode::periodic) add_missed(zeros - 1);
}

// Ticks from one zero to the next; 0: there is no next, it stands at zero.
u64 DownCounter::period() const {
  if (mode_ == Mode::one_shot) return 0;
  const bool stands = start_at_zero_ == StartAtZero::takes_a_tick && reload_ == 0 && rate_.divisor() == 1;
  return stands ? 0 : reload_ + extra_;
}

// At least one zero has passed: moves the base to the last start of a period. Returns how many there were.
u64 DownCounter::pass_zeros(s64 now) {
  const u64 elapsed = rate_.ticks(now - base_);
  const u64 period = this->period();
  // The tick that a start at zero takes is the one in which zero is shown: the reload value is there at its end.
  const u64 shown = std::exchange(from_zero_, false) && reload_ ? extra_ : 0;
  if (period == 0) {
    zero_passed_ = true;
    value_ = 0;
    base_ = now;
    return 1;
  }
  // The period starts `extra` ticks after zero, with the reload value; zero is its end.
  const u64 beyond = (elapsed - value_ + shown) % period;
  const u64 zeros = (elapsed - value_ + shown) / period + 1;
  base_ = rate_.after(base_, elapsed - beyond);
  value_ = period;
  return zeros;
}

u64 DownCounter::value() {
  sync();
  if (from_zero_) return 0;
  if (!running_ || zero_passed_) return value_;
  const u64 left = value_ - std::min(value_, rate_.ticks(clock_.now() - base_));
  // In a period of reload + extra ticks the first `extra` show zero still.
  return mode_ == Mode::periodic && left > reload_ && value_ == reload_ + extra_ ? 0 : left;
}

// Counts from `value`, from now on.
void DownCounter::begin(u64 value) {
  value_ = value;
  base_ = clock_.now();
  zero_passed_ = from_zero_ = false;
  if (value != 0 || !running_ || start_at_zero_ == StartAtZero::at_once) return;
  if (rate_.divisor() > 1) {
    from_zero_ = true;
    value_ = 1;
  } else if (period() != 0) {
    value_ = reload_;
  } else {
    zero_passed_ = true;
  }
}

void DownCounter::set_value(u64 value) {
  sync();
  begin(value);
  forget_missed();
  rearm();
}

void DownCounter::set_reload(u64 reload, unsigned extra) {
  sync();
  reload_ = reload;
  extra_ = extra;
}

void DownCounter::set_mode(Mode mode) {
  if (mode == mode_) return;
  const u64 now = value();
  mode_ = mode;
  if (!zero_passed_ || mode == Mode::periodic || start_at_zero_ == StartAtZero::takes_a_tick) set_value(now);
}

void DownCounter::set_divisor(u64 divisor) {
  if (divisor == rate_.divisor()) return;
  const u64 now = value();
  const bool stood = zero_passed_ && (mode_ == Mode::one_shot || start_at_zero_ == StartAtZero::at_once);
  rate_.set_divisor(divisor);
  set_value(now);
  if (!stood) return;
  zero_passed_ = true;
  from_zero_ = false;
  value_ = now;
  rearm();
}

void DownCounter::set_running(bool running) {
  if (running == running_) return;
  const u64 now = value();
  running_ = running;
  forget_missed();
  begin(now);
  // A one-shot that is started at zero has nothing to count.
  if (running && now == 0 && mode_ == Mode::one_shot && !from_zero_) zero_passed_ = true;
  rearm();
}

void DownCounter::set_notify(bool notify) {
  if (notify == notify_) return;
  sync();
  notify_ = notify;
  if (!notify) forget_missed();
  rearm();
}

void DownCounter::rearm() {
  if (!running_ || !notify_ || zero_passed_) {
    timer_->cancel();
    return;
  }
  s64 deadline = rate_.after(base_, value_);
  if (mode_ == Mode::periodic) {
    const s64 now = clock_.now();
    if (rate_.nanoseconds(reload_ + extra_) < kShortestPeriod) deadline = std::max(deadline, now + kShortestPeriod);
  }
  timer_->arm(std::min(deadline, replay_at_));
}

}  // namespace rhea::devices
