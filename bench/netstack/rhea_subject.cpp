// SPDX-License-Identifier: MIT
// Our own stack behind a port as a NIC's: on the network loop, with 256 receive buffers that are free again when the
// guest has had its turn, and lent to the stack where offload is on.
#include "core/loop.h"
#include "guest.h"
#include "net/backend.h"
#include "net/user/user_backend.h"
#include "util/log.h"

namespace rhea::bench {

namespace {

constexpr usize kBuffers = 256, kBufferSize = 2048;
constexpr usize kLentBuffers = 16, kPage = 4096;  // of 64 KiB and some, in pages as a Linux guest gives them
constexpr usize kLentSize = 17 * kPage;
constexpr s64 kTick = 20 * kMillisecond;

class Nic final : public net::Port {
 public:
  Nic(bool offload, usize mtu) : Port("nic"), offload_(offload), mtu_(mtu) {
    memory_.resize(offload ? kLentBuffers * kLentSize : kBuffers * kBufferSize);
    room_ = count();
  }
  net::Caps caps() const override {
    if (offload_) return {.checksum = true, .tso4 = true, .tso6 = true, .max_frame = mtu_ + net::kEthernetHeader};
    return {.max_frame = mtu_ + net::kEthernetHeader};
  }
  bool can_reserve() const override { return offload_; }
  bool reserve(usize bytes, net::Reservation& reservation) override {
    if (room_ == 0) return waiting_ = true, false;
    u8* at = memory_.data() + next_ * kLentSize;
    usize pieces = 0;
    for (usize left = bytes; left && pieces < pieces_.size(); at += kPage) {
      pieces_[pieces++] = {at, kPage};
      left -= std::min(left, kPage);
    }
    reservation.pieces = std::span(pieces_).first(pieces);
    return true;
  }
  void commit(net::Reservation& reservation, usize used, const net::Offload&) override {
    take();
    guest->input(reservation.pieces[0].data, std::min(used, kPage), used);
  }
  net::Sent send(const net::Frame& frame) override {
    if (room_ == 0) return waiting_ = true, net::Sent::busy;
    const usize size = offload_ ? kLentSize : kBufferSize;
    u8* buffer = memory_.data() + next_ * size;
    const usize copied = frame.copy(0, buffer, size);
    take();
    guest->input(buffer, copied, frame.size());
    return net::Sent::taken;
  }
  // The guest has had its turn.
  void refill() {
    room_ = count();
    if (std::exchange(waiting_, false)) peer()->on_room();
  }
  std::string type() const override { return "nic"; }
  std::string info() const override { return "model=synthetic"; }
  Guest* guest = nullptr;
  std::function<void()> on_full;  // the guest is to have its turn, whether or not what came is of interest to it

 private:
  usize count() const { return offload_ ? kLentBuffers : kBuffers; }
  void take() {
    if (--room_ == 0) on_full();
    next_ = (next_ + 1) % count();
  }
  bool offload_;
  usize mtu_;
  std::vector<u8> memory_;
  std::array<net::Piece, 17> pieces_;
  usize room_ = 0, next_ = 0;
  bool waiting_ = false;
};

class RheaSubject final : public Subject {
 public:
  explicit RheaSubject(const SubjectOptions& options)
      : loop_("net"), wall_clock_(core::make_host_clock(loop_)), network_(loop_, *wall_clock_, log_),
        nic_(options.offload, options.mtu), tick_(loop_.real_clock().timer([this] { tick(); })) {
    std::vector<net::OptionText> texts;
    for (const std::string& text : options.options) {
      const usize equals = text.find('=');
      texts.emplace_back(text.substr(0, equals), equals == std::string::npos ? "on" : text.substr(equals + 1));
    }
    auto added = network_.add("user", "n0", texts);
    if (!added) {
      std::fprintf(stderr, "rhea: %s\n", added.error().message().c_str());
      std::exit(1);
    }
    backend_ = dynamic_cast<net::user::UserBackend*>(*added);
    net::Port::connect(nic_, *backend_);
    network_.add_nic(&nic_);
  }
  ~RheaSubject() override { net::Port::disconnect(nic_); }

  void attach(Guest& guest) override {
    nic_.guest = guest_ = &guest;
    nic_.on_full = [this] { wake(); };
  }
  bool ready() const override { return true; }
  void send(const net::Frame& frame) override { net::send_to_peer(nic_, frame); }
  void run() override {
    tick();
    loop_.run();
  }
  void stop() override { loop_.quit(); }
  void wake() override {
    if (std::exchange(woken_, true)) return;
    loop_.post([this] {
      woken_ = false;
      guest_->pump();
      if (!guest_->stalled) nic_.refill();
    });
  }
  s64 flows() const override { return static_cast<s64>(backend_->stack().tcp_flows()); }

 private:
  void tick() {
    guest_->tick();
    tick_->arm(loop_.real_clock().now() + kTick);
  }
  core::Loop loop_;
  Log log_;
  std::unique_ptr<Clock> wall_clock_;
  net::Network network_;
  Nic nic_;
  net::user::UserBackend* backend_ = nullptr;
  Guest* guest_ = nullptr;
  bool woken_ = false;
  std::unique_ptr<Timer> tick_;
};

}  // namespace

std::unique_ptr<Subject> make_rhea(const SubjectOptions& options) { return std::make_unique<RheaSubject>(options); }

}  // namespace rhea::bench
