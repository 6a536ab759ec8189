// SPDX-License-Identifier: MIT
#include "net/backends/wire.h"

#include "core/property.h"

namespace rhea::net {

WireBackend::WireBackend(const BackendContext& context)
    : Port(context.id), loop_(context.loop), event_(context.event), network_(context.network), warn_(context.warn) {}

void WireBackend::say(const std::string& text) const {
  if (warn_) warn_(fmt::format("netdev {}: {}", name(), text));
}

Sent WireBackend::deliver(const Frame& frame) {
  if (!link_up_ || frame.size() < kEthernetHeader) {
    ++counters_.dropped;
    return Sent::dropped;
  }
  if (!clash_said_) look_for_clash(frame);
  return send_to_peer(*this, frame);
}

Sent WireBackend::counted(Sent sent, const Frame& frame) {
  if (sent == Sent::dropped) ++counters_.dropped;
  if (sent != Sent::taken) return sent;
  ++counters_.frames_in;
  counters_.bytes_in += frame.size();
  return sent;
}

// Only what is sent to all: every host does that soon, and it is little.
void WireBackend::look_for_clash(const Frame& frame) {
  u8 head[12];
  if (frame.copy(0, head, sizeof head) != sizeof head || !(head[0] & 1)) return;
  u64 mac = 0;
  for (unsigned i = 6; i < 12; ++i) mac = mac << 8 | head[i];
  const Port* nic = network_.nic_with_mac(mac);
  if (!nic) return;
  // Another NIC of this machine may be on the segment by a backend of its own.
  const Port* beyond = Filter::skip(nic->peer());
  if (beyond != this && !dynamic_cast<const HubPort*>(beyond)) return;
  clash_said_ = true;
  say(
      fmt::format("another guest on this segment has the MAC address {} of NIC {}: frames for one of them go astray; "
                  "give each guest its own with mac=",
                  format_mac(mac), nic->name()));
}

}  // namespace rhea::net
