// SPDX-License-Identifier: MIT
#include "accel/run_control.h"

#include <algorithm>

#include "accel/virtual_cpu.h"

namespace rhea::accel {

using Place = VirtualCpu::Place;

template <typename Ready>
void RunControl::wait(std::unique_lock<std::mutex>& lock, Ready ready) {
  waiters_.fetch_add(1, std::memory_order_seq_cst);
  changed_.wait(lock, ready);
  waiters_.fetch_sub(1, std::memory_order_seq_cst);
}

void RunControl::notify() {
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void RunControl::kick_all() {
  for (VirtualCpu* cpu : cpus_) cpu->kick(ir::kPollRequest);
}

void RunControl::stop() {
  std::unique_lock lock(mutex_);
  stops_.fetch_add(1, std::memory_order_seq_cst);
  kick_all();
  wait(lock, [&] {
    return std::none_of(cpus_.begin(), cpus_.end(), [](VirtualCpu* cpu) { return cpu->place() == Place::running; });
  });
}

void RunControl::go() {
  {
    std::lock_guard lock(mutex_);
    stops_.fetch_sub(1, std::memory_order_seq_cst);
    changed_.notify_all();
  }
  notify_work();
}

void RunControl::end() {
  {
    std::lock_guard lock(mutex_);
    ending_.store(true, std::memory_order_seq_cst);
    kick_all();
    changed_.notify_all();
  }
  notify_work();
}

void RunControl::exclusive(VirtualCpu& self, const std::function<void()>& work) {
  std::unique_lock lock(mutex_);
  wait(lock, [&] { return !exclusive_running_; });
  exclusive_running_ = true;
  exclusives_.fetch_add(1, std::memory_order_seq_cst);
  kick_all();
  wait(lock, [&] {
    if (ending()) return true;
    return !stopped() && std::all_of(cpus_.begin(), cpus_.end(),
                                     [&](VirtualCpu* cpu) { return cpu == &self || cpu->place() == Place::outside; });
  });
  if (!ending()) work();
  exclusives_.fetch_sub(1, std::memory_order_seq_cst);
  exclusive_running_ = false;
  changed_.notify_all();
}

void RunControl::wait_for_flushes(VirtualCpu& self) {
  auto done = [&] {
    return ending() || std::none_of(cpus_.begin(), cpus_.end(), [&](VirtualCpu* cpu) {
             return cpu != &self && cpu->flush_pending() && cpu->place() == Place::running;
           });
  };
  if (done()) return;
  std::unique_lock lock(mutex_);
  wait(lock, done);
}

void RunControl::wait_until_free(bool from_outside) {
  std::unique_lock lock(mutex_);
  changed_.notify_all();
  wait(lock, [&] { return !must_wait(from_outside); });
}

void RunControl::notify_work() {
  if (!single_thread) return;
  std::lock_guard lock(work_mutex_);
  work_.notify_all();
}

void RunControl::wait_for_work(const std::function<bool()>& ready) {
  std::unique_lock lock(work_mutex_);
  work_.wait(lock, ready);
}

}  // namespace rhea::accel
