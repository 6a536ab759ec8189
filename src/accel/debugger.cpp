// SPDX-License-Identifier: MIT
#include "accel/debugger.h"

#include <algorithm>

#include "accel/virtual_cpu.h"

namespace rhea::accel {

std::optional<DebugStop> Debugger::take_stop() {
  std::lock_guard lock(mutex_);
  const bool again = stop_ && (stop_->why == DebugStop::Why::breakpoint || stop_->why == DebugStop::Why::watchpoint);
  if (again && stop_->cpu < kMaxCpus) passes_[stop_->cpu].store(true);
  return std::exchange(stop_, std::nullopt);
}

void Debugger::request_stop(const DebugStop& stop) {
  {
    std::lock_guard lock(mutex_);
    if (!stop_) stop_ = stop;
    if (!stopping_.exchange(true, std::memory_order_seq_cst)) announced_ = false;
  }
  for (VirtualCpu* cpu : cpus_) cpu->kick(ir::kPollRequest);
  check_all_stopped();
}

void Debugger::set_actions(std::span<const CpuAction> actions) {
  {
    std::lock_guard lock(mutex_);
    for (usize i = 0; i < cpus_.size() && i < kMaxCpus; i++) {
      actions_[i].store(static_cast<u8>(i < actions.size() ? actions[i] : CpuAction::go), std::memory_order_seq_cst);
    }
    stop_.reset();
    stopping_.store(false, std::memory_order_seq_cst);
    announced_ = false;
    parked_.notify_all();
  }
  for (VirtualCpu* cpu : cpus_) cpu->kick(ir::kPollRequest);
}

bool Debugger::holds_clock() const {
  if (!attached() || !step_mode.hold_timers) return false;
  for (usize i = 0; i < cpus_.size() && i < kMaxCpus; i++) {
    if (action(static_cast<unsigned>(i)) == CpuAction::go) return false;
  }
  return true;
}

void Debugger::clear() {
  std::lock_guard lock(mutex_);
  breakpoints_.clear();
  watchpoints_.clear();
  watching_.store(false);
  for (auto& passes : passes_) passes.store(false);
}

template <typename T>
bool Debugger::change(std::vector<T>& list, const T& item, bool add) {
  std::lock_guard lock(mutex_);
  const auto at = std::find(list.begin(), list.end(), item);
  const bool there = at != list.end();
  if (add && !there) list.push_back(item);
  if (!add && there) list.erase(at);
  watching_.store(!watchpoints_.empty());
  return there;
}
template bool Debugger::change(std::vector<u64>&, const u64&, bool);
template bool Debugger::change(std::vector<Watchpoint>&, const Watchpoint&, bool);

bool Debugger::has_breakpoint(u64 address) const {
  std::lock_guard lock(mutex_);
  return std::find(breakpoints_.begin(), breakpoints_.end(), address) != breakpoints_.end();
}

bool Debugger::watches_page(u64 address) const {
  constexpr u64 kPage = memory::kPageSize;
  const u64 page = address & ~(kPage - 1);
  std::lock_guard lock(mutex_);
  return std::any_of(watchpoints_.begin(), watchpoints_.end(), [&](const Watchpoint& watch) {
    return watch.address < page + kPage && page < watch.address + watch.size;
  });
}

bool Debugger::watched(u64 address, u64 size, bool write, Watchpoint& found) const {
  std::lock_guard lock(mutex_);
  for (const Watchpoint& watch : watchpoints_) {
    if (watch.kind != WatchKind::access && (watch.kind == WatchKind::write) != write) continue;
    if (watch.address >= address + size || address >= watch.address + watch.size) continue;
    found = watch;
    return true;
  }
  return false;
}

void Debugger::park(VirtualCpu& cpu, const std::function<bool()>& ending) {
  check_all_stopped();
  std::unique_lock lock(mutex_);
  parked_.wait(lock, [&] { return ending() || !must_park(cpu.index()); });
}

void Debugger::wake_parked() {
  std::lock_guard lock(mutex_);
  parked_.notify_all();
}

void Debugger::check_all_stopped() {
  {
    std::lock_guard lock(mutex_);
    if (!stopping() || announced_) return;
    const bool all = std::all_of(cpus_.begin(), cpus_.end(),
                                 [](const VirtualCpu* cpu) { return cpu->place() == VirtualCpu::Place::outside; });
    if (!all) return;
    announced_ = true;
  }
  if (on_stop) on_stop();
}

}  // namespace rhea::accel
