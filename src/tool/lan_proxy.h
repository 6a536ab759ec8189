// SPDX-License-Identifier: MIT
// `rhea lan proxy NAME [AT]`: programs of the host reach the guests of a LAN by name through SOCKS5 or HTTP, where user
// namespaces are not allowed (`rhea lan exec`), or where a browser is to be used.
#pragma once

#include <string>

#include "sys/named_socket.h"
#include "tool/tool.h"

namespace rhea::tool {

// Returns when a signal ends it.
Result<std::string> lan_proxy(const Words& words);

// "PORT", "ADDRESS:PORT", "[IPV6]:PORT", "unix:PATH"; an empty text is 127.0.0.1:1080.
Result<sys::SocketName> read_proxy_place(const std::string& text);

}  // namespace rhea::tool
