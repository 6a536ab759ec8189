// SPDX-License-Identifier: MIT
// One backend shared by several frontends: the serial console and the monitor on one terminal. Output of all
// goes out; input goes to the one that has the focus. The escape key (Ctrl-a) and then:
//   h or ?  help      x  end the machine       s  write disks back     t  time stamps on or off
//   b       a break   c  next frontend         the escape key again: itself
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chardev/backend.h"
#include "core/clock.h"

namespace rhea::chardev {

struct MuxOptions {
  std::string program = "Rhea";      // in "Rhea: Terminated"
  u8 escape = 1;                     // Ctrl-a; -echr
  Clock* clock = nullptr;            // of time stamps (real time)
  std::function<void()> terminate;   // Ctrl-a x
  std::function<void()> save_disks;  // Ctrl-a s; may be empty
};

class Mux final : private Frontend {
 public:
  static constexpr usize kMaxPorts = 8;

  Mux(std::unique_ptr<Backend> backend, MuxOptions options);
  ~Mux() override;

  // A port for one more frontend, owned by the mux. The first one made has the focus at the start.
  // nullptr: there are kMaxPorts already.
  Backend* add_port();
  // Whether a backend is one of the ports.
  bool owns(const Backend* port) const;
  Backend& backend() { return *backend_; }
  void focus(usize port);
  usize focused() const { return focused_; }

 private:
  class Port;
  friend class Port;
  usize can_receive() override;
  void receive(std::span<const u8> data) override;
  void event(Event event) override;

  bool take_command(u8 key);  // whether it is to be passed on
  void print(std::string_view text);
  void print_help();
  void output(std::span<const u8> data);
  std::string escape_name() const;

  std::unique_ptr<Backend> backend_;
  MuxOptions options_;
  std::vector<std::unique_ptr<Port>> ports_;
  usize focused_ = 0;
  bool escaped_ = false;
  bool stamps_ = false;
  bool line_start_ = true;
  s64 stamps_from_ = -1;
};

}  // namespace rhea::chardev
