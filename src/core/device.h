// SPDX-License-Identifier: MIT
// A device of the machine, and the record that describes its type.
//
// A device is made by its type's `create` with everything it needs handed in (DeviceContext): memory for DMA,
// interrupt lines, clocks, loops, backends. It never reaches for anything else. A new device is one source file
// and one line in devices/devices.inc.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/event_loop.h"
#include "core/irq.h"
#include "core/property.h"
#include "core/snapshot.h"
#include "util/log.h"
#include "util/result.h"

namespace rhea {

enum class ResetKind : u8 { power_on, warm };

class Device {
 public:
  virtual ~Device() = default;
  virtual void reset(ResetKind kind) = 0;
  virtual void fields(Visitor& visitor) = 0;
  // The machine runs or is paused (its virtual clock stands).
  virtual void set_running(bool running) {}
};

// The bus a device sits on. `sysbus` devices are wired by the board and cannot be added with -device.
enum class Bus : u8 { sysbus, virtio, virtio_serial, sd, pci, usb, none };
enum class Category : u8 { controller, network, input, display, sound, storage, misc, cpu, bridge, usb };

std::string_view bus_name(Bus bus);
std::string_view category_name(Category category);

}  // namespace rhea
