// SPDX-License-Identifier: MIT
#include "net/user/udp.h"

#include <algorithm>

#include "net/checksum.h"
#include "net/user/dhcp.h"
#include "net/user/dns.h"

namespace rhea::net::user {

namespace {

constexpr s64 kLifetime = 240 * kSecond;
constexpr usize kMaxFlows = 2048;
constexpr usize kMaxRoutes = 256;
constexpr unsigned kReadsInTurn = 32;

}  // namespace

class Udp::Flow final : public SocketOwner, public Timeout {
 public:
  Flow(Udp& udp, const Endpoint& guest) : Timeout(udp.context_.timeouts), udp_(udp), guest_(guest) {}

  void send(const Packet& packet, const IpAddress& to, u16 port, usize payload_size) {
    touch();
    std::array<Piece, kMaxSegments> pieces;
    const usize count = part_of(*packet.frame, packet.transport + kUdpHeader, payload_size, pieces);
    const auto payload = std::span(pieces).first(count);
    last_remote_ = {packet.to, port, 0};
    if (answer(payload) || udp_.context_.config.restricted) return;
    Socket* socket = socket_for(to, packet);
    if (!socket) return;
    socket->set_ttl(packet.ttl - 1u);
    socket->set_tos(packet.tos);
    IoResult result = socket->send_to({to, port, 0}, payload);
    // An error that an earlier datagram met is told at the next call.
    if (result.error && !result.again()) result = socket->send_to({to, port, 0}, payload);
    Icmp::Error error;
    if (result.error && Icmp::error_of(result.error, error))
      udp_.icmp_.send_error(error, gateway(packet.v6), packet);
  }
  void add_route(const Endpoint& seen, const Endpoint& client, const std::shared_ptr<Socket>& socket) {
    touch();
    if (routes_.size() >= kMaxRoutes) routes_.clear();
    routes_[seen] = {client, socket};
    last_remote_ = seen;
  }
  // Reads some datagrams; false when there is no more.
  bool receive() {
    bool more = false;
    for (unsigned family = 0; family < 2; ++family)
      if (readable_[family]) more |= receive_from(family);
    return more;
  }
  void on_socket(Socket& socket, u32 events) override {
    if (events & kSocketError) relay_errors(socket);
    readable_[socket.v6()] = true;
    if (!queued_) udp_.ready_.push_back(guest_);
    queued_ = true;
  }
  void on_timeout() override { udp_.remove(guest_); }

  const Endpoint& guest() const { return guest_; }
  const Endpoint& last_remote() const { return last_remote_; }
  int fd() const {
    for (const auto& socket : sockets_)
      if (socket) return socket->fd();
    for (const auto& [seen, route] : routes_)
      if (const auto socket = route.socket.lock()) return socket->fd();
    return -1;
  }
  void set_queued(bool queued) { queued_ = queued; }

 private:
  struct Route {
    Endpoint client;
    std::weak_ptr<Socket> socket;
  };
  // To a client that came by a forwarded port; false if the remote end is none.
  bool answer(std::span<const Piece> payload) {
    const auto route = routes_.find(last_remote_);
    if (route == routes_.end()) return false;
    if (const auto socket = route->second.socket.lock()) {
      socket->send_to(route->second.client, payload);
      return true;
    }
    routes_.erase(route);
    return false;
  }
  IpAddress gateway(bool v6) const { return v6 ? udp_.context_.config.host6 : udp_.context_.config.host; }
  void touch() { set_timeout(udp_.context_.now() + kLifetime); }

  Socket* socket_for(const IpAddress& to, const Packet& packet) {
    auto& socket = sockets_[!to.is_v4()];
    if (socket) return socket.get();
    int error = 0;
    socket = udp_.context_.sockets.open(SocketKind::datagram, !to.is_v4(), this, error);
    if (socket) return socket.get();
    Icmp::Error reason;
    if (Icmp::error_of(error, reason)) udp_.icmp_.send_error(reason, gateway(packet.v6), packet);
    return nullptr;
  }
  bool receive_from(unsigned family) {
    Context& context = udp_.context_;
    std::vector<u8>& buffer = udp_.buffer_;
    for (unsigned i = 0; i < kReadsInTurn; ++i) {
      if (context.link.congested()) return true;
      Endpoint from;
      const IoResult result = sockets_[family]->receive_from(from, {buffer.data(), buffer.size()});
      if (result.error) {
        if (!result.again()) continue;
        readable_[family] = false;
        return false;
      }
      touch();
      const Endpoint seen{context.seen_from_guest(from.address), from.port, 0};
      udp_.send_to_guest(seen, guest_, buffer.data(), static_cast<usize>(result.count));
    }
    return true;
  }
  void relay_errors(Socket& socket) {
    SocketError error;
    for (unsigned i = 0; i < 64 && socket.next_error(error); ++i) {
      if (!error.from_icmp) continue;
      const bool v6 = !guest_.address.is_v4();
      std::vector<u8> quote(kUdpHeader + error.payload.size());
      store_be<u16>(quote.data(), guest_.port);
      store_be<u16>(quote.data() + 2, error.to.port);
      store_be<u16>(quote.data() + 4, static_cast<u16>(quote.size()));
      std::copy(error.payload.begin(), error.payload.end(), quote.begin() + kUdpHeader);
      if (socket.v6() != v6) continue;
      udp_.icmp_.relay_error(error.type, error.code, error.info, error.offender, guest_.address,
                             udp_.context_.seen_from_guest(error.to.address), kUdp, quote);
    }
    socket.take_error();
  }

  Udp& udp_;
  Endpoint guest_;
  Endpoint last_remote_;
  std::unique_ptr<Socket> sockets_[2];  // IPv4, IPv6
  bool readable_[2] = {};
  bool queued_ = false;
  std::map<Endpoint, Route> routes_;
};

Udp::Udp(Context& context, Icmp& icmp, Dhcp& dhcp, Dns& dns)
    : context_(context),
      icmp_(icmp),
      dhcp_(dhcp),
      dns_(dns),
      flows_(16, EndpointHash{{context.key}}),
      buffer_(65536) {}
Udp::~Udp() = default;

void Udp::input(const Packet& packet) {
  if (packet.transport_size() < kUdpHeader) return;
  const u8* header = packet.transport_header();
  const u16 to_port = load_be<u16>(header + 2);
  const usize length = load_be<u16>(header + 4);
  if (length < kUdpHeader || length > packet.transport_size()) return;
  const usize payload = length - kUdpHeader;
  const UserConfig& config = context_.config;
  const bool broadcast =
      !packet.v6 && (packet.to == IpAddress::v4(0xffffffff) || packet.to == config.broadcast());
  if (!packet.v6 && to_port == 67 && (broadcast || packet.to == config.host)) {
    std::vector<u8> message(payload);
    packet.frame->copy(packet.transport + kUdpHeader, message.data(), payload);
    return dhcp_.input(packet.source_mac, message.data(), payload);
  }
  if (config.restricted) {
    // Only what a forwarded port brought in may be answered.
    const auto found = flows_.find({packet.from, load_be<u16>(header), 0});
    if (found != flows_.end() && !broadcast) found->second->send(packet, {}, to_port, payload);
    return;
  }
  if (broadcast) return forward(packet, IpAddress::v4(0x7f000001), payload);
  const Destination destination = context_.destination(packet.to);
  if (destination.kind == Destination::dns) {
    if (to_port != 53) return icmp_.send_error(Icmp::Error::port_unreachable, packet.to, packet);
    std::vector<u8> query(payload);
    packet.frame->copy(packet.transport + kUdpHeader, query.data(), payload);
    return dns_.query({packet.from, load_be<u16>(header), 0}, packet.to, query);
  }
  if (destination.kind == Destination::nowhere) {
    if (!packet.to.is_multicast())
      icmp_.send_error(Icmp::Error::host_unreachable, packet.v6 ? config.host6 : config.host, packet);
    return;
  }
  forward(packet, destination.address, payload);
}

void Udp::forward(const Packet& packet, const IpAddress& to, usize payload_size) {
  const u8* header = packet.transport_header();
  const u16 port = load_be<u16>(header + 2);
  if (port == 0 || packet.from.is_unspecified()) return;
  if (Flow* flow = flow_of({packet.from, load_be<u16>(header), 0}))
    flow->send(packet, to, port, payload_size);
}

Udp::Flow* Udp::flow_of(const Endpoint& guest) {
  const auto found = flows_.find(guest);
  if (found != flows_.end()) return found->second.get();
  if (flows_.size() >= std::min(kMaxFlows, context_.sockets.open_file_limit() / 4)) evict_oldest();
  return flows_.emplace(guest, std::make_unique<Flow>(*this, guest)).first->second.get();
}

void Udp::evict_oldest() {
  const auto oldest = std::min_element(flows_.begin(), flows_.end(), [](const auto& a, const auto& b) {
    return a.second->timeout() < b.second->timeout();
  });
  if (oldest != flows_.end()) remove(oldest->first);
}

void Udp::remove(const Endpoint& guest) {
  const auto found = flows_.find(guest);
  if (found == flows_.end()) return;
  gone_.push_back(std::move(found->second));
  flows_.erase(found);
  context_.schedule();
}

void Udp::run() {
  gone_.clear();
  std::vector<Endpoint> ready;
  ready.swap(ready_);
  for (const Endpoint& guest : ready) {
    const auto found = flows_.find(guest);
    if (found == flows_.end()) continue;
    const bool more = found->second->receive();
    found->second->set_queued(more);
    if (more) ready_.push_back(guest);
  }
  if (!ready_.empty() && !context_.link.congested()) context_.schedule();
}

bool Udp::send_to_guest(const Endpoint& from, const Endpoint& guest, const u8* data, usize size) {
  if (size > 65535 - kUdpHeader - kIpv4Header || from.address.is_v4() != guest.address.is_v4()) return false;
  u8 header[kUdpHeader];
  store_be<u16>(header, from.port);
  store_be<u16>(header + 2, guest.port);
  store_be<u16>(header + 4, static_cast<u16>(kUdpHeader + size));
  store_be<u16>(header + 6, 0);
  ChecksumSum sum;
  sum.add_pseudo_header(from.address, guest.address, kUdp, kUdpHeader + size);
  sum.add(header, sizeof header);
  sum.add(data, size);
  store_be<u16>(header + 6, sum.checksum() ? sum.checksum() : 0xffff);
  const Piece pieces[] = {{header, sizeof header}, {const_cast<u8*>(data), size}};
  return context_.link.send_ip({.from = from.address, .to = guest.address, .protocol = kUdp}, pieces);
}

void Udp::deliver(const Endpoint& seen, const Endpoint& guest, const Endpoint& client,
                  const std::shared_ptr<Socket>& socket, const u8* data, usize size) {
  if (Flow* flow = flow_of(guest)) flow->add_route(seen, client, socket);
  send_to_guest(seen, guest, data, size);
}

std::vector<Udp::Row> Udp::rows() const {
  std::vector<Row> rows;
  for (const auto& [guest, flow] : flows_)
    rows.push_back(
        {guest, flow->last_remote(), flow->fd(), std::max<s64>(0, flow->timeout() - context_.now())});
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.guest < b.guest; });
  return rows;
}

}  // namespace rhea::net::user
