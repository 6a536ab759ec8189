// SPDX-License-Identifier: MIT
// What changes while the machine runs: backends and filters come and go, links go up and down, NICs announce
// themselves; and what monitors are told of all ports.
#include <algorithm>

#include "net/announcer.h"
#include "net/backend.h"
#include "net/ring_server.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::net {

namespace {

// "macaddr=52:54:..." of a NIC's text, in bytes.
bool mac_of(const Port& nic, std::array<u8, 6>& mac) {
  const std::string info = nic.info();
  const usize at = info.find("macaddr=");
  if (at == std::string::npos || info.size() < at + 8 + 17) return false;
  for (usize i = 0; i < mac.size(); ++i) {
    const auto byte = parse_number("0x" + info.substr(at + 8 + 3 * i, 2));
    if (!byte) return false;
    mac[i] = static_cast<u8>(*byte);
  }
  return true;
}

}  // namespace

std::array<u8, kMinFrame> announcement(std::span<const u8, 6> mac) {
  constexpr usize kType = 12, kBody = 14, kSender = 22, kTarget = 32;
  std::array<u8, kMinFrame> frame{};
  std::fill_n(frame.begin(), 6, u8{0xff});
  std::copy(mac.begin(), mac.end(), frame.begin() + 6);
  store_be<u16>(&frame[kType], 0x8035);
  store_be<u16>(&frame[kBody], 1);
  store_be<u16>(&frame[kBody + 2], 0x0800);
  frame[kBody + 4] = 6;
  frame[kBody + 5] = 4;
  store_be<u16>(&frame[kBody + 6], 3);
  std::copy(mac.begin(), mac.end(), frame.begin() + kSender);
  std::copy(mac.begin(), mac.end(), frame.begin() + kTarget);
  return frame;
}

Result<void> Network::remove(const std::string& id) {
  std::lock_guard lock(loop_.lock());
  const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.id == id; });
  if (entry == entries_.end()) {
    std::vector<std::string> names;
    for (const Entry& known : entries_) names.push_back(known.id);
    return Error("Device '{}' not found{}", id, did_you_mean(id, names)).with_hint("DeviceNotFound");
  }
  std::vector<std::string> gone;
  for (const auto& filter : filters_)
    if (filter->place().netdev == id) gone.push_back(filter->place().id);
  for (const std::string& filter : gone) {
    std::erase_if(filters_, [&](const auto& f) { return f->place().id == filter; });
    if (on_filter_gone) on_filter_gone(filter);
  }
  Port* port = entry->port;
  if (Port* behind = port->peer()) {
    behind->on_link(false);
    Port::disconnect(*port);
    orphans_[id] = behind;
    // A sender that waits for room would wait for ever.
    behind->on_room();
  }
  if (entry->type->hub_port) {
    for (const auto& hub : hubs_) hub->remove_port(port);
    orphans_.erase(id);
  }
  links_down_.erase(id);
  entries_.erase(entry);
  return {};
}

Result<void> Network::set_link(const std::string& name, bool up) {
  std::lock_guard lock(loop_.lock());
  std::vector<std::string> names;
  for (Port* nic : nics_) {
    names.push_back(nic->name());
    if (nic->name() != name) continue;
    if (tell_link) tell_link(*nic, up);
    else nic->on_link(up);
    if (nic->peer()) nic->peer()->on_link(up);
    if (up) links_down_.erase(name);
    else links_down_.insert(name);
    return {};
  }
  for (const Entry& entry : entries_) names.push_back(entry.id);
  Port* backend = find(name);
  if (!backend) return Error("Device '{}' not found{}", name, did_you_mean(name, names)).with_hint("DeviceNotFound");
  if (backend->peer()) backend->peer()->on_link(up);
  backend->on_link(up);
  if (up) links_down_.erase(name);
  else links_down_.insert(name);
  return {};
}

Result<void> Network::announce(const AnnouncePlan& plan) {
  std::lock_guard lock(loop_.lock());
  std::vector<std::string> names;
  for (const Port* nic : nics_) names.push_back(nic->name());
  for (const std::string& name : plan.interfaces)
    if (std::find(names.begin(), names.end(), name) == names.end())
      return Error("'{}' is no NIC of this machine{}", name, did_you_mean(name, names));
  announce_plan_ = plan;
  announced_ = 0;
  if (plan.rounds == 0) return {};
  announce_timer_ = loop_.real_clock().timer([this] {
    announce_now(announce_plan_.interfaces);
    if (++announced_ >= announce_plan_.rounds) return;
    const u64 wait = std::min(announce_plan_.initial + (announced_ - 1) * announce_plan_.step, announce_plan_.max);
    announce_timer_->arm(loop_.real_clock().now() + static_cast<s64>(wait) * kMillisecond);
  });
  announce_timer_->arm(loop_.real_clock().now());
  return {};
}

void Network::announce_now(const std::vector<std::string>& names) {
  for (Port* nic : nics_) {
    std::array<u8, 6> mac;
    if (!names.empty() && std::find(names.begin(), names.end(), nic->name()) == names.end()) continue;
    if (ask_to_announce) ask_to_announce(*nic);
    else if (auto* announcer = dynamic_cast<Announcer*>(nic)) announcer->announce();
    if (!nic->peer() || !mac_of(*nic, mac)) continue;
    std::array<u8, kMinFrame> bytes = announcement(mac);
    const Piece piece{bytes.data(), bytes.size()};
    send_to_peer(*nic, Frame{{&piece, 1}, {}});
  }
}

const Hub* Network::hub_of(const Port* port) const {
  for (const auto& hub : hubs_)
    for (const auto& each : hub->ports())
      if (each.get() == port) return hub.get();
  return nullptr;
}

bool Network::is_shared(const Port* port) const {
  std::lock_guard lock(loop_.lock());
  // Hubs that are joined by others' ports need no second look: a port leads to one backend.
  const Hub* hub = hub_of(Filter::skip(const_cast<Port*>(port)));
  const auto shared = [this](const Port* backend) {
    const Entry* entry = entry_of(backend);
    return entry && entry->type->shared_segment;
  };
  if (!hub) return shared(Filter::skip(const_cast<Port*>(port)));
  return std::any_of(hub->ports().begin(), hub->ports().end(),
                     [&](const auto& each) { return each->peer() && shared(Filter::skip(each->peer())); });
}

std::vector<PortState> Network::states() const {
  std::lock_guard lock(loop_.lock());
  std::vector<PortState> list;
  const auto add = [&](const Port* port) {
    list.push_back({port->name(), port->type(), port->info(), !links_down_.contains(port->name()), port->counters()});
  };
  for (const Port* nic : nics_) add(nic);
  for (const Entry& entry : entries_) add(entry.port);
  for (const auto& hub : hubs_)
    for (const auto& port : hub->ports())
      if (!entry_of(port.get())) add(port.get());
  return list;
}

// Behind QEMU's lines. Out: what the port sent to its peer; in: what it took.
std::string Network::counters_text() const {
  std::string text;
  for (const PortState& port : states()) {
    if (port.type == "hubport") continue;
    const PortCounters& c = port.counters;
    text += fmt::format("  {}: link={} in={} frames, {} bytes out={} frames, {} bytes dropped={}\n", port.name,
                        port.up ? "up" : "down", c.frames_in, c.bytes_in, c.frames_out, c.bytes_out, c.dropped);
  }
  return text.empty() ? text : "traffic:\n" + text;
}

Filter* Network::find_filter(std::string_view id) const {
  for (const auto& filter : filters_)
    if (filter->place().id == id) return filter.get();
  return nullptr;
}

Result<void> Network::add_filter(const FilterConfig& config) {
  std::lock_guard lock(loop_.lock());
  // Before anything is made: a file, a connection.
  Port* backend = nullptr;
  for (const auto& [name, value] : config.options) {
    if (name != "netdev") continue;
    backend = find(value);
    if (!backend) return Error("Parameter 'netdev' expects a network backend id");
    if (dynamic_cast<RingServer*>(backend))
      return Error("Vhost is not supported: the frames of netdev {} go past filters", value);
  }
  const FilterSurroundings around{loop_, wall_clock_, open_line, replaying};
  std::unique_ptr<Filter> filter = RHEA_TRY(make_filter(around, config));
  const FilterPlace& place = filter->place();
  const Filter* beside = nullptr;
  if (place.position.starts_with("id=")) {
    beside = find_filter(place.position.substr(3));
    if (!beside || beside->place().netdev != place.netdev)
      return Error("filter '{}' not found on netdev '{}'", place.position.substr(3), place.netdev);
  }
  filter->insert(*backend, beside);
  filters_.push_back(std::move(filter));
  return {};
}

Result<void> Network::remove_filter(const std::string& id) {
  std::lock_guard lock(loop_.lock());
  Filter* filter = find_filter(id);
  if (!filter) return Error("object '{}' not found", id);
  filter->set_status(false);
  std::erase_if(filters_, [&](const auto& each) { return each.get() == filter; });
  return {};
}

Result<void> Network::set_filter(const std::string& id, const std::string& name, const std::string& value) {
  std::lock_guard lock(loop_.lock());
  Filter* filter = find_filter(id);
  if (!filter) return Error("object '{}' not found", id);
  if (name != "status") return filter->set(name, value);
  if (value != "on" && value != "off") return Error("Invalid value for netfilter status, should be 'on' or 'off'");
  filter->set_status(value == "on");
  return {};
}

Filter::Texts Network::filter_properties(const std::string& id) const {
  std::lock_guard lock(loop_.lock());
  const Filter* filter = find_filter(id);
  return filter ? filter->properties() : Filter::Texts();
}

}  // namespace rhea::net
