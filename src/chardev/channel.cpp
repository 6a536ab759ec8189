// SPDX-License-Identifier: MIT
#include "chardev/channel.h"

#include <array>
#include <cerrno>

#include "sys/named_socket.h"
#include "sys/serial_line.h"
#include "sys/stream.h"

namespace rhea::chardev {

Channel::Channel(EventLoop& loop, sys::Fd input, sys::Fd output, Overflow overflow, Hooks hooks)
    : loop_(loop), input_(std::move(input)), output_(std::move(output)), overflow_(overflow), hooks_(std::move(hooks)) {
  may_bring_descriptors_ = sys::is_unix_socket(input_.get());
  set_watches();
}

Channel::~Channel() { *alive_ = false; }

// A resting watch still tells of a hang-up.
void Channel::set_watches() {
  if (ended_) return;
  const bool writing = queued() != 0;
  const bool both = !output_;
  const u32 wanted = (reading_ ? u32{kReadable} : 0) | (both && writing ? u32{kWritable} : 0);
  if (!watch_) watch_ = loop_.watch(input_.get(), wanted, [this](u32 events) { on_input(events); });
  else watch_->set_events(wanted);
  if (both) return;
  if (writing && !output_watch_) output_watch_ = loop_.watch(output_.get(), kWritable, [this](u32) { send(); });
  else if (!writing) output_watch_.reset();
}

void Channel::on_input(u32 events) {
  const std::shared_ptr<bool> alive = alive_;
  if (events & kWritable) send();
  if (!*alive || ended_) return;
  if (events & kHangup) {
    read_what_is_left();
    return;
  }
  if (events & kReadable) read();
}

sys::Fd Channel::take_descriptor() {
  if (descriptors_.empty()) return {};
  sys::Fd first = std::move(descriptors_.front());
  descriptors_.erase(descriptors_.begin());
  return first;
}

void Channel::read() {
  const usize room = hooks_.room();
  if (room == 0) {
    reading_ = false;
    set_watches();
    return;
  }
  std::array<u8, 16384> buffer;
  const auto part = std::span(buffer).first(std::min(room, buffer.size()));
  std::vector<sys::Fd> came;
  const sys::ReadSome got = may_bring_descriptors_ ? sys::receive_with_descriptors(input_.get(), part, came)
                                                   : sys::read_now(input_.get(), part);
  if (!came.empty()) descriptors_ = std::move(came);
  if (got.outcome == sys::ReadOutcome::data) hooks_.data(std::span(buffer).first(got.count));
  if (got.outcome == sys::ReadOutcome::end || got.outcome == sys::ReadOutcome::failed) end();
}

// Nothing more will come: what the system still holds is taken in whole, and the stream ends.
void Channel::read_what_is_left() {
  const std::shared_ptr<bool> alive = alive_;
  std::array<u8, 16384> buffer;
  for (;;) {
    const sys::ReadSome got = sys::read_now(input_.get(), buffer);
    if (got.outcome != sys::ReadOutcome::data) break;
    hooks_.data(std::span(buffer).first(got.count));
    if (!*alive || ended_) return;
  }
  end();
}

void Channel::accept_input() {
  if (ended_ || reading_ || hooks_.room() == 0) return;
  reading_ = true;
  set_watches();
}

void Channel::write(std::span<const u8> data) {
  if (ended_) return;
  if (queued() + data.size() > kQueue) {
    if (overflow_ == Overflow::drop_newest) {
      dropped_ += data.size();
      return;
    }
    const usize gone = std::min(queued(), data.size());
    sent_ += gone;
    dropped_ += gone;
    data = data.last(std::min(data.size(), kQueue));
  }
  queue_.insert(queue_.end(), data.begin(), data.end());
  send();
}

void Channel::flush() {
  if (!ended_ && queued()) sent_ += sys::write_now(out(), std::span(queue_).subspan(sent_)).count;
}

void Channel::send() {
  if (ended_) return;
  const sys::Written done = sys::write_now(out(), std::span(queue_).subspan(sent_));
  sent_ += done.count;
  constexpr usize kCompact = usize{64} << 10;
  if (sent_ == queue_.size()) {
    queue_.clear();
    sent_ = 0;
  } else if (sent_ > kCompact) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  if (done.error && done.error != EAGAIN && queued()) {
    // Not from within a write: the frontend is in the middle of something.
    queue_.clear();
    sent_ = 0;
    loop_.post([this, alive = alive_] {
      if (*alive && !ended_) read_what_is_left();
    });
    return;
  }
  set_watches();
}

void Channel::end() {
  if (ended_) return;
  ended_ = true;
  watch_.reset();
  output_watch_.reset();
  const std::function<void()> ended = hooks_.ended;  // it may destroy this
  if (ended) ended();
}

}  // namespace rhea::chardev
