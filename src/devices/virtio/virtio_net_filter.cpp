// SPDX-License-Identifier: MIT
#include "devices/virtio/virtio_net_filter.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "util/bits.h"

namespace rhea::devices {
namespace {

constexpr u16 kVlanType = 0x8100;
constexpr usize kVlanEnd = 16;  // bytes of a frame up to the VLAN's number

}  // namespace

std::string mac_text(const MacAddress& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

void VirtioNetFilter::fields(Visitor& visitor) {
  visitor.begin("filter", 1);
  visitor.field("promiscuous", promiscuous);
  visitor.field("all_multicast", all_multicast);
  visitor.field("all_unicast", all_unicast);
  visitor.field("no_multicast", no_multicast);
  visitor.field("no_unicast", no_unicast);
  visitor.field("no_broadcast", no_broadcast);
  visitor.field("filter_vlans", filter_vlans);
  visitor.field("unicast_overflow", unicast_overflow_);
  visitor.field("multicast_overflow", multicast_overflow_);
  std::vector<u8> vlans(512), addresses;
  for (usize i = 0; i < vlans_.size(); ++i)
    if (vlans_[i]) vlans[i / 8] |= static_cast<u8>(1u << (i % 8));
  for (const MacAddress& address : addresses_) addresses.insert(addresses.end(), address.begin(), address.end());
  visitor.bytes("vlans", vlans, 512);
  visitor.bytes("addresses", addresses, 2 * kMaxAddresses * 6);
  visitor.end();
  if (!visitor.restoring()) return;
  for (usize i = 0; i < vlans_.size(); ++i) vlans_[i] = i / 8 < vlans.size() && (vlans[i / 8] >> (i % 8) & 1);
  addresses_.clear();
  for (usize at = 0; at + 6 <= addresses.size(); at += 6) {
    MacAddress address;
    std::copy_n(addresses.begin() + static_cast<std::ptrdiff_t>(at), 6, address.begin());
    addresses_.push_back(address);
  }
}

void VirtioNetFilter::clear_table() {
  addresses_.clear();
  unicast_overflow_ = multicast_overflow_ = false;
}

void VirtioNetFilter::add_address(const MacAddress& address) {
  if (addresses_.size() < 2 * kMaxAddresses) addresses_.push_back(address);
}

void VirtioNetFilter::view(RxFilterView& view) const {
  using Mode = RxFilterView::Mode;
  view.promiscuous = promiscuous;
  view.broadcast_allowed = !no_broadcast;
  view.multicast = no_multicast ? Mode::none : all_multicast || multicast_overflow_ ? Mode::all : Mode::normal;
  view.unicast = no_unicast ? Mode::none : all_unicast || unicast_overflow_ ? Mode::all : Mode::normal;
  view.multicast_overflow = multicast_overflow_;
  view.unicast_overflow = unicast_overflow_;
  for (const MacAddress& address : addresses_)
    (address[0] & 1 ? view.multicast_table : view.unicast_table).push_back(mac_text(address));
  // Without the feature all of them come in.
  view.vlan = filter_vlans ? (vlans_.any() ? Mode::normal : Mode::none) : Mode::all;
  for (u16 id = 0; id < vlans_.size(); ++id)
    if (!filter_vlans || vlans_[id]) view.vlan_table.push_back(id);
}

bool VirtioNetFilter::accepts(std::span<const u8> frame, const MacAddress& own) const {
  if (promiscuous || frame.size() < net::kEthernetHeader) return true;
  if (filter_vlans && frame.size() >= kVlanEnd && load_be<u16>(frame.data() + 12) == kVlanType &&
      !vlans_[load_be<u16>(frame.data() + 14) & 0xfff])
    return false;
  MacAddress to;
  std::copy_n(frame.begin(), 6, to.begin());
  const auto listed = [&] { return std::find(addresses_.begin(), addresses_.end(), to) != addresses_.end(); };
  if (to[0] & 1) {
    if (std::all_of(to.begin(), to.end(), [](u8 byte) { return byte == 0xff; })) return !no_broadcast;
    if (no_multicast) return false;
    return all_multicast || multicast_overflow_ || listed();
  }
  if (no_unicast) return false;
  return all_unicast || unicast_overflow_ || to == own || listed();
}

}  // namespace rhea::devices
