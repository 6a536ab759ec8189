// SPDX-License-Identifier: MIT
// A statistic that one thread counts (or several, under a lock) and any thread may read: a plain addition on the host.
#pragma once

#include <atomic>

#include "util/types.h"

namespace rhea {

class Counter {
 public:
  void operator++(int) { value_.store(get() + 1, std::memory_order_relaxed); }
  u64 get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<u64> value_{0};
};

}  // namespace rhea
