// SPDX-License-Identifier: MIT
#include "sys/tunnel_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace rhea::sys {

namespace {

constexpr int kL2tp = 115;

struct Address {
  sockaddr_storage native{};
  socklen_t size = 0;
};

Result<Address> resolve_end(const TunnelEnds& ends, const std::string& host, const std::string& port, bool passive) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_family = ends.v6 ? AF_INET6 : AF_INET;
  hints.ai_socktype = SOCK_DGRAM;
  hints.ai_flags = passive ? AI_PASSIVE : 0;
  const int failed =
      ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.empty() ? nullptr : port.c_str(), &hints, &list);
  if (failed)
    return Error("could not resolve {}{}{}, errno = {}", host, port.empty() ? "" : ":", port, ::gai_strerror(failed));
  Address address;
  std::memcpy(&address.native, list->ai_addr, list->ai_addrlen);
  address.size = list->ai_addrlen;
  ::freeaddrinfo(list);
  return address;
}

}  // namespace

Result<Fd> open_tunnel(const TunnelEnds& ends) {
  const Address source = RHEA_TRY(resolve_end(ends, ends.source, ends.source_port, true));
  const Address target = RHEA_TRY(resolve_end(ends, ends.target, ends.target_port, false));
  const int type = ends.udp ? SOCK_DGRAM : SOCK_RAW;
  Fd fd(::socket(ends.v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, ends.udp ? 0 : kL2tp));
  if (!fd) {
    const int error = errno;
    Error refused("socket creation failed: {}", errno_text(error));
    if (error == EPERM || error == EACCES)
      return std::move(refused).with_hint("Raw IP packets take root (CAP_NET_RAW); udp=on does not.");
    return refused;
  }
  const int size = 1 << 20;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&source.native), source.size) != 0)
    return Error("could not bind socket to {}: {}", ends.source, errno_text());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&target.native), target.size) != 0)
    return Error("could not connect socket to {}: {}", ends.target, errno_text());
  return fd;
}

}  // namespace rhea::sys
