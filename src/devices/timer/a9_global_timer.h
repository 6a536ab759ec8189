// SPDX-License-Identifier: MIT
// The global timer of the Cortex-A9 MPCore: a 64-bit counter that all CPUs share, with a comparator each
// (DDI 0407I section 4.4).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/clock.h"
#include "core/snapshot.h"
#include "devices/timer/tick_rate.h"
#include "util/log.h"

namespace rhea::devices {

class A9GlobalTimer {
 public:
  using SetInterrupt = std::function<void(unsigned cpu, bool level)>;
  A9GlobalTimer(Clock& clock, u64 hz, unsigned cpus, SetInterrupt set_interrupt, Log& log);

  void reset();
  void fields(Visitor& visitor);
  u32 read(unsigned cpu, u32 offset);
  void write(unsigned cpu, u32 offset, u32 value);

 private:
  struct Comparator {
    u64 value = 0;
    u32 increment = 0;
    u32 control = 0;  // the banked bits
    bool event = false;
    std::unique_ptr<Timer> timer;
  };
  u64 counter() const;
  void set_counter(u64 value);
  void write_control(unsigned cpu, u32 value);
  void update(unsigned cpu);
  void update_all();

  Clock& clock_;
  TickRate rate_;
  SetInterrupt set_interrupt_;
  Log& log_;
  bool enabled_ = false;
  s64 base_ = 0;  // while enabled: when the counter was `count_`
  u64 count_ = 0;
  std::vector<Comparator> comparators_;
};

}  // namespace rhea::devices
