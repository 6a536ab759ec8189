// SPDX-License-Identifier: MIT
// All character devices of a machine, by id. A frontend (a UART, a monitor, the debugger) attaches to one; a
// multiplexer gives each frontend a port of its own, any other device has one frontend at a time. Everything
// happens under the machine loop's lock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chardev/backends.h"
#include "chardev/spec.h"

namespace rhea::chardev {

// What backends need of their surroundings.
struct Surroundings {
  std::string program = "Rhea";      // in "Rhea: Terminated"
  u8 escape = 1;                     // of multiplexers
  std::function<void()> terminate;   // Ctrl-a x
  std::function<void()> save_disks;  // Ctrl-a s
  std::function<void()> terminal_lost;
  std::function<void(const std::string&)> say;       // a line for the user: where a pty is, who is waited for
  std::function<void(const std::string&)> redirect;  // "char device redirected to ..."
  // Makes a text console in the display; empty: there is no display to make one in.
  std::function<Result<std::unique_ptr<Backend>>(const ConsoleSize& size, const std::string& id)> make_console;
};

class Registry {
 public:
  explicit Registry(EventLoop& loop);
  ~Registry();
  Surroundings surroundings;

  // Makes a device. Errors: "Chardev with id 'x' already exists", and the backend's own.
  Result<void> add(const Spec& spec, const std::string& id);
  // A port for one more frontend. Errors: "Chardev 'x' not found", "Device 'x' is in use".
  Result<Backend*> attach(const std::string& id);
  void detach(Backend* port);
  // Makes the device if it does not refer to one, and attaches to it.
  Result<Backend*> open(const Spec& spec, const std::string& id);

  Result<void> remove(const std::string& id);                    // "Chardev 'x' is busy"
  Result<void> change(const std::string& id, const Spec& spec);  // the frontend stays
  Result<void> send_break(const std::string& id);
  Result<RingBuffer*> ring_buffer(const std::string& id);  // "x is not a ringbuf device"

  struct Row {
    std::string id, filename;
    bool attached = false;
  };
  std::vector<Row> rows() const;  // a multiplexer has two: itself, and ID-base
  bool has(const std::string& id) const { return entries_.contains(id); }
  std::vector<std::string> ids() const;
  std::string type_of(const std::string& id) const;  // "chardev-socket"
  // "pty:/dev/pts/3" and the like.
  std::string filename(const std::string& id) const;
  bool is_mux(const std::string& id) const;
  // Whether a port is a multiplexer's.
  bool is_shared(const Backend* port) const;
  // The one on standard input and output, or nullptr.
  Terminal* terminal() const { return terminal_; }
  // Sends what is queued, as far as it goes.
  void flush();
  static constexpr usize kMostPorts = 8;  // of a multiplexer

 private:
  class Slot;
  struct Entry;
  Result<std::unique_ptr<Backend>> make(const Spec& spec, const std::string& id);
  Entry* find(const std::string& id);
  const Entry* find(const std::string& id) const;

  EventLoop& loop_;
  std::map<std::string, std::unique_ptr<Entry>> entries_;
  std::vector<std::string> order_;
  Terminal* terminal_ = nullptr;
};

}  // namespace rhea::chardev
