// SPDX-License-Identifier: MIT
// For tests: a loop whose time is stepped by hand, sockets without an OS, and a guest that makes and reads frames.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <list>

#include "net/checksum.h"
#include "net/user/tcp_flow.h"
#include "net/user/user_backend.h"

namespace rhea::net::user::testing {

using Bytes = std::vector<u8>;

class FakeClock final : public Clock {
 public:
  s64 now() const override { return now_; }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    return std::make_unique<FakeTimer>(*this, std::move(callback));
  }
  // Moves on, and runs the timers on the way in their order.
  void advance(s64 by) {
    const s64 end = now_ + by;
    for (;;) {
      FakeTimer* next = nullptr;
      for (FakeTimer* timer : timers_)
        if (timer->deadline() <= end && (!next || timer->deadline() < next->deadline())) next = timer;
      if (!next) break;
      now_ = std::max(now_, next->deadline());
      next->fire();
    }
    now_ = end;
  }

 private:
  class FakeTimer final : public Timer {
   public:
    FakeTimer(FakeClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {
      clock_.timers_.push_back(this);
    }
    ~FakeTimer() override { clock_.timers_.remove(this); }
    void arm(s64 deadline) override { deadline_ = deadline; }
    void cancel() override { deadline_ = kNever; }
    s64 deadline() const override { return deadline_; }
    void fire() {
      deadline_ = kNever;
      callback_();
    }

   private:
    FakeClock& clock_;
    std::function<void()> callback_;
    s64 deadline_ = kNever;
  };
  s64 now_ = 1000 * kSecond;
  std::list<FakeTimer*> timers_;
};

class FakeLoop final : public EventLoop {
 public:
  void post(std::function<void()> work) override { posted_.push_back(std::move(work)); }
  std::unique_ptr<FdWatch> watch(int, u32, std::function<void(u32)>) override { return nullptr; }
  Clock& real_clock() override { return clock; }
  std::recursive_mutex& lock() override { return mutex_; }
  bool on_loop_thread() const override { return true; }
  // Runs what was posted. A stack that posts for ever fails the test.
  void settle() {
    for (unsigned turns = 0; !posted_.empty(); ++turns) {
      ASSERT_LT(turns, 10000u) << "work is posted without end";
      auto work = std::move(posted_.front());
      posted_.pop_front();
      work();
    }
  }
  void advance(s64 by) {
    clock.advance(by);
    settle();
  }
  FakeClock clock;

 private:
  std::recursive_mutex mutex_;
  std::deque<std::function<void()>> posted_;
};

// What a fake socket does and did; lives on when the socket is closed.
struct Wire {
  SocketKind kind{};
  bool v6 = false;
  SocketOwner* owner = nullptr;
  Socket* socket = nullptr;  // null when closed
  bool listening = false, connected = false, shut_down = false, reset = false, keepalive = false;
  Endpoint bound, to;
  int error = 0;             // SO_ERROR
  // Streams.
  Bytes receive_queue;       // from the host's peer
  bool end = false;          // the peer sent FIN
  Bytes sent;
  usize room = ~usize{0};    // bytes that send() takes
  std::deque<std::pair<std::shared_ptr<Wire>, Endpoint>> pending;  // to accept
  // Datagrams.
  std::deque<std::pair<Endpoint, Bytes>> datagrams;
  std::vector<std::pair<Endpoint, Bytes>> sent_to;
  std::deque<SocketError> errors;
  int send_error = 0;
  unsigned ttl = 0;

  void notify(u32 events) {
    if (socket && owner) owner->on_socket(*socket, events);
  }
};

class FakeSocket final : public Socket {
 public:
  explicit FakeSocket(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) { wire_->socket = this; }
  ~FakeSocket() override { wire_->socket = nullptr; }
  void set_owner(SocketOwner* owner) override { wire_->owner = owner; }
  int fd() const override { return 7; }
  bool v6() const override { return wire_->v6; }
  int bind(const Endpoint& to) override { return wire_->bound = to, wire_->error; }
  int listen(int) override { return wire_->listening = true, 0; }
  int connect(const Endpoint& to) override { return wire_->to = to, wire_->error ? wire_->error : EINPROGRESS; }
  std::unique_ptr<Socket> accept(Endpoint& from, int& error) override {
    error = EAGAIN;
    if (wire_->pending.empty()) return nullptr;
    auto [wire, client] = wire_->pending.front();
    wire_->pending.pop_front();
    from = client;
    error = 0;
    return std::make_unique<FakeSocket>(wire);
  }
  Endpoint local() const override { return wire_->bound; }
  int take_error() override { return std::exchange(wire_->error, 0); }
  IoResult send(std::span<const Piece> pieces) override {
    if (wire_->send_error) return {0, wire_->send_error};
    usize done = 0;
    for (const Piece& piece : pieces) {
      const usize part = std::min(piece.size, wire_->room);
      wire_->sent.insert(wire_->sent.end(), piece.data, piece.data + part);
      wire_->room -= part;
      done += part;
    }
    return done ? IoResult{static_cast<s64>(done), 0} : IoResult{0, EAGAIN};
  }
  IoResult peek(usize offset, std::span<const Piece> into) override {
    const Bytes& queue = wire_->receive_queue;
    usize done = 0;
    for (const Piece& piece : into) {
      const usize part = offset + done < queue.size() ? std::min(piece.size, queue.size() - offset - done) : 0;
      std::copy_n(queue.begin() + static_cast<std::ptrdiff_t>(offset + done), part, piece.data);
      done += part;
    }
    if (done) return {static_cast<s64>(done), 0};
    return wire_->end ? IoResult{0, 0} : IoResult{0, EAGAIN};
  }
  IoResult discard(usize bytes) override {
    bytes = std::min(bytes, wire_->receive_queue.size());
    wire_->receive_queue.erase(wire_->receive_queue.begin(), wire_->receive_queue.begin() + static_cast<std::ptrdiff_t>(bytes));
    return {static_cast<s64>(bytes), 0};
  }
  void shutdown_write() override { wire_->shut_down = true; }
  void reset_on_close() override { wire_->reset = true; }
  void set_keepalive() override { wire_->keepalive = true; }
  usize receive_queue() const override { return wire_->receive_queue.size(); }
  usize send_queue() const override { return 0; }
  IoResult send_to(const Endpoint& to, std::span<const Piece> pieces) override {
    if (wire_->send_error) return {0, wire_->send_error};
    Bytes data;
    for (const Piece& piece : pieces) data.insert(data.end(), piece.data, piece.data + piece.size);
    wire_->sent_to.emplace_back(to, data);
    return {static_cast<s64>(data.size()), 0};
  }
  IoResult receive_from(Endpoint& from, Piece into) override {
    if (wire_->datagrams.empty()) return {0, EAGAIN};
    auto [sender, data] = wire_->datagrams.front();
    wire_->datagrams.pop_front();
    from = sender;
    const usize size = std::min(into.size, data.size());
    std::copy_n(data.begin(), size, into.data);
    return {static_cast<s64>(size), 0};
  }
  void set_ttl(unsigned ttl) override { wire_->ttl = ttl; }
  void set_tos(unsigned) override {}
  bool next_error(SocketError& error) override {
    if (wire_->errors.empty()) return false;
    error = wire_->errors.front();
    wire_->errors.pop_front();
    return true;
  }

 private:
  std::shared_ptr<Wire> wire_;
};

class FakeSockets final : public Sockets {
 public:
  std::unique_ptr<Socket> open(SocketKind kind, bool v6, SocketOwner* owner, int& error) override {
    if (refuse[static_cast<usize>(kind)]) {
      error = refuse[static_cast<usize>(kind)];
      return nullptr;
    }
    error = 0;
    auto wire = std::make_shared<Wire>();
    wire->kind = kind;
    wire->v6 = v6;
    wire->owner = owner;
    wire->error = next_error;
    wires.push_back(wire);
    return std::make_unique<FakeSocket>(wire);
  }
  std::vector<Endpoint> resolvers() override { return servers; }
  bool has_ipv6_route() override { return ipv6; }
  usize open_file_limit() override { return 1024; }
  u64 random() override { return random_ = random_ * 6364136223846793005u + 1442695040888963407u; }

  std::vector<std::shared_ptr<Wire>> wires;
  std::vector<Endpoint> servers{{IpAddress::v4(0x08080808), 53, 0}, {IpAddress::v4(0x09090909), 53, 0}};
  int refuse[4] = {};
  int next_error = 0;
  bool ipv6 = false;

 private:
  u64 random_ = 1;
};

// A frame that the guest got, taken apart. Every checksum was looked at.
struct Seen {
  Bytes frame;
  Mac to_mac{}, from_mac{};
  u16 type = 0;
  IpAddress from, to;
  u8 protocol = 0, ttl = 0;
  u16 from_port = 0, to_port = 0;
  u32 seq = 0, ack = 0;
  u8 flags = 0;
  u16 window = 0;
  Segment options;
  Bytes payload;  // of TCP, UDP; the whole message of ICMP; what follows the Ethernet header of others
};

class Guest final : public Port {
 public:
  Guest() : Port("nic") {}
  Caps caps() const override { return caps_; }
  Sent send(const Frame& frame) override {
    if (room == 0) return Sent::busy;
    --room;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    offloads.push_back(frame.offload);
    frames.push_back(std::move(bytes));
    return Sent::taken;
  }
  std::string type() const override { return "nic"; }
  std::string info() const override { return "model=test"; }

  bool empty() const { return frames.empty(); }
  Seen take();

  Caps caps_;
  usize room = ~usize{0};
  std::deque<Bytes> frames;
  std::deque<Offload> offloads;
};

inline Seen Guest::take() {
  Seen seen;
  if (frames.empty()) {
    ADD_FAILURE() << "the guest got no frame";
    return seen;
  }
  seen.frame = std::move(frames.front());
  const Offload offload = offloads.front();
  frames.pop_front();
  offloads.pop_front();
  EXPECT_GE(seen.frame.size(), kMinFrame);
  std::memcpy(seen.to_mac.data(), seen.frame.data(), 6);
  std::memcpy(seen.from_mac.data(), seen.frame.data() + 6, 6);
  seen.type = load_be<u16>(seen.frame.data() + 12);
  const u8* ip = seen.frame.data() + kEthernetHeader;
  seen.payload.assign(seen.frame.begin() + kEthernetHeader, seen.frame.end());
  if (seen.type != kTypeIpv4 && seen.type != kTypeIpv6) return seen;
  const bool v4 = seen.type == kTypeIpv4;
  const usize header = v4 ? (ip[0] & 15u) * 4 : kIpv6Header;
  const usize size = v4 ? load_be<u16>(ip + 2) - header : load_be<u16>(ip + 4);
  EXPECT_LE(kEthernetHeader + header + size, seen.frame.size());
  if (v4) {
    EXPECT_EQ(checksum(ip, header), 0);
  }
  seen.from = IpAddress::from_wire(ip + (v4 ? 12 : 8), v4);
  seen.to = IpAddress::from_wire(ip + (v4 ? 16 : 24), v4);
  seen.protocol = ip[v4 ? 9 : 6];
  seen.ttl = ip[v4 ? 8 : 7];
  const u8* data = ip + header;
  seen.payload.assign(data, data + size);
  if (v4 && load_be<u16>(ip + 6) & 0x3fff) return seen;
  ChecksumSum sum;
  if (seen.protocol != kIcmp) sum.add_pseudo_header(seen.from, seen.to, seen.protocol, size);
  sum.add(data, size);
  if (!offload.needs_checksum) {
    EXPECT_EQ(sum.checksum(), 0) << "protocol " << int{seen.protocol};
  }
  if (seen.protocol == kTcp) {
    const Piece piece{seen.frame.data(), seen.frame.size()};
    const Frame frame{std::span(&piece, 1), {}};
    Packet packet;
    packet.frame = &frame;
    packet.head_size = frame.copy(0, packet.head.data(), packet.head.size());
    packet.transport = kEthernetHeader + header;
    packet.end = packet.transport + size;
    EXPECT_TRUE(parse_segment(packet, seen.options));
    seen.seq = seen.options.seq;
    seen.ack = seen.options.ack;
    seen.flags = seen.options.flags;
    seen.window = seen.options.window;
    seen.payload.erase(seen.payload.begin(), seen.payload.begin() + static_cast<std::ptrdiff_t>(seen.options.header));
  }
  if (seen.protocol == kTcp || seen.protocol == kUdp) {
    seen.from_port = load_be<u16>(data);
    seen.to_port = load_be<u16>(data + 2);
  }
  if (seen.protocol == kUdp) seen.payload.erase(seen.payload.begin(), seen.payload.begin() + kUdpHeader);
  return seen;
}

// A stack with a guest on it.
class Net {
 public:
  explicit Net(std::vector<OptionText> options = {}) {
    auto config = parse_user_options(options, warnings);
    EXPECT_TRUE(config.ok()) << config.error().message();
    backend = std::make_unique<UserBackend>(
        "n0", config.take(), Stack::Services{loop, log, [this](std::string line) { warnings.push_back(line); }},
        [this](std::function<void()> after) {
          after_events = std::move(after);
          auto made = std::make_unique<FakeSockets>();
          sockets = made.get();
          return made;
        });
    Port::connect(guest, *backend);
  }
  ~Net() { Port::disconnect(guest); }

  Stack& stack() { return backend->stack(); }
  Wire& wire(usize index) { return *sockets->wires.at(index); }
  Wire& last() { return *sockets->wires.back(); }
  void event(Wire& wire, u32 events) {
    wire.notify(events);
    after_events();
    loop.settle();
  }

  void send(const Bytes& frame) {
    const Piece piece{const_cast<u8*>(frame.data()), frame.size()};
    send_to_peer(guest, Frame{std::span(&piece, 1), {}});
    loop.settle();
  }
  void send_ip(const IpAddress& to, u8 protocol, const Bytes& transport, u8 ttl = 64, u16 fragment = 0, u16 id = 77) {
    Bytes frame(kEthernetHeader + kIpv4Header);
    const Mac gateway{0x52, 0x55, 10, 0, 2, 2};
    std::memcpy(frame.data(), gateway.data(), 6);
    std::memcpy(frame.data() + 6, mac.data(), 6);
    store_be<u16>(frame.data() + 12, kTypeIpv4);
    u8* ip = frame.data() + kEthernetHeader;
    ip[0] = 0x45;
    store_be<u16>(ip + 2, static_cast<u16>(kIpv4Header + transport.size()));
    store_be<u16>(ip + 4, id);
    store_be<u16>(ip + 6, fragment);
    ip[8] = ttl;
    ip[9] = protocol;
    std::memcpy(ip + 12, address.wire(), 4);
    std::memcpy(ip + 16, to.wire(), 4);
    store_be<u16>(ip + 10, checksum(ip, kIpv4Header));
    frame.insert(frame.end(), transport.begin(), transport.end());
    send(frame);
  }
  void send_udp(const IpAddress& to, u16 from_port, u16 to_port, const Bytes& payload, u8 ttl = 64) {
    send_ip(to, kUdp, udp(from_port, to_port, payload), ttl);
  }
  static Bytes udp(u16 from_port, u16 to_port, const Bytes& payload) {
    Bytes data(kUdpHeader);
    store_be<u16>(data.data(), from_port);
    store_be<u16>(data.data() + 2, to_port);
    store_be<u16>(data.data() + 4, static_cast<u16>(kUdpHeader + payload.size()));
    data.insert(data.end(), payload.begin(), payload.end());
    return data;
  }

  FakeLoop loop;
  Log log;
  FakeSockets* sockets = nullptr;
  std::function<void()> after_events;
  std::vector<std::string> warnings;
  Guest guest;
  std::unique_ptr<UserBackend> backend;
  Mac mac{0x52, 0x54, 0, 0x12, 0x34, 0x56};
  IpAddress address = IpAddress::v4(0x0a00020f);
};

inline Bytes bytes_of(std::string_view text) { return Bytes(text.begin(), text.end()); }
inline Bytes pattern(usize size, u32 start = 0) {
  Bytes bytes(size);
  for (usize i = 0; i < size; ++i) bytes[i] = static_cast<u8>((start + i) * 2654435761u >> 24);
  return bytes;
}

const IpAddress kGateway = IpAddress::v4(0x0a000202), kNameServer = IpAddress::v4(0x0a000203);
const IpAddress kOutside = IpAddress::v4(0x5db8d822);  // 93.184.216.34

}  // namespace rhea::net::user::testing
