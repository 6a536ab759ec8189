// SPDX-License-Identifier: MIT
#include "net/hub.h"

#include <fmt/format.h>

namespace rhea::net {

HubPort::HubPort(Hub& hub, std::string name) : Port(std::move(name)), hub_(hub) {}

// What all the others take.
Caps HubPort::caps() const {
  if (const Port* other = hub_.only_other_peer(*this)) return other->caps();
  Caps caps{.checksum = true, .tso4 = true, .tso6 = true, .uso = true, .max_frame = kMaxGsoFrame};
  bool any = false;
  for (const auto& port : hub_.ports_) {
    if (port.get() == this || !port->peer()) continue;
    const Caps theirs = port->peer()->caps();
    caps.checksum &= theirs.checksum;
    caps.tso4 &= theirs.tso4;
    caps.tso6 &= theirs.tso6;
    caps.uso &= theirs.uso;
    caps.max_frame = std::min(caps.max_frame, theirs.max_frame);
    any = true;
  }
  return any ? caps : Caps{};
}

Sent HubPort::send(const Frame& frame) {
  bool taken = false;
  bool busy = false;
  for (const auto& port : hub_.ports_) {
    if (port.get() == this || !port->peer()) continue;
    const Sent sent = send_to_peer(*port, frame);
    taken |= sent == Sent::taken;
    busy |= sent == Sent::busy;
  }
  if (!taken && busy) return Sent::busy;
  ++counters_.frames_in;
  counters_.bytes_in += frame.size();
  return taken ? Sent::taken : Sent::dropped;
}

bool HubPort::can_reserve() const {
  const Port* other = hub_.only_other_peer(*this);
  return other && other->can_reserve();
}

bool HubPort::reserve(usize bytes, Reservation& reservation) {
  Port* other = hub_.only_other_peer(*this);
  return other && other->reserve(bytes, reservation);
}

void HubPort::commit(Reservation& reservation, usize used, const Offload& offload) {
  Port* other = hub_.only_other_peer(*this);
  if (!other) return;
  ++counters_.frames_in;
  counters_.bytes_in += used;
  other->commit(reservation, used, offload);
}

void HubPort::abort(Reservation& reservation) {
  if (Port* other = hub_.only_other_peer(*this)) other->abort(reservation);
}

void HubPort::on_room() {
  for (const auto& port : hub_.ports_)
    if (port.get() != this && port->peer()) port->peer()->on_room();
}

void HubPort::on_link(bool up) {
  for (const auto& port : hub_.ports_)
    if (port.get() != this && port->peer()) port->peer()->on_link(up);
}

HubPort& Hub::add_port(std::string name) {
  if (name.empty()) name = fmt::format("hub{}port{}", number_, ports_.size());
  ports_.push_back(std::make_unique<HubPort>(*this, std::move(name)));
  return *ports_.back();
}

void Hub::remove_port(const Port* port) {
  const auto found = std::find_if(ports_.begin(), ports_.end(), [&](const auto& each) { return each.get() == port; });
  if (found == ports_.end()) return;
  Port::disconnect(**found);
  ports_.erase(found);
}

Port* Hub::only_other_peer(const HubPort& from) const {
  Port* found = nullptr;
  for (const auto& port : ports_) {
    if (port.get() == &from || !port->peer()) continue;
    if (found) return nullptr;
    found = port->peer();
  }
  return found;
}

}  // namespace rhea::net
