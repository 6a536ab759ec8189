// SPDX-License-Identifier: MIT
// One connection that carries frames with their lengths (frame_decoder.h), in both directions.
//
// Towards the other side: a frame goes into the socket at once; what the socket does not take of it is kept, and
// until that is gone the sender is told to wait. From the other side: frames are handed on one by one; while the
// receiver is busy nothing is read, so that the other side is held up by its own socket. Everything is on the
// network loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/event_loop.h"
#include "net/backends/frame_decoder.h"
#include "net/port.h"
#include "sys/fd.h"

namespace rhea::net {

class StreamLink {
 public:
  struct Hooks {
    // busy: it is handed over again after resume().
    std::function<Sent(const Frame& frame)> frame;
    std::function<void()> room;                         // send() may be tried again
    std::function<void(const std::string& why)> ended;  // once; it may destroy the link
  };
  // `with_header`: each frame has its offload header before it.
  StreamLink(EventLoop& loop, sys::Fd fd, bool with_header, Hooks hooks);

  // A frame larger than the other side takes is dropped.
  Sent send(const Frame& frame);
  void resume();
  int fd() const { return fd_.get(); }

 private:
  void on_events(u32 events);
  void flush();
  void read();
  bool hand_on();  // false: the link may be gone
  void set_watch();
  void end(const std::string& why);

  EventLoop& loop_;
  sys::Fd fd_;
  bool with_header_;
  Hooks hooks_;
  FrameDecoder decoder_;
  DecodedFrame frame_;
  bool held_ = false;  // frame_ waits for its receiver
  bool ended_ = false;
  std::vector<u8> unsent_;
  usize sent_ = 0;  // of unsent_
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace rhea::net
