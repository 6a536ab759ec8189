// SPDX-License-Identifier: MIT
// National Semiconductor LM4549 AC '97 codec (data sheet DS101148): its registers, and what they do to the samples
// that go to its DAC.
#pragma once

#include <array>

#include "core/snapshot.h"
#include "util/types.h"

namespace rhea::devices {

class Lm4549 {
 public:
  // Registers have even numbers from 0 to 0x7e.
  void reset();
  u16 read(u32 reg) const { return registers_[reg / 2 % registers_.size()]; }
  void write(u32 reg, u16 value);
  void fields(Visitor& visitor);
  // Hz: 48000, or what the guest set with variable rates turned on.
  u32 dac_rate() const;
  // Amplification of the DAC's channels on the way to the line output, 0 when muted.
  float left_volume() const { return volume(8); }
  float right_volume() const { return volume(0); }

 private:
  float volume(unsigned shift) const;
  std::array<u16, 64> registers_{};
};

}  // namespace rhea::devices
