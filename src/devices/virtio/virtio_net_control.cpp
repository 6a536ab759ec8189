// SPDX-License-Identifier: MIT
// The control queue (VIRTIO 1.2, section 5.1.6.5).
#include <algorithm>
#include <array>
#include <utility>

#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_net_features.h"
#include "util/bits.h"

namespace rhea::devices {

using namespace virtio_net;

namespace {

enum Class : u8 { kReceiveModes = 0, kMacAddresses = 1, kVlans = 2, kAnnounce = 3, kOffloads = 5 };
enum Ack : u8 { kOk = 0, kError = 1 };
constexpr usize kMaxCommand = 64 * 1024;
constexpr unsigned kMaxCommands = 128;  // at one notification

}  // namespace

void VirtioNet::run_control() {
  if (!live(control_queue_)) return;
  Chain chain;
  std::vector<u8> command;
  for (unsigned done = 0; done < kMaxCommands; ++done) {
    Virtqueue::Taken taken = control_queue_.take(chain);
    if (taken == Virtqueue::Taken::none && control_queue_.enable_notification()) taken = control_queue_.take(chain);
    if (taken == Virtqueue::Taken::broken) report_broken();
    if (taken != Virtqueue::Taken::chain) break;
    u8 ack = kError;
    if (chain.readable_bytes >= 2 && chain.readable_bytes <= kMaxCommand && chain.writable_bytes >= 1) {
      command.resize(chain.readable_bytes);
      Virtqueue::read(chain, 0, command.data(), command.size());
      if (control_command(command[0], command[1], std::span<const u8>(command).subspan(2))) ack = kOk;
    } else {
      log_.guest_error("{}: a control command of {} bytes, with {} for the answer", name(), chain.readable_bytes,
                       chain.writable_bytes);
    }
    control_queue_.give_back(chain.head, static_cast<u32>(control_queue_.write(chain, 0, &ack, 1)));
  }
  if (control_queue_.publish() && transport_) transport_->interrupt_queue(kControl);
}

bool VirtioNet::control_command(u8 type, u8 command, std::span<const u8> data) {
  switch (type) {
    case kReceiveModes: return (features_ & kCtrlRx) && control_receive(command, data);
    case kMacAddresses: return control_mac(command, data);
    case kVlans: return (features_ & kCtrlVlan) && control_vlan(command, data);
    case kAnnounce:
      if (command != 0 || !(features_ & kGuestAnnounce)) return false;
      announce_ = false;
      return true;
    case kOffloads: return (features_ & kCtrlGuestOffloads) && control_offloads(command, data);
    default: return false;
  }
}

bool VirtioNet::control_receive(u8 command, std::span<const u8> data) {
  if (data.empty()) return false;
  const bool on = data[0];
  const std::array<bool*, 6> modes = {&filter_.promiscuous,  &filter_.all_multicast, &filter_.all_unicast,
                                      &filter_.no_multicast, &filter_.no_unicast,    &filter_.no_broadcast};
  if (command >= modes.size() || (command >= 2 && !(features_ & kCtrlRxExtra))) return false;
  if (*modes[command] != on) filter_changed();
  *modes[command] = on;
  return true;
}

bool VirtioNet::control_mac(u8 command, std::span<const u8> data) {
  if (command == 0) return (features_ & kCtrlRx) && set_mac_table(data);
  if (command != 1 || !(features_ & kCtrlMacAddr) || data.size() < mac_.size()) return false;
  std::copy_n(data.begin(), mac_.size(), mac_.begin());
  filter_changed();
  return true;
}

// Two lists, unicast and multicast, each with its length in front.
bool VirtioNet::set_mac_table(std::span<const u8> data) {
  std::array<std::span<const u8>, 2> lists;
  for (auto& list : lists) {
    if (data.size() < 4) return false;
    const u64 bytes = u64{load_le<u32>(data.data())} * 6;
    data = data.subspan(4);
    if (bytes > data.size()) return false;
    list = data.first(bytes);
    data = data.subspan(bytes);
  }
  filter_changed();
  filter_.clear_table();
  for (unsigned kind = 0; kind < 2; ++kind) {
    const std::span<const u8> list = lists[kind];
    if (list.size() / 6 > VirtioNetFilter::kMaxAddresses) {
      filter_.set_overflow(kind == 1);
      continue;
    }
    for (usize at = 0; at < list.size(); at += 6) {
      MacAddress address;
      std::copy_n(list.begin() + static_cast<std::ptrdiff_t>(at), 6, address.begin());
      filter_.add_address(address);
    }
  }
  return true;
}

bool VirtioNet::control_vlan(u8 command, std::span<const u8> data) {
  if (data.size() < 2 || command > 1) return false;
  const u16 id = load_le<u16>(data.data());
  if (id > 0xfff) return false;
  filter_.set_vlan(id, command == 0);
  filter_changed();
  return true;
}

// One telling until somebody looks, as many as changes may be.
void VirtioNet::filter_changed() {
  if (!std::exchange(tell_of_filter_, false)) return;
  machine_.tell("NIC_RX_FILTER_CHANGED", "{}", this);
}

RxFilterView VirtioNet::rx_filter_view() {
  std::lock_guard lock(mutex_);
  tell_of_filter_ = true;
  RxFilterView view;
  filter_.view(view);
  view.main_mac = mac_text(mac_);
  return view;
}

VirtqueueView VirtioNet::virtqueue_view(unsigned index) {
  std::lock_guard lock(mutex_);
  return VirtioDevice::virtqueue_view(index);
}
Result<VirtqueueElement> VirtioNet::virtqueue_element(unsigned index, u16 place) {
  std::lock_guard lock(mutex_);
  return VirtioDevice::virtqueue_element(index, place);
}

bool VirtioNet::control_offloads(u8 command, std::span<const u8> data) {
  if (command != 0 || data.size() < 8) return false;
  const u64 wanted = load_le<u64>(data.data());
  if (wanted & ~(features_ & kGuestOffloads)) return false;
  apply_guest_offloads(wanted);
  return true;
}

}  // namespace rhea::devices
