// SPDX-License-Identifier: MIT
// `-netdev l2tpv3`: frames in a static L2TPv3 tunnel (RFC 3931, section 4.1: the data channel, without control
// messages), over IP (protocol 115, which takes CAP_NET_RAW) or UDP; the other end is another guest, a router, or the
// host's kernel (ip l2tp).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/backends/wire.h"
#include "sys/fd.h"
#include "sys/frame_socket.h"

namespace rhea::net {

struct TunnelHeader {
  bool udp = false;       // a word of flags and version comes first
  bool cookie64 = false;  // cookies have 64 bits, not 32
  bool with_cookies = false;
  bool counter = false;      // a word that counts packets, as some routers have it
  bool pin_counter = false;  // it stays 0
  u32 tx_session = 0, rx_session = 0;
  u64 tx_cookie = 0, rx_cookie = 0;
  u32 offset = 0;  // bytes between the header and the frame

  usize size() const;
  // `count`: of the packet.
  void write(u32 count, std::vector<u8>& to) const;
  // Whether it is this tunnel's; the frame follows size() bytes on. Counters are not looked at.
  bool accepts(std::span<const u8> packet) const;
};

class TunnelBackend final : public WireBackend {
 public:
  // `fd`: connected. `strip_ip`: a raw IPv4 socket gives packets with their IP header.
  TunnelBackend(const BackendContext& context, sys::Fd fd, const TunnelHeader& header, bool strip_ip, std::string info);

  Caps caps() const override { return {.max_frame = 65000}; }
  Sent send(const Frame& frame) override;
  void on_room() override;
  std::string type() const override { return "l2tpv3"; }

 private:
  void read();
  bool hand_on();
  void set_watch();

  sys::Fd fd_;
  TunnelHeader header_;
  bool strip_ip_;
  u32 count_ = 0;
  bool full_ = false;
  std::vector<u8> head_, buffer_;
  std::span<u8> held_;  // a frame in buffer_ that waits for the guest
  std::unique_ptr<FdWatch> watch_;
};

extern const BackendType kTunnelType;

}  // namespace rhea::net
