// SPDX-License-Identifier: MIT
// What a virtio network device receives, as the driver sets it through the control queue (VIRTIO 1.2, sections
// 5.1.6.5.1 to 5.1.6.5.3).
#pragma once

#include <array>
#include <bitset>
#include <span>
#include <string>
#include <vector>

#include "core/insight.h"
#include "core/snapshot.h"
#include "net/frame.h"
#include "util/types.h"

namespace rhea::devices {

using MacAddress = std::array<u8, 6>;
std::string mac_text(const MacAddress& mac);  // "52:54:00:12:34:56"

class VirtioNetFilter {
 public:
  static constexpr usize kMaxAddresses = 64;  // of each kind; with more, all of that kind come in

  bool promiscuous = true;  // until the driver says otherwise
  bool all_multicast = false, all_unicast = false;
  bool no_multicast = false, no_unicast = false, no_broadcast = false;
  bool filter_vlans = false;  // the feature was negotiated

  void reset() { *this = VirtioNetFilter{}; }
  void fields(Visitor& visitor);
  void set_vlan(u16 id, bool on) { vlans_[id & 0xfff] = on; }
  void clear_table();
  void add_address(const MacAddress& address);
  void set_overflow(bool multicast) { (multicast ? multicast_overflow_ : unicast_overflow_) = true; }

  void view(RxFilterView& view) const;

  bool accepts(std::span<const u8> start_of_frame, const MacAddress& own) const;

 private:
  std::bitset<4096> vlans_;
  std::vector<MacAddress> addresses_;
  bool unicast_overflow_ = false, multicast_overflow_ = false;
};

}  // namespace rhea::devices
