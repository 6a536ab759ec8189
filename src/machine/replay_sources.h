// SPDX-License-Identifier: MIT
// What stands between a recorded (or replayed) machine and the outside: character devices, the network, loops.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <vector>

#include "chardev/backend.h"
#include "core/event_loop.h"
#include "machine/replay.h"
#include "net/port.h"

namespace rhea::machine {

// A character device whose input passes the replay's input point.
class RecordedChardev final : public chardev::Backend, private chardev::Frontend {
 public:
  RecordedChardev(chardev::Backend* outside, Replay& replay, Clock& clock, u32 source);
  ~RecordedChardev() override;
  void write(std::span<const u8> data) override;
  void set_frontend(chardev::Frontend* frontend) override { frontend_ = frontend; }
  void accept_input() override;
  std::string description() const override { return outside_ ? outside_->description() : "null"; }

 private:
  usize can_receive() override { return kRoom; }
  void receive(std::span<const u8> data) override { replay_.submit(Replay::Kind::chardev, source_, data); }
  void event(chardev::Event event) override;
  void pass_on();

  static constexpr usize kRoom = 256;
  chardev::Backend* outside_;
  Replay& replay_;
  const u32 source_;
  chardev::Frontend* frontend_ = nullptr;
  std::vector<u8> held_;  // came, but the frontend had no room
  std::unique_ptr<Timer> timer_;
};

// Two ports back to back: the NIC's peer, and the backend's.
class RecordedLink {
 public:
  RecordedLink(net::Port* backend, Replay& replay, EventLoop& net_loop, u32 source);
  ~RecordedLink();
  net::Port& nic_side();
  // The backend goes. Under the network loop's lock.
  void disconnect();

 private:
  class NicSide;
  class BackendSide;
  std::unique_ptr<NicSide> nic_side_;
  std::unique_ptr<BackendSide> backend_side_;
  std::shared_ptr<BackendSide*> other_;
  EventLoop& net_loop_;
};

// The loop that devices post work to: it is run between two instructions, by a timer of virtual time. Work that other
// threads post passes the input point.
class CountedLoop final : public EventLoop {
 public:
  CountedLoop(EventLoop& loop, accel::Engine& engine, Replay& replay);
  void post(std::function<void()> work) override;
  std::unique_ptr<FdWatch> watch(int fd, u32 events, std::function<void(u32)> callback) override {
    return loop_.watch(fd, events, std::move(callback));
  }
  Clock& real_clock() override { return loop_.real_clock(); }
  RecursiveLock& lock() override { return loop_.lock(); }
  bool on_loop_thread() const override { return engine_.on_cpu_thread() || loop_.on_loop_thread(); }

 private:
  void run();
  EventLoop& loop_;
  accel::Engine& engine_;
  Replay& replay_;
  std::unique_ptr<Timer> timer_;
  std::deque<std::function<void()>> own_;  // under the loop's lock
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::function<void()>> foreign_;  // waits for its event
};

}  // namespace rhea::machine
