// SPDX-License-Identifier: MIT
// The table of backend types, and the network of a machine.
//
// A link is two ports that know each other. Three shapes occur: a NIC and a backend (-netdev, -nic); a NIC
// and a backend each on a port of a hub (-net); and either of them with filters in between, which are ports
// too (Filter::skip looks through them). The Network owns backends, hubs and filters; NICs belong to the
// machine and are told by add_nic. Members take the network loop's lock, since the loop's thread is at work
// in the meantime.
#include <algorithm>
#include <cstdio>

#include "core/property.h"
#include "net/backend.h"
#include "net/backends/datagram_backend.h"
#include "net/backends/l2tpv3_backend.h"
#include "net/backends/stream_backend.h"
#include "net/backends/tap_backend.h"
#include "net/lan/lan_backend.h"
#include "net/user/user_backend.h"
#include "net/vhost/vhost_user_backend.h"
#include "util/text.h"

namespace rhea::net {

namespace {

constexpr OptionRow kHubOptions[] = {
    {OptionRow::number, "hubid", "number of the hub"},
    {OptionRow::text, "netdev", "a backend to plug into the hub"},
};

const BackendType& user_type() {
  static const BackendType type{"user", "network address translation by this process, no privileges needed",
                                user::user_options(), user::UserBackend::create};
  return type;
}

// What QEMU has and Rhea does not yet: refused with what to use meanwhile.
constexpr BackendType kHubport{"hubport", "port of a hub", kHubOptions, nullptr, true};
constexpr BackendType kVhostVdpa{"vhost-vdpa", "not supported yet; use -netdev user", {}, nullptr};

const std::string* option(std::span<const OptionText> options, std::string_view name) {
  const std::string* found = nullptr;
  for (const auto& [key, value] : options)
    if (key == name) found = &value;
  return found;
}

// No frames come by a link to it.
Error no_frames(std::string_view what) {
  return Error("{} serves the rings of a NIC: there are no frames for a hub", what)
      .with_hint("-netdev vhost-user,id=n0,chardev=... -device virtio-net-device,netdev=n0 joins the two.");
}

Result<void> check_known(std::span<const OptionText> options, const std::vector<std::string>& names) {
  for (const auto& [key, value] : options)
    if (std::find(names.begin(), names.end(), key) == names.end())
      return Error("Invalid parameter '{}'{}", key, did_you_mean(key, names));
  return {};
}

}  // namespace

std::span<const BackendType* const> backend_types() {
  static const BackendType* const types[] = {&kSocketType, &kStreamType, &kDgramType,      &kHubport,
                                             &kTapType,    &user_type(), &lan::lan_type(), &kTunnelType,
                                             &kVdeType,    &kBridgeType, &kVhostUserType,  &kVhostVdpa};
  return types;
}

const BackendType* find_backend_type(std::string_view name) {
  for (const BackendType* type : backend_types())
    if (type->name == name) return type;
  return nullptr;
}

Network::Network(EventLoop& loop, Clock& wall_clock, Log& log) : loop_(loop), wall_clock_(wall_clock), log_(log) {}

Network::~Network() {
  std::lock_guard lock(loop_.lock());
  announce_timer_.reset();
  filters_.clear();
  entries_.clear();
  hubs_.clear();
}

std::string Network::made_up_id() {
  std::string id;
  do {
    id = fmt::format("#net{}{:02}", next_id_, (next_id_ * 37 + 23) % 100);
    ++next_id_;
  } while (find(id));
  return id;
}

Result<Port*> Network::add(std::string_view type_name, std::string id, std::span<const OptionText> options) {
  std::lock_guard lock(loop_.lock());
  const BackendType* type = find_backend_type(type_name);
  if (!type) {
    std::vector<std::string> names;
    for (const BackendType* known : backend_types()) names.emplace_back(known->name);
    return Error("Parameter 'type' does not accept value '{}'{}", type_name, did_you_mean(type_name, names));
  }
  if (!id.empty() && find(id)) return Error("Duplicate ID '{}' for netdev", id);
  if (id.empty()) id = made_up_id();
  if (type->hub_port) return add_hubport(id, options);
  if (!type->create) return Error("network backend '{}' is {}", type->name, type->summary);
  const auto warn = [this](std::string line) {
    if (on_warning) on_warning(line);
    else std::fprintf(stderr, "warning: %s\n", line.c_str());
  };
  const auto event = [this](const std::string& name, const std::string& data) {
    if (on_event) on_event(name, data);
  };
  const BackendContext context{id, loop_, wall_clock_, log_, *this, warnings_, warn, event};
  std::unique_ptr<Port> port = RHEA_TRY(type->create(context, options));
  Port* result = port.get();
  entries_.push_back({id, result, std::move(port), type, -1});
  if (const auto orphan = orphans_.find(id); orphan != orphans_.end()) {
    Port::connect(*result, *orphan->second);
    orphan->second->on_link(true);
    orphans_.erase(orphan);
  }
  return result;
}

Result<Port*> Network::add_hubport(const std::string& id, std::span<const OptionText> options) {
  RHEA_TRY(check_known(options, {"hubid", "netdev"}));
  const std::string* number = option(options, "hubid");
  if (!number) return Error("Parameter 'hubid' is missing");
  const auto value = parse_number(*number);
  if (!value || *value > 0x7fffffff) return Error("Parameter 'hubid' expects a number");
  Port* netdev = nullptr;
  if (const std::string* name = option(options, "netdev")) {
    netdev = find(*name);
    if (!netdev) return Error("netdev '{}' not found", *name);
    if (netdev->peer()) return Error("netdev '{}' is in use already", *name);
    if (dynamic_cast<RingServer*>(netdev)) return no_frames(*name);
  }
  HubPort& port = hub(static_cast<unsigned>(*value)).add_port(id);
  if (netdev) Port::connect(port, *netdev);
  entries_.push_back({id, &port, nullptr, &kHubport, -1});
  return &port;
}

Result<Port*> Network::add_on_hub(unsigned number, std::string_view type, std::string id,
                                  std::span<const OptionText> options) {
  std::lock_guard lock(loop_.lock());
  if (const BackendType* known = find_backend_type(type); known && known->hub_port)
    return Error("network backend '{}' is only supported with -netdev/-nic", type);
  if (type == kVhostUserType.name) return no_frames(type);
  Port* port = RHEA_TRY(add(type, std::move(id), options));
  entries_.back().hub = static_cast<int>(number);
  Port::connect(hub(number).add_port(), *port);
  return port;
}

Hub& Network::hub(unsigned number) {
  for (const auto& hub : hubs_)
    if (hub->number() == number) return *hub;
  hubs_.push_back(std::make_unique<Hub>(number));
  return *hubs_.back();
}

Port* Network::add_hub_port(unsigned number) {
  std::lock_guard lock(loop_.lock());
  return &hub(number).add_port();
}

const Network::Entry* Network::entry_of(const Port* port) const {
  for (const Entry& entry : entries_)
    if (entry.port == port) return &entry;
  return nullptr;
}

Port* Network::find(std::string_view id) const {
  for (const Entry& entry : entries_)
    if (entry.id == id) return entry.port;
  return nullptr;
}

Port* Network::attach_point(Port* backend) const {
  std::lock_guard lock(loop_.lock());
  for (auto filter = filters_.rbegin(); filter != filters_.rend(); ++filter) {
    Port& side = (*filter)->guest_side();
    if ((*filter)->place().netdev == backend->name() && !side.peer()) return &side;
  }
  return backend;
}

void Network::add_nic(Port* nic) {
  std::lock_guard lock(loop_.lock());
  nics_.push_back(nic);
}

void Network::remove_nic(Port* nic) {
  std::lock_guard lock(loop_.lock());
  std::erase(nics_, nic);
  std::erase_if(orphans_, [&](const auto& orphan) { return orphan.second == nic; });
}

const Port* Network::nic_with_mac(u64 mac) const {
  const std::string wanted = "macaddr=" + format_mac(mac);
  for (const Port* nic : nics_)
    if (nic->info().find(wanted) != std::string::npos) return nic;
  return nullptr;
}

bool Network::is_nic(const Port* port) const { return std::find(nics_.begin(), nics_.end(), port) != nics_.end(); }

std::vector<std::string> Network::check() const {
  std::lock_guard lock(loop_.lock());
  std::vector<std::string> lines;
  for (const auto& hub : hubs_) {
    bool has_nic = false, has_backend = false;
    for (const auto& port : hub->ports()) {
      const Port* far = Filter::skip(port->peer());
      if (!far) {
        if (entry_of(port.get())) lines.push_back(fmt::format("hub port {} has no peer", port->name()));
        continue;
      }
      (is_nic(far) || far->stands_for_nic() ? has_nic : has_backend) = true;
    }
    if (has_nic && !has_backend) lines.push_back(fmt::format("hub {} is not connected to host network", hub->number()));
    if (has_backend && !has_nic) lines.push_back(fmt::format("hub {} with no nics", hub->number()));
  }
  for (const Entry& entry : entries_)
    if (!entry.type->hub_port && !Filter::skip(entry.port->peer()))
      lines.push_back(fmt::format("netdev {} has no peer", entry.id));
  return lines;
}

std::vector<std::string> Network::take_warnings() {
  std::lock_guard lock(loop_.lock());
  return std::exchange(warnings_, {});
}

// "NAME: index=0,type=TYPE,INFO", and the filters on it.
std::string Network::client_text(const Port* port) const {
  const std::string info = port->info();
  std::string text = fmt::format("{}: index=0,type={},{}\n", port->name(), port->type(), info);
  bool first = true;
  for (const auto& filter : filters_) {
    if (filter->place().netdev != port->name() || !entry_of(port)) continue;
    if (first) text += "filters:\n";
    first = false;
    text += fmt::format("  - {}: {}\n", filter->place().id, filter->info());
  }
  return text;
}

std::string Network::info_network() const {
  std::lock_guard lock(loop_.lock());
  std::string text;
  std::vector<const Port*> shown;
  for (const auto& hub : hubs_) {
    text += fmt::format("hub {}\n", hub->number());
    for (auto port = hub->ports().rbegin(); port != hub->ports().rend(); ++port) {
      const Port* far = Filter::skip((*port)->peer());
      shown.push_back(port->get());
      if (far) shown.push_back(far);
      text += fmt::format(" \\ {}{}", (*port)->name(), far ? ": " + client_text(far) : std::string("\n"));
    }
  }
  const auto is_shown = [&](const Port* port) { return std::find(shown.begin(), shown.end(), port) != shown.end(); };
  for (const Port* nic : nics_) {
    if (is_shown(nic)) continue;
    text += client_text(nic);
    const Port* far = Filter::skip(nic->peer());
    if (!far) continue;
    text += " \\ " + client_text(far);
    shown.push_back(far);
  }
  for (const Entry& entry : entries_)
    if (!is_shown(entry.port)) text += client_text(entry.port);
  return text + counters_text();
}

namespace {

// The user-mode stack of a backend that has one.
user::UserBackend* user_of(Port* port) {
  if (auto* lan = dynamic_cast<lan::LanBackend*>(port)) return &lan->router();
  return dynamic_cast<user::UserBackend*>(port);
}

}  // namespace

std::vector<std::pair<const Network::Entry*, user::UserBackend*>> Network::user_backends() const {
  std::vector<std::pair<const Entry*, user::UserBackend*>> list;
  for (const Entry& entry : entries_)
    if (user::UserBackend* backend = user_of(entry.port)) list.emplace_back(&entry, backend);
  return list;
}

Result<user::UserBackend*> Network::user_backend(const std::string& id) const {
  if (id.empty()) {
    const auto all = user_backends();
    if (!all.empty()) return all.front().second;
    return Error("user mode network stack not in use");
  }
  const Port* port = find(id);
  if (!port) return Error("unrecognized netdev id '{}'", id);
  if (user::UserBackend* backend = user_of(find(id))) return backend;
  return Error("invalid device specified");
}

std::string Network::info_usernet() const {
  std::lock_guard lock(loop_.lock());
  std::string text;
  for (const auto& [entry, backend] : user_backends()) {
    int number = entry->hub;
    for (const auto& hub : hubs_)
      for (const auto& port : hub->ports())
        if (Filter::skip(port->peer()) == entry->port) number = static_cast<int>(hub->number());
    text += backend->info_usernet(number);
  }
  return text;
}

std::string Network::info_usernet_flows() const {
  std::lock_guard lock(loop_.lock());
  std::string text;
  for (const auto& [entry, backend] : user_backends())
    text += fmt::format("{}:\n{}", entry->id, backend->stack().info_flows());
  return text;
}

std::vector<UserFlow> Network::usernet_flows() const {
  std::lock_guard lock(loop_.lock());
  std::vector<UserFlow> flows;
  for (const auto& [entry, backend] : user_backends()) {
    for (UserFlow& flow : backend->stack().flow_list()) {
      flow.netdev = entry->id;
      flows.push_back(std::move(flow));
    }
  }
  return flows;
}

std::vector<UserBlocked> Network::usernet_blocked() const {
  std::lock_guard lock(loop_.lock());
  std::vector<UserBlocked> blocked;
  for (const auto& [entry, backend] : user_backends()) {
    for (UserBlocked& item : backend->stack().blocked_list()) {
      item.netdev = entry->id;
      blocked.push_back(std::move(item));
    }
  }
  return blocked;
}

std::string Network::info_usernet_blocked() const {
  std::string text;
  for (const UserBlocked& item : usernet_blocked())
    text += fmt::format("{}: {} times={} rule=\"{}\"\n", item.netdev, item.what, item.times,
                        item.rule.empty() ? "none allows it" : item.rule);
  return text;
}

std::string Network::hostfwd_add(const std::string& id, const std::string& rule) {
  std::lock_guard lock(loop_.lock());
  auto backend = user_backend(id);
  return backend ? (*backend)->hostfwd_add(rule) : backend.error().message() + "\n";
}

std::string Network::hostfwd_remove(const std::string& id, const std::string& rule) {
  std::lock_guard lock(loop_.lock());
  auto backend = user_backend(id);
  return backend ? (*backend)->hostfwd_remove(rule) : backend.error().message() + "\n";
}

void Network::guest_replaced() {
  std::lock_guard lock(loop_.lock());
  for (const auto& [entry, backend] : user_backends()) backend->stack().guest_replaced();
}

void Network::set_running(bool running) {
  std::lock_guard lock(loop_.lock());
  for (const auto& [entry, backend] : user_backends()) backend->stack().set_running(running);
}

}  // namespace rhea::net
