// SPDX-License-Identifier: MIT
// Descriptors of a byte stream in a loop: input as far as somebody has room for it, output queued up to a
// bound.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/event_loop.h"
#include "sys/fd.h"
#include "util/types.h"

namespace rhea::chardev {

// What happens to output that nobody takes.
enum class Overflow : u8 {
  drop_newest,  // a connection: what was sent stays whole up to the gap
  drop_oldest,  // a terminal that nobody looks at yet: the newest lines are there
};

class Channel {
 public:
  struct Hooks {
    std::function<usize()> room;                    // bytes that data() takes now; 0: reading rests
    std::function<void(std::span<const u8>)> data;  // may get more than that when the other side hung up
    std::function<void()> ended;                    // once; may destroy the channel
  };
  static constexpr usize kQueue = usize{4} << 20;

  // `output` may be invalid: then `input` is for both directions.
  Channel(EventLoop& loop, sys::Fd input, sys::Fd output, Overflow overflow, Hooks hooks);
  ~Channel();

  void write(std::span<const u8> data);
  void accept_input();  // there may be room again
  void flush();         // as far as it goes without waiting
  usize queued() const { return queue_.size() - sent_; }
  u64 dropped() const { return dropped_; }
  int input() const { return input_.get(); }
  // One that was sent along with what came last, in the order of their coming; none: an invalid one.
  sys::Fd take_descriptor();

 private:
  int out() const { return output_ ? output_.get() : input_.get(); }
  void on_input(u32 events);
  void read();
  void read_what_is_left();
  void set_watches();
  void send();
  void end();

  EventLoop& loop_;
  sys::Fd input_, output_;
  Overflow overflow_;
  Hooks hooks_;
  std::vector<u8> queue_;
  usize sent_ = 0;  // of the queue
  u64 dropped_ = 0;
  bool reading_ = true;
  bool ended_ = false;
  bool may_bring_descriptors_ = false;
  std::vector<sys::Fd> descriptors_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<FdWatch> watch_, output_watch_;
};

}  // namespace rhea::chardev
