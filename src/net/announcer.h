// SPDX-License-Identifier: MIT
// A NIC whose driver can be asked to tell its neighbours where it is now (announce_self). Called on the network loop.
#pragma once

#include <array>
#include <span>

#include "net/frame.h"

namespace rhea::net {

class Announcer {
 public:
  virtual ~Announcer() = default;
  virtual void announce() = 0;
};

// What is sent for a NIC where nobody asks its driver: a reverse ARP request (RFC 903) with its address. Switches learn
// from it where that is, and nobody answers.
std::array<u8, kMinFrame> announcement(std::span<const u8, 6> mac);

}  // namespace rhea::net
