// SPDX-License-Identifier: MIT
// A connection that carries vhost-user messages, with their descriptors. Never waits but where that is asked for.
#pragma once

#include <array>
#include <string>

#include "net/vhost/message.h"
#include "sys/fd.h"

namespace rhea::net::vhost {

class Connection {
 public:
  explicit Connection(sys::Fd socket) : socket_(std::move(socket)) {}

  enum class Got : u8 {
    message,
    nothing,  // so far
    ended,    // by the other side
    broken,   // what came is no message: why() says what
  };
  // The next message that is there.
  Got receive(Message& message);
  // The same, but for at most so long it waits for it to come. Nothing: the time is over.
  Got receive_within(Message& message, unsigned milliseconds);
  // False: the other side has gone, or reads nothing.
  bool send(const Message& message, std::span<const int> descriptors = {});
  // The other side, and whoever else has this socket, sees its end.
  void shut();

  int fd() const { return socket_.get(); }
  const std::string& why() const { return why_; }

 private:
  Got fail(std::string why) {
    why_ = std::move(why);
    return Got::broken;
  }
  sys::Fd socket_;
  std::array<u8, kHeadSize> head_;
  usize head_bytes_ = 0, payload_bytes_ = 0;
  Head coming_;
  std::string why_;
};

}  // namespace rhea::net::vhost
