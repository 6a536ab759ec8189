// SPDX-License-Identifier: MIT
// The backends that stand alone. They are made, called and destroyed under the machine loop's lock.
#pragma once

#include <functional>
#include <memory>

#include "chardev/backend.h"
#include "chardev/spec.h"
#include "core/event_loop.h"
#include "util/result.h"

namespace rhea::chardev {

// Standard input and output. `lost` is called (once, by the loop) when they were a terminal and it went away.
// With input from elsewhere its end is the frontend's Event::closed, and output goes on.
class Terminal : public Backend {
 public:
  // Before and after this process is stopped from the keyboard or by a signal.
  virtual void suspend() = 0;
  virtual void resume() = 0;
};
std::unique_ptr<Terminal> make_stdio(EventLoop& loop, bool signals, std::function<void()> lost);

std::unique_ptr<Backend> make_null();
// Output to a file; input, when a path is given, from another.
Result<std::unique_ptr<Backend>> make_file(const std::string& path, bool append);
Result<std::unique_ptr<Backend>> make_file(EventLoop& loop, const Spec& spec);

// `name` gets the pseudo terminal's path ("/dev/pts/3"). With a link it is there until the backend goes.
Result<std::unique_ptr<Backend>> make_pty(EventLoop& loop, const std::string& link, std::string& name);
// PATH.in and PATH.out, or PATH for both.
Result<std::unique_ptr<Backend>> make_pipe(EventLoop& loop, const std::string& path);
Result<std::unique_ptr<Backend>> make_serial(EventLoop& loop, const std::string& path);
Result<std::unique_ptr<Backend>> make_udp(EventLoop& loop, const UdpSpec& spec);
// TCP, unix, telnet, websocket. `waiting` gets a line when a server waits for its first client, which happens
// within this call.
Result<std::unique_ptr<Backend>> make_socket(EventLoop& loop, const SocketSpec& spec,
                                             const std::function<void(const std::string&)>& waiting);

// Keeps the last bytes that were written.
class RingBuffer : public Backend {
 public:
  // Takes up to `most` bytes out of it, the oldest first.
  virtual std::vector<u8> read(usize most) = 0;
};
std::unique_ptr<RingBuffer> make_ring_buffer(usize size);

}  // namespace rhea::chardev
