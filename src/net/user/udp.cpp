// SPDX-License-Identifier: MIT
#include "net/user/udp.h"

#include <algorithm>
#include <cerrno>

#include "net/checksum.h"
#include "net/user/dhcp.h"
#include "net/user/dhcpv6.h"
#include "net/user/dns.h"
#include "net/user/tftp.h"

namespace rhea::net::user {

namespace {

constexpr s64 kLifetime = 240 * kSecond;
constexpr usize kMaxFlows = 2048;
constexpr usize kMaxRoutes = 256;
constexpr unsigned kReadsInTurn = 32;
constexpr usize kMostSegments = 64;  // of UDP_SEGMENT
constexpr usize kMostBytes = 65000;
// A stream: so many datagrams, none later than that behind the one before.
constexpr unsigned kStreamAfter = 32;
constexpr s64 kStreamGap = kMillisecond / 5;
constexpr u8 kUnreachable = 3, kFragmentationNeeded = 4;  // RFC 792
constexpr u8 kPacketTooBig = 2;                           // RFC 4443

// Whether the guest wants no fragments of it: IPv6 has none but the sender's, and what came in fragments may go on so.
bool stays_whole(const Packet& packet) {
  const bool fits = packet.frame->offload.gso != Offload::none || packet.end - packet.network <= kMtu;
  return fits && (packet.v6 || packet.do_not_fragment);
}

}  // namespace

class Udp::Flow final : public SocketOwner, public Timeout {
 public:
  Flow(Udp& udp, const Endpoint& guest) : Timeout(udp.context_.timeouts), udp_(udp), guest_(guest) {}

  void send(const Packet& packet, const IpAddress& to, u16 port, usize payload_size) {
    const s64 now = touch();
    std::array<Piece, kMaxSegments> pieces;
    const usize count = part_of(*packet.frame, packet.transport + kUdpHeader, payload_size, pieces);
    const auto payload = std::span(pieces).first(count);
    const Offload& offload = packet.frame->offload;
    const u16 segment = offload.gso == Offload::udp_l4 ? offload.gso_size : u16{0};
    last_remote_ = {packet.to, port, 0};
    if (answer(payload, segment) || udp_.context_.config.restricted) return;
    Socket* socket = socket_for(to, packet);
    if (!socket) return;
    const bool streams = in_stream(now);
    if (segment || payload_size == 0 || (!streams && sent_turn_ != udp_.turn_)) {
      udp_.flush();
      send_now(socket, {to, port, 0}, packet, payload, segment);
    } else {
      gather(socket, {to, port, 0}, packet, payload, payload_size);
      Burst& burst = udp_.burst_;
      if (!streams) burst.due = 0;
      else if (burst.count == 1) burst.due = sent_at_ + kGatherTime;
    }
    sent_turn_ = udp_.turn_;
    udp_.context_.schedule();
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

  bool has_route(const Endpoint& seen) const { return routes_.contains(seen); }
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
  // What the socket's error queue says goes to the guest as ICMP.
  // `sent`: where the datagram was to go that was just refused.
  void relay_errors(Socket& socket, const Endpoint& sent = {});

 private:
  struct Route {
    Endpoint client;
    std::weak_ptr<Socket> socket;
  };
  // To a client that came by a forwarded port; false if the remote end is none.
  bool answer(std::span<const Piece> payload, u16 segment) {
    const auto route = routes_.find(last_remote_);
    if (route == routes_.end()) return false;
    if (const auto socket = route->second.socket.lock()) {
      socket->send_to(route->second.client, payload, segment);
      return true;
    }
    routes_.erase(route);
    return false;
  }
  void send_now(Socket* socket, const Endpoint& to, const Packet& packet, std::span<const Piece> payload, u16 segment) {
    socket->set_ttl(packet.ttl - 1u);
    socket->set_tos(packet.tos);
    socket->set_whole(stays_whole(packet));
    IoResult result = socket->send_to(to, payload, segment);
    if (result.error == EMSGSIZE) return relay_errors(*socket, to);
    // An error that an earlier datagram met is told at the next call.
    if (result.error && !result.again()) result = socket->send_to(to, payload, segment);
    Icmp::Error error;
    if (result.error && Icmp::error_of(result.error, error)) udp_.icmp_.send_error(error, gateway(packet.v6), packet);
  }
  void gather(Socket* socket, const Endpoint& to, const Packet& packet, std::span<const Piece> payload, usize size) {
    Burst& burst = udp_.burst_;
    const bool same = burst.flow == this && burst.socket == socket && burst.to == to && burst.ttl == packet.ttl &&
                      burst.tos == packet.tos && burst.whole == stays_whole(packet) && size <= burst.segment &&
                      burst.bytes.size() == burst.count * burst.segment && burst.bytes.size() + size <= kMostBytes &&
                      burst.count < kMostSegments;
    if (!same) {
      udp_.flush();
      burst.flow = this;
      burst.socket = socket;
      burst.to = to;
      burst.seen = packet.to;
      burst.ttl = packet.ttl;
      burst.tos = packet.tos;
      burst.whole = stays_whole(packet);
      burst.segment = size;
      burst.count = 0;
    }
    for (const Piece& piece : payload) burst.bytes.insert(burst.bytes.end(), piece.data, piece.data + piece.size);
    ++burst.count;
  }
  IpAddress gateway(bool v6) const { return v6 ? udp_.context_.config.host6 : udp_.context_.config.host; }
  bool in_stream(s64 now) {
    streak_ = now - sent_at_ <= kStreamGap ? streak_ + 1 : 0;
    sent_at_ = now;
    return streak_ >= kStreamAfter;
  }
  // Returns the time.
  s64 touch() {
    const s64 now = udp_.context_.now();
    set_timeout(now + kLifetime);
    return now;
  }

  Socket* socket_for(const IpAddress& to, const Packet& packet) {
    auto& socket = sockets_[!to.is_v4()];
    if (socket) return socket.get();
    int error = 0;
    socket = udp_.context_.sockets.open(SocketKind::datagram, !to.is_v4(), this, error);
    if (socket) {
      socket->join_datagrams();
      return socket.get();
    }
    Icmp::Error reason;
    if (Icmp::error_of(error, reason)) udp_.icmp_.send_error(reason, gateway(packet.v6), packet);
    return nullptr;
  }
  bool receive_from(unsigned family) {
    Context& context = udp_.context_;
    std::vector<u8>& buffer = udp_.buffer_;
    for (unsigned i = 0; i < kReadsInTurn; ++i) {
      if (context.link.congested() || !context.policy.inward.ready(context.now())) return true;
      Endpoint from;
      u16 segment = 0;
      const IoResult result = sockets_[family]->receive_from(from, {buffer.data(), buffer.size()}, segment);
      if (result.error) {
        if (!result.again()) continue;
        readable_[family] = false;
        return false;
      }
      touch();
      const Endpoint seen{context.seen_from_guest(from.address, guest_.address.is_v4()), from.port, 0};
      context.policy.inward.take(static_cast<usize>(result.count));
      udp_.send_to_guest(seen, guest_, std::span(buffer).first(static_cast<usize>(result.count)), segment);
    }
    return true;
  }
  Udp& udp_;
  Endpoint guest_;
  Endpoint last_remote_;
  std::unique_ptr<Socket> sockets_[2];  // IPv4, IPv6
  bool readable_[2] = {};
  bool queued_ = false;
  u64 sent_turn_ = 0;  // when a datagram was sent to the host
  s64 sent_at_ = 0;
  unsigned streak_ = 0;  // datagrams that came close behind one another
  std::map<Endpoint, Route> routes_;
};

void Udp::Flow::relay_errors(Socket& socket, const Endpoint& sent) {
  SocketError error;
  for (unsigned i = 0; i < 64 && socket.next_error(error); ++i) {
    const bool v6 = !guest_.address.is_v4();
    if (error.error == EMSGSIZE && !error.from_icmp) {  // the host's own route: the gateway says so
      error.type = v6 ? kPacketTooBig : kUnreachable;
      error.code = v6 ? 0 : kFragmentationNeeded;
      error.offender = gateway(v6);
      if (error.to.port == 0) error.to.port = sent.port;  // the kernel knows it of connected sockets only
    } else if (!error.from_icmp) {
      continue;
    }
    std::vector<u8> quote(kUdpHeader + error.payload.size());
    store_be<u16>(quote.data(), guest_.port);
    store_be<u16>(quote.data() + 2, error.to.port);
    store_be<u16>(quote.data() + 4, static_cast<u16>(quote.size()));
    std::copy(error.payload.begin(), error.payload.end(), quote.begin() + kUdpHeader);
    if (socket.v6() != v6) continue;
    udp_.icmp_.relay_error(error.type, error.code, error.info, error.offender, guest_.address,
                           udp_.context_.seen_from_guest(error.to.address, !v6), kUdp, quote);
  }
  socket.take_error();
}

Udp::Udp(Context& context, const Servers& servers)
    : context_(context), icmp_(servers.icmp), dhcp_(servers.dhcp), dhcpv6_(servers.dhcpv6), dns_(servers.dns),
      tftp_(servers.tftp), waker_(context.timeouts), burst_waker_(context.timeouts),
      flows_(16, EndpointHash{{context.key}}), buffer_(65536) {}
Udp::~Udp() = default;

void Udp::input(const Packet& packet) {
  if (packet.transport_size() < kUdpHeader) return;
  const u8* header = packet.transport_header();
  const u16 to_port = load_be<u16>(header + 2);
  const bool large = packet.frame->offload.gso == Offload::udp_l4;
  const usize length = large ? packet.transport_size() : load_be<u16>(header + 4);
  if (length < kUdpHeader || length > packet.transport_size()) return;
  const usize payload = length - kUdpHeader;
  const UserConfig& config = context_.config;
  const bool broadcast = !packet.v6 && (packet.to == IpAddress::v4(0xffffffff) || packet.to == config.broadcast());
  if (serve(packet, to_port, payload, broadcast)) return;
  if (config.restricted) {
    // Only what a forwarded port brought in may be answered.
    const auto found = flows_.find({packet.from, load_be<u16>(header), 0});
    if (found != flows_.end() && !broadcast) found->second->send(packet, {}, to_port, payload);
    return;
  }
  if (broadcast) {
    // To the host's loopback, as the gateway's address.
    const Endpoint guest{packet.from, load_be<u16>(header), 0};
    if (context_.policy.permits(kUdp, guest, {config.host, to_port, 0}, context_.now()))
      forward(packet, IpAddress::v4(0x7f000001), payload);
    return;
  }
  const Destination destination = context_.destination(packet.to);
  if (destination.kind == Destination::dns) {
    if (to_port != 53) return icmp_.send_error(Icmp::Error::port_unreachable, packet.to, packet);
    std::vector<u8> query(payload);
    packet.frame->copy(packet.transport + kUdpHeader, query.data(), payload);
    return dns_.query({packet.from, load_be<u16>(header), 0}, packet.to, query);
  }
  if (destination.kind == Destination::service)
    return icmp_.send_error(Icmp::Error::port_unreachable, packet.to, packet);
  if (destination.kind == Destination::nowhere) {
    if (!packet.to.is_multicast())
      icmp_.send_error(Icmp::Error::host_unreachable, packet.v6 ? config.host6 : config.host, packet);
    return;
  }
  const Endpoint guest{packet.from, load_be<u16>(header), 0};
  const auto found = flows_.find(guest);
  const bool answers = found != flows_.end() && found->second->has_route({packet.to, to_port, 0});
  if (!answers && !context_.policy.permits(kUdp, guest, {packet.to, to_port, 0}, context_.now()))
    return icmp_.send_error(Icmp::Error::prohibited, packet.v6 ? config.host6 : config.host, packet);
  Bucket& outward = context_.policy.outward;
  if (!outward.ready(context_.now())) {
    ++context_.counters.udp_throttled;
    return;
  }
  outward.take(payload);
  ++context_.counters.udp_to_host;
  forward(packet, destination.address, payload);
}

bool Udp::serve(const Packet& packet, u16 port, usize payload, bool broadcast) {
  const UserConfig& config = context_.config;
  const bool own = packet.to == (packet.v6 ? config.host6 : config.host) || broadcast;
  const bool dhcp = !packet.v6 && port == 67 && own, tftp = port == 69 && own;
  // All_DHCP_Relay_Agents_and_Servers (RFC 8415, section 7.1), or the server itself.
  static const IpAddress servers6 = *parse_ipv6("ff02::1:2");
  const bool dhcpv6 = packet.v6 && port == 547 && (packet.to == servers6 || packet.to == config.router6 || own);
  if (!dhcp && !tftp && !dhcpv6) return false;
  std::vector<u8> message(payload);
  packet.frame->copy(packet.transport + kUdpHeader, message.data(), payload);
  const Endpoint guest{packet.from, load_be<u16>(packet.transport_header()), 0};
  if (dhcp) dhcp_.input(packet.source_mac, message.data(), payload);
  else if (packet.from.is_unspecified()) return true;
  else if (dhcpv6) dhcpv6_.input(guest, message);
  else tftp_.input(guest, packet.v6 ? config.host6 : config.host, message);
  return true;
}

void Udp::forward(const Packet& packet, const IpAddress& to, usize payload_size) {
  const u8* header = packet.transport_header();
  const u16 port = load_be<u16>(header + 2);
  if (port == 0 || packet.from.is_unspecified()) return;
  if (Flow* flow = flow_of({packet.from, load_be<u16>(header), 0})) flow->send(packet, to, port, payload_size);
}

Udp::Flow* Udp::flow_of(const Endpoint& guest) {
  const auto found = flows_.find(guest);
  if (found != flows_.end()) return found->second.get();
  if (flows_.size() >= std::min(kMaxFlows, context_.sockets.open_file_limit() / 8)) evict_oldest();
  ++context_.counters.udp_flows;
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
  if (burst_.flow == found->second.get()) flush();
  gone_.push_back(std::move(found->second));
  flows_.erase(found);
  context_.schedule();
}

void Udp::flush() {
  if (burst_.flow && !burst_.bytes.empty()) send_burst();
  burst_.flow = nullptr;
  burst_.bytes.clear();
}

// Whether the burst may wait for more of its stream.
bool Udp::gathers() {
  if (!burst_.flow || burst_.bytes.size() >= kGatherBytes || burst_.due <= context_.now()) return false;
  burst_waker_.set_timeout(burst_.due);
  return true;
}

// A datagram of one piece; or all in one call, and one by one where the route does not take that.
void Udp::send_burst() {
  Burst& burst = burst_;
  burst.socket->set_ttl(burst.ttl - 1u);
  burst.socket->set_tos(burst.tos);
  burst.socket->set_whole(burst.whole);
  const Piece whole{burst.bytes.data(), burst.bytes.size()};
  const u16 segment = burst.count > 1 ? static_cast<u16>(burst.segment) : u16{0};
  IoResult result = burst.socket->send_to(burst.to, std::span(&whole, 1), segment);
  for (usize at = 0; result.error && !result.again() && at < whole.size; at += burst.segment) {
    const Piece part{whole.data + at, std::min(burst.segment, whole.size - at)};
    const IoResult sent = burst.socket->send_to(burst.to, std::span(&part, 1));
    if (at + burst.segment >= whole.size) result = sent;
  }
  Icmp::Error error;
  if (result.error == EMSGSIZE) return burst.flow->relay_errors(*burst.socket, burst.to);
  if (!result.error || !Icmp::error_of(result.error, error)) return;
  const Endpoint& guest = burst.flow->guest();
  std::vector<u8> quote(kUdpHeader + std::min<usize>(burst.segment, 64));
  store_be<u16>(quote.data(), guest.port);
  store_be<u16>(quote.data() + 2, burst.to.port);
  store_be<u16>(quote.data() + 4, static_cast<u16>(kUdpHeader + burst.segment));
  std::copy_n(whole.data, quote.size() - kUdpHeader, quote.begin() + kUdpHeader);
  icmp_.tell_error(error, guest.address, burst.seen, kUdp, quote);
}

void Udp::run() {
  ++turn_;
  if (!gathers()) flush();
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
  if (ready_.empty() || context_.link.congested()) return;
  if (context_.policy.inward.ready(context_.now())) context_.schedule();
  else waker_.set_timeout(context_.policy.inward.next(context_.now()));
}

bool Udp::send_to_guest(const Endpoint& from, const Endpoint& guest, std::span<u8> data, u16 segment) {
  if (!segment || data.size() <= segment) return send_one(from, guest, data, 0);
  const Caps caps = context_.link.caps();
  const usize headers = (guest.address.is_v4() ? kIpv4Header : kIpv6Header) + kUdpHeader;
  const bool large =
      caps.uso && caps.checksum && headers + segment <= kMtu && data.size() + headers + kEthernetHeader <= kMaxGsoFrame;
  if (large) return send_one(from, guest, data, segment);
  bool sent = true;
  for (usize at = 0; at < data.size(); at += segment)
    sent &= send_one(from, guest, data.subspan(at, std::min<usize>(segment, data.size() - at)), 0);
  return sent;
}

bool Udp::send_one(const Endpoint& from, const Endpoint& guest, std::span<u8> data, u16 segment) {
  const bool v4 = guest.address.is_v4();
  if (data.size() > 65535 - kUdpHeader - kIpv4Header || from.address.is_v4() != v4) return false;
  const usize size = kUdpHeader + data.size();
  u8 header[kUdpHeader];
  store_be<u16>(header, from.port);
  store_be<u16>(header + 2, guest.port);
  store_be<u16>(header + 4, static_cast<u16>(size));
  store_be<u16>(header + 6, 0);
  ChecksumSum sum;
  sum.add_pseudo_header(from.address, guest.address, kUdp, size);
  Offload offload;
  const usize ip = v4 ? kIpv4Header : kIpv6Header;
  if (context_.link.caps().checksum && (segment || ip + size <= kMtu)) {
    store_be<u16>(header + 6, sum.folded());
    offload.needs_checksum = offload.checksum_valid = true;
    offload.checksum_start = static_cast<u16>(kEthernetHeader + ip);
    offload.checksum_offset = 6;
    if (segment) {
      offload.gso = Offload::udp_l4;
      offload.gso_size = segment;
      offload.header_length = static_cast<u16>(kEthernetHeader + ip + kUdpHeader);
    }
  } else {
    sum.add(header, sizeof header);
    sum.add(data.data(), data.size());
    store_be<u16>(header + 6, sum.checksum() ? sum.checksum() : 0xffff);
  }
  const Piece pieces[] = {{header, sizeof header}, {data.data(), data.size()}};
  ++context_.counters.udp_to_guest;
  return context_.link.send_ip({.from = from.address, .to = guest.address, .protocol = kUdp}, pieces, offload);
}

void Udp::deliver(const Endpoint& seen, const Endpoint& guest, const Endpoint& client,
                  const std::shared_ptr<Socket>& socket, std::span<u8> data, u16 segment) {
  if (Flow* flow = flow_of(guest)) flow->add_route(seen, client, socket);
  send_to_guest(seen, guest, data, segment);
}

std::vector<Udp::Row> Udp::rows() const {
  std::vector<Row> rows;
  for (const auto& [guest, flow] : flows_)
    rows.push_back({guest, flow->last_remote(), flow->fd(), std::max<s64>(0, flow->timeout() - context_.now())});
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.guest < b.guest; });
  return rows;
}

}  // namespace rhea::net::user
