// SPDX-License-Identifier: MIT
#include "machine/replay_sources.h"

#include <algorithm>
#include <chrono>

namespace rhea::machine {

// ---- character devices ---------------------------------------------------------------------------------------------
RecordedChardev::RecordedChardev(chardev::Backend* outside, Replay& replay, Clock& clock, u32 source)
    : outside_(outside), replay_(replay), source_(source) {
  timer_ = clock.timer([this] { pass_on(); });
  replay_.on_event(Replay::Kind::chardev, source, [this](std::span<const u8> data) {
    held_.insert(held_.end(), data.begin(), data.end());
    pass_on();
  });
  replay_.on_event(Replay::Kind::chardev_event, source, [this](std::span<const u8> data) {
    if (frontend_ && !data.empty() && data[0] <= static_cast<u8>(chardev::Event::mux_out)) {
      frontend_->event(static_cast<chardev::Event>(data[0]));
    }
  });
  replay_.holders.push_back({.save = [this] { return held_; },
                             .load =
                                 [this](std::span<const u8> data) {
                                   held_.assign(data.begin(), data.end());
                                   timer_->cancel();
                                 },
                             .quiet = [this] { return timer_->deadline() == kNever; }});
  if (outside_) outside_->set_frontend(this);
}

RecordedChardev::~RecordedChardev() {
  if (outside_) outside_->set_frontend(nullptr);
}

void RecordedChardev::write(std::span<const u8> data) {
  if (outside_ && !replay_.silent()) outside_->write(data);
}

// The frontend is in the middle of something: soon.
void RecordedChardev::accept_input() {
  if (!held_.empty() && timer_->deadline() == kNever) timer_->arm(0);
}

void RecordedChardev::event(chardev::Event event) {
  // The focus of a multiplexer is nothing that the guest sees.
  if (event == chardev::Event::mux_in || event == chardev::Event::mux_out) return;
  replay_.submit(Replay::Kind::chardev_event, source_, std::array<u8, 1>{static_cast<u8>(event)});
}

void RecordedChardev::pass_on() {
  while (frontend_ && !held_.empty()) {
    const usize room = std::min(frontend_->can_receive(), held_.size());
    if (!room) return;
    const std::vector<u8> now(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(room));
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(room));
    frontend_->receive(now);
  }
}

// ---- the network ---------------------------------------------------------------------------------------------------
class RecordedLink::BackendSide final : public net::Port {
 public:
  BackendSide(Replay& replay, u32 source) : Port(fmt::format("replay{}", source)), replay_(replay), source_(source) {}
  net::Caps caps() const override { return {}; }
  net::Sent send(const net::Frame& frame) override {
    std::vector<u8> data(frame.size());
    frame.copy(0, data.data(), data.size());
    replay_.submit(Replay::Kind::frame, source_, data);
    return net::Sent::taken;
  }
  void on_link(bool up) override { replay_.submit(Replay::Kind::link, source_, std::array<u8, 1>{up}); }
  std::string type() const override { return "replay"; }
  std::string info() const override { return {}; }
  bool stands_for_nic() const override { return true; }

 private:
  Replay& replay_;
  const u32 source_;
};

class RecordedLink::NicSide final : public net::Port {
 public:
  NicSide(Replay& replay, EventLoop& net_loop, u32 source, std::shared_ptr<BackendSide*> other)
      : Port(fmt::format("replay{}", source)), replay_(replay), net_loop_(net_loop), other_(std::move(other)) {}
  net::Caps caps() const override { return {}; }
  net::Sent send(const net::Frame& frame) override {
    if (replay_.silent() || replay_.mode() == ReplayMode::replay) return net::Sent::taken;
    std::vector<u8> data(frame.size());
    frame.copy(0, data.data(), data.size());
    net_loop_.post([other = other_, data = std::move(data)]() mutable {
      if (!*other) return;
      const net::Piece piece{data.data(), data.size()};
      net::send_to_peer(**other, {.pieces = {&piece, 1}, .offload = {}});
    });
    return net::Sent::taken;
  }
  // For the backend alone: the NIC hears of its link through the input point.
  void on_link(bool up) override {
    net_loop_.post([other = other_, up] {
      if (*other && (*other)->peer()) (*other)->peer()->on_link(up);
    });
  }
  // A frame of the recording.
  void deliver(std::span<const u8> data) {
    const net::Piece piece{const_cast<u8*>(data.data()), data.size()};
    net::send_to_peer(*this, {.pieces = {&piece, 1}, .offload = {}});
  }
  std::string type() const override { return "replay"; }
  std::string info() const override { return {}; }

 private:
  Replay& replay_;
  EventLoop& net_loop_;
  std::shared_ptr<BackendSide*> other_;  // cleared on the network's loop
};

RecordedLink::RecordedLink(net::Port* backend, Replay& replay, EventLoop& net_loop, u32 source)
    : backend_side_(std::make_unique<BackendSide>(replay, source)),
      other_(std::make_shared<BackendSide*>(backend_side_.get())), net_loop_(net_loop) {
  nic_side_ = std::make_unique<NicSide>(replay, net_loop, source, other_);
  std::lock_guard lock(net_loop.lock());
  if (backend) net::Port::connect(*backend_side_, *backend);
  replay.on_event(Replay::Kind::frame, source, [this](std::span<const u8> data) { nic_side_->deliver(data); });
  replay.on_event(Replay::Kind::link, source, [this](std::span<const u8> data) {
    if (nic_side_->peer() && !data.empty()) nic_side_->peer()->on_link(data[0]);
  });
}

net::Port& RecordedLink::nic_side() { return *nic_side_; }

void RecordedLink::disconnect() {
  *other_ = nullptr;
  net::Port::disconnect(*backend_side_);
}

RecordedLink::~RecordedLink() {
  std::lock_guard lock(net_loop_.lock());
  disconnect();
  net::Port::disconnect(*nic_side_);
}

// ---- posted work ---------------------------------------------------------------------------------------------------
CountedLoop::CountedLoop(EventLoop& loop, accel::Engine& engine, Replay& replay)
    : loop_(loop), engine_(engine), replay_(replay) {
  timer_ = engine.virtual_clock().timer([this] { run(); });
  replay.on_event(Replay::Kind::post, 0, [this](std::span<const u8>) {
    std::function<void()> work;
    {
      // Replaying, the work may come later than it did then.
      constexpr std::chrono::seconds kPatience{30};
      std::unique_lock lock(mutex_);
      if (!came_.wait_for(lock, kPatience, [this] { return !foreign_.empty(); })) return;
      work = std::move(foreign_.front());
      foreign_.pop_front();
    }
    work();
  });
  replay.holders.push_back({.save = [] { return std::vector<u8>(); },
                            .load =
                                [this](std::span<const u8>) {
                                  own_.clear();
                                  timer_->cancel();
                                },
                            .quiet = [this] { return own_.empty(); }});
}

void CountedLoop::post(std::function<void()> work) {
  if (!engine_.on_cpu_thread() && !loop_.on_loop_thread()) {
    {
      std::lock_guard lock(mutex_);
      foreign_.push_back(std::move(work));
      came_.notify_all();
    }
    replay_.submit(Replay::Kind::post, 0, {});
    return;
  }
  std::lock_guard lock(loop_.lock());
  own_.push_back(std::move(work));
  if (timer_->deadline() == kNever) timer_->arm(0);
}

void CountedLoop::run() {
  std::deque<std::function<void()>> work;
  work.swap(own_);
  for (auto& item : work) item();
}

}  // namespace rhea::machine
