// SPDX-License-Identifier: MIT
// Interrupt lines: a wire from a device's output to an input of whoever listens.
#pragma once

#include "util/types.h"

namespace rhea {

// What interrupt lines end in: an interrupt controller or a CPU's pin. May be called from any thread; an
// implementation that has state has a lock of its own.
class IrqSink {
 public:
  virtual ~IrqSink() = default;
  virtual void set_irq(unsigned input, bool level) = 0;
};

// One end of a wire, held by the device that drives it. A line with no sink is not connected: setting it is
// free and has no effect. Copies drive the same input.
class IrqLine {
 public:
  IrqLine() = default;
  IrqLine(IrqSink& sink, unsigned input) : sink_(&sink), input_(input) {}

  void set(bool level) const {
    if (sink_) sink_->set_irq(input_, level);
  }
  void raise() const { set(true); }
  void lower() const { set(false); }
  // A pulse, for edge-triggered inputs.
  void pulse() const {
    raise();
    lower();
  }
  bool connected() const { return sink_ != nullptr; }

 private:
  IrqSink* sink_ = nullptr;
  unsigned input_ = 0;
};

}  // namespace rhea
