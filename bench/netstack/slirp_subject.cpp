// SPDX-License-Identifier: MIT
// libslirp as QEMU drives it: poll() over the descriptors it names in each turn, each frame of the guest in one piece,
// each frame to the guest copied into a receive buffer.
#include "subject.h"

#ifdef RHEA_BENCH_SLIRP
#include <arpa/inet.h>
#include <poll.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include "guest.h"

namespace rhea::bench {

namespace {

constexpr usize kBuffers = 256, kBufferSize = 2048;
constexpr s64 kTick = 20'000'000;

struct SlirpTimer {
  SlirpTimerCb callback;
  void* opaque;
  s64 due_ms = -1;
};

class SlirpSubject final : public Subject {
 public:
  explicit SlirpSubject(const SubjectOptions& options) : memory_(kBuffers * kBufferSize) {
    SlirpConfig config{};
    config.version = 4;
    config.in_enabled = true;
    config.vnetwork.s_addr = inet_addr("10.0.2.0");
    config.vnetmask.s_addr = inet_addr("255.255.255.0");
    config.vhost.s_addr = inet_addr("10.0.2.2");
    config.vdhcp_start.s_addr = inet_addr("10.0.2.15");
    config.vnameserver.s_addr = inet_addr("10.0.2.3");
    config.if_mtu = config.if_mru = options.mtu;
    callbacks_.send_packet = [](const void* data, size_t size, void* self) -> ssize_t {
      static_cast<SlirpSubject*>(self)->receive(static_cast<const u8*>(data), size);
      return static_cast<ssize_t>(size);
    };
    callbacks_.guest_error = [](const char* text, void*) { std::fprintf(stderr, "libslirp: %s\n", text); };
    callbacks_.clock_get_ns = [](void*) -> int64_t { return now_ns(); };
    callbacks_.timer_new = [](SlirpTimerCb callback, void* opaque, void* self) -> void* {
      auto* timer = new SlirpTimer{callback, opaque};
      static_cast<SlirpSubject*>(self)->timers_.insert(timer);
      return timer;
    };
    callbacks_.timer_free = [](void* timer, void* self) {
      static_cast<SlirpSubject*>(self)->timers_.erase(static_cast<SlirpTimer*>(timer));
      delete static_cast<SlirpTimer*>(timer);
    };
    callbacks_.timer_mod = [](void* timer, int64_t due, void*) { static_cast<SlirpTimer*>(timer)->due_ms = due; };
    callbacks_.register_poll_fd = callbacks_.unregister_poll_fd = [](int, void*) {};
    callbacks_.notify = [](void*) {};
    slirp_ = slirp_new(&config, &callbacks_, this);
  }
  ~SlirpSubject() override { slirp_cleanup(slirp_); }

  void attach(Guest& guest) override { guest_ = &guest; }
  bool ready() const override { return true; }
  void send(const net::Frame& frame) override {
    const usize size = frame.copy(0, frame_.data(), frame_.size());
    slirp_input(slirp_, frame_.data(), static_cast<int>(size));
  }
  void run() override {
    s64 next_tick = 0;
    while (!stopped_) {
      turn();
      run_timers();
      if (std::exchange(woken_, false)) guest_->pump();
      if (now_ns() < next_tick) continue;
      guest_->tick();
      next_tick = now_ns() + kTick;
    }
  }
  void stop() override { stopped_ = true; }
  void wake() override { woken_ = true; }

 private:
  static constexpr struct {
    int slirp;
    short native;
  } kEvents[] = {{SLIRP_POLL_IN, POLLIN},
                 {SLIRP_POLL_OUT, POLLOUT},
                 {SLIRP_POLL_PRI, POLLPRI},
                 {SLIRP_POLL_ERR, POLLERR},
                 {SLIRP_POLL_HUP, POLLHUP}};

  void turn() {
    u32 timeout = woken_ ? 0 : 20;
    polled_.clear();
    slirp_pollfds_fill(
        slirp_, &timeout,
        [](int fd, int events, void* self) {
          auto& polled = static_cast<SlirpSubject*>(self)->polled_;
          short native = 0;
          for (const auto& event : kEvents)
            if (events & event.slirp) native |= event.native;
          polled.push_back({fd, native, 0});
          return static_cast<int>(polled.size() - 1);
        },
        this);
    const int count = poll(polled_.data(), polled_.size(), static_cast<int>(std::min(timeout, woken_ ? 0u : 20u)));
    slirp_pollfds_poll(
        slirp_, count < 0,
        [](int index, void* self) {
          const short native = static_cast<SlirpSubject*>(self)->polled_[static_cast<usize>(index)].revents;
          int events = 0;
          for (const auto& event : kEvents)
            if (native & event.native) events |= event.slirp;
          return events;
        },
        this);
  }
  void run_timers() {
    const s64 now = now_ns() / 1'000'000;
    for (SlirpTimer* timer : timers_) {
      if (timer->due_ms < 0 || timer->due_ms > now) continue;
      timer->due_ms = -1;
      timer->callback(timer->opaque);
      return;  // it may have changed the set
    }
  }
  void receive(const u8* data, usize size) {
    u8* buffer = memory_.data() + next_ * kBufferSize;
    next_ = (next_ + 1) % kBuffers;
    const usize copied = std::min(size, kBufferSize);
    std::memcpy(buffer, data, copied);
    guest_->input(buffer, copied, size);
  }

  SlirpCb callbacks_{};
  Slirp* slirp_ = nullptr;
  Guest* guest_ = nullptr;
  std::vector<u8> memory_;
  std::array<u8, 2048> frame_;
  std::vector<pollfd> polled_;
  std::set<SlirpTimer*> timers_;
  usize next_ = 0;
  bool woken_ = false, stopped_ = false;
};

}  // namespace

std::unique_ptr<Subject> make_slirp(const SubjectOptions& options) {
  if (options.mtu != 1500) return nullptr;
  return std::make_unique<SlirpSubject>(options);
}

}  // namespace rhea::bench
#else
namespace rhea::bench {
std::unique_ptr<Subject> make_slirp(const SubjectOptions&) { return nullptr; }
}  // namespace rhea::bench
#endif
