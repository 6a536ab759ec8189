// SPDX-License-Identifier: MIT
// Many timeouts on one timer. Putting a timeout off, the usual case, costs nothing: it stays where it is in
// the queue, and is queued again when its old place comes up.
#pragma once

#include <map>
#include <memory>

#include "core/clock.h"

namespace rhea::net::user {

class TimeoutQueue;

class Timeout {
 public:
  explicit Timeout(TimeoutQueue& queue) : queue_(queue) {}
  virtual ~Timeout();
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;
  // kNever: not at all.
  void set_timeout(s64 due);
  s64 timeout() const { return due_; }

 protected:
  virtual void on_timeout() = 0;

 private:
  friend class TimeoutQueue;
  TimeoutQueue& queue_;
  s64 due_ = kNever;
  bool queued_ = false;
  std::multimap<s64, Timeout*>::iterator place_;
};

class TimeoutQueue {
 public:
  // `after` is called when timeouts have run.
  TimeoutQueue(Clock& clock, std::function<void()> after);
  s64 now() const { return clock_.now(); }

 private:
  friend class Timeout;
  void queue(Timeout& timeout);
  void run();
  void arm();

  Clock& clock_;
  std::function<void()> after_;
  std::multimap<s64, Timeout*> queue_;
  std::unique_ptr<Timer> timer_;
};

inline Timeout::~Timeout() {
  if (queued_) queue_.queue_.erase(place_);
}

inline void Timeout::set_timeout(s64 due) {
  due_ = due;
  if (due == kNever || (queued_ && place_->first <= due)) return;
  queue_.queue(*this);
}

inline TimeoutQueue::TimeoutQueue(Clock& clock, std::function<void()> after)
    : clock_(clock), after_(std::move(after)), timer_(clock.timer([this] { run(); })) {}

inline void TimeoutQueue::queue(Timeout& timeout) {
  if (timeout.queued_) queue_.erase(timeout.place_);
  timeout.place_ = queue_.emplace(timeout.due_, &timeout);
  timeout.queued_ = true;
  arm();
}

inline void TimeoutQueue::arm() {
  if (!queue_.empty() && queue_.begin()->first < timer_->deadline()) timer_->arm(queue_.begin()->first);
}

inline void TimeoutQueue::run() {
  const s64 now = clock_.now();
  while (!queue_.empty() && queue_.begin()->first <= now) {
    Timeout& timeout = *queue_.begin()->second;
    queue_.erase(queue_.begin());
    timeout.queued_ = false;
    if (timeout.due_ > now) {
      if (timeout.due_ != kNever) queue(timeout);
      continue;
    }
    timeout.due_ = kNever;
    timeout.on_timeout();
  }
  arm();
  after_();
}

}  // namespace rhea::net::user
