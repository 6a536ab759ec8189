// SPDX-License-Identifier: MIT
// Record and replay (-icount rr=): everything that comes into a counted machine from outside passes arrive(), between
// two instructions. Recording, it is stamped and written to a file; replaying, the file's events take its place. What
// does not come from outside (timers, the devices' own posted work) happens at places that follow from the guest alone.
//
// A stamp is {instructions, virtual time, timers fired so far}: the last two tell places apart where no instruction is
// run in between (idle CPUs). Each event also has a check word of the CPUs' registers, so that a replay that leaves the
// recording is noticed at the next event.
//
// Checkpoints: whole states in memory, taken at such places while a debugger is attached, are what seek() goes back to.
// From a checkpoint the machine runs forward to the place that was asked for; what it sends to the outside meanwhile
// has been sent before, and is dropped (`silent()`).
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "accel/accel.h"
#include "core/debug_target.h"
#include "core/event_loop.h"
#include "sys/stream.h"

namespace rhea::machine {

class Machine;

enum class ReplayMode : u8 { off, record, replay };

class Replay final : public accel::InputPoint {
 public:
  enum class Kind : u8 { end = 0, chardev, chardev_event, frame, reset, post, mark, input, nic, link, balloon };
  struct Event {
    Kind kind = Kind::end;
    u32 source = 0;
    s64 count = 0, time = 0;
    u64 fired = 0, check = 0;
    std::vector<u8> data;
  };

  explicit Replay(Machine& machine);
  ~Replay() override;
  // Opens the file; replaying, reads it whole.
  Result<void> open(ReplayMode mode, const std::string& path);
  // The machine is built: the recording must be of one like it. Then its inputs come here.
  Result<void> start();

  ReplayMode mode() const { return mode_; }
  // Who delivers events of a kind and source. Called on the CPUs' thread under the loop's lock.
  void on_event(Kind kind, u32 source, std::function<void(std::span<const u8>)> deliver);
  // Something came from outside; any thread. Replaying, it is dropped.
  void submit(Kind kind, u32 source, std::span<const u8> data);
  // Whether output has been sent before (or the outside is not there: a replay).
  bool silent() const { return !live_.load(); }
  // The bytes that stand for randomness.
  void fill_random(std::span<u8> data);
  // The end of the recording; at the machine's end.
  void close();

  // ---- InputPoint
  void arrive(s64 count, s64 time, u64 fired) override;
  s64 next_count() const override { return next_count_; }
  s64 next_time() const override { return next_time_; }
  bool waits() const override { return waiting_.load(); }

  // ---- the past; on the loop, with the machine stopped
  bool can_reverse() const { return !checkpoints_.empty(); }
  void set_checkpoints(bool on);
  // Brings the machine to a count; `done` is called on the loop when it stands there. Errors: it is not in what is
  // known.
  Result<void> seek(s64 count, std::function<void(const DebugStop&)> done);
  // Goes back to the last place before here that would have stopped a debugger.
  Result<void> reverse_continue(std::function<void(const DebugStop&)> done);
  Result<void> reverse_step(std::function<void(const DebugStop&)> done);
  // replay_break: stops there.
  Result<void> set_break(s64 count);
  Result<void> clear_break();
  // The CPUs stand at a count that was waited for. Whether that was a matter of its own.
  bool reached();
  // On its way to a count of its own.
  bool moving() const { return at_stop_ != nullptr; }
  std::string info() const;  // "Recording execution 'x': instruction count = 5"

 private:
  struct Checkpoint {
    s64 count = 0;
    std::vector<u8> state;
    std::vector<std::vector<u8>> sources;  // what event sources hold back
    usize next_event = 0;
    u64 random = 0;
  };

  Result<void> read_file(const std::string& path);
  Result<void> check_shape();
  void go_live();
  void leave_recording(const Event& event, std::string_view why);
  Result<void> write_event(const Event& event);
  void deliver(const Event& event);
  void look_ahead(s64 count);
  void replay_due(s64 count, s64 time, u64 fired);
  void record_waiting(s64 count, s64 time, u64 fired);
  void finish(const std::string& why);
  void take_checkpoint(s64 count);
  Result<void> restore(const Checkpoint& checkpoint);
  const Checkpoint* before(s64 count) const;
  Result<void> run_to(s64 count, std::function<void()> then);
  Result<void> scan(usize checkpoint, s64 end, std::function<void(const DebugStop&)> done);
  s64 now_count() const;
  u64 check_word() const;

  Machine& machine_;
  ReplayMode mode_ = ReplayMode::off;
  std::string path_;
  std::unique_ptr<sys::Output> file_;
  std::vector<u8> file_shape_;
  std::vector<Event> events_;  // all of the recording so far
  usize next_ = 0;             // the next one to be delivered
  bool ended_ = false;
  std::atomic<bool> live_{true};  // recording: at the front of what was recorded
  s64 front_ = 0;                 // the count where the recording was left for the past
  s64 next_count_ = kNever, next_time_ = kNever;
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;
  std::deque<Event> queue_;  // from outside, not stamped yet
  std::map<std::pair<Kind, u32>, std::function<void(std::span<const u8>)>> handlers_;
  u64 random_ = 0x9e3779b97f4a7c15;
  bool keep_checkpoints_ = false;
  std::vector<Checkpoint> checkpoints_;
  s64 interval_ = 5'000'000;  // instructions between checkpoints
  s64 break_ = kNever;
  std::function<void()> at_stop_;  // what follows when stop_at's count is reached
  unsigned stuck_ = 0;
  std::string failure_;  // why a replay ended early

 public:
  // What an event source holds back (bytes that a UART had no room for): a part of checkpoints.
  struct Holder {
    std::function<std::vector<u8>()> save;
    std::function<void(std::span<const u8>)> load;
    std::function<bool()> quiet;  // whether there is nothing that cannot be saved
  };
  std::vector<Holder> holders;
};

}  // namespace rhea::machine
