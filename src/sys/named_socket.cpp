// SPDX-License-Identifier: MIT
#include "sys/named_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "sys/signals.h"
#include "util/text.h"

namespace rhea::sys {

namespace {

constexpr int kLookAround = 100;  // ms between looks at the signals

std::string bracketed(const std::string& host) { return host.find(':') == host.npos ? host : "[" + host + "]"; }

std::string address_text(const sockaddr_storage& address, socklen_t size) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return {};
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};
  return bracketed(host) + ":" + port;
}

Result<RawAddress> unix_address(const SocketName& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const usize room = sizeof address.sun_path - 1;
  if (name.path.size() > room)
    return Error("UNIX socket path '{}' is too long: it must be no more than {} bytes", name.path, room);
  if (name.path.empty()) return Error("a unix socket needs a path");
  RawAddress raw;
  const usize head = offsetof(sockaddr_un, sun_path);
  if (name.abstract) {
    std::memcpy(address.sun_path + 1, name.path.data(), name.path.size());
    raw.size = static_cast<unsigned>(name.tight ? head + 1 + name.path.size() : sizeof address);
  } else {
    std::memcpy(address.sun_path, name.path.data(), name.path.size());
    raw.size = static_cast<unsigned>(head + name.path.size() + 1);
  }
  std::memcpy(raw.bytes.data(), &address, sizeof address);
  return raw;
}

int family_of(const RawAddress& address) { return reinterpret_cast<const sockaddr*>(address.bytes.data())->sa_family; }

const sockaddr* as_sockaddr(const RawAddress& address) {
  return reinterpret_cast<const sockaddr*>(address.bytes.data());
}

void set_port(RawAddress& address, u16 port) {
  if (family_of(address) == AF_INET) reinterpret_cast<sockaddr_in*>(address.bytes.data())->sin_port = htons(port);
  else reinterpret_cast<sockaddr_in6*>(address.bytes.data())->sin6_port = htons(port);
}

u16 port_of(const RawAddress& address) {
  if (family_of(address) == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(address.bytes.data())->sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6*>(address.bytes.data())->sin6_port);
}

// QEMU's rules: one family given as on excludes the other; both, or none, means both.
int family_wanted(const SocketName& name) {
  const bool four = name.ipv4.value_or(false), six = name.ipv6.value_or(false);
  if ((four && !six) || (name.ipv6 == false && name.ipv4 != false)) return AF_INET;
  if ((six && !four) || (name.ipv4 == false && name.ipv6 != false)) return AF_INET6;
  return AF_UNSPEC;
}

// An old file of ours that nobody listens on; anything else stays.
void remove_stale(const RawAddress& address, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return;
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), as_sockaddr(address), address.size) == 0 || errno != ECONNREFUSED) return;
  ::unlink(path.c_str());
}

Fd open_listener(const RawAddress& address) {
  Fd fd(::socket(family_of(address), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fd;
  const int on = 1;
  if (family_of(address) != AF_UNIX) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family_of(address) == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), as_sockaddr(address), address.size) != 0 || ::listen(fd.get(), 8) != 0) {
    const int error = errno;
    fd.reset();
    errno = error;
  }
  return fd;
}

}  // namespace

std::string SocketName::text() const {
  if (family == Family::unix_path) return path;
  if (family == Family::descriptor) return descriptor;
  return bracketed(host) + ":" + port;
}

Result<std::vector<RawAddress>> resolve(const SocketName& name, bool passive, bool datagram) {
  if (name.family == SocketName::Family::unix_path) return std::vector<RawAddress>{RHEA_TRY(unix_address(name))};
  if (name.ipv4 == false && name.ipv6 == false) return Error("Cannot disable IPv4 and IPv6 at same time");
  addrinfo hints{}, *list = nullptr;
  hints.ai_family = family_wanted(name);
  hints.ai_socktype = datagram ? SOCK_DGRAM : SOCK_STREAM;
  hints.ai_flags = (passive ? AI_PASSIVE : 0) | (name.numeric ? AI_NUMERICHOST : 0);
  const int failed = ::getaddrinfo(name.host.empty() ? nullptr : name.host.c_str(), name.port.c_str(), &hints, &list);
  if (failed) return Error("address resolution failed for {}: {}", name.text(), ::gai_strerror(failed));
  std::vector<RawAddress> found;
  for (const addrinfo* at = list; at; at = at->ai_next) {
    RawAddress address;
    if (at->ai_addrlen > address.bytes.size()) continue;
    std::memcpy(address.bytes.data(), at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
    found.push_back(address);
  }
  ::freeaddrinfo(list);
  return found;
}

Result<Fd> listen_stream(const SocketName& name) {
  std::vector<RawAddress> addresses = RHEA_TRY(resolve(name, true));
  if (name.family == SocketName::Family::unix_path) {
    if (!name.abstract) remove_stale(addresses[0], name.path);
    Fd fd = open_listener(addresses[0]);
    if (!fd) return Error("Failed to bind socket to {}: {}", name.path, errno_text());
    return fd;
  }
  int error = EADDRNOTAVAIL;
  for (RawAddress& address : addresses) {
    const u64 first = port_of(address), last = name.to ? std::max<u64>(*name.to, first) : first;
    for (u64 port = first; port <= last && port <= UINT16_MAX; ++port) {
      set_port(address, static_cast<u16>(port));
      if (Fd fd = open_listener(address)) return fd;
      error = errno;
      if (error != EADDRINUSE && error != EACCES) break;
    }
  }
  if (name.to)
    return Error("Failed to find an available port from {} to {}: {}", name.text(), *name.to, errno_text(error));
  return Error("Failed to find an available port: {} ({})", errno_text(error), name.text());
}

SocketName bound_name(int fd, const SocketName& asked) {
  SocketName name = asked;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (asked.family != SocketName::Family::inet || ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return name;
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return name;
  name.host = host;
  name.port = port;
  return name;
}

Fd begin_connect(const RawAddress& address, int& error) {
  Fd fd(::socket(family_of(address), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  error = 0;
  if (!fd || ::connect(fd.get(), as_sockaddr(address), address.size) != 0) error = errno;
  if (error == EAGAIN) error = ECONNREFUSED;  // a unix socket whose queue is full
  if (error && error != EINPROGRESS) fd.reset();
  return fd;
}

Result<Fd> connect_stream(const SocketName& name) {
  int error = EADDRNOTAVAIL;
  for (const RawAddress& address : RHEA_TRY(resolve(name, false))) {
    Fd fd = begin_connect(address, error);
    if (error == EINPROGRESS) {
      pollfd waiting{.fd = fd.get(), .events = POLLOUT, .revents = 0};
      while (::poll(&waiting, 1, kLookAround) <= 0)
        if (ending_signal_pending()) return Error("Failed to connect to '{}': {}", name.text(), errno_text(EINTR));
      error = pending_error(fd.get());
    }
    if (error == 0) return fd;
  }
  return Error("Failed to connect to '{}': {}", name.text(), errno_text(error));
}

Fd accept_stream(int listener) { return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

Result<Fd> connect_datagram(const SocketName& remote, const std::optional<SocketName>& local) {
  std::string why = "no address";
  for (const RawAddress& address : RHEA_TRY(resolve(remote, false, true))) {
    Fd fd(::socket(family_of(address), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
      why = errno_text();
      continue;
    }
    if (local) {
      const int on = 1;
      ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      SocketName near = *local;
      if (!near.ipv4 && !near.ipv6) (family_of(address) == AF_INET ? near.ipv4 : near.ipv6) = true;
      const std::vector<RawAddress> places = RHEA_TRY(resolve(near, true, true));
      if (places.empty() || ::bind(fd.get(), as_sockaddr(places[0]), places[0].size) != 0) {
        why = fmt::format("Failed to bind socket to '{}': {}", local->text(), errno_text());
        continue;
      }
    }
    if (::connect(fd.get(), as_sockaddr(address), address.size) == 0) return fd;
    why = errno_text();
  }
  return Error("Failed to connect to '{}': {}", remote.text(), why);
}

Result<Fd> take_socket(const std::string& number) {
  const auto value = parse_number(number);
  if (!value || *value > INT32_MAX) return Error("Unable to parse FD number {}", number);
  const int fd = static_cast<int>(*value);
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Error("file descriptor {} is not open", fd);
  if (!S_ISSOCK(status.st_mode)) return Error("File descriptor '{}' is not a socket", fd);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return Fd(fd);
}

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

std::string local_text(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? address_text(address, size) : "";
}

std::string peer_text(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? address_text(address, size) : "";
}

void set_no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void reset_on_close(int fd) {
  const linger value{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

ReadSome send_now(int fd, std::span<const u8> data) {
  for (;;) {
    const ssize_t count = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return {ReadOutcome::data, static_cast<usize>(count)};
    if (errno == EAGAIN) return {ReadOutcome::would_wait};
    if (errno != EINTR) return {ReadOutcome::failed, 0, errno};
  }
}

ReadSome receive_now(int fd, std::span<u8> to) {
  for (;;) {
    const ssize_t count = ::recv(fd, to.data(), to.size(), MSG_DONTWAIT);
    if (count > 0) return {ReadOutcome::data, static_cast<usize>(count)};
    if (count == 0) return {ReadOutcome::end};
    if (errno == EAGAIN) return {ReadOutcome::would_wait};
    if (errno != EINTR) return {ReadOutcome::failed, 0, errno};
  }
}

bool is_unix_socket(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

ReadSome receive_with_descriptors(int fd, std::span<u8> to, std::vector<Fd>& descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))];
  iovec piece{to.data(), to.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t count = 0;
  do { count = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); } while (count < 0 && errno == EINTR);
  if (count < 0) return errno == EAGAIN ? ReadSome{ReadOutcome::would_wait} : ReadSome{ReadOutcome::failed, 0, errno};
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const usize numbers = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (usize i = 0; i < numbers; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part) + i * sizeof(int), sizeof number);
      descriptors.emplace_back(number);
    }
  }
  if (count == 0) return {ReadOutcome::end};
  return {ReadOutcome::data, static_cast<usize>(count)};
}

ReadSome send_with_descriptors(int fd, std::span<const u8> data, std::span<const int> descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMostDescriptors * sizeof(int))] = {};
  iovec piece{const_cast<u8*>(data.data()), data.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!descriptors.empty() && descriptors.size() <= kMostDescriptors) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t count = 0;
  do { count = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT); } while (count < 0 && errno == EINTR);
  if (count < 0) return errno == EAGAIN ? ReadSome{ReadOutcome::would_wait} : ReadSome{ReadOutcome::failed, 0, errno};
  return {ReadOutcome::data, static_cast<usize>(count)};
}

bool wait_readable(int fd) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  while (::poll(&waiting, 1, kLookAround) <= 0)
    if (ending_signal_pending()) return false;
  return true;
}

bool sleep_unless_ending(s64 milliseconds) {
  for (; milliseconds > 0; milliseconds -= kLookAround) {
    if (ending_signal_pending()) return false;
    ::poll(nullptr, 0, static_cast<int>(std::min<s64>(milliseconds, kLookAround)));
  }
  return !ending_signal_pending();
}

void remove_socket_file(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
}

}  // namespace rhea::sys
