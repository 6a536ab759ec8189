// SPDX-License-Identifier: MIT
#include "devices/timer/mpcore_timer.h"

#include <utility>

#include "util/bits.h"

namespace rhea::devices {
namespace {

// DDI 0407I table 4-1.
enum Offset : u32 {
  kLoad = 0x00,
  kCounter = 0x04,
  kControl = 0x08,
  kInterruptStatus = 0x0c,
  kResetStatus = 0x10,
  kDisable = 0x14  // watchdog
};
enum Control : u32 { kEnable = 1, kAutoReload = 2, kIrqEnable = 4, kWatchdogMode = 8 };

constexpr u32 kTimerControlMask = 0xff07;
constexpr u32 kWatchdogControlMask = 0xff0f;
constexpr u32 kDisableFirst = 0x12345678;
constexpr u32 kDisableSecond = 0x87654321;

}  // namespace

// The counter shows zero for one tick: the period is load + 1 (section 4.1.1).
MpcoreTimer::MpcoreTimer(Clock& clock, u64 hz, Wiring wiring, Log& log)
    : counter_(
          clock, hz, 1, [this] { return on_zero(); }, DownCounter::StartAtZero::takes_a_tick),
      wiring_(std::move(wiring)), log_(log) {}

void MpcoreTimer::reset(bool power_on) {
  counter_.reset();
  load_ = control_ = 0;
  event_ = disable_begun_ = false;
  if (power_on) reset_status_ = false;
  update();
}

void MpcoreTimer::fields(Visitor& visitor, std::string_view name) {
  visitor.begin(name, 1);
  counter_.fields(visitor, "counter");
  visitor.field("load", load_);
  visitor.field("control", control_);
  visitor.field("event", event_);
  visitor.field("reset_status", reset_status_);
  visitor.field("disable_begun", disable_begun_);
  visitor.end();
  if (visitor.restoring()) update();
}

bool MpcoreTimer::on_zero() {
  if (control_ & kWatchdogMode) {
    reset_status_ = true;
    wiring_.request_reset();
    return true;
  }
  const bool handled = !std::exchange(event_, true);
  update();
  return handled;
}

void MpcoreTimer::update() { wiring_.set_interrupt(event_ && (control_ & kIrqEnable)); }

void MpcoreTimer::apply_control() {
  counter_.set_divisor(bits(control_, 8, 8) + 1);
  const bool watchdog = control_ & kWatchdogMode;
  counter_.set_mode((control_ & kAutoReload) && !watchdog ? DownCounter::Mode::periodic : DownCounter::Mode::one_shot);
  counter_.set_running(control_ & kEnable);
  counter_.set_notify(watchdog || (control_ & kIrqEnable));
  update();
}

u32 MpcoreTimer::read(u32 offset) {
  counter_.sync();
  switch (offset) {
    case kLoad: return load_;
    case kCounter: return static_cast<u32>(counter_.value());
    case kControl: return control_;
    case kInterruptStatus: return event_;
    case kResetStatus: return is_watchdog() && reset_status_;
    default: return 0;
  }
}

void MpcoreTimer::write(u32 offset, u32 value) {
  counter_.sync();
  switch (offset) {
    case kLoad:
      load_ = value;
      counter_.set_reload(load_);
      counter_.set_value(load_);
      break;
    case kCounter:
      // In watchdog mode the counter cannot be written but by the load register (section 4.2.4).
      if (!(control_ & kWatchdogMode)) counter_.set_value(value);
      break;
    case kControl:
      if (is_watchdog()) control_ = (value & kWatchdogControlMask) | (control_ & kWatchdogMode);
      else control_ = value & kTimerControlMask;
      apply_control();
      break;
    case kInterruptStatus:
      if (!(value & 1)) break;
      event_ = false;
      update();
      counter_.acknowledged();
      break;
    case kResetStatus:
      if (value & 1) reset_status_ = false;
      break;
    case kDisable:
      if (!is_watchdog()) break;
      if (disable_begun_ && value == kDisableSecond) {
        control_ &= ~u32{kWatchdogMode};
        apply_control();
      }
      disable_begun_ = value == kDisableFirst;
      break;
    default: log_.guest_error("mpcore timer: write of {:#x} at {:#x}, where no register is", value, offset); break;
  }
}

}  // namespace rhea::devices
