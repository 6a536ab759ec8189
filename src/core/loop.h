// SPDX-License-Identifier: MIT
// The event loop that machines use (epoll), and a thread that runs one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/event_loop.h"
#include "sys/fd.h"
#include "sys/poller.h"

namespace rhea::core {

class Loop final : public EventLoop {
 public:
  explicit Loop(std::string name);
  ~Loop() override;

  // Runs on the calling thread until quit().
  void run();
  void quit();  // any thread
  // One turn without waiting, for tests: runs what is due. Returns whether anything ran.
  bool run_once();

  void post(std::function<void()> work) override;
  bool run_here(const std::function<void()>& work) override;
  std::unique_ptr<FdWatch> watch(int fd, u32 events, std::function<void(u32)> callback) override;
  Clock& real_clock() override;
  RecursiveLock& lock() override { return mutex_; }
  bool on_loop_thread() const override { return thread_ == std::this_thread::get_id(); }

 private:
  class Watch;
  class RealClock;
  class RealTimer;
  struct Watched {
    int fd;
    u64 id;
    u32 events;
    bool always_ready;
    std::function<void(u32)> callback;
  };
  std::vector<sys::Poller::Ready> always_ready();
  bool turn(s64 max_wait);
  bool run_posted();
  bool run_rounds();
  bool run_timers();
  s64 wait_time();
  void wake();

  std::string name_;
  RecursiveLock mutex_;
  sys::EventFd wakeup_;
  sys::Poller poller_;
  std::unique_ptr<RealClock> clock_;
  std::atomic<bool> quit_{false};
  std::atomic<bool> sleeping_{false};
  std::atomic<std::thread::id> thread_;  // whose loop this is; others ask on_loop_thread()
  std::atomic<std::thread::id> helper_;  // who is in run_here()
  std::mutex posted_mutex_;
  std::deque<std::function<void()>> posted_;
  std::mutex timers_mutex_;
  std::multimap<s64, RealTimer*> timers_;
  std::unordered_map<u64, std::shared_ptr<Watched>> watches_;
  u64 next_watch_ = 1;
  unsigned always_ready_count_ = 0;
};

// A loop with a thread of its own; the destructor ends it.
class LoopThread {
 public:
  explicit LoopThread(std::string name);
  ~LoopThread();
  Loop& loop() { return loop_; }
  // Ends the thread; the loop stays, so that what refers to it can be destroyed.
  void stop();

 private:
  Loop loop_;
  std::thread thread_;
};

// The wall clock (UTC, nanoseconds since 1970) with timers on a loop's real clock.
std::unique_ptr<Clock> make_host_clock(EventLoop& loop);

}  // namespace rhea::core
