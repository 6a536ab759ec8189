// SPDX-License-Identifier: MIT
#include "net/user/icmp.h"

#include <cerrno>

#include "net/checksum.h"

namespace rhea::net::user {

namespace {

constexpr u8 kEchoReply = 0, kUnreachable = 3, kEcho = 8, kTimeExceeded = 11;
constexpr u8 kEcho6 = 128, kEchoReply6 = 129, kUnreachable6 = 1, kTimeExceeded6 = 3;
constexpr usize kEchoHeader = 8;
constexpr usize kMaxPings = 128;
constexpr s64 kLifetime = 30 * kSecond;
constexpr u16 kFirstProbePort = 33434;  // where traceroute asks, and nobody listens
constexpr usize kProbePorts = 64, kProbePayload = 64;
constexpr usize kQuote4 = 548, kQuote6 = 1232;

}  // namespace

// The echo requests of one guest process to one address: a socket of its own, so that errors find their
// sender.
class Icmp::Ping final : public SocketOwner, public Timeout {
 public:
  enum class Way : u8 { ping, raw, probe };
  Ping(Icmp& icmp, const Key& key, std::unique_ptr<Socket> socket, Way way, u16 wire_id)
      : Timeout(icmp.context_.timeouts), icmp_(icmp), key_(key), socket_(std::move(socket)), way_(way),
        wire_id_(wire_id) {
    socket_->set_owner(this);
  }
  int fd() const { return socket_->fd(); }

  void send(const Packet& packet) {
    set_timeout(icmp_.context_.now() + kLifetime);
    std::vector<u8> message(packet.transport_size());
    packet.frame->copy(packet.transport, message.data(), message.size());
    if (way_ == Way::probe) return probe(packet, std::move(message));
    store_be<u16>(message.data() + 4, wire_id_);
    store_be<u16>(message.data() + 2, 0);
    if (!packet.v6) store_be<u16>(message.data() + 2, checksum(message.data(), message.size()));
    send_to(0, packet, message);
  }
  void on_socket(Socket&, u32 events) override {
    if (events & kSocketError) way_ == Way::probe ? take_probe_errors() : relay_errors();
    if (way_ != Way::probe) receive();
  }
  void on_timeout() override { icmp_.remove(key_); }

 private:
  using Bytes = std::vector<u8>;
  void send_to(u16 port, const Packet& packet, std::span<u8> message) {
    socket_->set_ttl(packet.ttl - 1u);
    const Piece piece{message.data(), message.size()};
    const Endpoint to{key_.remote, port, 0};
    IoResult result = socket_->send_to(to, std::span(&piece, 1));
    // Of a probe: an error that an earlier one met is told at the next call.
    if (result.error && !result.again()) result = socket_->send_to(to, std::span(&piece, 1));
    Error error;
    if (result.error && error_of(result.error, error))
      icmp_.send_error(error, packet.v6 ? icmp_.context_.config.host6 : icmp_.context_.config.host, packet);
  }
  // The port says later which request it was.
  void probe(const Packet& packet, Bytes message) {
    const usize index = next_probe_++ % kProbePorts;
    const u16 port = static_cast<u16>(kFirstProbePort + index);
    Bytes payload(std::min<usize>(message.size(), kProbePayload));
    probes_[index] = std::move(message);
    send_to(port, packet, payload);
  }
  void take_probe_errors() {
    SocketError error;
    for (unsigned i = 0; i < 64 && socket_->next_error(error); ++i) {
      const usize index = static_cast<usize>(error.to.port) - kFirstProbePort;
      if (!error.from_icmp || index >= kProbePorts || probes_[index].empty()) continue;
      Bytes request = std::exchange(probes_[index], {});
      const bool v6 = socket_->v6();
      const bool there = error.offender == key_.remote && error.type == (v6 ? kUnreachable6 : kUnreachable) &&
                         error.code == (v6 ? 4 : 3);
      if (!there) {
        icmp_.relay_error(error.type, error.code, error.info, error.offender, key_.guest, key_.remote,
                          v6 ? kIcmpv6 : kIcmp, request);
        continue;
      }
      request[0] = v6 ? kEchoReply6 : kEchoReply;
      reply(key_.remote, request.data(), request.size());
    }
    socket_->take_error();
  }
  void receive() {
    std::vector<u8>& buffer = icmp_.buffer_;
    for (unsigned i = 0; i < 64; ++i) {
      Endpoint from;
      u16 segment = 0;
      const IoResult result = socket_->receive_from(from, {buffer.data(), buffer.size()}, segment);
      if (result.error) {
        if (result.again()) return;
        continue;
      }
      usize size = static_cast<usize>(result.count);
      u8* message = buffer.data();
      if ((way_ == Way::raw) && !socket_->v6()) {  // with the IP header
        const usize header = size ? (message[0] & 15u) * 4 : 0;
        if (header > size) continue;
        message += header;
        size -= header;
      }
      if (size >= kEchoHeader) reply(from.address, message, size);
    }
  }
  void reply(const IpAddress& from, u8* message, usize size) {
    const bool v6 = socket_->v6();
    if (message[0] != (v6 ? kEchoReply6 : kEchoReply)) return;
    if ((way_ == Way::raw) && (load_be<u16>(message + 4) != wire_id_ || from != key_.remote)) return;
    store_be<u16>(message + 4, key_.id);
    store_be<u16>(message + 2, 0);
    const IpOut out{.from = from, .to = key_.guest, .protocol = v6 ? kIcmpv6 : kIcmp};
    ChecksumSum sum;
    if (v6) sum.add_pseudo_header(out.from, out.to, kIcmpv6, size);
    sum.add(message, size);
    store_be<u16>(message + 2, sum.checksum());
    icmp_.context_.link.send_ip(out, message, size);
  }
  // Routers on the way that say "time exceeded" or "unreachable": that is how traceroute works.
  void relay_errors() {
    SocketError error;
    for (unsigned i = 0; i < 64 && socket_->next_error(error); ++i) {
      if (!error.from_icmp || error.payload.size() < kEchoHeader) continue;
      store_be<u16>(error.payload.data() + 4, key_.id);
      icmp_.relay_error(error.type, error.code, error.info, error.offender, key_.guest, key_.remote,
                        socket_->v6() ? kIcmpv6 : kIcmp, error.payload);
    }
    socket_->take_error();
  }

  Icmp& icmp_;
  Key key_;
  std::unique_ptr<Socket> socket_;
  Way way_;
  std::array<Bytes, kProbePorts> probes_;  // the echo requests that they stand for
  usize next_probe_ = 0;
  u16 wire_id_;
};

Icmp::Icmp(Context& context) : context_(context), pings_(8, KeyHash{{context.key}}), buffer_(65536) {}
Icmp::~Icmp() = default;

void Icmp::input(const Packet& packet) {
  const u8 echo = packet.v6 ? kEcho6 : kEcho;
  if (packet.transport_size() < kEchoHeader || packet.transport_header()[0] != echo) return;
  if (context_.is_own(packet.to)) return answer(packet);
  const Destination destination = context_.destination(packet.to);
  if (destination.kind != Destination::host || context_.config.restricted) return;
  if (!context_.policy.permits(packet.protocol, {packet.from, 0, 0}, {packet.to, 0, 0}, context_.now()))
    return send_error(Error::prohibited, packet.v6 ? context_.config.host6 : context_.config.host, packet);
  forward(packet);
}

// RFC 1122, section 3.2.2.6: the data comes back as it was.
void Icmp::answer(const Packet& packet) {
  const usize size = packet.transport_size();
  std::vector<u8> message(size);
  packet.frame->copy(packet.transport, message.data(), size);
  message[0] = packet.v6 ? kEchoReply6 : kEchoReply;
  store_be<u16>(message.data() + 2, 0);
  const IpOut out{.from = packet.to, .to = packet.from, .protocol = packet.protocol, .ttl = 255, .tos = packet.tos};
  ChecksumSum sum;
  if (packet.v6) sum.add_pseudo_header(out.from, out.to, kIcmpv6, size);
  sum.add(message.data(), size);
  store_be<u16>(message.data() + 2, sum.checksum());
  context_.link.send_ip(out, message.data(), size);
}

void Icmp::forward(const Packet& packet) {
  const Key key{packet.from, packet.to, load_be<u16>(packet.transport_header() + 4)};
  if (Ping* ping = ping_of(key)) ping->send(packet);
}

Icmp::Ping* Icmp::ping_of(const Key& key) {
  const auto found = pings_.find(key);
  if (found != pings_.end()) return found->second.get();
  if (pings_.size() >= kMaxPings) return nullptr;
  const bool v6 = !key.remote.is_v4();
  int error = 0;
  Ping::Way way = Ping::Way::ping;
  auto socket = context_.sockets.open(SocketKind::ping, v6, nullptr, error);
  if (!socket) {
    way = Ping::Way::raw;
    socket = context_.sockets.open(SocketKind::raw_icmp, v6, nullptr, error);
  }
  if (!socket) {
    explain();
    way = Ping::Way::probe;
    socket = context_.sockets.open(SocketKind::datagram, v6, nullptr, error);
  }
  if (!socket) return nullptr;
  const u16 wire_id = way == Ping::Way::raw ? static_cast<u16>(context_.sockets.random()) : u16{0};
  return pings_.emplace(key, std::make_unique<Ping>(*this, key, std::move(socket), way, wire_id)).first->second.get();
}

void Icmp::explain() {
  if (explained_) return;
  explained_ = true;
  context_.warn(
      "this host lets neither this user open ping sockets nor this process raw ones: ping from the guest to the "
      "outside only tells of targets that answer UDP probes; 'sysctl -w "
      "net.ipv4.ping_group_range=\"0 2147483647\"' as root allows the real thing");
}

void Icmp::remove(const Key& key) {
  const auto found = pings_.find(key);
  if (found == pings_.end()) return;
  gone_.push_back(std::move(found->second));
  pings_.erase(found);
}

void Icmp::run() { gone_.clear(); }

bool Icmp::error_of(int number, Error& error) {
  switch (number) {
    case ENETUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT: error = Error::network_unreachable; return true;
    case EHOSTUNREACH:
    case EHOSTDOWN: error = Error::host_unreachable; return true;
    case EACCES:
    case EPERM: error = Error::prohibited; return true;
    case ECONNREFUSED: error = Error::port_unreachable; return true;
    default: return false;
  }
}

void Icmp::send_quote(u8 type, u8 code, u32 rest, const IpAddress& from, const IpAddress& to,
                      std::span<const u8> quote) {
  std::vector<u8> message(8 + quote.size());
  message[0] = type;
  message[1] = code;
  store_be<u32>(message.data() + 4, rest);
  std::copy(quote.begin(), quote.end(), message.begin() + 8);
  const bool v6 = !to.is_v4();
  const IpOut out{.from = from, .to = to, .protocol = v6 ? kIcmpv6 : kIcmp, .ttl = 255};
  ChecksumSum sum;
  if (v6) sum.add_pseudo_header(from, to, kIcmpv6, message.size());
  sum.add(message.data(), message.size());
  store_be<u16>(message.data() + 2, sum.checksum());
  context_.link.send_ip(out, message.data(), message.size());
}

void Icmp::send_error(Error error, const IpAddress& from, const Packet& about) {
  if (about.from.is_unspecified() || about.to.is_multicast() || about.from.is_multicast()) return;
  struct Codes {
    u8 type, code, type6, code6;
  };
  static constexpr Codes kCodes[] = {{kUnreachable, 0, kUnreachable6, 0},
                                     {kUnreachable, 1, kUnreachable6, 3},
                                     {kUnreachable, 3, kUnreachable6, 4},
                                     {kUnreachable, 13, kUnreachable6, 1},
                                     {kTimeExceeded, 0, kTimeExceeded6, 0}};
  const Codes& codes = kCodes[static_cast<usize>(error)];
  std::vector<u8> quote(std::min(about.end - about.network, about.v6 ? kQuote6 : kQuote4));
  about.frame->copy(about.network, quote.data(), quote.size());
  send_quote(about.v6 ? codes.type6 : codes.type, about.v6 ? codes.code6 : codes.code, 0, from, about.from, quote);
}

void Icmp::relay_error(u8 type, u8 code, u32 rest, const IpAddress& offender, const IpAddress& from,
                       const IpAddress& to, u8 protocol, std::span<const u8> quote) {
  const bool v6 = !from.is_v4();
  const usize header = v6 ? kIpv6Header : kIpv4Header;
  const usize part = std::min(quote.size(), (v6 ? kQuote6 : kQuote4) - header);
  std::vector<u8> packet(kEthernetHeader + header + part);
  const IpOut out{.from = from, .to = to, .protocol = protocol, .ttl = 1};
  context_.link.write_headers(packet.data(), Mac{}, out, quote.size());
  std::copy_n(quote.begin(), part, packet.begin() + static_cast<std::ptrdiff_t>(kEthernetHeader + header));
  const bool known = offender.is_v4() == !v6 && !offender.is_unspecified();
  const IpAddress speaker = known ? context_.seen_from_guest(offender, !v6) : to;
  const bool too_big = v6 ? type == 2 : type == kUnreachable && code == 4;
  send_quote(type, code, too_big ? rest : 0, speaker, from, std::span(packet).subspan(kEthernetHeader));
}

void Icmp::tell_error(Error error, const IpAddress& from, const IpAddress& to, u8 protocol, std::span<const u8> quote) {
  static constexpr u8 kCodes4[] = {0, 1, 3, 13, 0}, kCodes6[] = {0, 3, 4, 1, 0};
  const bool v6 = !from.is_v4();
  const usize index = static_cast<usize>(error);
  relay_error(v6 ? kUnreachable6 : kUnreachable, v6 ? kCodes6[index] : kCodes4[index], 0,
              v6 ? context_.config.host6 : context_.config.host, from, to, protocol, quote);
}

std::vector<Icmp::Row> Icmp::rows() const {
  std::vector<Row> rows;
  for (const auto& [key, ping] : pings_)
    rows.push_back({key.guest, key.remote, ping->fd(), std::max<s64>(0, ping->timeout() - context_.now())});
  return rows;
}

}  // namespace rhea::net::user
