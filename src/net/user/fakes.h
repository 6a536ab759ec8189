// SPDX-License-Identifier: MIT
// For tests and fuzzing: a loop whose time is stepped by hand, and sockets without an OS.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>

#include "core/event_loop.h"
#include "net/user/sockets.h"

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
  RecursiveLock& lock() override { return mutex_; }
  bool on_loop_thread() const override { return true; }
  // Runs what was posted. A stack that posts for ever ends the program.
  void settle() {
    for (unsigned turns = 0; !posted_.empty(); ++turns) {
      if (turns > 10000) {
        std::fprintf(stderr, "work is posted without end\n");
        std::abort();
      }
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
  RecursiveLock mutex_;
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
  std::string path;                // of a local socket
  std::vector<std::string> words;  // of a program
  int error = 0;                   // SO_ERROR
  // Streams.
  Bytes receive_queue;  // from the host's peer
  bool end = false;     // the peer sent FIN
  Bytes sent;
  usize room = ~usize{0};                                          // bytes that send() takes
  std::weak_ptr<Wire> twin;                                        // the other end of a pair
  std::vector<usize> urgent_sent;                                  // where in `sent` urgent bytes are
  usize urgent_at = ~usize{0};                                     // where in receive_queue one is
  std::deque<std::pair<std::shared_ptr<Wire>, Endpoint>> pending;  // to accept
  // Datagrams.
  std::deque<std::pair<Endpoint, Bytes>> datagrams;
  std::vector<std::pair<Endpoint, Bytes>> sent_to;
  std::deque<SocketError> errors;
  int send_error = 0;
  unsigned send_calls = 0;
  bool joins = false;
  u16 segment = 0;  // what receive_from says of a joined datagram
  unsigned ttl = 0;
  bool whole = false;

  void notify(u32 events) {
    if (socket && owner) owner->on_socket(*socket, events);
  }
};

class FakeSocket final : public Socket {
 public:
  explicit FakeSocket(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) { wire_->socket = this; }
  ~FakeSocket() override {
    wire_->socket = nullptr;
    if (const auto twin = wire_->twin.lock()) twin->end = true;
  }
  void set_owner(SocketOwner* owner) override { wire_->owner = owner; }
  int fd() const override { return 7; }
  bool v6() const override { return wire_->v6; }
  int bind(const Endpoint& to) override { return wire_->bound = to, wire_->error; }
  int bind_path(const std::string& path) override { return wire_->path = path, wire_->error; }
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
      if (const auto twin = wire_->twin.lock())
        twin->receive_queue.insert(twin->receive_queue.end(), piece.data, piece.data + part);
      wire_->room -= part;
      done += part;
    }
    return done ? IoResult{static_cast<s64>(done), 0} : IoResult{0, EAGAIN};
  }
  IoResult peek(usize offset, std::span<const Piece> into) override {
    const Bytes& queue = wire_->receive_queue;
    usize done = 0;
    if (offset < wire_->urgent_at && wire_->urgent_at < queue.size()) {  // a read ends before it
      const usize part = std::min(into[0].size, wire_->urgent_at - offset);
      std::copy_n(queue.begin() + static_cast<std::ptrdiff_t>(offset), part, into[0].data);
      return {static_cast<s64>(part), 0};
    }
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
    wire_->receive_queue.erase(wire_->receive_queue.begin(),
                               wire_->receive_queue.begin() + static_cast<std::ptrdiff_t>(bytes));
    if (wire_->urgent_at != ~usize{0}) wire_->urgent_at -= bytes;
    if (wire_->urgent_at > ~usize{0} / 2) wire_->urgent_at = ~usize{0};
    return {static_cast<s64>(bytes), 0};
  }
  IoResult send_urgent(std::span<const Piece> pieces) override {
    const IoResult result = send(pieces);
    if (!result.error) wire_->urgent_sent.push_back(wire_->sent.size() - 1);
    return result;
  }
  Urgent urgent() const override {
    if (wire_->urgent_at == ~usize{0}) return Urgent::none;
    return wire_->urgent_at == 0 ? Urgent::next : Urgent::ahead;
  }
  void shutdown_write() override {
    wire_->shut_down = true;
    if (const auto twin = wire_->twin.lock()) twin->end = true;
  }
  void reset_on_close() override { wire_->reset = true; }
  void set_keepalive() override { wire_->keepalive = true; }
  usize receive_queue() const override { return wire_->receive_queue.size(); }
  usize send_queue() const override { return 0; }
  IoResult send_to(const Endpoint& to, std::span<const Piece> pieces, u16 segment) override {
    if (wire_->send_error) return {0, wire_->send_error};
    ++wire_->send_calls;
    Bytes data;
    for (const Piece& piece : pieces) data.insert(data.end(), piece.data, piece.data + piece.size);
    for (usize at = 0; segment && at + segment < data.size(); at += segment) {
      const auto start = data.begin() + static_cast<std::ptrdiff_t>(at);
      wire_->sent_to.emplace_back(to, Bytes(start, start + segment));
    }
    const usize rest = segment && !data.empty() ? (data.size() - 1) / segment * segment : 0;
    wire_->sent_to.emplace_back(to, Bytes(data.begin() + static_cast<std::ptrdiff_t>(rest), data.end()));
    return {static_cast<s64>(data.size()), 0};
  }
  void join_datagrams() override { wire_->joins = true; }
  IoResult receive_from(Endpoint& from, Piece into, u16& segment) override {
    segment = 0;
    if (wire_->datagrams.empty()) return {0, EAGAIN};
    if (wire_->joins) segment = wire_->segment;
    auto [sender, data] = wire_->datagrams.front();
    wire_->datagrams.pop_front();
    from = sender;
    const usize size = std::min(into.size, data.size());
    std::copy_n(data.begin(), size, into.data);
    return {static_cast<s64>(size), 0};
  }
  void set_ttl(unsigned ttl) override { wire_->ttl = ttl; }
  void set_tos(unsigned) override {}
  void set_whole(bool whole) override { wire_->whole = whole; }
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
  std::unique_ptr<Socket> start(const std::vector<std::string>& words, SocketOwner* owner,
                                std::string& error) override {
    if (refuse_start) return error = "no such program", nullptr;
    auto wire = std::make_shared<Wire>();
    wire->kind = SocketKind::stream;
    wire->owner = owner;
    wire->words = words;
    wires.push_back(wire);
    return std::make_unique<FakeSocket>(wire);
  }
  // What one end sends is in the other's queue; events are the test's.
  std::unique_ptr<Socket> pair(SocketOwner* owner, std::unique_ptr<Socket>& other, int& error) override {
    auto first = open(SocketKind::local, false, owner, error);
    if (first) other = open(SocketKind::local, false, nullptr, error);
    if (!other) return nullptr;
    wires.back()->twin = wires[wires.size() - 2];
    wires[wires.size() - 2]->twin = wires.back();
    return first;
  }
  std::unique_ptr<Socket> adopt(sys::Fd, int& error) override {
    return open(SocketKind::stream, false, nullptr, error);
  }
  std::vector<IpAddress> addresses_of(const std::string& name) override {
    return name == "both.test" ? std::vector{IpAddress::v4(0x7f000001), *parse_ipv6("::1")} : std::vector<IpAddress>{};
  }
  std::vector<Endpoint> resolvers() override { return servers; }
  bool has_ipv6_route() override { return ipv6; }
  usize open_file_limit() override { return 1024; }
  u64 random() override { return random_ = random_ * 6364136223846793005u + 1442695040888963407u; }

  std::vector<std::shared_ptr<Wire>> wires;
  std::vector<Endpoint> servers{{IpAddress::v4(0x08080808), 53, 0}, {IpAddress::v4(0x09090909), 53, 0}};
  int refuse[5] = {};
  bool refuse_start = false;
  int next_error = 0;
  bool ipv6 = false;

 private:
  u64 random_ = 1;
};

}  // namespace rhea::net::user::testing
