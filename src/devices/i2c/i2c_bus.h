// SPDX-License-Identifier: MIT
// Devices of an I2C bus whose two wires a host moves by itself (UM10204, "I2C-bus specification").
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/snapshot.h"
#include "util/types.h"

namespace rhea::devices {

// A target of the bus, byte by byte.
class I2cTarget {
 public:
  virtual ~I2cTarget() = default;
  virtual u8 address() const = 0;  // 7 bits
  virtual void start(bool reading) = 0;
  virtual u8 read() = 0;
  virtual bool write(u8 byte) = 0;  // false: not acknowledged
  virtual void reset() = 0;
  virtual void fields(Visitor& visitor) = 0;
};

// The wires: what the host drives goes in, what is on the wires comes out.
class I2cWires {
 public:
  void add(std::unique_ptr<I2cTarget> target) { targets_.push_back(std::move(target)); }
  void set(bool clock, bool data);
  // Open drain: low if the host or a target holds it low.
  bool clock() const { return clock_; }
  bool data() const { return data_ && !pulled_; }
  void reset();
  void fields(Visitor& visitor);

 private:
  enum class Phase : u8 { idle, address, to_target, from_target, ignored };
  void rising();
  void falling();
  void start();
  void take_byte();
  I2cTarget* selected() const { return selected_ < targets_.size() ? targets_[selected_].get() : nullptr; }

  std::vector<std::unique_ptr<I2cTarget>> targets_;
  bool clock_ = true, data_ = true;  // as the host drives them
  bool pulled_ = false;              // a target holds the data wire low
  Phase phase_ = Phase::idle;
  u8 shift_ = 0, bit_ = 0;  // bits of the byte; bit_ 8 is the acknowledge
  bool acknowledge_ = false, host_acknowledged_ = true;
  u8 selected_ = 0xff;
};

// Display data: an EDID of 128 bytes at address 0x50 (VESA E-EDID, DDC2B).
std::unique_ptr<I2cTarget> make_edid(u32 width, u32 height);
// Silicon Image SiI9022 HDMI transmitter at address 0x39, a monitor plugged in (Programmer's Reference, TPI).
std::unique_ptr<I2cTarget> make_sii9022();

}  // namespace rhea::devices
