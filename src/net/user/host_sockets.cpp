// SPDX-License-Identifier: MIT
#include "net/user/host_sockets.h"

#include <algorithm>

#include "sys/file.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr const char* kResolvConf = "/etc/resolv.conf";
constexpr usize kBatch = 64;

static_assert(sizeof(Piece) == sizeof(sys::IoPiece) && offsetof(Piece, size) == offsetof(sys::IoPiece, size));
std::span<const sys::IoPiece> native(std::span<const Piece> pieces) {
  return {reinterpret_cast<const sys::IoPiece*>(pieces.data()), pieces.size()};
}

}  // namespace

class HostSockets::HostSocket final : public Socket {
 public:
  HostSocket(HostSockets& all, std::unique_ptr<sys::Socket> socket, SocketKind kind, SocketOwner* owner)
      : all_(all), socket_(std::move(socket)), kind_(kind), owner_(owner), token_(all.next_token_++) {
    all_.sockets_[token_] = this;
  }
  ~HostSocket() override {
    all_.sockets_.erase(token_);
    if (watched_) all_.poller_.remove(socket_->fd());
  }
  void notify(u32 events) {
    if (owner_) owner_->on_socket(*this, events);
  }

  void set_owner(SocketOwner* owner) override { owner_ = owner; }
  int fd() const override { return socket_->fd(); }
  bool v6() const override { return socket_->v6(); }
  int bind(const Endpoint& to) override {
    const int error = socket_->bind(to);
    if (!error && kind_ != SocketKind::stream) watch();
    return error;
  }
  int bind_path(const std::string& path) override { return socket_->bind_path(path); }
  int listen(int backlog) override {
    const int error = socket_->listen(backlog);
    if (!error) watch();
    return error;
  }
  int connect(const Endpoint& to) override {
    const int error = socket_->connect(to);
    watch();
    return error;
  }
  std::unique_ptr<Socket> accept(Endpoint& from, int& error) override {
    auto accepted = socket_->accept(from, error);
    if (!accepted) return nullptr;
    auto result = std::make_unique<HostSocket>(all_, std::move(accepted), kind_, nullptr);
    result->watch();
    return result;
  }
  Endpoint local() const override { return socket_->local(); }
  int take_error() override { return socket_->take_error(); }

  IoResult send(std::span<const Piece> pieces) override { return socket_->send(native(pieces)); }
  IoResult peek(usize offset, std::span<const Piece> into) override { return socket_->peek(offset, native(into)); }
  IoResult discard(usize bytes) override { return socket_->discard(bytes); }
  IoResult send_urgent(std::span<const Piece> pieces) override { return socket_->send_urgent(native(pieces)); }
  Urgent urgent() const override { return socket_->urgent(); }
  void shutdown_write() override { socket_->shutdown_write(); }
  void reset_on_close() override { socket_->reset_on_close(); }
  void set_keepalive() override { socket_->set_keepalive(); }
  usize receive_queue() const override { return socket_->receive_queue(); }
  usize send_queue() const override { return socket_->send_queue(); }

  IoResult send_to(const Endpoint& to, std::span<const Piece> pieces, u16 segment) override {
    const IoResult result = socket_->send_to(to, native(pieces), segment);
    if (!watched_) watch();
    return result;
  }
  IoResult receive_from(Endpoint& from, Piece into, u16& segment) override {
    return socket_->receive_from(from, {into.data, into.size}, segment);
  }
  void join_datagrams() override { socket_->join_datagrams(); }
  void set_ttl(unsigned ttl) override { socket_->set_ttl(ttl); }
  void set_tos(unsigned tos) override { socket_->set_tos(tos); }
  void set_whole(bool whole) override { socket_->set_whole(whole); }
  bool next_error(SocketError& error) override { return socket_->next_error(error); }

  // A datagram socket that has room again is of no interest: what did not fit was dropped.
  void watch() {
    if (watched_) return;
    const bool stream = kind_ == SocketKind::stream || kind_ == SocketKind::local;
    watched_ = all_.poller_.add(socket_->fd(), token_, stream);
  }

 private:
  HostSockets& all_;
  std::unique_ptr<sys::Socket> socket_;
  SocketKind kind_;
  SocketOwner* owner_;
  u64 token_;
  bool watched_ = false;
};

HostSockets::HostSockets(EventLoop& loop, std::function<void()> after_events)
    : loop_(loop), after_events_(std::move(after_events)), open_file_limit_(sys::raise_open_file_limit()) {
  watch_ = loop_.watch(poller_.fd(), kReadable, [this](u32) { poll(); });
}

HostSockets::~HostSockets() = default;

std::unique_ptr<Socket> HostSockets::open(SocketKind kind, bool v6, SocketOwner* owner, int& error) {
  auto socket = sys::Socket::open(kind, v6, error);
  if (!socket) return nullptr;
  return std::make_unique<HostSocket>(*this, std::move(socket), kind, owner);
}

std::unique_ptr<Socket> HostSockets::start(const std::vector<std::string>& words, SocketOwner* owner,
                                           std::string& error) {
  int number = 0;
  sys::StreamPair pair = sys::stream_pair(number);
  if (!pair.ours) return error = sys::errno_text(number), nullptr;
  auto child = sys::Child::start(words, pair.theirs.get());
  if (!child) return error = child.error().message(), nullptr;
  const int pid = child->pid();
  running_.push_back({child.take(), nullptr});
  Running& running = running_.back();
  running.watch = loop_.watch(running.child.fd(), kReadable, [this, pid](u32) { ended(pid); });
  auto socket = std::make_unique<HostSocket>(*this, std::move(pair.ours), SocketKind::stream, owner);
  socket->watch();
  return socket;
}

std::unique_ptr<Socket> HostSockets::pair(SocketOwner* owner, std::unique_ptr<Socket>& other, int& error) {
  auto [first, second] = sys::local_pair(error);
  if (!first) return nullptr;
  auto ours = std::make_unique<HostSocket>(*this, std::move(first), SocketKind::local, owner);
  auto theirs = std::make_unique<HostSocket>(*this, std::move(second), SocketKind::local, nullptr);
  ours->watch();
  theirs->watch();
  other = std::move(theirs);
  return ours;
}

std::unique_ptr<Socket> HostSockets::adopt(sys::Fd stream, int& error) {
  auto socket = sys::Socket::adopt(std::move(stream), error);
  if (!socket) return nullptr;
  auto result = std::make_unique<HostSocket>(*this, std::move(socket), SocketKind::stream, nullptr);
  result->watch();
  return result;
}

void HostSockets::ended(int pid) {
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const Running& running) { return running.child.pid() == pid; });
  if (found == running_.end()) return;
  found->child.reap();
  found->watch.reset();
  running_.erase(found);
}

// One batch a turn: other work of the loop (a NIC's queue, timers) comes in between.
void HostSockets::poll() {
  std::array<sys::SocketPoller::Event, kBatch> events;
  const usize count = poller_.take(events);
  for (const auto& event : std::span(events).first(count)) {
    const auto found = sockets_.find(event.token);  // an earlier event may have closed it
    if (found != sockets_.end()) found->second->notify(event.events);
  }
  if (count) after_events_();
}

// Looked at for each query, read again when it changed: a change holds at once.
std::vector<Endpoint> HostSockets::resolvers() {
  const u64 version = sys::file_version(kResolvConf);
  if (!resolvers_.empty() && version == resolvers_version_) return resolvers_;
  resolvers_version_ = version;
  std::string text;
  if (auto file = sys::read_file(kResolvConf, 1 << 20)) text.assign(file->begin(), file->end());
  resolvers_ = parse_resolv_conf(text);
  return resolvers_;
}

bool HostSockets::has_ipv6_route() {
  const s64 now = loop_.real_clock().now();
  if (ipv6_checked_ == 0 || now - ipv6_checked_ > kSecond) {
    ipv6_checked_ = now;
    ipv6_route_ = sys::has_ipv6_route();
  }
  return ipv6_route_;
}

std::vector<Endpoint> parse_resolv_conf(std::string_view text) {
  constexpr usize kMaxServers = 8;
  std::vector<Endpoint> result;
  for (const std::string& line : split(text, '\n')) {
    std::string_view rest = trim(line);
    if (rest.substr(0, 10) != "nameserver" || rest.size() < 12) continue;
    rest = trim(rest.substr(10));
    rest = rest.substr(0, rest.find_first_of(" \t#;"));
    const usize percent = rest.find('%');
    const auto address = parse_ip(rest.substr(0, percent));
    if (!address || result.size() == kMaxServers) continue;
    u32 scope = 0;
    if (percent != std::string_view::npos) scope = sys::interface_index(std::string(rest.substr(percent + 1)));
    result.push_back({*address, 53, scope});
  }
  if (result.empty()) result.push_back({IpAddress::v4(0x7f000001), 53, 0});
  return result;
}

}  // namespace rhea::net::user
