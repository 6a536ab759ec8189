// SPDX-License-Identifier: MIT
// `-netdev socket,listen=|connect=|fd=` and `-netdev stream`: one connection that carries frames, wire-compatible
// with QEMU. A server takes one client at a time; others wait until it is gone. A client tries again when it is
// told to (stream, reconnect-ms=) or always (socket: so that guests may be started in any order).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/backends/stream_link.h"
#include "net/backends/wire.h"
#include "sys/named_socket.h"

namespace rhea::net {

struct StreamPlan {
  enum class Start : u8 { listen, connect, connected } start = Start::listen;
  sys::SocketName name;
  sys::Fd fd;     // inherited: the listener, or the connection
  s64 retry = 0;  // ns between attempts; 0: one attempt
  bool keep_alive = true;
  bool legacy = false;  // -netdev socket: its words, and no events
};

class StreamBackend final : public WireBackend {
 public:
  static Result<std::unique_ptr<Port>> create(const BackendContext& context, StreamPlan plan);
  StreamBackend(const BackendContext& context, StreamPlan plan);
  ~StreamBackend() override;

  Caps caps() const override { return {.max_frame = kMaxGsoFrame}; }
  Sent send(const Frame& frame) override;
  void on_room() override;
  std::string type() const override { return plan_.legacy ? "socket" : "stream"; }

 private:
  Result<void> start();
  void wait_for_client();
  void accept();
  void connect();
  void connecting_ended();
  void failed(int error);
  void attach(sys::Fd fd);
  void detached(const std::string& why);
  std::string peer_name(int fd) const;
  void tell_connected(int fd);

  StreamPlan plan_;
  std::vector<sys::RawAddress> addresses_;
  usize next_address_ = 0;
  sys::Fd listener_, connecting_;
  std::unique_ptr<StreamLink> link_;
  std::unique_ptr<FdWatch> watch_;  // of the listener, or of an attempt
  std::unique_ptr<Timer> retry_timer_;
  std::string last_failure_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The types, for the table.
extern const BackendType kStreamType;

}  // namespace rhea::net
