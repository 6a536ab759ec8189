// SPDX-License-Identifier: MIT
// The socket of an L2TPv3 tunnel: UDP, or IP packets of protocol 115 (RFC 3931, section 4.1.1.1).
#pragma once

#include <string>

#include "sys/fd.h"
#include "util/result.h"

namespace rhea::sys {

struct TunnelEnds {
  bool v6 = false, udp = false;
  std::string source, source_port, target, target_port;
};

// Bound to one end and connected to the other, so that nobody else's packets come in. Errors name what was given.
Result<Fd> open_tunnel(const TunnelEnds& ends);

}  // namespace rhea::sys
