// SPDX-License-Identifier: MIT
#include "sys/frame_socket.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace rhea::sys {

namespace {

const sockaddr* native(const RawAddress& address) { return reinterpret_cast<const sockaddr*>(address.bytes.data()); }
int family_of(const RawAddress& address) { return address.size ? native(address)->sa_family : AF_UNSPEC; }
const sockaddr_in& as_v4(const RawAddress& address) {
  return *reinterpret_cast<const sockaddr_in*>(address.bytes.data());
}
const sockaddr_in6& as_v6(const RawAddress& address) {
  return *reinterpret_cast<const sockaddr_in6*>(address.bytes.data());
}

bool set_option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

Fd open_datagram(int family) {
  Fd fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // A guest that is slow for a moment loses no datagrams; as much as net.core.rmem_max allows.
  if (fd) set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, 1 << 20);
  if (fd && family == AF_UNIX) set_option(fd.get(), SOL_SOCKET, SO_SNDBUF, 1 << 20);
  return fd;
}

// An old file of ours that nobody is bound to; anything else stays.
void remove_unused(const RawAddress& address, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const Fd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), native(address), address.size) != 0 && errno == ECONNREFUSED) ::unlink(path.c_str());
}

bool join(int fd, const RawAddress& group, const std::optional<RawAddress>& interface) {
  if (family_of(group) == AF_INET) {
    ip_mreqn request{};
    request.imr_multiaddr = as_v4(group).sin_addr;
    if (interface) request.imr_address = as_v4(*interface).sin_addr;
    return ::setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0;
  }
  ipv6_mreq request{};
  request.ipv6mr_multiaddr = as_v6(group).sin6_addr;
  request.ipv6mr_interface = as_v6(group).sin6_scope_id;
  return ::setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request) == 0;
}

bool choose_way_out(int fd, const RawAddress& group, const std::optional<RawAddress>& interface) {
  if (family_of(group) == AF_INET) {
    if (interface && ::setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &as_v4(*interface).sin_addr, sizeof(in_addr)) != 0)
      return false;
    return set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
  }
  if (as_v6(group).sin6_scope_id &&
      !set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(as_v6(group).sin6_scope_id)))
    return false;
  return set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
}

}  // namespace

ReadSome send_pieces(int fd, std::span<const IoPiece> pieces, const RawAddress* to) {
  msghdr message{};
  message.msg_iov = reinterpret_cast<iovec*>(const_cast<IoPiece*>(pieces.data()));
  message.msg_iovlen = pieces.size();
  if (to) {
    message.msg_name = const_cast<u8*>(to->bytes.data());
    message.msg_namelen = to->size;
  }
  for (;;) {
    const ssize_t count = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return {ReadOutcome::data, static_cast<usize>(count)};
    if (errno == EAGAIN || errno == ENOBUFS) return {ReadOutcome::would_wait};
    if (errno != EINTR) return {ReadOutcome::failed, 0, errno};
  }
}

Datagram receive_datagram(int fd, std::span<u8> into) {
  Datagram datagram{};
  iovec piece{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  for (;;) {
    message.msg_name = datagram.from.bytes.data();
    message.msg_namelen = static_cast<socklen_t>(datagram.from.bytes.size());
    const ssize_t count = ::recvmsg(fd, &message, MSG_DONTWAIT);
    if (count >= 0) {
      datagram.from.size = message.msg_namelen;
      datagram.truncated = message.msg_flags & MSG_TRUNC;
      datagram.got = {ReadOutcome::data, static_cast<usize>(count)};
      return datagram;
    }
    if (errno == EINTR) continue;
    datagram.got = errno == EAGAIN ? ReadSome{ReadOutcome::would_wait} : ReadSome{ReadOutcome::failed, 0, errno};
    return datagram;
  }
}

std::string address_text(const RawAddress& address) {
  char text[INET6_ADDRSTRLEN];
  switch (family_of(address)) {
    case AF_INET:
      ::inet_ntop(AF_INET, &as_v4(address).sin_addr, text, sizeof text);
      return fmt::format("{}:{}", text, ntohs(as_v4(address).sin_port));
    case AF_INET6:
      ::inet_ntop(AF_INET6, &as_v6(address).sin6_addr, text, sizeof text);
      return fmt::format("[{}]:{}", text, ntohs(as_v6(address).sin6_port));
    case AF_UNIX: {
      const auto& name = *reinterpret_cast<const sockaddr_un*>(address.bytes.data());
      const usize head = offsetof(sockaddr_un, sun_path);
      if (address.size <= head || name.sun_path[0] == 0) return {};
      return std::string(name.sun_path, ::strnlen(name.sun_path, address.size - head));
    }
    default: return {};
  }
}

bool same_address(const RawAddress& a, const RawAddress& b) {
  if (family_of(a) != family_of(b)) return false;
  if (family_of(a) == AF_INET)
    return as_v4(a).sin_port == as_v4(b).sin_port && as_v4(a).sin_addr.s_addr == as_v4(b).sin_addr.s_addr;
  if (family_of(a) == AF_INET6)
    return as_v6(a).sin6_port == as_v6(b).sin6_port &&
           std::memcmp(&as_v6(a).sin6_addr, &as_v6(b).sin6_addr, sizeof(in6_addr)) == 0;
  return a.size == b.size && std::memcmp(a.bytes.data(), b.bytes.data(), a.size) == 0;
}

bool is_multicast(const RawAddress& address) {
  if (family_of(address) == AF_INET) return IN_MULTICAST(ntohl(as_v4(address).sin_addr.s_addr));
  return family_of(address) == AF_INET6 && IN6_IS_ADDR_MULTICAST(&as_v6(address).sin6_addr);
}

u32 ipv4_of(const RawAddress& address) {
  return family_of(address) == AF_INET ? ntohl(as_v4(address).sin_addr.s_addr) : 0;
}

RawAddress local_address(int fd) {
  RawAddress address;
  socklen_t size = static_cast<socklen_t>(address.bytes.size());
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(address.bytes.data()), &size) == 0) address.size = size;
  return address;
}

DescriptorKind descriptor_kind(int fd) {
  int type = 0, listening = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return DescriptorKind::other;
  if (type == SOCK_DGRAM) return DescriptorKind::datagram;
  if (type != SOCK_STREAM) return DescriptorKind::other;
  size = sizeof listening;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening) return DescriptorKind::listener;
  return DescriptorKind::stream;
}

bool is_unix(int fd) { return family_of(local_address(fd)) == AF_UNIX; }

Result<Fd> bind_datagram(const RawAddress& local, const SocketName& name) {
  Fd fd = open_datagram(family_of(local));
  if (!fd) return Error("can't create datagram socket: {}", errno_text());
  if (family_of(local) == AF_UNIX) {
    if (!name.abstract) remove_unused(local, name.path);
  } else {
    set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd.get(), SOL_SOCKET, SO_BROADCAST, 1);
    if (family_of(local) == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  }
  if (::bind(fd.get(), native(local), local.size) != 0)
    return Error("can't bind {} to socket: {}", name.text(), errno_text());
  return fd;
}

Result<Multicast> join_multicast(const RawAddress& group, const std::optional<RawAddress>& interface, Fd receive) {
  const std::string name = address_text(group);
  if (interface && family_of(*interface) != family_of(group))
    return Error("the group {} and the local address {} are of different families", name, address_text(*interface));
  Multicast made;
  made.group = group;
  if (receive) {
    made.receive = std::move(receive);
  } else {
    made.receive = open_datagram(family_of(group));
    if (!made.receive) return Error("can't create datagram socket: {}", errno_text());
    const int fd = made.receive.get();
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // Only what is sent to the group, not to others on the same port.
    if (family_of(group) == AF_INET) set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    if (::bind(fd, native(group), group.size) != 0) return Error("can't bind {} to socket: {}", name, errno_text());
    if (!join(fd, group, interface))
      return Error("can't add socket to multicast group {}: {}", name, errno_text())
          .with_hint("Where no route leads to the group, localaddr=ADDRESS says on which interface it is.");
  }
  made.send = open_datagram(family_of(group));
  if (!made.send) return Error("can't create datagram socket: {}", errno_text());
  if (!choose_way_out(made.send.get(), group, interface))
    return Error("can't set the default network send interface of {}: {}", name, errno_text());
  if (interface) {
    RawAddress from = *interface;
    if (family_of(from) == AF_INET) reinterpret_cast<sockaddr_in*>(from.bytes.data())->sin_port = 0;
    else reinterpret_cast<sockaddr_in6*>(from.bytes.data())->sin6_port = 0;
    if (::bind(made.send.get(), native(from), from.size) != 0)
      return Error("can't bind {} to socket: {}", address_text(from), errno_text());
  }
  if (::connect(made.send.get(), native(group), group.size) != 0)
    return Error("can't send to multicast group {}: {}", name, errno_text())
        .with_hint("Where no route leads to the group, localaddr=ADDRESS says on which interface it is.");
  made.own = local_address(made.send.get());
  return made;
}

void keep_alive(int fd) {
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 60'000);
}

}  // namespace rhea::sys
