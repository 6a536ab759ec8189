// SPDX-License-Identifier: MIT
// A counter that counts down to zero, then stops, reloads, or wraps: the heart of the SP804, the MPCore's private
// timers and watchdogs, and the LAN9118's general purpose timer.
//
// Nothing runs while it counts: its value is computed from the clock when it is asked for. A host timer is armed
// only while `notify` is on, that is, while somebody waits for zero (an interrupt is enabled); otherwise a zero
// that has passed is noticed at the next access.
//
// Lost ticks: a busy host notices several zeros of a periodic counter as one, or before the guest has handled the
// last. A guest that counts interrupts to know the time (and to measure its other timers by it) would be misled;
// so the missing ones are made up for, at most at twice the rate, a second's worth at most.
#pragma once

#include <functional>
#include <memory>

#include "core/clock.h"
#include "core/snapshot.h"
#include "devices/timer/tick_rate.h"

namespace rhea::devices {

class DownCounter {
 public:
  // After zero: stop there; or start again from the reload value, `extra` ticks later (a counter that shows zero
  // for one tick has a period of reload + 1: extra is 1).
  enum class Mode : u8 { one_shot, periodic };

  // What a counter does that is set to zero, or set going at zero.
  // at_once: a periodic one has come to zero with that; a one-shot stands.
  // takes_a_tick: the MPCore's timers. With a divisor of their own it is a count like any other, of one tick, and ends
  // in an event. Without one there is no event: a periodic one starts from its reload value at once, and stands where
  // that is zero.
  enum class StartAtZero : u8 { at_once, takes_a_tick };

  // `on_zero` is called once for each zero, or once for several that passed unnoticed. It returns false when the
  // guest has not handled the one before.
  DownCounter(Clock& clock, u64 hz, unsigned extra, std::function<bool()> on_zero,
              StartAtZero start_at_zero = StartAtZero::at_once);

  void reset();
  void fields(Visitor& visitor, std::string_view name);

  bool running() const { return running_; }
  u64 value();                // now
  void set_value(u64 value);  // goes on from there
  void set_reload(u64 reload) { set_reload(reload, extra_); }
  void set_reload(u64 reload, unsigned extra);
  void set_mode(Mode mode);
  void set_divisor(u64 divisor);
  void set_running(bool running);
  void set_notify(bool notify);
  // Notices zeros that have passed.
  void sync();
  // The guest has handled a zero.
  void acknowledged();

 private:
  void rearm();
  void begin(u64 value);
  u64 pass_zeros(s64 now);
  u64 period() const;
  void fire();
  void add_missed(u64 count);
  void forget_missed();
  void on_timer();

  Clock& clock_;
  TickRate rate_;
  unsigned extra_;
  const StartAtZero start_at_zero_;
  std::function<bool()> on_zero_;
  std::unique_ptr<Timer> timer_;
  // While it runs: `value_` was the value at `base_`. While it stands: `value_` is the value.
  s64 base_ = 0;
  u64 value_ = 0;
  u64 reload_ = 0;
  Mode mode_ = Mode::one_shot;
  bool running_ = false;
  bool notify_ = false;
  bool zero_passed_ = false;  // a one-shot has been to zero, or stands there
  bool from_zero_ = false;    // it counts the tick that a start at zero takes: `value_` is 1, and zero is shown
  u32 missed_ = 0;            // zeros that the guest has not seen
  s64 replay_at_ = kNever;    // when one of them is made up for
};

}  // namespace rhea::devices
