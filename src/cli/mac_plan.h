// SPDX-License-Identifier: MIT
// MAC addresses of NICs on segments that other machines may be on (taps, bridges, sockets): no two machines of this
// user have the same at a time, and a machine that is started again has the one it had. They are made of the host's
// identity, the user, the machine's name (-name) and the NIC's place; a lock file says that one is in use
// (sys/claim.h), and the next is taken. NICs that are alone on their user network keep QEMU's 52:54:00:12:34:56 and
// up, and what mac= says is never changed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sys/fd.h"
#include "util/types.h"

namespace rhea::cli {

struct MacOwner {
  std::string host, machine;
  unsigned user = 0;
};

// The address for a place, of the `attempt`-th choice: 52:54:00 and three bytes, never among QEMU's own.
u64 shared_mac(const MacOwner& owner, unsigned slot, unsigned attempt);

// Claims one that nobody has; the claim lasts as long as what is put into `claims`. Where no lock can be made the
// first choice is taken.
u64 claim_mac(const MacOwner& owner, unsigned slot, std::vector<std::shared_ptr<sys::Fd>>& claims);

}  // namespace rhea::cli
