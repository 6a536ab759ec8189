// SPDX-License-Identifier: MIT
// One thread's event loop: file descriptors, posted work, timers of real time.
//
// The machine has one for chardevs, monitor, display and timers, and one for the network. A loop has a lock that
// is held while its callbacks run, so that other threads (a CPU that touches a device) can exclude it: a device
// belongs to one loop and is only touched under that loop's lock. An idle loop sleeps without wake-ups.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "core/clock.h"
#include "util/recursive_lock.h"
#include "util/types.h"

namespace rhea {

enum : u32 { kReadable = 1, kWritable = 2, kHangup = 4 };

// A watched descriptor; destroying it ends the watch (the descriptor is not closed).
class FdWatch {
 public:
  virtual ~FdWatch() = default;
  virtual void set_events(u32 events) = 0;  // kReadable | kWritable; 0 rests
};

class EventLoop {
 public:
  virtual ~EventLoop() = default;

  // Runs `work` on the loop's thread, under its lock, in order. Any thread; never runs it within this call.
  virtual void post(std::function<void()> work) = 0;
  // Runs `work` and what it posts on the calling thread, under the lock, if the loop's own thread sleeps and nobody
  // holds the lock. False: nothing was done; post it. For a moment's work that is not worth waking a thread for.
  virtual bool run_here(const std::function<void()>& work) { return false; }
  // Calls back (under the lock) with the events that are there: level triggered. kHangup may always come.
  virtual std::unique_ptr<FdWatch> watch(int fd, u32 events, std::function<void(u32)> callback) = 0;
  // Real (monotonic) time of this loop.
  virtual Clock& real_clock() = 0;
  virtual RecursiveLock& lock() = 0;
  virtual bool on_loop_thread() const = 0;
};

}  // namespace rhea
