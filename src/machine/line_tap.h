// SPDX-License-Identifier: MIT
// Stands in a line between a device's output and where it goes, and tells of changes.
#pragma once

#include "machine/machine.h"

namespace rhea::machine {

class Machine::LineTap final : public IrqSink {
 public:
  LineTap(Machine& machine, IrqLine next, LineChange what) : machine_(machine), next_(next), what_(what) {}
  void set_irq(unsigned, bool level) override {
    next_.set(level);
    if (what_.level == level) return;
    what_.level = level;
    if (machine_.on_line) machine_.on_line(what_);
  }

 private:
  Machine& machine_;
  IrqLine next_;
  LineChange what_;
};

}  // namespace rhea::machine
