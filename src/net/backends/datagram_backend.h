// SPDX-License-Identifier: MIT
// `-netdev socket,mcast=|udp=|fd=` and `-netdev dgram`: a frame in each datagram, to one other program or to all
// members of a multicast group; wire-compatible with QEMU.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/backends/wire.h"
#include "sys/fd.h"
#include "sys/frame_socket.h"

namespace rhea::net {

struct DatagramPlan {
  sys::Fd receive;
  sys::Fd send;                        // invalid: `receive` sends too
  std::optional<sys::RawAddress> to;   // none: the socket is connected
  std::optional<sys::RawAddress> own;  // what comes from here is our own, sent back by the group
  std::string info;
  std::string path;  // of a unix socket that is bound: its file goes with it
  bool unix_socket = false;
  std::string type = "dgram";
  sys::Fd kept;  // open as long as the backend is: a switch's control connection
};

class DatagramBackend final : public WireBackend {
 public:
  DatagramBackend(const BackendContext& context, DatagramPlan plan);
  ~DatagramBackend() override;

  // The largest UDP datagram (RFC 768) over IPv4.
  Caps caps() const override { return {.max_frame = 65507}; }
  Sent send(const Frame& frame) override;
  void on_room() override;
  std::string type() const override { return plan_.type; }

 private:
  int out() const { return plan_.send ? plan_.send.get() : plan_.receive.get(); }
  Sent send_now(const Frame& frame);
  void read();
  bool hand_on();
  void wait_for_room();
  void room();
  void set_watch();

  DatagramPlan plan_;
  std::vector<u8> buffer_;
  usize held_ = 0;  // bytes of a frame in buffer_ that waits for the guest
  bool full_ = false;
  bool too_large_said_ = false;
  std::unique_ptr<FdWatch> watch_, send_watch_;
  std::unique_ptr<Timer> room_timer_;
};

extern const BackendType kDgramType;
// Both forms: streams and datagrams (socket_type.cpp).
extern const BackendType kSocketType;
extern const BackendType kVdeType;  // vde_type.cpp

// The plan for an inherited datagram socket; `group`: where its datagrams go when it is not connected.
Result<DatagramPlan> plan_inherited(sys::Fd fd, const std::optional<sys::RawAddress>& group);
Result<DatagramPlan> plan_multicast(const sys::RawAddress& group, const std::optional<sys::RawAddress>& interface);

}  // namespace rhea::net
