// SPDX-License-Identifier: MIT
#include "net/user/forwards.h"

#include <algorithm>
#include <cerrno>

#include "sys/fd.h"

namespace rhea::net::user {

namespace {

constexpr int kBacklog = 128;
constexpr unsigned kReadsInTurn = 32, kAcceptsInTurn = 64;
constexpr s64 kRetryAccept = 100 * kMillisecond;
constexpr s64 kProbeInterval = 2 * kSecond;

// One listening place of the host and where it leads.
struct Place {
  bool udp = false;
  std::string path;  // of a unix socket; else `host`
  Endpoint host, guest;
};

}  // namespace

class Forwards::Forward final : public SocketOwner, public Timeout {
 public:
  Forward(Forwards& all, Place place) : Timeout(all.context_.timeouts), all_(all), place_(std::move(place)) {}
  ~Forward() override {
    *alive_ = false;
    if (socket_) socket_->set_owner(nullptr);
  }
  // 0 or an errno.
  int open() {
    if (const int error = bind()) return error;
    if (place_.udp) {
      socket_->join_datagrams();
      return 0;
    }
    if (!probes()) return listen();
    probe();
    return 0;
  }
  bool is(const Place& other) const {
    return place_.udp == other.udp && place_.path == other.path && place_.host == other.host;
  }
  Row row() const {
    const bool open = socket_ != nullptr;
    const bool local_place = !place_.path.empty();
    return {place_.udp,   open ? socket_->fd() : -1, place_.path, open && !local_place ? socket_->local() : place_.host,
            place_.guest, place_.udp || listening_};
  }
  Endpoint local() const { return socket_->local(); }
  void on_socket(Socket&, u32 events) override {
    if (!place_.udp) return accept();
    if (events & kSocketError) {
      SocketError error;
      while (socket_->next_error(error)) {}
      socket_->take_error();
    }
    readable_ = true;
    all_.context_.schedule();
  }
  void on_timeout() override {
    if (probes() && !probing_ && all_.context_.now() >= probe_due_) probe();
    if (listening_) accept();
  }
  void receive() {
    Context& context = all_.context_;
    for (unsigned i = 0; readable_ && i < kReadsInTurn; ++i) {
      if (context.link.congested()) return;
      Endpoint from;
      u16 segment = 0;
      const IoResult result = socket_->receive_from(from, {all_.buffer_.data(), all_.buffer_.size()}, segment);
      if (result.again()) readable_ = false;
      if (result.error) continue;
      const bool v4 = place_.guest.address.is_v4();
      const Endpoint seen{context.seen_from_guest(from.address, v4), from.port, 0};
      const usize size = static_cast<usize>(result.count);
      all_.udp_.deliver(seen, place_.guest, from, socket_, {all_.buffer_.data(), size}, segment);
    }
    if (readable_) context.schedule();
  }

 private:
  bool probes() const { return !place_.udp && all_.context_.config.listen == UserConfig::Listen::probe; }
  int bind() {
    const bool local = !place_.path.empty();
    const SocketKind kind = local ? SocketKind::local : place_.udp ? SocketKind::datagram : SocketKind::stream;
    int error = 0;
    socket_ = all_.context_.sockets.open(kind, !local && !place_.host.address.is_v4(), this, error);
    if (!socket_) return error;
    error = local ? socket_->bind_path(place_.path) : socket_->bind(place_.host);
    if (error) socket_.reset();
    return error;
  }
  int listen() {
    const int error = socket_->listen(kBacklog);
    listening_ = error == 0;
    return error;
  }
  void probe() {
    probing_ = true;
    probe_due_ = kNever;
    all_.tcp_.probe(place_.guest, [this, alive = alive_](bool answers) {
      if (*alive) probed(answers);
    });
  }
  void probed(bool answers) {
    probing_ = false;
    set_open(answers);
    probe_due_ = all_.context_.now() + kProbeInterval;
    set_timeout(probe_due_);
  }
  // A port that was closed by our own hand is bound again, so that it stays ours.
  void set_open(bool open) {
    if (open == listening_) return;
    if (open) {
      if ((socket_ || bind() == 0) && listen())
        all_.context_.log.write(LogItem::net, "hostfwd: port {} cannot listen", place_.host.port);
      return;
    }
    const Endpoint bound = socket_ && place_.path.empty() ? socket_->local() : place_.host;
    if (socket_) socket_->set_owner(nullptr);
    socket_.reset();
    listening_ = false;
    place_.host = bound;
    (void)bind();  // when it fails it is tried again at the next answer of the guest
  }
  void accept() {
    for (unsigned i = 0; socket_; ++i) {
      if (i == kAcceptsInTurn) return set_timeout(all_.context_.now());  // others have their turn
      Endpoint from;
      int error = 0;
      auto accepted = socket_->accept(from, error);
      if (!accepted) {
        if (error == ECONNABORTED || error == EINTR) continue;
        // Out of descriptors: the queue stays, and no event will tell.
        if (error != EAGAIN && error != EWOULDBLOCK) set_timeout(all_.context_.now() + kRetryAccept);
        return;
      }
      if (!place_.path.empty()) from = all_.nobody();
      const bool v4 = place_.guest.address.is_v4();
      const Endpoint seen{all_.context_.seen_from_guest(from.address, v4), from.port, 0};
      all_.tcp_.open_to_guest(std::move(accepted), seen, place_.guest);
    }
  }

  Forwards& all_;
  Place place_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::shared_ptr<Socket> socket_;
  bool readable_ = false;
  bool listening_ = false;
  bool probing_ = false;
  s64 probe_due_ = kNever;
};

Forwards::Forwards(Context& context, Tcp& tcp, Udp& udp) : context_(context), tcp_(tcp), udp_(udp), buffer_(65536) {}
Forwards::~Forwards() = default;

namespace {

Error refused(const ForwardRule& rule, u16 port, int error) {
  Error result("Could not set up host forwarding rule '{}': {}", rule.text, sys::errno_text(error));
  if (!rule.unix_path.empty()) {
    if (error != EEXIST) return result;
    return Error("Invalid host forwarding rule '{}' (file exists and it's not unix socket)", rule.text);
  }
  const char* protocol = rule.udp ? "UDP" : "TCP";
  if (error == EADDRINUSE)
    return std::move(result).with_hint(
        fmt::format("Another program uses {} port {} of this host: end it, or forward another port.", protocol, port));
  if (error == EACCES && port < 1024)
    return std::move(result).with_hint("Ports below 1024 are for root: forward one above, such as 8080 for 80.");
  if (error == EADDRNOTAVAIL)
    return std::move(result).with_hint(fmt::format("This host has no address {}.", rule.host_address.text()));
  return result;
}

// The places of one port of a rule, without a name's addresses.
Place place_of(const ForwardRule& rule, u16 index, const IpAddress& host, const Context& context) {
  const IpAddress guest = rule.guest_address.is_unspecified() ? context.config.dhcp_start : rule.guest_address;
  return {.udp = rule.udp,
          .path = rule.unix_path,
          .host = {host, static_cast<u16>(rule.host_port + index), 0},
          .guest = {guest, static_cast<u16>(rule.guest_port + index), 0}};
}

}  // namespace

Result<void> Forwards::add(const ForwardRule& rule) {
  std::vector<IpAddress> hosts{rule.host_address};
  if (!rule.host_name.empty()) {
    hosts = context_.sockets.addresses_of(rule.host_name);
    if (hosts.empty())
      return Error("Could not set up host forwarding rule '{}': no address of '{}' is known", rule.text,
                   rule.host_name);
  }
  if (usize{rule.host_port} + rule.ports - 1 > 65535)
    return Error("Invalid host forwarding rule '{}' (Bad host port)", rule.text);
  std::vector<std::unique_ptr<Forward>> opened;
  for (u16 index = 0; index < rule.ports; ++index) {
    u16 chosen = 0;  // by the kernel for the first address: the others take it too
    for (const IpAddress& host : hosts) {
      Place place = place_of(rule, index, host, context_);
      if (place.host.port == 0) place.host.port = chosen;
      const u16 port = place.host.port;
      auto forward = std::make_unique<Forward>(*this, std::move(place));
      if (const int error = forward->open()) return refused(rule, port, error);
      if (rule.unix_path.empty()) chosen = forward->local().port;
      opened.push_back(std::move(forward));
    }
  }
  for (auto& forward : opened) forwards_.push_back(std::move(forward));
  return {};
}

bool Forwards::remove(const ForwardRule& rule) {
  std::vector<IpAddress> hosts{rule.host_address};
  if (!rule.host_name.empty()) hosts = context_.sockets.addresses_of(rule.host_name);
  bool found = false;
  for (u16 index = 0; index < rule.ports; ++index) {
    for (const IpAddress& host : hosts) {
      const Place place = place_of(rule, index, host, context_);
      found |= std::erase_if(forwards_, [&](const auto& forward) { return forward->is(place); }) != 0;
    }
  }
  return found;
}

// Of a client that has no address.
Endpoint Forwards::nobody() const {
  return {IpAddress::v4(0), static_cast<u16>(49152 + context_.sockets.random() % 16384), 0};
}

void Forwards::join(const Endpoint& guest, sys::Fd stream) {
  int error = 0;
  auto socket = context_.sockets.adopt(std::move(stream), error);
  if (!socket) return;
  const Endpoint from = nobody();
  const Endpoint seen{context_.seen_from_guest(from.address, guest.address.is_v4()), from.port, 0};
  tcp_.open_to_guest(std::move(socket), seen, guest, true);
}

void Forwards::run() {
  for (const auto& forward : forwards_) forward->receive();
}

std::vector<Forwards::Row> Forwards::rows() const {
  std::vector<Row> rows;
  for (const auto& forward : forwards_) rows.push_back(forward->row());
  return rows;
}

}  // namespace rhea::net::user
