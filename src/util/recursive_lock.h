// SPDX-License-Identifier: MIT
// A recursive mutex that is cheap when nobody else wants it: two atomic operations, inline. A guest that fills a FIFO
// word by word takes the device's lock for each.
#pragma once

#include <atomic>

#include "util/types.h"

namespace rhea {

class RecursiveLock {
 public:
  RecursiveLock() = default;
  RecursiveLock(const RecursiveLock&) = delete;
  RecursiveLock& operator=(const RecursiveLock&) = delete;

  void lock() {
    if (enter_again()) return;
    u32 free = kFree;
    if (!state_.compare_exchange_strong(free, kHeld, std::memory_order_acquire)) wait();
    owner_.store(self(), std::memory_order_relaxed);
  }
  bool try_lock() {
    if (enter_again()) return true;
    u32 free = kFree;
    if (!state_.compare_exchange_strong(free, kHeld, std::memory_order_acquire)) return false;
    owner_.store(self(), std::memory_order_relaxed);
    return true;
  }
  void unlock() {
    if (depth_) {
      --depth_;
      return;
    }
    owner_.store(nullptr, std::memory_order_relaxed);
    if (state_.exchange(kFree, std::memory_order_release) == kWanted) state_.notify_one();
  }

 private:
  enum State : u32 { kFree, kHeld, kWanted };  // kWanted: held, and somebody may sleep until it is not

  // The address of a variable of its own stands for a thread.
  static const void* self() {
    static thread_local char here;
    return &here;
  }
  bool enter_again() {
    if (owner_.load(std::memory_order_relaxed) != self()) return false;
    ++depth_;
    return true;
  }
  void wait() {
    while (state_.exchange(kWanted, std::memory_order_acquire) != kFree)
      state_.wait(kWanted, std::memory_order_relaxed);
  }

  std::atomic<u32> state_{kFree};
  std::atomic<const void*> owner_{nullptr};
  u32 depth_ = 0;  // the owner's
};

}  // namespace rhea
