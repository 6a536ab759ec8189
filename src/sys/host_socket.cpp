// SPDX-License-Identifier: MIT
// Peeking at an offset uses SO_PEEK_OFF where the kernel has it for TCP (Linux 6.9); elsewhere the bytes
// before the offset are read again, into one scratch area that all pieces before it name.
#include "sys/host_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "sys/named_socket.h"

namespace rhea::sys {

static_assert(sizeof(IoPiece) == sizeof(iovec) && offsetof(IoPiece, data) == offsetof(iovec, iov_base) &&
              offsetof(IoPiece, size) == offsetof(iovec, iov_len));

namespace {

constexpr usize kScratch = 64 * 1024;
constexpr usize kMaxVector = 1024;  // UIO_MAXIOV

iovec* vector_of(std::span<const IoPiece> pieces) {
  return reinterpret_cast<iovec*>(const_cast<IoPiece*>(pieces.data()));
}

socklen_t to_native(const Endpoint& endpoint, bool v6, sockaddr_storage& out) {
  out = {};
  if (v6) {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(out);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(endpoint.port);
    in6.sin6_scope_id = endpoint.scope;
    std::memcpy(&in6.sin6_addr, endpoint.address.bytes.data(), 16);
    return sizeof in6;
  }
  auto& in = reinterpret_cast<sockaddr_in&>(out);
  in.sin_family = AF_INET;
  in.sin_port = htons(endpoint.port);
  std::memcpy(&in.sin_addr, &endpoint.address.bytes[12], 4);
  return sizeof in;
}

Endpoint from_native(const sockaddr_storage& native) {
  Endpoint endpoint;
  if (native.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(native);
    endpoint.address = IpAddress::from_wire(reinterpret_cast<const u8*>(&in6.sin6_addr), false);
    endpoint.port = ntohs(in6.sin6_port);
    endpoint.scope = in6.sin6_scope_id;
  } else if (native.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(native);
    endpoint.address = IpAddress::from_wire(reinterpret_cast<const u8*>(&in.sin_addr), true);
    endpoint.port = ntohs(in.sin_port);
  }
  return endpoint;
}

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

IoResult result_of(ssize_t count) {
  if (count < 0) return {0, errno};
  return {count, 0};
}

void configure(int fd, SocketKind kind, bool v6) {
  if (kind == SocketKind::local) return;
  if (v6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (kind == SocketKind::stream) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    return;
  }
  if (kind == SocketKind::datagram) {
    set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
    // A guest that is slow for a moment loses no datagrams; as much as net.core.rmem_max allows.
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 1 << 20);
  }
  if (v6) set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
  else set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
  if (kind == SocketKind::raw_icmp && !v6) {
    // struct icmp_filter of <linux/icmp.h>, which does not go with <net/if.h>: a bit for each type not
    // wanted.
    constexpr int kIcmpFilter = 1;
    constexpr u32 kOnlyEchoReply = ~1u;
    setsockopt(fd, SOL_RAW, kIcmpFilter, &kOnlyEchoReply, sizeof kOnlyEchoReply);
  }
}

}  // namespace

bool IoResult::again() const { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

std::unique_ptr<Socket> Socket::open(SocketKind kind, bool v6, int& error) {
  const bool icmp = kind == SocketKind::ping || kind == SocketKind::raw_icmp;
  const int type = kind == SocketKind::stream || kind == SocketKind::local ? SOCK_STREAM
                   : kind == SocketKind::raw_icmp                          ? SOCK_RAW
                                                                           : SOCK_DGRAM;
  const int protocol = icmp ? (v6 ? int{IPPROTO_ICMPV6} : int{IPPROTO_ICMP}) : 0;
  const int family = kind == SocketKind::local ? AF_UNIX : v6 ? AF_INET6 : AF_INET;
  Fd fd(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) {
    error = errno;
    return nullptr;
  }
  error = 0;
  configure(fd.get(), kind, v6);
  return std::make_unique<Socket>(std::move(fd), kind, v6);
}

std::unique_ptr<Socket> Socket::adopt(Fd fd, int& error) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  int type = 0;
  socklen_t type_size = sizeof type;
  if (getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) ||
      getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &type_size)) {
    error = errno;
    return nullptr;
  }
  const bool known = peer.ss_family == AF_INET || peer.ss_family == AF_INET6 || peer.ss_family == AF_UNIX;
  if (type != SOCK_STREAM || !known) {
    error = EPROTOTYPE;
    return nullptr;
  }
  error = 0;
  const SocketKind kind = peer.ss_family == AF_UNIX ? SocketKind::local : SocketKind::stream;
  configure(fd.get(), kind, false);
  return std::make_unique<Socket>(std::move(fd), kind, peer.ss_family == AF_INET6);
}

Socket::~Socket() {
  if (!path_.empty()) unlink(path_.c_str());
}

int Socket::bind(const Endpoint& to) {
  if (kind_ == SocketKind::stream) set_option(fd(), SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_storage native;
  const socklen_t size = to_native(to, v6_, native);
  return ::bind(fd(), reinterpret_cast<sockaddr*>(&native), size) ? errno : 0;
}

int Socket::bind_path(const std::string& path) {
  sockaddr_un native{};
  native.sun_family = AF_UNIX;
  if (path.size() >= sizeof native.sun_path) return ENAMETOOLONG;
  std::copy(path.begin(), path.end(), native.sun_path);
  struct stat there {};
  if (lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return EEXIST;
    if (unlink(path.c_str())) return errno;
  }
  if (::bind(fd(), reinterpret_cast<sockaddr*>(&native), sizeof native)) return errno;
  path_ = path;
  return 0;
}

int Socket::listen(int backlog) { return ::listen(fd(), backlog) ? errno : 0; }

std::unique_ptr<Socket> Socket::accept(Endpoint& from, int& error) {
  sockaddr_storage native{};
  socklen_t size = sizeof native;
  Fd accepted(accept4(fd(), reinterpret_cast<sockaddr*>(&native), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted) {
    error = errno;
    return nullptr;
  }
  error = 0;
  from = from_native(native);
  configure(accepted.get(), kind_, false);
  return std::make_unique<Socket>(std::move(accepted), kind_, v6_);
}

int Socket::connect(const Endpoint& to) {
  sockaddr_storage native;
  const socklen_t size = to_native(to, v6_, native);
  return ::connect(fd(), reinterpret_cast<sockaddr*>(&native), size) ? errno : 0;
}

Endpoint Socket::local() const {
  sockaddr_storage native{};
  socklen_t size = sizeof native;
  getsockname(fd(), reinterpret_cast<sockaddr*>(&native), &size);
  return from_native(native);
}

int Socket::take_error() {
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd(), SOL_SOCKET, SO_ERROR, &value, &size)) return errno;
  return value;
}

IoResult Socket::send(std::span<const IoPiece> pieces) {
  msghdr message{};
  message.msg_iov = vector_of(pieces);
  message.msg_iovlen = std::min(pieces.size(), kMaxVector);
  return result_of(sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

IoResult Socket::send_urgent(std::span<const IoPiece> pieces) {
  msghdr message{};
  message.msg_iov = vector_of(pieces);
  message.msg_iovlen = std::min(pieces.size(), kMaxVector);
  return result_of(sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_OOB));
}

Urgent Socket::urgent() const {
  int next = 0;
  if (ioctl(fd(), SIOCATMARK, &next) == 0 && next) return Urgent::next;
  pollfd polled{fd(), POLLPRI, 0};
  return poll(&polled, 1, 0) == 1 && polled.revents & POLLPRI ? Urgent::ahead : Urgent::none;
}

bool Socket::set_peek_offset() {
  if (!offsets_allowed_) return false;
  const int offset = static_cast<int>(peek_offset_);
  offsets_allowed_ = setsockopt(fd(), SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0;
  return offsets_allowed_;
}

IoResult Socket::peek(usize offset, std::span<const IoPiece> into) {
  msghdr message{};
  if (offset == 0 && !peek_offset_known_) {
    message.msg_iov = vector_of(into);
    message.msg_iovlen = std::min(into.size(), kMaxVector);
    return result_of(recvmsg(fd(), &message, MSG_PEEK | MSG_DONTWAIT));
  }
  if (!peek_offset_known_ || peek_offset_ != offset) {
    peek_offset_ = offset;
    peek_offset_known_ = set_peek_offset();
  }
  if (peek_offset_known_) {
    message.msg_iov = vector_of(into);
    message.msg_iovlen = std::min(into.size(), kMaxVector);
    const ssize_t count = recvmsg(fd(), &message, MSG_PEEK | MSG_DONTWAIT);
    if (count > 0) peek_offset_ += static_cast<usize>(count);
    return result_of(count);
  }
  thread_local std::vector<u8> scratch(kScratch);
  std::vector<IoPiece> pieces;
  for (usize left = offset; left;) {
    const usize part = std::min(left, kScratch);
    pieces.push_back({scratch.data(), part});
    left -= part;
  }
  pieces.insert(pieces.end(), into.begin(), into.end());
  message.msg_iov = vector_of(pieces);
  message.msg_iovlen = std::min(pieces.size(), kMaxVector);
  const ssize_t count = recvmsg(fd(), &message, MSG_PEEK | MSG_DONTWAIT);
  if (count <= 0) return result_of(count);
  if (static_cast<usize>(count) <= offset) return {0, EAGAIN};
  return {count - static_cast<ssize_t>(offset), 0};
}

IoResult Socket::discard(usize bytes) {
  // Only TCP throws bytes away without a place for them (tcp(7)).
  thread_local std::vector<u8> place;
  if (kind_ == SocketKind::local) place.resize(std::min(bytes, kScratch));
  const ssize_t count = kind_ == SocketKind::local ? recv(fd(), place.data(), place.size(), MSG_DONTWAIT)
                                                   : recv(fd(), nullptr, bytes, MSG_TRUNC | MSG_DONTWAIT);
  // The kernel moves the offset back by what left the queue.
  if (count > 0 && peek_offset_known_) peek_offset_ -= std::min(peek_offset_, static_cast<usize>(count));
  return result_of(count);
}

void Socket::shutdown_write() { ::shutdown(fd(), SHUT_WR); }

void Socket::reset_on_close() { sys::reset_on_close(fd()); }

void Socket::set_keepalive() { set_option(fd(), SOL_SOCKET, SO_KEEPALIVE, 1); }
void Socket::set_no_delay() { sys::set_no_delay(fd()); }

usize Socket::receive_queue() const {
  int value = 0;
  return ioctl(fd(), SIOCINQ, &value) == 0 && value > 0 ? static_cast<usize>(value) : 0;
}

usize Socket::send_queue() const {
  int value = 0;
  return ioctl(fd(), SIOCOUTQ, &value) == 0 && value > 0 ? static_cast<usize>(value) : 0;
}

IoResult Socket::send_to(const Endpoint& to, std::span<const IoPiece> pieces, u16 segment) {
  sockaddr_storage native;
  msghdr message{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(u16))> control{};
  if (segment) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = IPPROTO_UDP;
    part->cmsg_type = UDP_SEGMENT;
    part->cmsg_len = CMSG_LEN(sizeof segment);
    std::memcpy(CMSG_DATA(part), &segment, sizeof segment);
  }
  message.msg_namelen = to_native(to, v6_, native);
  message.msg_name = &native;
  message.msg_iov = vector_of(pieces);
  message.msg_iovlen = std::min(pieces.size(), kMaxVector);
  const ssize_t count = sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  return result_of(count);
}

void Socket::join_datagrams() { set_option(fd(), IPPROTO_UDP, UDP_GRO, 1); }

IoResult Socket::receive_from(Endpoint& from, IoPiece into, u16& segment) {
  sockaddr_storage native{};
  msghdr message{};
  alignas(cmsghdr) std::array<char, 64> control;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  message.msg_name = &native;
  message.msg_namelen = sizeof native;
  message.msg_iov = vector_of(std::span(&into, 1));
  message.msg_iovlen = 1;
  const ssize_t count = recvmsg(fd(), &message, MSG_DONTWAIT);
  segment = 0;
  if (count < 0) return result_of(count);
  from = from_native(native);
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != IPPROTO_UDP || part->cmsg_type != UDP_GRO) continue;
    int size = 0;
    std::memcpy(&size, CMSG_DATA(part), sizeof size);
    if (size > 0 && size < count) segment = static_cast<u16>(size);
  }
  return result_of(count);
}

void Socket::set_ttl(unsigned ttl) {
  if (ttl == ttl_) return;
  ttl_ = ttl;
  if (v6_) set_option(fd(), IPPROTO_IPV6, IPV6_UNICAST_HOPS, static_cast<int>(ttl));
  else set_option(fd(), IPPROTO_IP, IP_TTL, static_cast<int>(ttl));
}

void Socket::set_tos(unsigned tos) {
  if (tos == tos_) return;
  tos_ = tos;
  if (v6_) set_option(fd(), IPPROTO_IPV6, IPV6_TCLASS, static_cast<int>(tos));
  else set_option(fd(), IPPROTO_IP, IP_TOS, static_cast<int>(tos));
}

void Socket::set_whole(bool whole) {
  if (whole == whole_) return;
  whole_ = whole;
  if (v6_) set_option(fd(), IPPROTO_IPV6, IPV6_MTU_DISCOVER, whole ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT);
  else set_option(fd(), IPPROTO_IP, IP_MTU_DISCOVER, whole ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT);
}

bool Socket::next_error(SocketError& error) {
  error = {};
  error.payload.resize(576);
  sockaddr_storage native{};
  iovec piece{error.payload.data(), error.payload.size()};
  alignas(cmsghdr) std::array<char, 512> control;
  msghdr message{};
  message.msg_name = &native;
  message.msg_namelen = sizeof native;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = recvmsg(fd(), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
  if (count < 0) return false;
  error.payload.resize(static_cast<usize>(count));
  error.to = from_native(native);
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    const bool is_error = (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_RECVERR) ||
                          (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_RECVERR);
    if (!is_error) continue;
    sock_extended_err extended;
    std::memcpy(&extended, CMSG_DATA(part), sizeof extended);
    error.error = static_cast<int>(extended.ee_errno);
    error.from_icmp = extended.ee_origin == SO_EE_ORIGIN_ICMP || extended.ee_origin == SO_EE_ORIGIN_ICMP6;
    error.type = extended.ee_type;
    error.code = extended.ee_code;
    error.info = extended.ee_info;
    sockaddr_storage offender{};
    const usize size = std::min<usize>(sizeof offender, part->cmsg_len - CMSG_LEN(sizeof extended));
    std::memcpy(&offender, CMSG_DATA(part) + sizeof extended, size);
    error.offender = from_native(offender).address;
  }
  return true;
}

SocketPoller::SocketPoller() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

bool SocketPoller::add(int fd, u64 token, bool writable) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET | (writable ? static_cast<u32>(EPOLLOUT) : 0u);
  event.data.u64 = token;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void SocketPoller::remove(int fd) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

usize SocketPoller::take(std::span<Event> events) {
  std::array<epoll_event, 128> native;
  const int wanted = static_cast<int>(std::min(events.size(), native.size()));
  const int count = epoll_wait(epoll_.get(), native.data(), wanted, 0);
  for (int i = 0; i < count; ++i) {
    const u32 bits = native[static_cast<usize>(i)].events;
    u32 result = 0;
    if (bits & EPOLLIN) result |= kSocketReadable;
    if (bits & EPOLLOUT) result |= kSocketWritable;
    if (bits & (EPOLLRDHUP | EPOLLHUP)) result |= kSocketHangup;
    if (bits & EPOLLERR) result |= kSocketError;
    if (bits & EPOLLPRI) result |= kSocketUrgent;
    events[static_cast<usize>(i)] = {native[static_cast<usize>(i)].data.u64, result};
  }
  return count > 0 ? static_cast<usize>(count) : 0;
}

StreamPair stream_pair(int& error) {
  const auto failed = [&](int number) {
    error = number ? number : ECONNREFUSED;
    return StreamPair{};
  };
  const auto listener = Socket::open(SocketKind::stream, false, error);
  if (!listener) return {};
  if ((error = listener->bind({IpAddress::v4(0x7f000001), 0, 0}))) return {};
  if ((error = listener->listen(1))) return {};
  auto ours = Socket::open(SocketKind::stream, false, error);
  if (!ours) return {};
  error = ours->connect(listener->local());
  if (error && error != EINPROGRESS) return {};
  // Over loopback the connection is there at once. Another program may have been faster: that is not our end.
  for (unsigned i = 0; i < 8; ++i) {
    Endpoint from;
    auto theirs = listener->accept(from, error);
    if (!theirs) return failed(error);
    if (from != ours->local()) continue;
    error = 0;
    Fd other(fcntl(theirs->fd(), F_DUPFD_CLOEXEC, 3));
    if (!other) return failed(errno);
    fcntl(other.get(), F_SETFL, fcntl(other.get(), F_GETFL) & ~O_NONBLOCK);
    return {std::move(ours), std::move(other)};
  }
  return failed(ECONNREFUSED);
}

std::pair<std::unique_ptr<Socket>, std::unique_ptr<Socket>> local_pair(int& error) {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data())) {
    error = errno;
    return {};
  }
  error = 0;
  return {std::make_unique<Socket>(Fd(ends[0]), SocketKind::local, false),
          std::make_unique<Socket>(Fd(ends[1]), SocketKind::local, false)};
}

std::vector<IpAddress> addresses_of(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::vector<IpAddress> result;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &found)) return result;
  for (const addrinfo* item = found; item; item = item->ai_next) {
    sockaddr_storage native{};
    std::memcpy(&native, item->ai_addr, std::min<usize>(sizeof native, item->ai_addrlen));
    const IpAddress address = from_native(native).address;
    if (std::find(result.begin(), result.end(), address) == result.end()) result.push_back(address);
  }
  freeaddrinfo(found);
  return result;
}

bool has_ipv6_route() {
  int error = 0;
  const auto socket = Socket::open(SocketKind::datagram, true, error);
  // Connecting a datagram socket looks the route up and sends nothing; any global address does.
  return socket && socket->connect({*parse_ipv6("2000::1"), 9}) == 0;
}

usize raise_open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit)) return 1024;
  constexpr rlim_t kEnough = 131072;
  const rlim_t wanted = std::min(limit.rlim_max, kEnough);
  if (limit.rlim_cur < wanted) {
    rlimit raised = limit;
    raised.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return wanted;
  }
  return std::min(limit.rlim_cur, kEnough);
}

u32 interface_index(const std::string& name) { return if_nametoindex(name.c_str()); }

u64 random_number() {
  u64 value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) value = static_cast<u64>(time(nullptr)) * 0x9e3779b97f4a7c15u;
  return value;
}

u64 file_version(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info)) return 0;
  const u64 time = static_cast<u64>(info.st_mtim.tv_sec) * 1'000'000'000 + static_cast<u64>(info.st_mtim.tv_nsec);
  return (time ^ static_cast<u64>(info.st_size) << 40 ^ static_cast<u64>(info.st_ino) << 20) | 1;
}

}  // namespace rhea::sys
