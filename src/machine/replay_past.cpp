// SPDX-License-Identifier: MIT
// Going back: to the checkpoint before, and forward again. Everything here runs on the machine's loop with the machine
// stopped, and goes on in `at_stop_` when a run has reached its count; a checkpoint is taken on the CPUs' thread.
#include <algorithm>

#include "accel/debugger.h"
#include "machine/machine.h"
#include "machine/replay.h"
#include "machine/state.h"

namespace rhea::machine {

namespace {

constexpr u64 kMostBytes = u64{1} << 30;  // of all checkpoints; then every second one goes

// Our own bytes: read once, applied as they come.
class OwnSource final : public StateSource {
 public:
  explicit OwnSource(std::span<const u8> bytes) : source_(bytes) {}
  Result<void> read(std::span<u8> data) override { return source_.read(data); }

 private:
  MemorySource source_;
};

}  // namespace

void Replay::set_checkpoints(bool on) {
  keep_checkpoints_ = on;
  if (!on) checkpoints_.clear();
}

void Replay::take_checkpoint(s64 count) {
  const Checkpoint* last = before(count);
  if (last && count < last->count + interval_) return;
  for (const Holder& holder : holders)
    if (!holder.quiet()) return;
  MemorySink sink;
  if (!save_machine(machine_, sink, {}).ok()) return;
  Checkpoint checkpoint{
      .count = count, .state = std::move(sink.bytes), .sources = {}, .next_event = next_, .random = random_};
  for (const Holder& holder : holders) checkpoint.sources.push_back(holder.save());
  const auto place = std::upper_bound(checkpoints_.begin(), checkpoints_.end(), count,
                                      [](s64 value, const Checkpoint& other) { return value < other.count; });
  checkpoints_.insert(place, std::move(checkpoint));
  u64 bytes = 0;
  for (const Checkpoint& kept : checkpoints_) bytes += kept.state.size();
  if (bytes <= kMostBytes || checkpoints_.size() < 3) return;
  interval_ *= 2;
  for (usize i = 1; i < checkpoints_.size(); i++)
    checkpoints_.erase(checkpoints_.begin() + static_cast<std::ptrdiff_t>(i));
}

const Replay::Checkpoint* Replay::before(s64 count) const {
  const Checkpoint* found = nullptr;
  for (const Checkpoint& checkpoint : checkpoints_)
    if (checkpoint.count <= count) found = &checkpoint;
  return found;
}

Result<void> Replay::restore(const Checkpoint& checkpoint) {
  front_ = std::max(front_, now_count());
  OwnSource source(checkpoint.state);
  RHEA_TRY(load_machine(machine_, source));
  for (usize i = 0; i < holders.size(); i++) holders[i].load(checkpoint.sources[i]);
  next_ = checkpoint.next_event;
  random_ = checkpoint.random;
  machine_.engine().debugger().pass_none();
  ended_ = false;
  stuck_ = 0;
  {
    std::lock_guard lock(mutex_);
    live_.store(false);
    waiting_.store(false);
  }
  look_ahead(checkpoint.count);
  return {};
}

// Breakpoints on the way do not count.
Result<void> Replay::run_to(s64 count, std::function<void()> then) {
  accel::Debugger& debugger = machine_.engine().debugger();
  if (count == now_count()) {
    machine_.loop().post(std::move(then));
    return {};
  }
  if (!debugger.on_scan) debugger.on_scan = [](const DebugStop&) {};
  at_stop_ = std::move(then);
  debugger.stop_at(count);
  machine_.cont();
  return {};
}

// stop_at's count was reached, and the machine stands. Returns whether that was ours.
bool Replay::reached() {
  machine_.engine().debugger().on_scan = nullptr;
  if (at_stop_) {
    const auto then = std::exchange(at_stop_, nullptr);
    then();
    return true;
  }
  break_ = kNever;
  return false;
}

Result<void> Replay::seek(s64 count, std::function<void(const DebugStop&)> done) {
  if (count < 0) return Error("instruction {}: there is none", count);
  const s64 now = now_count();
  const Checkpoint* checkpoint = before(count);
  if (count < now) {
    if (!checkpoint)
      return Error("instruction {} is before what is known: checkpoints begin when a debugger is attached", count);
    RHEA_TRY(restore(*checkpoint));
  } else if (mode_ == ReplayMode::replay && !events_.empty() && count > events_.back().count) {
    return Error("instruction {} is behind the end of the recording ({})", count, events_.back().count);
  }
  return run_to(count, [done = std::move(done)] { done({.why = DebugStop::Why::stepped}); });
}

Result<void> Replay::reverse_step(std::function<void(const DebugStop&)> done) {
  const s64 now = now_count();
  if (checkpoints_.empty()) return Error("there are no checkpoints: record and replay with -icount rr=");
  if (now <= checkpoints_.front().count) {
    machine_.loop().post([done = std::move(done)] { done({.why = DebugStop::Why::history_start}); });
    return {};
  }
  return seek(now - 1, std::move(done));
}

Result<void> Replay::reverse_continue(std::function<void(const DebugStop&)> done) {
  const s64 now = now_count();
  const Checkpoint* checkpoint = before(now - 1);
  if (!checkpoint) return reverse_step(std::move(done));
  return scan(static_cast<usize>(checkpoint - checkpoints_.data()), now, std::move(done));
}

// From a checkpoint to `end`: the last place that would have stopped, else the same from the checkpoint before.
Result<void> Replay::scan(usize index, s64 end, std::function<void(const DebugStop&)> done) {
  RHEA_TRY(restore(checkpoints_[index]));
  struct Found {
    s64 count = -1;
    DebugStop stop;
  };
  auto found = std::make_shared<Found>();
  machine_.engine().debugger().on_scan = [this, found](const DebugStop& stop) { *found = {now_count(), stop}; };
  return run_to(end, [this, found, index, done = std::move(done)]() mutable {
    Result<void> went;
    if (found->count >= 0) {
      went = seek(found->count, [this, found, done](const DebugStop&) {
        machine_.engine().debugger().pass_next(found->stop.cpu);
        done(found->stop);
      });
    } else if (index > 0) {
      went = scan(index - 1, checkpoints_[index].count, done);
    } else {
      went = restore(checkpoints_[0]);
      if (went.ok()) done({.why = DebugStop::Why::history_start});
    }
    if (!went.ok()) done({.why = DebugStop::Why::interrupted});
  });
}

Result<void> Replay::set_break(s64 count) {
  if (count <= now_count()) return Error("instruction {} is over: this is {}", count, now_count());
  break_ = count;
  machine_.engine().debugger().stop_at(count);
  return {};
}

Result<void> Replay::clear_break() {
  if (break_ == kNever) return Error("no break is set");
  break_ = kNever;
  machine_.engine().debugger().stop_at(kNever);
  return {};
}

}  // namespace rhea::machine
