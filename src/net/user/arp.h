// SPDX-License-Identifier: MIT
// ARP (RFC 826): answers for the stack's own addresses, learns the guest's.
#pragma once

#include "net/user/stack.h"

namespace rhea::net::user {

class Arp {
 public:
  explicit Arp(Context& context) : context_(context) {}
  // `frame` from its start.
  void input(const u8* frame, usize size);
  void request(const IpAddress& address);

 private:
  Context& context_;
};

}  // namespace rhea::net::user
