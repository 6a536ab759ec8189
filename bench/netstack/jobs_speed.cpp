// SPDX-License-Identifier: MIT
// Throughput for a CPU-second in both directions, and round trips.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "jobs.h"
#include "peers.h"

namespace rhea::bench {

namespace {

constexpr s64 kWarmUp = 500'000'000;
constexpr unsigned kOpening = 64;  // connections under way at once

class Throughput : public Job {
 public:
  Throughput(const JobOptions& options, bool to_host)
      : Job(options), to_host_(to_host), peer_(to_host ? PeerKind::sink : PeerKind::source) {}

 private:
  void start() override {
    guest_->on_open = [this](Flow& flow) {
      flows_.push_back(&flow);
      open_more();
      if (flows_.size() < options_.flows) return;
      begin_at_ = now_ns() + kWarmUp;
      if (!to_host_) return;
      for (Flow* each : flows_) guest_->send_endlessly(*each);
    };
    guest_->on_end = [this](Flow&, Guest::End) {
      fail("a connection ended");
      finish();
    };
    open_more();
  }
  void open_more() {
    while (opened_ < options_.flows && opened_ - flows_.size() < kOpening) {
      guest_->open(peer_.port());
      ++opened_;
    }
  }
  u64 done(const Flow& flow) const { return to_host_ ? flow.acked : flow.received; }
  void tick() override {
    const s64 now = now_ns();
    if (begin_at_ == 0 || now < begin_at_) return;
    if (began_ == 0) {
      began_ = now;
      cpu_ = subject_->cpu_seconds();
      for (const Flow* flow : flows_) before_.push_back(done(*flow));
    } else if (static_cast<double>(now - began_) * 1e-9 >= options_.seconds) {
      report(static_cast<double>(now - began_) * 1e-9);
    }
  }
  void report(double seconds) {
    const double cpu = subject_->cpu_seconds() - cpu_;
    double total = 0, squares = 0, least = 1e30;
    u64 resent = 0;
    for (usize i = 0; i < flows_.size(); ++i) {
      const double bytes = static_cast<double>(done(*flows_[i]) - before_[i]);
      total += bytes;
      squares += bytes * bytes;
      least = std::min(least, bytes);
      resent += flows_[i]->resent;
    }
    const double count = static_cast<double>(flows_.size());
    add("gbit_per_cpu_second", total * 8e-9 / cpu);
    add("gbit_per_second", total * 8e-9 / seconds);
    add("cpu_seconds", cpu);
    add("fairness", squares > 0 ? total * total / (count * squares) : 0);  // Jain's index: 1 is even
    add("least_of_mean", total > 0 ? least * count / total : 0);
    add("resent", static_cast<double>(resent));
    add("resident_mib", static_cast<double>(subject_->resident()) / 1048576);
    guest_->on_end = nullptr;
    finish();
  }

  bool to_host_;
  Peer peer_;
  std::vector<Flow*> flows_;
  std::vector<u64> before_;
  unsigned opened_ = 0;
  s64 begin_at_ = 0, began_ = 0;
  double cpu_ = 0;
};

// A byte there and back, on one connection or on a new one each time.
class RoundTrip final : public Job {
 public:
  RoundTrip(const JobOptions& options, bool connect) : Job(options), connect_(connect), peer_(PeerKind::echo) {}

 private:
  static constexpr usize kSkipped = 100;
  void start() override {
    cpu_ = subject_->cpu_seconds();
    guest_->on_open = [this](Flow& flow) {
      if (!connect_) flow.mark = now_ns();
      guest_->send(flow, 1);
    };
    guest_->on_data = [this](Flow& flow, usize) {
      const s64 now = now_ns();
      times_.push_back(now - flow.mark);
      if (times_.size() == kSkipped) {
        cpu_ = subject_->cpu_seconds();
        end_ = now + static_cast<s64>(options_.seconds * 1e9);
      }
      if (end_ && now >= end_) return report();
      if (connect_) return guest_->close(flow);
      flow.mark = now;
      guest_->send(flow, 1);
    };
    guest_->on_end = [this](Flow&, Guest::End how) {
      if (how != Guest::End::closed) fail("a connection was refused or reset");
      open();
    };
    open();
  }
  void open() {
    if (Flow* flow = guest_->open(peer_.port())) flow->mark = now_ns();
  }
  void report() {
    guest_->on_data = nullptr;
    guest_->on_end = nullptr;
    times_.erase(times_.begin(), times_.begin() + kSkipped);
    std::sort(times_.begin(), times_.end());
    const auto at = [this](double part) {
      return static_cast<double>(times_[static_cast<usize>(static_cast<double>(times_.size() - 1) * part)]) * 1e-3;
    };
    const double count = static_cast<double>(times_.size());
    add("p50_us", at(0.5));
    add("p99_us", at(0.99));
    add("cpu_us_each", (subject_->cpu_seconds() - cpu_) * 1e6 / count);
    add("count", count);
    finish();
  }

  bool connect_;
  Peer peer_;
  std::vector<s64> times_;
  s64 end_ = 0;
  double cpu_ = 0;
};

}  // namespace

void add_speed_jobs(std::vector<JobType>& types) {
  types.push_back({"to-guest", "a source on the host sends to the guest, --flows connections for --seconds",
                   [](const JobOptions& o) -> std::unique_ptr<Job> { return std::make_unique<Throughput>(o, false); }});
  types.push_back({"to-host", "the guest sends to a sink on the host",
                   [](const JobOptions& o) -> std::unique_ptr<Job> { return std::make_unique<Throughput>(o, true); }});
  types.push_back({"request", "a byte there and back on one connection",
                   [](const JobOptions& o) -> std::unique_ptr<Job> { return std::make_unique<RoundTrip>(o, false); }});
  types.push_back({"connect", "a connection, a byte there and back, the end; again",
                   [](const JobOptions& o) -> std::unique_ptr<Job> { return std::make_unique<RoundTrip>(o, true); }});
}

}  // namespace rhea::bench
