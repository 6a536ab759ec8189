// SPDX-License-Identifier: MIT
// What a switch with guarded ports does not let in: each member routes for its own guest, so nothing that a gateway, a
// DHCP server or a router says may come from a neighbour.
#pragma once

#include <span>

#include "util/ip_address.h"
#include "util/types.h"

namespace rhea::net::lan {

// `own`: the router's IPv4 addresses. True: the frame is to be dropped. Any bytes may be given.
bool is_forgery(std::span<const u8> frame, std::span<const IpAddress> own);
// Of the router (52:55 and 52:56 begin its MAC addresses).
bool is_router_mac(const u8* mac);

}  // namespace rhea::net::lan
