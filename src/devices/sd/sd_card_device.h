// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "devices/device_type.h"

namespace rhea::devices {

// An SD card as a device of the command line (-device sd-card,drive=ID): it says which drive is in the slot; the slot's
// controller has the card's state.
class SdCardDevice final : public Device {
 public:
  explicit SdCardDevice(block::Drive* drive) : drive_(drive) {}
  void reset(ResetKind) override {}
  void fields(Visitor&) override {}
  block::Drive* drive() const { return drive_; }

 private:
  block::Drive* drive_;
};

}  // namespace rhea::devices
