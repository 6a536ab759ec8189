// SPDX-License-Identifier: MIT
// The stack over real sockets of this host's loopback, with a small but true TCP on the guest's side.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "core/loop.h"
#include "net/user/host_sockets.h"
#include "net/user/testing.h"

namespace rhea::net::user::testing {
namespace {

constexpr Mac kGuestMac{0x52, 0x54, 0, 0x12, 0x34, 0x56};
const IpAddress kGuestAddress = IpAddress::v4(0x0a00020f);

// A guest with one TCP connection. It acknowledges what comes in order, keeps to the window, sends again
// after 250 ms, and loses every frame that `lose` says.
class GuestTcp final : public Port {
 public:
  explicit GuestTcp(core::Loop& loop) : Port("nic"), loop_(loop) {}
  Caps caps() const override { return caps_; }
  std::string type() const override { return "nic"; }
  std::string info() const override { return {}; }
  // A queue of bounded size that the test drains, as a NIC's.
  Sent send(const Frame& frame) override {
    if (queue_.size() >= 64) return waiting_ = true, Sent::busy;
    Bytes bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    queue_.push_back(std::move(bytes));
    return Sent::taken;
  }

  void open(const IpAddress& to, u16 port) {
    to_ = to;
    port_ = port;
    state_ = opening;
    emit(kSyn, seq_, {}, {2, 4, 0x05, 0xb4, 4, 2, 1, 1, 1, 3, 3, 7});
    ++next_;
  }
  // Another connection, from another port.
  void restart(u16 local_port) {
    local_port_ = local_port;
    state_ = none;
    next_ = seq_;
    una_ = first_;
    received_ = window_ = 0;
    got.clear();
    to_send.clear();
    got_fin = then_fin = fin_sent_ = ack_due_ = false;
  }
  // The guest's program is killed with data that it has not read.
  void abort() {
    emit(kRst | kAck, next_, {});
    state_ = none;
  }
  void step() {
    // Frames to a guest come one by one; half the queue must be free before the stack is told.
    while (!queue_.empty()) {
      const Bytes frame = std::move(queue_.front());
      queue_.pop_front();
      if (!lose || !lose()) receive(frame);
    }
    if (ack_due_ && state_ == up) emit(kAck, next_, {});
    ack_due_ = false;
    if (std::exchange(waiting_, false)) peer()->on_room();
    transmit();
  }

  enum State { none, opening, up, refused, reset } state_ = none;
  Caps caps_;
  Bytes got;
  bool got_fin = false;
  Bytes to_send;  // the whole stream
  bool then_fin = false, fin_sent_ = false;
  bool accepts = false;  // listens
  std::function<bool()> lose;
  bool all_acked() const { return una_ - first_ == to_send.size() + (then_fin ? 1 : 0); }

 private:
  void emit(u8 flags, u32 seq, const Bytes& payload, const Bytes& options = {}) {
    Bytes frame(kEthernetHeader + kIpv4Header + kTcpHeader);
    const Mac gateway{0x52, 0x55, 10, 0, 2, 2};
    std::copy(gateway.begin(), gateway.end(), frame.begin());
    std::copy(kGuestMac.begin(), kGuestMac.end(), frame.begin() + 6);
    store_be<u16>(&frame[12], kTypeIpv4);
    u8* ip = &frame[14];
    ip[0] = 0x45;
    store_be<u16>(ip + 2, static_cast<u16>(40 + options.size() + payload.size()));
    ip[8] = 64;
    ip[9] = kTcp;
    std::memcpy(ip + 12, kGuestAddress.wire(), 4);
    std::memcpy(ip + 16, to_.wire(), 4);
    u8* tcp = ip + 20;
    store_be<u16>(tcp, local_port_);
    store_be<u16>(tcp + 2, port_);
    store_be<u32>(tcp + 4, seq);
    store_be<u32>(tcp + 8, received_);
    tcp[12] = static_cast<u8>((20 + options.size()) / 4 << 4);
    tcp[13] = flags;
    store_be<u16>(tcp + 14, flags & kSyn ? 64240 : 4096);  // 512 KiB scaled
    frame.insert(frame.end(), options.begin(), options.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    if (lose && !(flags & kSyn) && lose()) return;
    const Piece piece{frame.data(), frame.size()};
    Offload offload;
    offload.needs_checksum = true;
    if (payload.size() > 1460) {
      offload.gso = Offload::tcp4;
      offload.gso_size = 1460;
    }
    send_to_peer(*this, Frame{std::span(&piece, 1), offload});
  }
  void transmit() {
    if (state_ != up) return;
    const auto now = std::chrono::steady_clock::now();
    if (una_ != next_ && now - last_progress_ > std::chrono::milliseconds(250)) {
      next_ = una_;
      fin_sent_ = false;
      last_progress_ = now;
    }
    const usize chunk = caps_.tso4 ? 60000 : 1460;
    while (next_ - first_ < to_send.size() && next_ - una_ < window_) {
      const usize at = next_ - first_;
      const usize size = std::min({chunk, to_send.size() - at, usize{window_} - (next_ - una_)});
      emit(kAck | (at + size == to_send.size() ? kPsh : 0), next_,
           Bytes(to_send.begin() + static_cast<std::ptrdiff_t>(at),
                 to_send.begin() + static_cast<std::ptrdiff_t>(at + size)));
      next_ += static_cast<u32>(size);
    }
    if (then_fin && !fin_sent_ && next_ - first_ == to_send.size()) {
      emit(kFin | kAck, next_++, {});
      fin_sent_ = true;
    }
  }
  void receive(const Bytes& frame) {
    Guest parser;
    parser.frames.push_back(frame);
    Offload offload;
    offload.needs_checksum = caps_.checksum;
    parser.offloads.push_back(offload);
    const Seen seen = parser.take();
    if (seen.type == kTypeArp && load_be<u16>(&seen.payload[6]) == 1) return answer_arp();
    if (seen.protocol != kTcp) return;
    if (seen.flags & kRst) {
      state_ = state_ == opening ? refused : reset;
      return;
    }
    if (accepts && seen.flags == kSyn && state_ == none) {
      to_ = seen.from;
      port_ = seen.from_port;
      local_port_ = seen.to_port;
      received_ = seen.seq + 1;
      state_ = up;
      window_ = seen.window;
      emit(kSyn | kAck, next_++, {}, {2, 4, 0x05, 0xb4, 1, 3, 3, 7});
      return;
    }
    if (state_ == opening && seen.flags == (kSyn | kAck)) {
      received_ = seen.seq + 1;
      una_ = seen.ack;
      window_ = seen.window;
      state_ = up;
      ack_due_ = true;
      return;
    }
    if (state_ != up) return;
    if (seen.flags & kAck && !before(seen.ack, una_)) {
      if (seen.ack != una_) last_progress_ = std::chrono::steady_clock::now();
      una_ = seen.ack;
      if (before(next_, una_)) next_ = una_;
      window_ = u32{seen.window} << 5;
    }
    if (seen.payload.empty() && !(seen.flags & kFin)) return;
    if (seen.seq == received_ && !got_fin) {
      got.insert(got.end(), seen.payload.begin(), seen.payload.end());
      received_ += static_cast<u32>(seen.payload.size());
      if (seen.flags & kFin) {
        ++received_;
        got_fin = true;
      }
      ack_due_ = true;
    } else {
      emit(kAck, next_, {});  // out of order: at once
    }
  }
  void answer_arp() {
    Bytes reply(60);
    const Bytes body{0x52, 0x55, 10,   0, 2,    2,    0x52, 0x54, 0, 0x12, 0x34, 0x56, 8,    6,  0, 1, 8, 0,  6, 4, 0,
                     2,    0x52, 0x54, 0, 0x12, 0x34, 0x56, 10,   0, 2,    15,   0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2};
    std::copy(body.begin(), body.end(), reply.begin());
    const Piece piece{reply.data(), reply.size()};
    send_to_peer(*this, Frame{std::span(&piece, 1), {}});
  }

  core::Loop& loop_;
  std::deque<Bytes> queue_;
  bool waiting_ = false, ack_due_ = false;
  IpAddress to_;
  u16 port_ = 0, local_port_ = 40000;
  const u32 seq_ = 0xffff0000, first_ = seq_ + 1;
  u32 next_ = seq_, una_ = seq_ + 1, received_ = 0, window_ = 0;
  std::chrono::steady_clock::time_point last_progress_ = std::chrono::steady_clock::now();
};

class LoopbackTest : public ::testing::Test {
 protected:
  LoopbackTest() {
    std::vector<std::string> warnings;
    auto config = parse_user_options({}, warnings);
    backend_ = std::make_unique<UserBackend>("n0", config.take(), Stack::Services{loop_, log_, [](std::string) {}},
                                             [this](std::function<void()> after) -> std::unique_ptr<Sockets> {
                                               return std::make_unique<HostSockets>(loop_, std::move(after));
                                             });
    Port::connect(guest_, *backend_);
  }
  ~LoopbackTest() override { Port::disconnect(guest_); }
  u16 listen() {
    int error = 0;
    listener_ = sys::Socket::open(SocketKind::stream, false, error);
    EXPECT_EQ(listener_->bind({IpAddress::v4(0x7f000001), 0, 0}), 0);
    EXPECT_EQ(listener_->listen(8), 0);
    return listener_->local().port;
  }
  void accept() {
    run([&] {
      int error = 0;
      Endpoint from;
      if (!host_) host_ = listener_->accept(from, error);
      return host_ != nullptr;
    });
  }
  // Turns until a condition holds.
  void run(const std::function<bool()>& done, unsigned seconds = 60) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!done()) {
      guest_.step();
      loop_.run_once();
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "no progress";
    }
  }
  // The host's program: writes `to_send`, reads into `read`.
  void pump(const Bytes& to_send) {
    if (written_ < to_send.size()) {
      const sys::IoPiece piece{const_cast<u8*>(to_send.data()) + written_, to_send.size() - written_};
      const IoResult result = host_->send(std::span(&piece, 1));
      if (!result.error) written_ += static_cast<usize>(result.count);
    } else if (!host_shut_) {
      host_->shutdown_write();
      host_shut_ = true;
    }
    u8 buffer[65536];
    const sys::IoPiece piece{buffer, sizeof buffer};
    const IoResult result = host_->peek(0, std::span(&piece, 1));
    if (result.error) return;
    if (result.count == 0) host_end_ = true;
    read_.insert(read_.end(), buffer, buffer + result.count);
    if (result.count) host_->discard(static_cast<usize>(result.count));
  }
  // Both directions at once, to the end.
  void exchange(usize size) {
    const Bytes down = pattern(size, 1);
    guest_.to_send = pattern(size, 2);
    guest_.then_fin = true;
    guest_.open(kGateway, listen());
    accept();
    run([&] {
      pump(down);
      return guest_.got_fin && host_end_ && guest_.all_acked();
    });
    EXPECT_EQ(guest_.got, down);
    EXPECT_EQ(read_, guest_.to_send);
    run([&] { return backend_->stack().tcp_flows() == 0; });
  }

  core::Loop loop_{"test"};
  Log log_;
  GuestTcp guest_{loop_};
  std::unique_ptr<UserBackend> backend_;
  std::unique_ptr<sys::Socket> listener_, host_;
  usize written_ = 0;
  bool host_shut_ = false, host_end_ = false;
  Bytes read_;
};

TEST_F(LoopbackTest, MegabytesBothWays) { exchange(8 << 20); }

TEST_F(LoopbackTest, MegabytesBothWaysWithLargeSegments) {
  guest_.caps_ = {.checksum = true, .tso4 = true, .tso6 = true};
  exchange(32 << 20);
}

TEST_F(LoopbackTest, NothingIsLostOnALossyLink) {
  std::mt19937 random(3);
  guest_.lose = [&] { return random() % 50 == 0; };
  exchange(1 << 20);
}

TEST_F(LoopbackTest, AClosedPortRefuses) {
  const u16 port = listen();
  listener_.reset();
  guest_.open(kGateway, port);
  run([&] { return guest_.state_ == GuestTcp::refused; });
  EXPECT_EQ(backend_->stack().tcp_flows(), 0u);
}

TEST_F(LoopbackTest, AResetOfTheHostArrives) {
  guest_.open(kGateway, listen());
  accept();
  run([&] { return guest_.state_ == GuestTcp::up; });
  host_->reset_on_close();
  host_.reset();
  run([&] { return guest_.state_ == GuestTcp::reset; });
}

TEST_F(LoopbackTest, AForwardedPortReachesTheGuest) {
  ASSERT_TRUE(backend_->stack().add_forward(*parse_forward("tcp:127.0.0.1:0-:22")).ok());
  const std::string info = backend_->info_usernet(-1);
  const usize at = info.find("127.0.0.1 ");
  ASSERT_NE(at, std::string::npos) << info;
  const u16 port = static_cast<u16>(std::stoi(info.substr(at + 10)));
  guest_.accepts = true;
  guest_.to_send = bytes_of("SSH-2.0-guest\r\n");
  guest_.then_fin = true;
  int error = 0;
  host_ = sys::Socket::open(SocketKind::stream, false, error);
  host_->connect({IpAddress::v4(0x7f000001), port, 0});
  const Bytes hello = bytes_of("SSH-2.0-client\r\n");
  run([&] {
    pump(hello);
    return host_end_ && guest_.got_fin;
  });
  EXPECT_EQ(guest_.got, hello);
  EXPECT_EQ(read_, guest_.to_send);
}

usize open_files() {
  usize count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

TEST_F(LoopbackTest, TenThousandConnectionsLeaveNothing) {
  const u16 port = listen();
  const usize before = open_files();
  for (unsigned i = 0; i < 10000 && !HasFatalFailure(); ++i) {
    guest_.restart(static_cast<u16>(2000 + i));
    guest_.to_send = bytes_of("ask");
    guest_.open(kGateway, port);
    accept();
    u8 data[8];
    const sys::IoPiece piece{data, sizeof data};
    run([&] { return host_->peek(0, std::span(&piece, 1)).count == 3; });
    switch (i % 4) {
      case 0:  // both end, the host first
      case 1:  // the guest first
        if (i % 4 == 1) guest_.then_fin = true;
        host_->discard(3);
        host_->shutdown_write();
        run([&] { return guest_.got_fin; });
        guest_.then_fin = true;
        run([&] { return guest_.all_acked(); });
        break;
      case 2:  // the host's program is killed
        host_->reset_on_close();
        host_.reset();
        run([&] { return guest_.state_ == GuestTcp::reset; });
        break;
      default: guest_.abort(); break;
    }
    host_.reset();
    run([&] { return backend_->stack().tcp_flows() == 0; });
  }
  loop_.run_once();
  EXPECT_EQ(open_files(), before);
}

TEST_F(LoopbackTest, ATakenPortIsTold) {
  const u16 port = listen();
  const auto added = backend_->stack().add_forward(*parse_forward(fmt::format("tcp:127.0.0.1:{}-:22", port)));
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().message(),
            fmt::format("Could not set up host forwarding rule 'tcp:127.0.0.1:{}-:22': Address already in use", port));
}

}  // namespace
}  // namespace rhea::net::user::testing
