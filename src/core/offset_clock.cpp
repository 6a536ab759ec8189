// SPDX-License-Identifier: MIT
#include "core/offset_clock.h"

namespace rhea::core {

namespace {

class OffsetClock final : public Clock {
 public:
  OffsetClock(Clock& clock, s64 offset) : clock_(clock), offset_(offset) {}
  s64 now() const override { return clock_.now() + offset_; }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    return std::make_unique<OffsetTimer>(clock_.timer(std::move(callback)), offset_);
  }

 private:
  class OffsetTimer final : public Timer {
   public:
    OffsetTimer(std::unique_ptr<Timer> timer, s64 offset) : timer_(std::move(timer)), offset_(offset) {}
    void arm(s64 deadline) override { timer_->arm(deadline == kNever ? kNever : deadline - offset_); }
    void cancel() override { timer_->cancel(); }
    s64 deadline() const override {
      const s64 deadline = timer_->deadline();
      return deadline == kNever ? kNever : deadline + offset_;
    }

   private:
    std::unique_ptr<Timer> timer_;
    s64 offset_;
  };
  Clock& clock_;
  s64 offset_;
};

}  // namespace

std::unique_ptr<Clock> make_offset_clock(Clock& clock, s64 offset) {
  return std::make_unique<OffsetClock>(clock, offset);
}

}  // namespace rhea::core
