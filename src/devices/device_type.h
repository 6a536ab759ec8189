// SPDX-License-Identifier: MIT
// The record that describes a type of device, and what a device is given when it is made.
//
// A new device is one source file that ends with such a record, and one line in devices.inc. Nothing registers
// itself: devices/all.cpp lists the records.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "audio/audio.h"
#include "chardev/backend.h"
#include "core/device.h"
#include "display/input.h"
#include "display/screens.h"
#include "fsdev/share.h"
#include "memory/address_space.h"
#include "net/port.h"

namespace rhea::block {
class Drive;
}

namespace rhea::devices {

// What the machine does for a device that asks (a power-off register, a watchdog).
class MachineRequests {
 public:
  virtual ~MachineRequests() = default;
  virtual void request_shutdown() = 0;  // the guest turned the machine off
  virtual void request_reset() = 0;     // the guest asked for a reset
  // Tells whoever controls the machine: an event's name ("BALLOON_CHANGE") and the text of its JSON object. With
  // `origin`, the place of that device among the machine's objects goes along as "qom-path".
  virtual void tell(std::string event, std::string data, const Device* origin = nullptr) = 0;
};

// A wire from one device to another that is no interrupt (for example "card present", "sysreg of the SCU").
// Everything a device may use. References outlive the device.
struct DeviceContext {
  std::string id;                // path-like name for messages and `info qtree`
  memory::AddressSpace& memory;  // for DMA
  EventLoop& loop;               // whose lock guards this device
  EventLoop& net_loop;           // where its network port lives
  Clock& clock;                  // virtual time
  Clock& host_clock;             // wall clock, for real-time clocks
  Log& log;
  MachineRequests& machine;
  std::span<const IrqLine> irqs;  // its outputs, in the order its type documents
  unsigned cpus = 1;              // number of CPUs, for devices with banks
  u64 ram_size = 0;
  chardev::Backend* chardev = nullptr;     // for types that use one
  net::Port* netdev = nullptr;             // the backend to connect to, for NICs (may be nullptr: no peer)
  block::Drive* drive = nullptr;           // for disk devices; nullptr: none
  memory::RamBlock* ram = nullptr;         // the machine's memory for a row that says a size (flash); nullptr: none
  display::Screens* screens = nullptr;     // where displays show themselves
  display::Inputs* inputs = nullptr;       // where keyboards and mice get their events
  const audio::Backends* audio = nullptr;  // where sound goes; a property names one
  const fsdev::Shares* fsdevs = nullptr;   // folders of the host; a property names one
  std::function<void(std::span<u8>)> fill_random = {};  // where random bytes come from; empty: the host
};

// A window of registers that the machine maps.
struct MmioWindow {
  std::string name;
  u64 size = 0;
  memory::MmioHandler* handler = nullptr;
  bool own_lock = false;  // the handler locks for itself (else the loop's lock is taken around it)
  // Memory that is read directly while `direct` is true; writes, and reads while it is not, go to the handler.
  memory::RamBlock* rom = nullptr;
  const std::atomic<bool>* direct = nullptr;
};

// A device on the system bus: fixed windows, interrupt outputs, and inputs that others drive.
class SysbusDevice : public Device {
 public:
  virtual std::span<const MmioWindow> windows() const = 0;
  // Inputs by number (an interrupt controller's SPIs). nullptr: it has none.
  virtual IrqSink* inputs() { return nullptr; }
  // The network port of a NIC; nullptr for others.
  virtual net::Port* port() { return nullptr; }
  // A transport (virtio-mmio): whether a device of a bus can be plugged into it now, and plugging it. The machine
  // keeps owning the device, which outlives neither the transport's use of it nor the machine.
  virtual bool can_plug(Bus bus) const { return false; }
  virtual Result<void> plug(Device& device) { return Error("nothing can be plugged in here"); }
};

// A device on another bus that has a network port (virtio-net).
class HasPort {
 public:
  virtual ~HasPort() = default;
  virtual net::Port* port() = 0;
};

// A device that has a bus of its own (virtio-serial): others of that bus are plugged into it. The machine keeps owning
// them; either may be destroyed first.
class BusOwner {
 public:
  virtual ~BusOwner() = default;
  virtual Bus owned_bus() const = 0;
  virtual Result<void> plug_in(Device& device) = 0;
};

// The network port of any device; nullptr if it has none.
inline net::Port* port_of(Device& device) {
  if (auto* sysbus = dynamic_cast<SysbusDevice*>(&device)) return sysbus->port();
  if (auto* other = dynamic_cast<HasPort*>(&device)) return other->port();
  return nullptr;
}

struct DeviceType {
  std::string_view name;
  std::string_view alias = {};
  Bus bus = Bus::sysbus;
  Category category = Category::misc;
  std::string_view summary = {};
  std::span<const Property> properties = {};
  // A fresh configuration with default values, and the device made of it.
  std::shared_ptr<void> (*make_config)() = nullptr;
  Result<std::unique_ptr<Device>> (*create)(const DeviceContext& context, const void* config) = nullptr;
};

template <typename Config>
std::shared_ptr<void> default_config() {
  return std::make_shared<Config>();
}

// All types, in the order of devices.inc.
std::span<const DeviceType* const> all_device_types();
// By name or alias; nullptr if there is none.
const DeviceType* find_device_type(std::string_view name);

}  // namespace rhea::devices
