// SPDX-License-Identifier: MIT
// The connection with one other member of a LAN: a socket for messages, and the two rings that frames go through. Who
// makes the connection makes the memory; both say hello, and then it is live. Nothing that comes from the other side
// is believed: what cannot be ends the connection, and an event takes a bounded time.
#pragma once

#include <memory>
#include <string>

#include "core/event_loop.h"
#include "net/lan/message.h"
#include "net/lan/ring.h"
#include "net/port.h"
#include "sys/packet_socket.h"

namespace rhea::net::lan {

class Neighbour;

class NeighbourOwner {
 public:
  virtual ~NeighbourOwner() = default;
  // Its hello came: it is live when this is true.
  virtual bool on_hello(Neighbour& neighbour) = 0;
  virtual void on_bell(Neighbour& neighbour) = 0;
  // `along`: the descriptor that came with it, if any.
  virtual void on_message(Neighbour& neighbour, const Message& message, sys::Fd along) = 0;
  // `why`: empty when it just went. It is dead; it is not to be destroyed in this call.
  virtual void on_gone(Neighbour& neighbour, const std::string& why) = 0;
};

class Neighbour {
 public:
  // A connection that was accepted. `hello`: what this member says of itself.
  Neighbour(EventLoop& loop, NeighbourOwner& owner, sys::Fd fd, const Message& hello);
  // One that this member made: offers the memory. Errors: there is none, the other side is gone.
  Result<void> offer();
  ~Neighbour();

  bool live() const { return state_ == State::live; }
  bool greeting() const { return state_ == State::greeting; }
  bool made_here() const { return made_here_; }
  // Of the other side, once it said hello.
  u64 id() const { return id_; }
  const std::string& name() const { return name_; }
  const IpAddress& address() const { return address_; }
  const std::string& net() const { return net_; }
  sys::PacketPeer process() const { return process_; }

  // Of a live one. See RingWriter and RingReader; both ring where it is needed.
  RingResult write(const Frame& frame);
  RingResult read(std::span<u8> into, usize& size, Offload& offload);
  u64 consumed() const { return writer_->consumed(); }

  // False: it did not go out.
  bool say(const Message& message);
  // Ends the connection; nothing more comes from it.
  void end();

  PortCounters counters;  // in: from the neighbour
  usize addresses = 0;    // of it that are known
  bool stalled = false;   // it takes nothing: frames for it are lost

 private:
  enum class State : u8 { greeting, live, dead };
  void on_event(u32 events);
  bool take(const Message& message, sys::Fd along);
  bool take_hello(const Message& message, sys::Fd along);
  void fail(const std::string& why);

  EventLoop& loop_;
  NeighbourOwner& owner_;
  sys::Fd fd_;
  const Message& hello_;
  sys::PacketPeer process_;
  State state_ = State::greeting;
  bool made_here_ = false;
  std::unique_ptr<FdWatch> watch_;
  sys::MemoryMap memory_;
  std::unique_ptr<RingWriter> writer_;
  std::unique_ptr<RingReader> reader_;
  u64 id_ = 0;
  std::string name_, net_;
  IpAddress address_ = IpAddress::v4(0);
};

}  // namespace rhea::net::lan
