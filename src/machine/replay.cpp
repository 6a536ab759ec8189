// SPDX-License-Identifier: MIT
// Taking in, stamping, replaying. The past (checkpoints, seek, scans) is in replay_past.cpp, the file in
// replay_file.cpp.
#include "machine/replay.h"

#include <algorithm>

#include "accel/debugger.h"
#include "machine/machine.h"

namespace rhea::machine {

namespace {
constexpr unsigned kMostVisits = 1000;  // of one place while an event is due that never comes
}

Replay::Replay(Machine& machine) : machine_(machine) {}
Replay::~Replay() { close(); }

Result<void> Replay::start() {
  RHEA_TRY(check_shape());
  accel::Engine& engine = machine_.engine();
  machine_.debug_target();  // who stops the machine
  engine.debugger().on_count = [&engine] { engine.debugger().request_stop({.why = DebugStop::Why::reached}); };
  engine.set_input_point(this);
  look_ahead(engine.instructions());
  return {};
}

void Replay::on_event(Kind kind, u32 source, std::function<void(std::span<const u8>)> deliver) {
  handlers_[{kind, source}] = std::move(deliver);
}

void Replay::submit(Kind kind, u32 source, std::span<const u8> data) {
  if (mode_ == ReplayMode::replay) return;
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    queue_.push_back({.kind = kind, .source = source, .data = {data.begin(), data.end()}});
    if (live_.load()) waiting_.store(true);
  }
  machine_.engine().wake_for_input();
}

// splitmix64: the bytes only have to be the same each time.
void Replay::fill_random(std::span<u8> data) {
  for (usize at = 0; at < data.size(); at += 8) {
    u64 word = (random_ += 0x9e3779b97f4a7c15);
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    word ^= word >> 31;
    for (usize i = at; i < std::min(at + 8, data.size()); i++, word >>= 8) data[i] = static_cast<u8>(word);
  }
}

u64 Replay::check_word() const {
  u64 word = 0xcbf29ce484222325;
  const auto mix = [&](u64 value) { word = (word ^ value) * 0x100000001b3; };
  accel::Engine& engine = machine_.engine();
  for (unsigned i = 0; i < engine.cpus(); i++) {
    u64 value = 0;
    for (const char* name : {"pc", "sp", "lr", "r0", "r1", "r2", "r3"}) {
      if (engine.cpu(i).register_value(name, value)) mix(value);
    }
  }
  return word;
}

void Replay::look_ahead(s64 count) {
  next_count_ = next_time_ = kNever;
  if (next_ >= events_.size()) return;
  next_count_ = events_[next_].count;
  if (next_count_ <= count) next_time_ = events_[next_].time;
}

void Replay::arrive(s64 count, s64 time, u64 fired) {
  if (ended_) return;
  if (!live_.load() && count >= front_ && next_ >= events_.size() && mode_ == ReplayMode::record) go_live();
  if (!live_.load() && count >= front_ && mode_ == ReplayMode::replay) live_.store(true);
  if (keep_checkpoints_) take_checkpoint(count);
  if (mode_ == ReplayMode::replay || next_ < events_.size()) replay_due(count, time, fired);
  else if (live_.load()) record_waiting(count, time, fired);
  look_ahead(count);
}

void Replay::go_live() {
  std::lock_guard lock(mutex_);
  live_.store(true);
  waiting_.store(!queue_.empty());
}

void Replay::record_waiting(s64 count, s64 time, u64 fired) {
  std::deque<Event> waiting;
  {
    std::lock_guard lock(mutex_);
    waiting.swap(queue_);
    waiting_.store(false);
  }
  for (Event& event : waiting) {
    event.count = count;
    event.time = time;
    event.fired = fired;
    event.check = check_word();
    const Result<void> written = write_event(event);
    if (!written.ok()) return finish(fmt::format("the recording cannot be written: {}", written.error().message()));
    events_.push_back(event);
    next_ = events_.size();
    deliver(event);
  }
}

void Replay::replay_due(s64 count, s64 time, u64 fired) {
  bool any = false;
  while (next_ < events_.size() && !ended_) {
    const Event event = events_[next_];
    if (event.count > count ||
        (event.count == count && (event.time > time || (event.time == time && event.fired > fired))))
      break;
    if (event.count != count || event.time != time || event.fired != fired)
      return leave_recording(event, "its place was missed");
    if (event.kind != Kind::end && event.check != check_word()) return leave_recording(event, "registers differ");
    next_++;
    any = true;
    if (event.kind == Kind::end) return finish("the recording ends here");
    deliver(event);
  }
  // Standing before an event that is due by count and time, with nothing that could fire.
  const bool due = next_ < events_.size() && events_[next_].count == count && events_[next_].time == time;
  stuck_ = due && !any ? stuck_ + 1 : 0;
  if (stuck_ > kMostVisits) leave_recording(events_[next_], "its place does not come");
}

void Replay::leave_recording(const Event& event, std::string_view why) {
  finish(fmt::format("the run differs from the recording: at event {} (of kind {}, instruction {}) {}", next_,
                     static_cast<unsigned>(event.kind), event.count, why));
}

void Replay::deliver(const Event& event) {
  const auto found = handlers_.find({event.kind, event.source});
  if (found != handlers_.end()) found->second(event.data);
}

// The machine stops; nothing comes in any more.
void Replay::finish(const std::string& why) {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
    queue_.clear();
    waiting_.store(false);
  }
  failure_ = why;
  next_count_ = next_time_ = kNever;
  machine_.log().write_text(
      fmt::format("{}: {} (instruction {})", mode_ == ReplayMode::replay ? "replay" : "record", why, now_count()));
  machine_.engine().debugger().request_stop({.why = DebugStop::Why::history_end});
}

s64 Replay::now_count() const { return machine_.engine().instructions(); }

std::string Replay::info() const {
  switch (mode_) {
    case ReplayMode::off: return {};
    case ReplayMode::record:
      return fmt::format("Recording execution '{}': instruction count = {}\n", path_, now_count());
    case ReplayMode::replay:
      return fmt::format("Replaying execution '{}': instruction count = {}\n", path_, now_count());
  }
  return {};
}

}  // namespace rhea::machine
