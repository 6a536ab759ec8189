// SPDX-License-Identifier: MIT
// What happens to a machine, told to whoever listens: the control connections. Names and data are those of QMP's
// events ("NETDEV_STREAM_CONNECTED"); the data is the text of a JSON object, or empty.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "core/event_loop.h"

namespace rhea {

class Events {
 public:
  explicit Events(EventLoop& loop) : loop_(loop) {}

  // Any thread; listeners are called on the loop's thread, under its lock.
  void emit(std::string name, std::string data = {}) {
    loop_.post([this, name = std::move(name), data = std::move(data)] { deliver(name, data); });
  }
  // At once, for who is on the loop's thread and holds its lock.
  void deliver(const std::string& name, const std::string& data = {}) {
    for (const auto& [number, listener] : std::map(listeners_)) listener(name, data);
  }

  using Listener = std::function<void(const std::string& name, const std::string& data)>;
  // Under the loop's lock.
  unsigned listen(Listener listener) {
    listeners_.emplace(++last_, std::move(listener));
    return last_;
  }
  void forget(unsigned number) { listeners_.erase(number); }

 private:
  EventLoop& loop_;
  std::map<unsigned, Listener> listeners_;
  unsigned last_ = 0;
};

}  // namespace rhea
