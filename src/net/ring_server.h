// SPDX-License-Identifier: MIT
// A backend that serves the rings of its NIC itself (vhost-user), and the NIC that lends them: no frames cross their
// link. Both are ports and find each other as peers.
//
// All members are called under the network loop's lock.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "util/result.h"
#include "util/types.h"

namespace rhea::net {

// Rings of a pair, by number.
constexpr unsigned kRings = 2;  // 0 receives, 1 transmits

// A split virtqueue (VIRTIO 1.2, section 2.7). Addresses are guest-physical.
struct LentRing {
  u16 size = 0;  // entries
  u64 descriptors = 0, available = 0, used = 0;
  u16 next = 0;  // of the available ring: where to go on
};

// A piece of the guest's memory, which lies in a file.
struct SharedMemory {
  u64 address = 0, size = 0;  // guest-physical
  int file = -1;
  u64 offset = 0;
};

struct Lending {
  u64 features = 0;  // as the driver chose them
  u16 mtu = 0;       // that the driver was told; 0: none
  std::array<LentRing, kRings> rings;
  std::vector<SharedMemory> memory;
};

class RingServer {
 public:
  virtual ~RingServer() = default;
  // Feature bits of `offered` that concern rings and frames stay only if the server has them.
  virtual u64 limit(u64 offered) const = 0;
  // Whether rings can be lent now.
  virtual bool is_ready() const = 0;
  // It serves them from now on. Errors: features that it does not have, what it said; it has none then.
  virtual Result<void> lend(const Lending& lending) = 0;
  // When it returns the rings are no longer touched. Where to go on is what the used rings say: a network device is
  // done with buffers in their order, and what was in hand at the end is done again.
  virtual void take_back() = 0;
  // The driver made buffers available. Any thread, while rings are lent.
  virtual void kick(unsigned ring) = 0;
};

class RingOwner {
 public:
  virtual ~RingOwner() = default;
  // is_ready() changed. When the server has gone, whatever was lent is back.
  virtual void server_changed() = 0;
  // Used buffers are there.
  virtual void ring_used(unsigned ring) = 0;
};

}  // namespace rhea::net
