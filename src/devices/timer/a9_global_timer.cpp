// SPDX-License-Identifier: MIT
#include "devices/timer/a9_global_timer.h"

#include <algorithm>

#include "util/bits.h"

namespace rhea::devices {
namespace {

// DDI 0407I table 4-8.
enum Offset : u32 {
  kCounterLow = 0x00,
  kCounterHigh = 0x04,
  kControl = 0x08,
  kInterruptStatus = 0x0c,
  kComparatorLow = 0x10,
  kComparatorHigh = 0x14,
  kIncrement = 0x18
};
enum Control : u32 { kEnable = 1, kCompareEnable = 2, kIrqEnable = 4, kAutoIncrement = 8 };

constexpr u32 kBankedControl = kCompareEnable | kIrqEnable | kAutoIncrement;
constexpr s64 kShortestPeriod = 10'000;  // ns; as for every periodic interrupt

}  // namespace

A9GlobalTimer::A9GlobalTimer(Clock& clock, u64 hz, unsigned cpus, SetInterrupt set_interrupt, Log& log)
    : clock_(clock), rate_(hz), set_interrupt_(std::move(set_interrupt)), log_(log) {
  comparators_.resize(cpus);
  for (unsigned cpu = 0; cpu < cpus; ++cpu) comparators_[cpu].timer = clock.timer([this, cpu] { update(cpu); });
}

void A9GlobalTimer::reset() {
  enabled_ = false;
  count_ = 0;
  rate_.set_divisor(1);
  for (Comparator& comparator : comparators_) {
    comparator.value = comparator.increment = comparator.control = 0;
    comparator.event = false;
  }
  update_all();
}

void A9GlobalTimer::fields(Visitor& visitor) {
  visitor.begin("global_timer", 1);
  u64 divisor = rate_.divisor();
  visitor.field("enabled", enabled_);
  visitor.field("base", base_);
  visitor.field("count", count_);
  visitor.field("divisor", divisor);
  for (unsigned cpu = 0; cpu < comparators_.size(); ++cpu) {
    Comparator& comparator = comparators_[cpu];
    visitor.begin(fmt::format("cpu{}", cpu), 1);
    visitor.field("value", comparator.value);
    visitor.field("increment", comparator.increment);
    visitor.field("control", comparator.control);
    visitor.field("event", comparator.event);
    visitor.end();
  }
  visitor.end();
  if (visitor.restoring()) {
    rate_.set_divisor(divisor);
    update_all();
  }
}

u64 A9GlobalTimer::counter() const { return enabled_ ? count_ + rate_.ticks(clock_.now() - base_) : count_; }

void A9GlobalTimer::set_counter(u64 value) {
  count_ = value;
  base_ = clock_.now();
}

// Notices a comparator that the counter has reached, and arms the timer for the next time.
void A9GlobalTimer::update(unsigned cpu) {
  Comparator& comparator = comparators_[cpu];
  const bool compares = enabled_ && (comparator.control & kCompareEnable);
  const u64 now = counter();
  if (compares && now >= comparator.value) {
    comparator.event = true;
    if ((comparator.control & kAutoIncrement) && comparator.increment) {
      const u64 steps = (now - comparator.value) / comparator.increment + 1;
      comparator.value += steps * comparator.increment;
    }
  }
  set_interrupt_(cpu, comparator.event && (comparator.control & kIrqEnable));
  if (compares && (comparator.control & kIrqEnable) && comparator.value > now) {
    s64 deadline = rate_.after(base_, comparator.value - count_);
    if (comparator.control & kAutoIncrement) {
      if (rate_.nanoseconds(comparator.increment) < kShortestPeriod)
        deadline = std::max(deadline, clock_.now() + kShortestPeriod);
    }
    comparator.timer->arm(deadline);
  } else {
    comparator.timer->cancel();
  }
}

void A9GlobalTimer::update_all() {
  for (unsigned cpu = 0; cpu < comparators_.size(); ++cpu) update(cpu);
}

u32 A9GlobalTimer::read(unsigned cpu, u32 offset) {
  if (cpu >= comparators_.size()) cpu = 0;
  const Comparator& comparator = comparators_[cpu];
  switch (offset) {
    case kCounterLow: return static_cast<u32>(counter());
    case kCounterHigh: return static_cast<u32>(counter() >> 32);
    case kControl: return static_cast<u32>((rate_.divisor() - 1) << 8) | comparator.control | (enabled_ ? 1 : 0);
    case kInterruptStatus: update(cpu); return comparator.event;
    case kComparatorLow: return static_cast<u32>(comparator.value);
    case kComparatorHigh: return static_cast<u32>(comparator.value >> 32);
    case kIncrement: return comparator.increment;
    default: log_.guest_error("global timer: read at {:#x}, where no register is", offset); return 0;
  }
}

void A9GlobalTimer::write_control(unsigned cpu, u32 value) {
  // The enable bit and the prescaler are common to all CPUs (section 4.4.2).
  const u64 now = counter();
  enabled_ = value & kEnable;
  rate_.set_divisor(bits(value, 8, 8) + 1);
  set_counter(now);
  comparators_[cpu].control = value & kBankedControl;
  update_all();
}

void A9GlobalTimer::write(unsigned cpu, u32 offset, u32 value) {
  if (cpu >= comparators_.size()) cpu = 0;
  Comparator& comparator = comparators_[cpu];
  switch (offset) {
    case kCounterLow:
    case kCounterHigh:
      if (enabled_) log_.guest_error("global timer: the counter is written while it runs");
      set_counter(with_bits<u64>(counter(), offset == kCounterLow ? 0 : 32, 32, value));
      update_all();
      break;
    case kControl: write_control(cpu, value); break;
    case kInterruptStatus:
      if (value & 1) comparator.event = false;
      update(cpu);
      break;
    case kComparatorLow:
    case kComparatorHigh:
      comparator.value = with_bits<u64>(comparator.value, offset == kComparatorLow ? 0 : 32, 32, value);
      update(cpu);
      break;
    case kIncrement:
      comparator.increment = value;
      update(cpu);
      break;
    default: log_.guest_error("global timer: write of {:#x} at {:#x}, where no register is", value, offset); break;
  }
}

}  // namespace rhea::devices
