// SPDX-License-Identifier: MIT
// Forwarded ports (hostfwd): listening sockets of the host, and what they accept or receive on its way to the
// guest.
//
// With hostfwd-listen=probe a TCP port is bound from the start, but listens only while the guest's port
// answers: the guest is asked with a SYN, which is reset when it is answered, every two seconds.
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
  // All ports of a rule, or none of them.
  Result<void> add(const ForwardRule& rule);
  // False when none of the rule's ports is forwarded. Connections that were accepted live on.
  bool remove(const ForwardRule& rule);
  // Stack::join.
  void join(const Endpoint& guest, sys::Fd stream);
  // Goes on reading datagrams that the guest's NIC had no room for.
  void run();

  struct Row {
    bool udp;
    int fd;
    std::string path;  // instead of `host`
    Endpoint host, guest;
    bool listening;
  };
  std::vector<Row> rows() const;

 private:
  class Forward;
  Endpoint nobody() const;
  Context& context_;
  Tcp& tcp_;
  Udp& udp_;
  std::vector<std::unique_ptr<Forward>> forwards_;
  std::vector<u8> buffer_;
};

}  // namespace rhea::net::user
