// SPDX-License-Identifier: MIT
// A TFTP server for reading (RFC 1350) at the gateway's address, with the options blksize (RFC 2348), tsize
// and timeout (RFC 2349) and windowsize (RFC 7440). Names lead to files of one folder of the host and to
// nothing else, whatever dots and links they go through.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "net/user/stack.h"

namespace rhea::net::user {

class Udp;

class Tftp {
 public:
  explicit Tftp(Context& context);
  ~Tftp();
  // Where answers go out; set once, before any request.
  void set_udp(Udp& udp) { udp_ = &udp; }
  // A message from the guest to port 69 of `server`.
  void input(const Endpoint& guest, const IpAddress& server, std::span<const u8> message);
  void run();
  usize transfers() const { return transfers_.size(); }

 private:
  class Transfer;
  struct Request;
  void read(const Endpoint& guest, const IpAddress& server, std::span<const u8> message);
  void send(const IpAddress& server, const Endpoint& guest, std::vector<u8>& message);
  void send_error(const IpAddress& server, const Endpoint& guest, u16 code, std::string_view text);
  void end(const Endpoint& guest);

  Context& context_;
  Udp* udp_ = nullptr;
  std::vector<std::unique_ptr<Transfer>> transfers_;  // at most one of each of the guest's ports
  std::vector<std::unique_ptr<Transfer>> gone_;
};

}  // namespace rhea::net::user
