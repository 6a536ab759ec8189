// SPDX-License-Identifier: MIT
// What must not lose, leak or hang anything: many short connections, many idle ones, ends that stall.
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <utility>

#include "jobs.h"
#include "peers.h"

namespace rhea::bench {

namespace {

constexpr double kMiB = 1048576;

// `rate` connections a second for `seconds`, each with 32 bytes there and back, over several ports.
class Churn final : public Job {
 public:
  explicit Churn(const JobOptions& options) : Job(options), peer_(PeerKind::echo, 8) {}

 private:
  static constexpr u32 kBytes = 32;
  static constexpr unsigned kMostOpen = 1024;  // fewer than the peers' backlogs hold
  void start() override {
    began_ = now_ns();
    cpu_ = subject_->cpu_seconds();
    resident_ = subject_->resident();
    guest_->on_open = [this](Flow& flow) { guest_->send(flow, kBytes); };
    guest_->on_data = [this](Flow& flow, usize) {
      if (flow.received == kBytes) guest_->close(flow);
    };
    guest_->on_end = [this](Flow& flow, Guest::End how) {
      ++ended_;
      if (how == Guest::End::closed && flow.received == kBytes) ++whole_;
      else if (how == Guest::End::refused) ++refused_;
      else ++broken_;
      resent_ += flow.resent;
      if (now_ns() - began_ < 100'000'000) resident_ = subject_->resident();
    };
  }
  void tick() override {
    const double seconds = static_cast<double>(now_ns() - began_) * 1e-9;
    const double until = std::min(seconds, options_.seconds);
    while (static_cast<double>(opened_) < until * options_.rate && guest_->flows() < kMostOpen) {
      if (!guest_->open(peer_.ports()[opened_ % peer_.ports().size()])) break;
      ++opened_;
    }
    most_ = std::max(most_, subject_->resident());
    if (seconds < options_.seconds || ended_ < opened_) return;
    if (done_) return;
    done_ = true;
    add("connections", static_cast<double>(opened_));
    add("connections_per_second", static_cast<double>(ended_) / seconds);
    add("cpu_us_each", (subject_->cpu_seconds() - cpu_) * 1e6 / static_cast<double>(ended_));
    add("resent", static_cast<double>(resent_));
    add("resident_mib", static_cast<double>(most_) / kMiB);
    add("resident_growth_mib", static_cast<double>(most_ - resident_) / kMiB);
    if (whole_ != opened_) fail(fmt::format("{} of {} connections were refused, {} broke", refused_, opened_, broken_));
    finish_when_clean();
  }

  Peer peer_;
  s64 began_ = 0;
  double cpu_ = 0;
  u64 resident_ = 0, most_ = 0;
  u64 opened_ = 0, ended_ = 0, whole_ = 0, refused_ = 0, broken_ = 0, resent_ = 0;
  bool done_ = false;
};

// `flows` connections that say nothing for `seconds`, then a byte each, then end.
class Idle final : public Job {
 public:
  explicit Idle(const JobOptions& options) : Job(options) {
    // As many as the host's limit of open files lets the stack have.
    options_.flows = static_cast<unsigned>(std::min<usize>(options.flows, raise_descriptor_limit() / 8 * 7 - 64));
    for (unsigned left = options_.flows; left; left -= std::min(left, kEach)) peers_.emplace_back(PeerKind::echo);
  }

 private:
  static constexpr unsigned kEach = 10000;  // connections of a peer, whose descriptors have a limit too
  static constexpr unsigned kOpening = 256;
  void start() override {
    resident_ = subject_->resident();
    guest_->on_open = [this](Flow& flow) {
      flows_.push_back(&flow);
      if (flows_.size() == options_.flows) {
        idle_at_ = now_ns() + kSettle;
        end_at_ = idle_at_ + static_cast<s64>(options_.seconds * 1e9);
      }
      open_more();
    };
    guest_->on_data = [this](Flow& flow, usize) {
      if (++answered_ < options_.flows) return;
      for (Flow* each : flows_) guest_->close(*each);
    };
    guest_->on_end = [this](Flow&, Guest::End how) {
      if (how != Guest::End::closed)
        fail(fmt::format("a connection was {}, with {} open", how == Guest::End::refused ? "refused" : "reset",
                         flows_.size()));
      if (++ended_ == opened_ && (answered_ == options_.flows || !result_.failed.empty())) finish_when_clean();
      if (!result_.failed.empty() && answered_ < options_.flows) finish();
    };
    open_more();
  }
  void open_more() {
    while (opened_ < options_.flows && opened_ - flows_.size() < kOpening) {
      if (!guest_->open(std::next(peers_.begin(), opened_ / kEach)->port())) return;
      ++opened_;
    }
  }
  void tick() override {
    const s64 now = now_ns();
    if (idle_at_ == 0 || now < idle_at_) return;
    if (!measuring_) {
      measuring_ = true;
      cpu_ = subject_->cpu_seconds();
      const u64 grown = subject_->resident() - resident_;
      add("flows", static_cast<double>(flows_.size()));
      add("bytes_each", static_cast<double>(grown) / static_cast<double>(flows_.size()));
      add("resident_mib", static_cast<double>(subject_->resident()) / kMiB);
    } else if (now >= end_at_ && !std::exchange(asked_, true)) {
      add("cpu_percent", (subject_->cpu_seconds() - cpu_) / options_.seconds * 100);
      for (Flow* flow : flows_) guest_->send(*flow, 1);
    }
  }

  static constexpr s64 kSettle = 500'000'000;
  std::list<Peer> peers_;
  std::vector<Flow*> flows_;
  u64 resident_ = 0;
  double cpu_ = 0;
  s64 idle_at_ = 0, end_at_ = 0;
  unsigned opened_ = 0, ended_ = 0, answered_ = 0;
  bool measuring_ = false, asked_ = false;
};

// Half of the connections send to a server that is stopped (SIGSTOP), half are to programs of the guest that do not
// read, and one in each direction goes on, until `seconds` are over. Then all go on, and every byte must have arrived.
class Stall final : public Job {
 public:
  explicit Stall(const JobOptions& options)
      : Job(options), stopped_(PeerKind::counter), source_(PeerKind::source, 1, kEach), live_sink_(PeerKind::sink),
        live_source_(PeerKind::source) {}

 private:
  static constexpr u32 kEach = 16 << 20;  // bytes of each
  enum Kind : s64 { sending, receiving, live_sending, live_receiving };
  void start() override {
    resident_ = subject_->resident();
    guest_->on_open = [this](Flow& flow) {
      if (flow.mark == live_sending) guest_->send_endlessly(flow);
      if (flow.mark == sending) guest_->send(flow, kEach);
      if (flow.mark == receiving) guest_->set_reading(flow, false);
      if (++open_ == opened_) {
        stopped_.stop();
        end_at_ = now_ns() + static_cast<s64>(options_.seconds * 1e9);
      }
    };
    guest_->on_end = [this](Flow& flow, Guest::End how) { ended(flow, how); };
    open(live_sink_.port(), live_sending);
    open(live_source_.port(), live_receiving);
    for (unsigned i = 0; i < options_.flows; ++i)
      open(i % 2 ? stopped_.port() : source_.port(), i % 2 ? sending : receiving);
  }
  void open(u16 port, Kind kind) {
    Flow* flow = guest_->open(port);
    flow->mark = kind;
    flows_.push_back(flow);
    ++opened_;
  }
  void tick() override {
    const s64 now = now_ns();
    if (end_at_ == 0 || now < end_at_) return;
    // What goes on must have got on, however slow the host is.
    if (!resumed_ && !(flows_[0]->acked >= kEach && flows_[1]->received >= kEach) && now < end_at_ + kPatience) return;
    if (!std::exchange(resumed_, true)) {
      resumed_at_ = now;
      resume();
    }
    if (now > resumed_at_ + kPatience && !std::exchange(late_, true)) {
      fail(fmt::format("{} of {} connections have not ended", opened_ - ended_, opened_));
      finish();
    }
  }
  void resume() {
    for (Flow* flow : flows_) {
      if (flow->mark == live_sending) live_[0] = flow->acked;
      if (flow->mark == live_receiving) live_[1] = flow->received;
      if (flow->mark == sending) held_ = std::max(held_, flow->acked);
      if (flow->mark == sending && flow->acked == kEach) fail("a server that is stopped took everything");
      if (flow->mark == receiving && flow->received == kEach) fail("a program that does not read got everything");
    }
    add("live_to_host_mib", static_cast<double>(live_[0]) / kMiB);
    add("live_to_guest_mib", static_cast<double>(live_[1]) / kMiB);
    add("held_of_each_mib", static_cast<double>(held_) / kMiB);
    add("resident_growth_mib", static_cast<double>(subject_->resident() - resident_) / kMiB);
    if (live_[0] < kEach || live_[1] < kEach) fail("what stalls held up what does not");
    stopped_.go_on();
    for (Flow* flow : flows_) {
      if (flow->mark == receiving) guest_->set_reading(*flow, true);
      if (flow->mark == sending) guest_->close(*flow);
      if (flow->mark == live_sending || flow->mark == live_receiving) guest_->reset(*flow);
    }
  }
  void ended(const Flow& flow, Guest::End how) {
    const bool live = flow.mark == live_sending || flow.mark == live_receiving;
    if (!live && how != Guest::End::closed) fail("a connection broke");
    if (flow.mark == sending && flow.answer != kEach)
      fail(fmt::format("a server got {} of {} bytes", flow.answer, u32{kEach}));
    if (flow.mark == receiving && flow.received != kEach)
      fail(fmt::format("the guest got {} of {} bytes", flow.received, u32{kEach}));
    if (++ended_ == opened_) finish_when_clean();
  }

  static constexpr s64 kPatience = 240'000'000'000;
  Peer stopped_, source_, live_sink_, live_source_;
  std::vector<Flow*> flows_;
  unsigned opened_ = 0, open_ = 0, ended_ = 0;
  u64 resident_ = 0, held_ = 0;
  std::array<u64, 2> live_{};
  s64 end_at_ = 0, resumed_at_ = 0;
  bool resumed_ = false, late_ = false;
};

// The guest stands still with data on the way in both directions, and goes on.
class StoppedGuest final : public Job {
 public:
  explicit StoppedGuest(const JobOptions& options)
      : Job(options), counter_(PeerKind::counter), source_(PeerKind::source, 1, kEach) {}

 private:
  static constexpr u32 kEach = 64 << 20;
  void start() override {
    guest_->on_open = [this](Flow& flow) {
      if (flow.mark) guest_->send(flow, kEach), guest_->close(flow);
      if (++open_ == opened_) stop_at_ = now_ns() + 20'000'000;
    };
    guest_->on_end = [this](Flow& flow, Guest::End how) {
      if (how != Guest::End::closed) fail("a connection broke");
      const u64 got = flow.mark ? flow.answer : flow.received;
      if (got != kEach) fail(fmt::format("{} of {} bytes arrived", got, u32{kEach}));
      if (++ended_ == opened_) finish_when_clean();
    };
    for (unsigned i = 0; i < options_.flows; ++i) {
      guest_->open(i % 2 ? counter_.port() : source_.port())->mark = i % 2;
      ++opened_;
    }
  }
  void tick() override {
    const s64 now = now_ns();
    if (stop_at_ == 0 || now < stop_at_) return;
    const s64 go_on = stop_at_ + static_cast<s64>(options_.seconds * 1e9);
    if (!stopped_) {
      stopped_ = guest_->stalled = true;
    } else if (now >= go_on && guest_->stalled) {
      guest_->stalled = false;
      subject_->wake();
    } else if (now > go_on + 120'000'000'000) {
      fail(fmt::format("{} of {} connections have not ended", opened_ - ended_, opened_));
      finish();
    }
  }

  Peer counter_, source_;
  unsigned opened_ = 0, open_ = 0, ended_ = 0;
  s64 stop_at_ = 0;
  bool stopped_ = false;
};

template <typename Type>
std::unique_ptr<Job> make(const JobOptions& options) {
  return std::make_unique<Type>(options);
}

}  // namespace

void add_stress_jobs(std::vector<JobType>& types) {
  types.push_back({"churn", "--rate short connections a second for --seconds", make<Churn>});
  types.push_back({"idle", "--flows connections that say nothing for --seconds, then a byte each", make<Idle>});
  types.push_back({"stall", "--flows connections with a stopped server or a program that does not read", make<Stall>});
  types.push_back({"stopped-guest", "the guest stands still for --seconds with data on the way", make<StoppedGuest>});
}

}  // namespace rhea::bench
