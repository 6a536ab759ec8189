// SPDX-License-Identifier: MIT
// Forwarded ports (hostfwd): listening sockets of the host, and what they accept or receive on its way to the
// guest.
#pragma once

#include <memory>
#include <vector>

#include "net/user/stack.h"
#include "net/user/tcp.h"
#include "net/user/udp.h"

namespace rhea::net::user {

class Forwards {
 public:
  Forwards(Context& context, Tcp& tcp, Udp& udp);
  ~Forwards();
  Result<void> add(const ForwardRule& rule);
  // False when there is no such rule. Connections that it accepted live on.
  bool remove(const ForwardRule& rule);
  // Goes on reading datagrams that the guest's NIC had no room for.
  void run();

  struct Row {
    bool udp;
    int fd;
    Endpoint host, guest;
  };
  std::vector<Row> rows() const;

 private:
  class Forward;
  Context& context_;
  Tcp& tcp_;
  Udp& udp_;
  std::vector<std::unique_ptr<Forward>> forwards_;
  std::vector<u8> buffer_;
};

}  // namespace rhea::net::user
