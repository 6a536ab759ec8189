// SPDX-License-Identifier: MIT
// One private timer or watchdog of a Cortex-A9 MPCore CPU (DDI 0407I sections 4.1 to 4.3).
#pragma once

#include <functional>

#include "core/snapshot.h"
#include "devices/timer/down_counter.h"
#include "util/log.h"

namespace rhea::devices {

class MpcoreTimer {
 public:
  struct Wiring {
    std::function<void(bool)> set_interrupt;   // the PPI
    std::function<void()> request_reset = {};  // a watchdog's; a private timer has none
  };
  MpcoreTimer(Clock& clock, u64 hz, Wiring wiring, Log& log);

  void reset(bool power_on);
  void fields(Visitor& visitor, std::string_view name);
  u32 read(u32 offset);
  void write(u32 offset, u32 value);

 private:
  bool on_zero();
  void apply_control();
  void update();
  bool is_watchdog() const { return static_cast<bool>(wiring_.request_reset); }

  DownCounter counter_;
  Wiring wiring_;
  Log& log_;
  u32 load_ = 0;
  u32 control_ = 0;
  bool event_ = false;
  bool reset_status_ = false;   // WDRESETREQ: survives all but the power-on reset
  bool disable_begun_ = false;  // the first word of the disable sequence was written
};

}  // namespace rhea::devices
