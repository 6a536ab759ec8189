// SPDX-License-Identifier: MIT
#include "net/user/stack.h"

#include "net/user/arp.h"
#include "net/user/dhcp.h"
#include "net/user/dhcpv6.h"
#include "net/user/dns.h"
#include "net/user/forwards.h"
#include "net/user/icmp.h"
#include "net/user/ipv6.h"
#include "net/user/metrics.h"
#include "net/user/reassembly.h"
#include "net/user/tcp.h"
#include "net/user/tftp.h"
#include "net/user/udp.h"

namespace rhea::net::user {

const GuestForward* Context::service(const Endpoint& at) const {
  for (const GuestForward& rule : config.guest_forwards)
    if (rule.address == at.address && rule.port == at.port) return &rule;
  return nullptr;
}

bool Context::is_own(const IpAddress& address) const {
  for (const GuestForward& rule : config.guest_forwards)
    if (rule.address == address) return true;
  if (address.is_v4()) return config.ipv4 && (address == config.host || address == config.dns);
  return config.ipv6 && (address == config.host6 || address == config.dns6 || address == config.router6);
}

Destination Context::destination(const IpAddress& to) const {
  if (to.is_multicast() || to.is_loopback() || to.is_unspecified()) return {};
  for (const GuestForward& rule : config.guest_forwards)
    if (rule.address == to) return {Destination::service, {}};
  if (to.is_v4()) {
    if (to == config.host) return {Destination::host, IpAddress::v4(0x7f000001)};
    if (to == config.dns) return {Destination::dns, {}};
    if (to.in_prefix(config.network, config.prefix_length) || to == IpAddress::v4(0xffffffff)) return {};
    return {Destination::host, to};
  }
  if (to == config.host6 || to == config.router6) return {Destination::host, *parse_ipv6("::1")};
  if (to == config.dns6) return {Destination::dns, {}};
  if (to.is_link_local() || to.in_prefix(config.prefix6, config.prefix6_length)) return {};
  return {Destination::host, to};
}

IpAddress Context::seen_from_guest(const IpAddress& peer, bool v4) const {
  const bool hidden = peer.is_loopback() || peer.is_unspecified() || peer.is_v4() != v4;
  if (v4) return hidden || peer.in_prefix(config.network, config.prefix_length) ? config.host : peer;
  return hidden || peer.is_link_local() || peer.in_prefix(config.prefix6, config.prefix6_length) ? config.host6 : peer;
}

Stack::Stack(Port& port, UserConfig config, const Services& services, const MakeSockets& make_sockets)
    : config_(std::move(config)), loop_(services.loop), sockets_(make_sockets([this] { run(); })),
      timeouts_(services.loop.real_clock(), [this] { run(); }),
      link_(port, config_, services.loop.real_clock(), sockets_->random()), policy_(config_),
      devices_(timeouts_), context_{config_,
                                    link_,
                                    *sockets_,
                                    timeouts_,
                                    services.log,
                                    services.warn,
                                    [this] { schedule(); },
                                    sockets_->random(),
                                    policy_,
                                    counters_,
                                    devices_},
      arp_(std::make_unique<Arp>(context_)), reassembly_(std::make_unique<Reassembly>(context_)),
      icmp_(std::make_unique<Icmp>(context_)), ipv6_(std::make_unique<Ipv6>(context_)),
      dhcp_(std::make_unique<Dhcp>(context_)), dhcpv6_(std::make_unique<Dhcpv6>(context_)),
      dns_(std::make_unique<Dns>(context_, *dhcp_)), tftp_(std::make_unique<Tftp>(context_)),
      udp_(std::make_unique<Udp>(context_, Udp::Servers{*icmp_, *dhcp_, *dhcpv6_, *dns_, *tftp_})),
      tcp_(std::make_unique<Tcp>(context_, *icmp_, *dns_)),
      forwards_(std::make_unique<Forwards>(context_, *tcp_, *udp_)) {
  dns_->set_udp(*udp_);
  tftp_->set_udp(*udp_);
  dhcpv6_->set_udp(*udp_);
  link_.on_learned = [this](const IpAddress& address) { tcp_->on_neighbour(address); };
  link_.solicit = [this](const IpAddress& address) {
    if (address.is_v4()) arp_->request(address);
    else ipv6_->solicit(address);
  };
}

Stack::~Stack() = default;

void Stack::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.lock()) run();
  });
}

void Stack::run() {
  scheduled_ = false;
  link_.drain();
  icmp_->run();
  dns_->run();
  tftp_->run();
  tcp_->run();
  udp_->run();
  forwards_->run();
  if (metrics_) metrics_->run();
}

void Stack::on_room() {
  link_.on_room();
  schedule();
}

void Stack::lease_singly(const IpAddress& first, u16 first6, std::function<IpAddress()> more) {
  config_.dhcp6_start = first6;
  dhcp_->lease_singly(first, std::move(more));
}

void Stack::guest_replaced() { tcp_->forget_all(); }

void Stack::set_running(bool running) { tcp_->set_running(running); }

namespace {

// For the stack or for everybody. On a hub there are also frames from one guest to another.
bool is_for_us(const u8* mac) { return (mac[0] & 1) || (mac[0] == 0x52 && (mac[1] == 0x55 || mac[1] == 0x56)); }

}  // namespace

void Stack::input(const Frame& frame) {
  Packet packet;
  packet.frame = &frame;
  packet.head_size = frame.copy(0, packet.head.data(), packet.head.size());
  if (packet.head_size < kEthernetHeader || !is_for_us(packet.head.data())) return;
  std::memcpy(packet.to_mac.data(), packet.head.data(), 6);
  std::memcpy(packet.source_mac.data(), packet.head.data() + 6, 6);
  switch (load_be<u16>(packet.head.data() + 12)) {
    case kTypeArp: return arp_->input(packet.head.data(), packet.head_size);
    case kTypeIpv4:
      if (config_.ipv4) input_ipv4(packet);
      return;
    case kTypeIpv6:
      if (config_.ipv6) input_ipv6(packet);
      return;
    default: return;
  }
}

void Stack::input_ipv4(Packet& packet) {
  const u8* ip = packet.head.data() + packet.network;
  if (packet.head_size < kEthernetHeader + kIpv4Header || ip[0] >> 4 != 4) return;
  const usize header = (ip[0] & 15u) * 4;
  const usize total = load_be<u16>(ip + 2);
  if (header < kIpv4Header || total < header || kEthernetHeader + total > packet.frame->size()) return;
  packet.from = IpAddress::from_wire(ip + 12, true);
  packet.to = IpAddress::from_wire(ip + 16, true);
  packet.protocol = ip[9];
  packet.ttl = ip[8];
  packet.tos = ip[1];
  packet.do_not_fragment = ip[6] & 0x40;
  packet.transport = packet.network + header;
  packet.end = packet.network + total;
  if (packet.from.is_multicast() || packet.from.is_loopback() || context_.is_own(packet.from)) return;
  if (packet.from.in_prefix(config_.network, config_.prefix_length) && packet.from != config_.broadcast())
    link_.learn(packet.from, packet.source_mac);
  if (load_be<u16>(ip + 6) & 0x3fff) {
    const std::vector<u8> whole = reassembly_->add(packet);
    if (whole.empty()) return;
    const Piece piece{const_cast<u8*>(whole.data()), whole.size()};
    return input(Frame{std::span(&piece, 1), {}});
  }
  dispatch(packet);
}

void Stack::input_ipv6(Packet& packet) {
  const u8* ip = packet.head.data() + packet.network;
  if (packet.head_size < kEthernetHeader + kIpv6Header || ip[0] >> 4 != 6) return;
  const usize payload = load_be<u16>(ip + 4);
  if (kEthernetHeader + kIpv6Header + payload > packet.frame->size()) return;
  packet.v6 = true;
  packet.from = IpAddress::from_wire(ip + 8, false);
  packet.to = IpAddress::from_wire(ip + 24, false);
  packet.protocol = ip[6];
  packet.ttl = ip[7];
  packet.tos = static_cast<u8>(ip[0] << 4 | ip[1] >> 4);
  packet.transport = packet.network + kIpv6Header;
  packet.end = packet.transport + payload;
  // An IPv4 address in IPv6 clothes does not go on a wire (RFC 4942, section 2.2).
  if (packet.from.is_v4() || packet.to.is_v4() || packet.from.is_multicast() || packet.from.is_loopback() ||
      context_.is_own(packet.from))
    return;
  if (packet.from.is_link_local() || packet.from.in_prefix(config_.prefix6, config_.prefix6_length))
    link_.learn(packet.from, packet.source_mac);
  if (skip_extensions(packet)) dispatch(packet);
}

// Options for hops and the destination, and a route that is used up, say nothing to this stack (RFC 8200,
// section 4). False when the packet ends here: a fragment, or headers that make no sense.
bool Stack::skip_extensions(Packet& packet) {
  constexpr u8 kHopByHop = 0, kRouting = 43, kFragment = 44, kDestination = 60;
  for (unsigned count = 0;; ++count) {
    const u8 type = packet.protocol;
    if (type != kHopByHop && type != kRouting && type != kFragment && type != kDestination) return true;
    if (count == 8 || packet.transport + 8 > std::min(packet.head_size, packet.end)) return false;
    const u8* header = packet.transport_header();
    if (type == kFragment) {
      const std::vector<u8> whole = reassembly_->add6(packet);
      if (whole.empty()) return false;
      const Piece piece{const_cast<u8*>(whole.data()), whole.size()};
      input(Frame{std::span(&piece, 1), {}});
      return false;
    }
    if (type == kRouting && header[3]) return false;
    packet.protocol = header[0];
    packet.transport += (header[1] + 1u) * 8;
    if (packet.transport > std::min(packet.head_size, packet.end)) return false;
  }
}

void Stack::dispatch(Packet& packet) {
  // The gateway is a router: what it passes on loses a hop (RFC 1812, section 5.3.1).
  if (packet.ttl <= 1 && !context_.is_own(packet.to) && context_.destination(packet.to).kind == Destination::host)
    return icmp_->send_error(Icmp::Error::time_exceeded, packet.v6 ? config_.host6 : config_.host, packet);
  switch (packet.protocol) {
    case kTcp: return tcp_->input(packet);
    case kUdp: return udp_->input(packet);
    case kIcmp:
      if (!packet.v6) icmp_->input(packet);
      return;
    case kIcmpv6:
      if (packet.v6 && !ipv6_->input(packet)) icmp_->input(packet);
      return;
    default: return;
  }
}

void Stack::look_up_names() {
  for (GuestForward& rule : config_.guest_forwards) {
    if (rule.target_name.empty()) continue;
    const std::vector<IpAddress> found = sockets_->addresses_of(rule.target_name);
    if (!found.empty()) rule.target.address = found.front();
    else context_.warn(fmt::format("guestfwd={}: no address of '{}' is known", rule.text, rule.target_name));
  }
  if (config_.tftp_server.empty()) return;
  if (const auto literal = parse_ipv4(config_.tftp_server)) {
    config_.tftp_address = *literal;
    return;
  }
  for (const IpAddress& address : sockets_->addresses_of(config_.tftp_server)) {
    if (!address.is_v4()) continue;
    config_.tftp_address = address;
    return;
  }
  context_.warn(
      fmt::format("tftp-server-name={}: no address of it is known; DHCP names this host instead", config_.tftp_server));
}

Result<void> Stack::open_metrics(const std::string& name) {
  if (config_.metrics.empty()) return {};
  metrics_ = std::make_unique<Metrics>(*sockets_, timeouts_, [this, name] { return prometheus(name); });
  return metrics_->open(config_.metrics);
}

Result<void> Stack::add_forward(const ForwardRule& rule) { return forwards_->add(rule); }
bool Stack::remove_forward(const ForwardRule& rule) { return forwards_->remove(rule); }
void Stack::join(const Endpoint& guest, sys::Fd stream) {
  forwards_->join(guest, std::move(stream));
  schedule();
}
usize Stack::tcp_flows() const { return tcp_->flows(); }
usize Stack::udp_flows() const { return udp_->flows(); }

namespace {

std::string row_text(const std::string& name, int fd, const Endpoint& from, const Endpoint& to, usize receive_queue,
                     usize send_queue) {
  const std::string source = from.address.is_unspecified() ? "*" : from.address.text();
  return fmt::format("{:<19} {:>3} {:>15} {:>5} {:>15} {:>5} {:>5} {:>5}\n", name, fd, source, from.port,
                     to.address.text(), to.port, receive_queue, send_queue);
}

std::string mac_text(const Mac& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

// A rule's line; "CLOSED" while the guest's port does not answer (hostfwd-listen=probe).
std::string forward_text(const Forwards::Row& row) {
  const char* state = row.listening ? "  TCP[HOST_FORWARD]" : "  TCP[FORWARD_CLOSED]";
  if (row.path.empty()) return row_text(state, row.fd, row.host, row.guest, 0, 0);
  return fmt::format("{:<19} {:>3} {} {:>15} {:>5} {:>5} {:>5}\n", state, row.fd, "unix:" + row.path,
                     row.guest.address.text(), row.guest.port, 0, 0);
}

}  // namespace

std::string Stack::info() const {
  std::string text = "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n";
  for (const auto& row : tcp_->rows())
    text += row_text(fmt::format("  TCP[{}]", row.state), row.fd, row.key.guest, row.key.remote, row.receive_queue,
                     row.send_queue);
  for (const auto& row : forwards_->rows())
    if (!row.udp) text += forward_text(row);
  for (const auto& row : udp_->rows())
    text += row_text(fmt::format("  UDP[{} sec]", row.left / kSecond), row.fd, row.guest, row.remote, 0, 0);
  for (const auto& row : forwards_->rows())
    if (row.udp) text += row_text("  UDP[HOST_FORWARD]", row.fd, row.host, row.guest, 0, 0);
  for (const auto& row : icmp_->rows())
    text += fmt::format("{:<19} {:>3} {:>15}  -    {:>15}  -    {:>5} {:>5}\n",
                        fmt::format("  ICMP[{} sec]", row.left / kSecond), row.fd, row.guest.text(), row.remote.text(),
                        0, 0);
  return text;
}

std::vector<UserFlow> Stack::flow_list() const {
  std::vector<UserFlow> flows;
  for (const auto& row : tcp_->rows())
    flows.push_back({.protocol = "tcp",
                     .state = row.state,
                     .guest = row.key.guest.text(),
                     .remote = row.key.remote.text(),
                     .to_guest = row.stats.to_guest,
                     .to_host = row.stats.to_host,
                     .segments_to_guest = row.stats.segments_to_guest,
                     .segments_to_host = row.stats.segments_to_host,
                     .retransmissions = row.stats.retransmissions,
                     .round_trip = row.round_trip,
                     .last_drop = row.stats.last_drop});
  for (const auto& row : udp_->rows())
    flows.push_back({.protocol = "udp", .guest = row.guest.text(), .remote = row.remote.text(), .expires = row.left});
  for (const auto& row : icmp_->rows())
    flows.push_back({.protocol = "icmp", .guest = row.guest.text(), .remote = row.remote.text(), .expires = row.left});
  return flows;
}

std::string Stack::info_flows() const {
  std::string text;
  for (const UserFlow& flow : flow_list()) {
    if (flow.protocol != "tcp") {
      text += fmt::format("{} {} -> {} expires-s={}\n", flow.protocol, flow.guest, flow.remote, flow.expires / kSecond);
      continue;
    }
    text += fmt::format("tcp {} {} -> {} to-guest={} to-host={} segments={}/{} retransmissions={} rtt-us={}{}\n",
                        flow.state, flow.guest, flow.remote, flow.to_guest, flow.to_host, flow.segments_to_guest,
                        flow.segments_to_host, flow.retransmissions, flow.round_trip / 1000,
                        flow.last_drop.empty() ? "" : fmt::format(" last-drop=\"{}\"", flow.last_drop));
  }
  for (const auto& row : dhcp_->rows())
    text += fmt::format("lease {} {}{}{}\n", row.address.text(), mac_text(row.mac),
                        row.name.empty() ? "" : " " + row.name, row.reserved ? " (kept)" : "");
  return text;
}

std::vector<UserBlocked> Stack::blocked_list() const {
  std::vector<UserBlocked> list;
  for (const Policy::Blocked& item : policy_.blocked()) {
    const char* protocol = item.protocol == kTcp ? "tcp" : item.protocol == kUdp ? "udp" : "icmp";
    list.push_back({.what = item.name.empty() ? fmt::format("{} {}", protocol, item.to.text()) : "name " + item.name,
                    .rule = item.rule,
                    .times = item.count});
  }
  return list;
}

// The text format of Prometheus, version 0.0.4.
std::string Stack::prometheus(const std::string& name) const {
  std::string text;
  const auto add = [&](const char* metric, const char* type, u64 value) {
    text +=
        fmt::format("# TYPE rhea_usernet_{0} {1}\nrhea_usernet_{0}{{netdev=\"{2}\"}} {3}\n", metric, type, name, value);
  };
  add("tcp_flows", "gauge", tcp_->flows());
  add("udp_flows", "gauge", udp_->flows());
  add("dns_queries_open", "gauge", dns_->queries());
  add("tftp_transfers", "gauge", tftp_->transfers());
  add("tcp_connections_from_guest_total", "counter", counters_.tcp_from_guest);
  add("tcp_connections_to_guest_total", "counter", counters_.tcp_to_guest);
  add("tcp_connections_failed_total", "counter", counters_.tcp_failed);
  add("tcp_connections_limited_total", "counter", counters_.tcp_limited);
  add("tcp_retransmissions_total", "counter", counters_.retransmissions);
  add("udp_flows_total", "counter", counters_.udp_flows);
  add("udp_datagrams_to_host_total", "counter", counters_.udp_to_host);
  add("udp_datagrams_to_guest_total", "counter", counters_.udp_to_guest);
  add("udp_datagrams_throttled_total", "counter", counters_.udp_throttled);
  add("dns_queries_total", "counter", counters_.dns_queries);
  add("dns_answers_own_total", "counter", counters_.dns_own);
  add("dns_failures_total", "counter", counters_.dns_failed);
  add("blocked_total", "counter", policy_.total_blocked());
  add("link_dropped_total", "counter", link_.dropped());
  return text;
}

}  // namespace rhea::net::user
