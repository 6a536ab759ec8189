// SPDX-License-Identifier: MIT
// What a monitor may ask devices beyond their properties and registers. A device that has an answer implements one of
// these interfaces, and is found by it. All are called under the machine loop's lock.
#pragma once

#include <string>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea {

// An interrupt controller.
class IrqCounter {
 public:
  virtual ~IrqCounter() = default;
  // By interrupt ID: how often it was raised since the start (all CPUs' own ones together).
  virtual std::vector<u64> irq_counts() = 0;
};

// A virtqueue (VIRTIO 1.2, section 2.7). Addresses are the guest's physical ones; 0: the driver has said none yet.
struct VirtqueueView {
  u32 size = 0, limit = 0;  // entries now, and at most
  u32 align = 0;            // bytes
  u64 descriptors = 0, available = 0, used = 0;
  u32 in_use = 0;          // chains that the device has taken and not given back
  u16 next_available = 0;  // of the available ring, to be taken next
  u16 next_used = 0;       // of the used ring, to be filled next
  u16 signalled = 0;       // the used index as of the last interrupt
  bool signalled_valid = false;
};

// A descriptor chain as it stands in the guest's memory.
struct VirtqueueElement {
  struct Descriptor {
    u64 address = 0;
    u32 length = 0;  // bytes
    u16 flags = 0;
  };
  u16 head = 0;
  std::vector<Descriptor> descriptors;
  u16 available_flags = 0, available_index = 0, available_entry = 0;
  u16 used_flags = 0, used_index = 0;
};

struct VirtioView {
  u32 device_id = 0;
  u32 queues = 0;
  u64 offered = 0, negotiated = 0;  // feature bits
  u64 backend = 0;                  // those that the host's side knows
  u8 status = 0, isr = 0;
  u32 queue_select = 0;
  bool broken = false, started = false;
};

class VirtioInsight {
 public:
  virtual ~VirtioInsight() = default;
  virtual VirtioView virtio_view() = 0;
  virtual VirtqueueView virtqueue_view(unsigned queue) = 0;  // one that there is
  // A chain by its place in the available ring. Errors: the queue is not in use; what is there makes no sense.
  virtual Result<VirtqueueElement> virtqueue_element(unsigned queue, u16 index) = 0;
};

// What a network card lets in.
struct RxFilterView {
  bool promiscuous = false, broadcast_allowed = true;
  enum class Mode : u8 { none, normal, all };
  Mode multicast = Mode::normal, unicast = Mode::normal, vlan = Mode::normal;
  bool multicast_overflow = false, unicast_overflow = false;
  std::string main_mac;
  std::vector<std::string> unicast_table, multicast_table;
  std::vector<u16> vlan_table;
};

class RxFilterInsight {
 public:
  virtual ~RxFilterInsight() = default;
  virtual RxFilterView rx_filter_view() = 0;
};

}  // namespace rhea
