// SPDX-License-Identifier: MIT
// filter-shape: a line that is slow, far away or bad, for teaching and for tests. Frames of each direction go through
// it one behind the other: what is lost is lost at its start; the rest waits for the line (rate), travels (delay,
// jitter) and comes out, in order unless reorder= says otherwise. Large segments are cut before it, so that it treats
// packets as a wire would. filter-buffer: frames come out together, once in an interval.
#pragma once

#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/event_loop.h"
#include "net/filters/filter.h"

namespace rhea::net {

struct ShapeRules {
  u64 rate = 0;          // bits a second of Ethernet frames without preamble and check sequence; 0: no limit
  s64 delay = 0;         // ns
  s64 jitter = 0;        // ns: the delay is evenly spread over delay - jitter .. delay + jitter
  double loss = 0;       // 0 to 1, as the following
  double duplicate = 0;  // the frame comes twice
  double reorder = 0;    // the frame does not wait out its delay: it overtakes those before it
  u64 limit = 1 << 20;   // bytes that are under way or wait in one direction; what comes then is lost
  u64 seed = 0;          // of the dice; 0: others every time
};

// One property from its text: rate=10M, delay=20ms, jitter=500us, loss=0.5, duplicate=1%, reorder=2, limit=64k,
// seed=7. Errors say what it takes.
Result<void> set_shape_rule(ShapeRules& rules, const std::string& name, const std::string& value);
const std::vector<std::string>& shape_rule_names();

// Holds frames until a time; what is let go while the far side is busy waits for it.
class HoldingFilter : public Filter {
 public:
  HoldingFilter(FilterPlace place, EventLoop& loop);

 protected:
  struct Held {
    s64 due;
    u64 order;
    OwnedFrame frame;
  };
  bool only_looks() const override { return false; }
  void room_ahead(bool from_guest) override {
    release(from_guest);
    arm();
  }
  void let_go() override;
  void hold(bool from_guest, s64 due, const Frame& frame);
  usize held_bytes(bool from_guest) const { return lanes_[from_guest].bytes; }
  usize held_frames(bool from_guest) const { return lanes_[from_guest].heap.size(); }
  s64 now() const { return loop_.real_clock().now(); }

 private:
  struct Lane {
    std::vector<Held> heap;  // the earliest first
    usize bytes = 0;
    bool waits = false;  // the far side is busy: room_ahead() goes on
  };
  void release(bool from_guest);
  void arm();

  EventLoop& loop_;
  Lane lanes_[2];  // by from_guest
  u64 next_order_ = 0;
  std::unique_ptr<Timer> timer_;
};

class ShapeFilter final : public HoldingFilter {
 public:
  ShapeFilter(FilterPlace place, const ShapeRules& rules, EventLoop& loop);
  std::string_view type() const override { return "filter-shape"; }
  Result<void> set(const std::string& name, const std::string& value) override;

  struct Counts {
    u64 passed = 0, lost = 0, over_limit = 0, duplicated = 0, reordered = 0;
  };
  const Counts& counts(bool from_guest) const { return counts_[from_guest]; }

 private:
  Sent pass(bool from_guest, const Frame& frame) override;
  void let_go() override;
  Caps limit(const Caps& beyond) const override;
  Texts own_properties() const override;
  bool happens(double chance);
  s64 travel_time();

  ShapeRules rules_;
  std::mt19937_64 dice_;
  s64 free_[2] = {};  // when the line has sent what it has
  s64 last_[2] = {};  // when the last frame comes out
  Counts counts_[2];
};

class BufferFilter final : public HoldingFilter {
 public:
  // `interval`: ns, more than 0.
  BufferFilter(FilterPlace place, s64 interval, EventLoop& loop);
  std::string_view type() const override { return "filter-buffer"; }

 private:
  static constexpr usize kMostFrames = 10'000, kMostBytes = usize{64} << 20;  // each way
  Sent pass(bool from_guest, const Frame& frame) override;
  Texts own_properties() const override;
  s64 interval_, start_;
};

}  // namespace rhea::net
