// SPDX-License-Identifier: MIT
// A NIC whose driver can be asked to tell its neighbours where it is now (announce_self). Called on the network loop.
#pragma once

namespace rhea::net {

class Announcer {
 public:
  virtual ~Announcer() = default;
  virtual void announce() = 0;
};

}  // namespace rhea::net
