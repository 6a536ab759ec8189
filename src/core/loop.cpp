// SPDX-License-Identifier: MIT
// One turn of a loop: wait for descriptors, the next timer or a wake-up; then, under the lock, run what was
// posted, the timers that are due, and the callbacks of descriptors that are ready. A callback may end any watch
// or timer, its own too: watches are looked up by number at each call, timers are taken off the list first.
#include "core/loop.h"

namespace rhea::core {

namespace {
constexpr unsigned kPostedRounds = 4;
}

class Loop::Watch final : public FdWatch {
 public:
  Watch(Loop& loop, std::shared_ptr<Watched> watched) : loop_(loop), watched_(std::move(watched)) {}
  ~Watch() override {
    std::lock_guard lock(loop_.mutex_);
    loop_.always_ready_count_ -= watched_->always_ready;
    loop_.poller_.remove(watched_->fd);
    loop_.watches_.erase(watched_->id);
  }
  void set_events(u32 events) override {
    std::lock_guard lock(loop_.mutex_);
    if (watched_->events == events) return;
    watched_->events = events;
    loop_.poller_.change(watched_->fd, watched_->id, events);
  }

 private:
  Loop& loop_;
  std::shared_ptr<Watched> watched_;
};

class Loop::RealTimer final : public Timer {
 public:
  RealTimer(Loop& loop, std::function<void()> callback) : loop_(loop), callback_(std::move(callback)) {}
  ~RealTimer() override { cancel(); }

  void arm(s64 deadline) override {
    bool first;
    {
      std::lock_guard lock(loop_.timers_mutex_);
      remove();
      deadline_ = deadline;
      if (deadline == kNever) return;
      first = loop_.timers_.empty() || deadline < loop_.timers_.begin()->first;
      loop_.timers_.emplace(deadline, this);
    }
    if (first) loop_.wake();
  }
  void cancel() override {
    std::lock_guard lock(loop_.timers_mutex_);
    remove();
    deadline_ = kNever;
  }
  s64 deadline() const override { return deadline_; }
  void fire() { callback_(); }
  void taken() { deadline_ = kNever; }

 private:
  void remove() {
    if (deadline_ == kNever) return;
    auto [begin, end] = loop_.timers_.equal_range(deadline_);
    for (auto at = begin; at != end; ++at) {
      if (at->second == this) {
        loop_.timers_.erase(at);
        return;
      }
    }
  }
  Loop& loop_;
  std::function<void()> callback_;
  s64 deadline_ = kNever;
};

class Loop::RealClock final : public Clock {
 public:
  explicit RealClock(Loop& loop) : loop_(loop) {}
  s64 now() const override { return sys::monotonic_now(); }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    return std::make_unique<RealTimer>(loop_, std::move(callback));
  }

 private:
  Loop& loop_;
};

Loop::Loop(std::string name)
    : name_(std::move(name)), clock_(std::make_unique<RealClock>(*this)), thread_(std::this_thread::get_id()) {
  poller_.add(wakeup_.fd(), 0, sys::kPollIn);
}

Loop::~Loop() = default;

Clock& Loop::real_clock() { return *clock_; }

void Loop::wake() {
  // Whoever changed what the loop waits for did so before this; the loop looks at it after it says that it sleeps.
  if (sleeping_.load()) wakeup_.signal();
}

void Loop::post(std::function<void()> work) {
  bool first;
  {
    std::lock_guard lock(posted_mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(work));
  }
  if (first && helper_.load(std::memory_order_relaxed) != std::this_thread::get_id()) wake();
}

bool Loop::run_here(const std::function<void()>& work) {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || !sleeping_.load() || helper_.load(std::memory_order_relaxed) != std::thread::id{}) return false;
  helper_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  run_posted();  // what came before
  work();
  run_rounds();
  helper_.store(std::thread::id{}, std::memory_order_relaxed);
  bool left;
  {
    std::lock_guard posted(posted_mutex_);
    left = !posted_.empty();
  }
  if (left) wake();
  return true;
}

std::unique_ptr<FdWatch> Loop::watch(int fd, u32 events, std::function<void(u32)> callback) {
  std::lock_guard lock(mutex_);
  auto watched = std::make_shared<Watched>(Watched{fd, next_watch_++, events, false, std::move(callback)});
  watches_[watched->id] = watched;
  // What cannot be polled (a regular file, /dev/null) is always ready.
  watched->always_ready = !poller_.add(fd, watched->id, events);
  always_ready_count_ += watched->always_ready;
  return std::make_unique<Watch>(*this, watched);
}

bool Loop::run_posted() {
  std::deque<std::function<void()>> work;
  {
    std::lock_guard lock(posted_mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) {
    std::lock_guard lock(mutex_);
    item();
  }
  return !work.empty();
}

// Work that posts more work goes on at once for some rounds: each round of waiting is a system call.
bool Loop::run_rounds() {
  bool ran = false;
  for (unsigned round = 0; round < kPostedRounds && run_posted(); ++round) ran = true;
  return ran;
}

bool Loop::run_timers() {
  bool ran = false;
  const s64 now = clock_->now();
  for (;;) {
    std::lock_guard lock(mutex_);
    RealTimer* due = nullptr;
    {
      std::lock_guard timers(timers_mutex_);
      if (timers_.empty() || timers_.begin()->first > now) return ran;
      due = timers_.begin()->second;
      timers_.erase(timers_.begin());
      due->taken();
    }
    due->fire();
    ran = true;
  }
}

s64 Loop::wait_time() {
  {
    std::lock_guard lock(posted_mutex_);
    if (!posted_.empty()) return 0;
  }
  std::lock_guard lock(timers_mutex_);
  if (timers_.empty()) return -1;
  return std::max<s64>(0, timers_.begin()->first - clock_->now());
}

std::vector<sys::Poller::Ready> Loop::always_ready() {
  std::lock_guard lock(mutex_);
  std::vector<sys::Poller::Ready> ready;
  if (always_ready_count_ == 0) return ready;
  for (const auto& [id, watched] : watches_)
    if (watched->always_ready && watched->events) ready.push_back({id, watched->events});
  return ready;
}

bool Loop::turn(s64 max_wait) {
  std::vector<sys::Poller::Ready> ready;
  sleeping_.store(true);
  s64 wait = wait_time();
  if (max_wait >= 0 && (wait < 0 || wait > max_wait)) wait = max_wait;
  if (quit_.load() || !always_ready().empty()) wait = 0;
  poller_.wait(wait, ready);
  sleeping_.store(false);
  for (const auto& [id, events] : always_ready()) ready.push_back({id, events});
  bool ran = run_rounds();
  ran |= run_timers();
  for (const auto& [id, events] : ready) {
    if (id == 0) {
      wakeup_.clear();
      continue;
    }
    std::lock_guard lock(mutex_);
    const auto found = watches_.find(id);
    if (found == watches_.end()) continue;
    const std::shared_ptr<Watched> watched = found->second;
    const u32 wanted = events & (watched->events | kHangup);
    if (wanted) watched->callback(wanted);
    ran = true;
  }
  return ran;
}

void Loop::run() {
  thread_ = std::this_thread::get_id();
  sys::name_thread(name_);
  while (!quit_.load()) turn(-1);
  run_posted();
}

bool Loop::run_once() {
  thread_ = std::this_thread::get_id();
  return turn(0);
}

void Loop::quit() {
  quit_.store(true);
  wakeup_.signal();
}

LoopThread::LoopThread(std::string name) : loop_(std::move(name)), thread_([this] { loop_.run(); }) {}

LoopThread::~LoopThread() { stop(); }

void LoopThread::stop() {
  if (!thread_.joinable()) return;
  loop_.quit();
  thread_.join();
}

namespace {

// Timers are armed on the loop's real clock at the same distance: a step of the wall clock does not move them.
class HostClock final : public Clock {
 public:
  explicit HostClock(EventLoop& loop) : real_(loop.real_clock()) {}
  s64 now() const override { return sys::wall_now(); }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    return std::make_unique<HostTimer>(*this, real_.timer(std::move(callback)));
  }

 private:
  class HostTimer final : public Timer {
   public:
    HostTimer(const HostClock& clock, std::unique_ptr<Timer> timer) : clock_(clock), timer_(std::move(timer)) {}
    void arm(s64 deadline) override {
      deadline_ = deadline;
      if (deadline == kNever) timer_->cancel();
      else timer_->arm(clock_.real_.now() + std::max<s64>(0, deadline - clock_.now()));
    }
    void cancel() override { arm(kNever); }
    s64 deadline() const override { return timer_->deadline() == kNever ? kNever : deadline_; }

   private:
    const HostClock& clock_;
    std::unique_ptr<Timer> timer_;
    s64 deadline_ = kNever;
  };
  Clock& real_;
};

}  // namespace

std::unique_ptr<Clock> make_host_clock(EventLoop& loop) { return std::make_unique<HostClock>(loop); }

}  // namespace rhea::core
