// SPDX-License-Identifier: MIT
// The front end's side of one connection: what is agreed on when it begins, and rings that are lent.
#pragma once

#include <functional>
#include <memory>

#include "core/event_loop.h"
#include "net/ring_server.h"
#include "net/vhost/connection.h"

namespace rhea::net::vhost {

// Feature bits of network devices that are the server's to have: all others are the NIC's own.
u64 served_features();

class Client {
 public:
  struct Hooks {
    std::function<void()> ready;                 // the beginning is over
    std::function<void(std::string why)> ended;  // once, and not within a call; "" when the back end went away
    std::function<void(unsigned ring)> used;     // the back end gave buffers back
    std::function<void(std::string)> say;        // what went wrong and is no end
  };
  // `pairs`: queue pairs that are asked for.
  Client(EventLoop& loop, sys::Fd socket, unsigned pairs, Hooks hooks);
  ~Client();

  // Waits for the end of the beginning. Errors: the back end went away, or does not answer.
  Result<void> wait_until_ready();
  bool is_ready() const { return state_ == State::ready; }
  u64 features() const { return features_; }
  u64 protocol_features() const { return protocol_; }

  // See RingServer.
  Result<void> lend(const Lending& lending);
  void take_back();
  void kick(unsigned ring) { rings_[ring].kick.signal(); }
  // A frame that tells the segment where this address is (SEND_RARP); nothing where the back end cannot.
  void announce(std::span<const u8, 6> mac);
  const std::string& why() const { return why_; }  // it ended; "" while it has not
  // Nothing is heard of it any more, and the other side sees the end. The reason is told to Hooks::ended, later.
  void end(std::string why);

 private:
  enum class State : u8 { features, protocol_features, queue_number, ready, ended };
  struct Ring {
    sys::EventFd kick, call, error;
    std::unique_ptr<FdWatch> call_watch, error_watch;
  };

  void ask(Request request);
  void on_readable();
  void take(const Message& message);
  void take_features(u64 features);
  void take_protocol_features(u64 features);
  void finish();
  Message plain(Request request, std::vector<u8> payload) const;
  bool send(const Message& message, std::span<const int> descriptors = {});
  Result<void> tell(const Message& message, std::span<const int> descriptors = {});
  Result<void> order(Message message, std::span<const int> descriptors = {});
  Result<Message> await(Request request);
  Result<void> send_memory(const Lending& lending);
  Result<void> send_ring(unsigned number, const LentRing& ring);
  void watch(unsigned number);

  EventLoop& loop_;
  Connection connection_;
  unsigned pairs_;
  Hooks hooks_;
  State state_ = State::features;
  u64 features_ = 0, protocol_ = 0;
  bool lent_ = false;
  bool refuses_legacy_ = false;  // perhaps: it has done nothing yet for a driver that is one
  s64 deadline_ = 0;             // of what is being waited for
  std::string why_;
  std::array<Ring, kRings> rings_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<Timer> patience_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace rhea::net::vhost
