// SPDX-License-Identifier: MIT
// The internal PHY of the LAN9118 (datasheet revision 1.5, section 5.5: PHY registers), reached over MII.
// Auto-negotiation ends at once, with a partner that can do 100 Mbit/s full duplex and pause frames.
#pragma once

#include "core/snapshot.h"
#include "util/types.h"

namespace rhea::devices {

class Lan9118Phy {
 public:
  static constexpr unsigned kAddress = 1;

  void reset();
  void fields(Visitor& visitor);
  u16 read(unsigned index);  // reading the interrupt source register clears it
  void write(unsigned index, u16 value);
  void set_link(bool up);  // the cable
  bool link() const;       // as the MAC sees it
  bool loopback() const { return control_ & 0x4000; }
  bool interrupt() const { return source_ & mask_; }

 private:
  void negotiate();

  u16 control_ = 0;
  u16 advertisement_ = 0;
  u16 mode_ = 0;        // 17
  u16 special_ = 0;     // 18
  u16 indication_ = 0;  // 27
  u16 source_ = 0;      // 29
  u16 mask_ = 0;        // 30
  bool cable_ = true;
  bool negotiated_ = false;
  bool link_latched_down_ = false;  // BMSR bit 2 stays low until read
};

}  // namespace rhea::devices
