// SPDX-License-Identifier: MIT
// How it works: the data wire moving while the clock is high is a start or a stop; otherwise a bit is taken when the
// clock rises, and whoever sends changes the data wire when it falls. Nine clocks are a byte: eight bits and the
// acknowledge by the receiver.
#include "devices/i2c/i2c_bus.h"

#include <fmt/format.h>

#include <algorithm>

namespace rhea::devices {

void I2cWires::set(bool clock, bool data) {
  const bool clock_before = clock_, data_before = data_;
  clock_ = clock;
  data_ = data;
  if (clock_before && clock && data != data_before) {
    if (data) {  // stop
      phase_ = Phase::idle;
      pulled_ = false;
    } else {
      start();
    }
  } else if (!clock_before && clock) {
    rising();
  } else if (clock_before && !clock) {
    falling();
  }
}

void I2cWires::start() {
  phase_ = Phase::address;
  shift_ = bit_ = 0;
  pulled_ = acknowledge_ = false;
}

void I2cWires::rising() {
  if (phase_ == Phase::idle || phase_ == Phase::ignored) return;
  if (bit_ < 8) {
    if (phase_ != Phase::from_target) shift_ = static_cast<u8>(shift_ << 1 | data_);
  } else if (phase_ == Phase::from_target && !acknowledge_) {  // not the acknowledge of the address
    host_acknowledged_ = !data_;
  }
  ++bit_;
}

void I2cWires::falling() {
  if (phase_ == Phase::idle || phase_ == Phase::ignored) return;
  if (bit_ == 0 && phase_ != Phase::from_target) return;  // the clock that follows a start
  if (bit_ == 8) {
    if (phase_ == Phase::from_target) {
      pulled_ = false;  // the host acknowledges
    } else {
      take_byte();
      pulled_ = acknowledge_;
    }
    return;
  }
  if (bit_ >= 9) {
    bit_ = 0;
    pulled_ = acknowledge_ = false;
    if (phase_ == Phase::from_target && !host_acknowledged_) {
      phase_ = Phase::ignored;
      return;
    }
    if (phase_ == Phase::from_target) shift_ = selected()->read();
    else shift_ = 0;
  }
  if (phase_ == Phase::from_target) pulled_ = !(shift_ >> (7 - bit_) & 1);
}

void I2cWires::take_byte() {
  if (phase_ == Phase::to_target) {
    acknowledge_ = selected()->write(shift_);
    return;
  }
  const bool reading = shift_ & 1;
  const auto target =
      std::find_if(targets_.begin(), targets_.end(), [&](const auto& one) { return one->address() == shift_ >> 1; });
  acknowledge_ = target != targets_.end();
  if (!acknowledge_) {
    phase_ = Phase::ignored;
    return;
  }
  selected_ = static_cast<u8>(target - targets_.begin());
  (*target)->start(reading);
  phase_ = reading ? Phase::from_target : Phase::to_target;
  host_acknowledged_ = true;
}

void I2cWires::reset() {
  clock_ = data_ = true;
  pulled_ = acknowledge_ = false;
  phase_ = Phase::idle;
  shift_ = bit_ = 0;
  selected_ = 0xff;
  for (const auto& target : targets_) target->reset();
}

void I2cWires::fields(Visitor& visitor) {
  visitor.field("clock", clock_);
  visitor.field("data", data_);
  visitor.field("pulled", pulled_);
  visitor.field("phase", phase_);
  visitor.field("shift", shift_);
  visitor.field("bit", bit_);
  visitor.field("acknowledge", acknowledge_);
  visitor.field("host_acknowledged", host_acknowledged_);
  visitor.field("selected", selected_);
  for (usize i = 0; i < targets_.size(); ++i) {
    visitor.begin(fmt::format("target{}", i), 1);
    targets_[i]->fields(visitor);
    visitor.end();
  }
  if (!visitor.restoring()) return;
  bit_ = std::min<u8>(bit_, 9);
  const bool talking = phase_ == Phase::to_target || phase_ == Phase::from_target;
  if (phase_ > Phase::ignored || (talking && !selected())) phase_ = Phase::idle;
}

}  // namespace rhea::devices
