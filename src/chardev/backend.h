// SPDX-License-Identifier: MIT
// A character device: a byte stream between a frontend (a UART, the monitor) and the outside (a terminal, a
// file, a socket). All calls and callbacks happen under the machine loop's lock.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "sys/fd.h"
#include "util/types.h"

namespace rhea::chardev {

enum class Event : u8 { opened, closed, line_break, mux_in, mux_out };

// The frontend's side: what a UART or a monitor implements.
class Frontend {
 public:
  virtual ~Frontend() = default;
  // How many bytes it takes now. When it was 0 and room appears it calls Backend::accept_input().
  virtual usize can_receive() = 0;
  virtual void receive(std::span<const u8> data) = 0;
  virtual void event(Event event) {}
};

class Backend {
 public:
  virtual ~Backend() = default;
  // Takes all of it: what the outside does not take now is queued (bounded; beyond the bound the oldest
  // output mode applies: it blocks for a terminal or a file, and drops with a count for a socket nobody
  // reads).
  virtual void write(std::span<const u8> data) = 0;
  virtual void set_frontend(Frontend* frontend) = 0;
  virtual void accept_input() = 0;
  // As `info chardev` and QMP show it: "stdio", "file:x", "null", "mux".
  virtual std::string description() const = 0;
  // Sends what is queued as far as it goes without waiting; at exit.
  virtual void flush() {}
  // Whether the outside is there. Where it comes and goes (a server's client) the frontend gets Event::opened
  // and Event::closed.
  virtual bool is_open() const { return true; }
  // A descriptor that came along with what was read last (a Unix socket's SCM_RIGHTS); invalid: there is none.
  virtual sys::Fd take_descriptor() { return {}; }
  // Whether it is a socket on which descriptors can be passed. A frontend that takes no bytes may talk over
  // connection() itself: the socket that is open now, or -1.
  virtual bool passes_descriptors() const { return false; }
  virtual int connection() const { return -1; }
  // While nothing else runs: waits until the outside is there. False: it is not a thing that comes, or this process
  // was told to end.
  virtual bool wait_until_open(const std::function<void(const std::string&)>& waiting) { return is_open(); }
  // Bytes that were written and wait for the outside.
  virtual usize queued() const { return 0; }
};

}  // namespace rhea::chardev
