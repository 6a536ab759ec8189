// SPDX-License-Identifier: MIT
#include "sys/packet_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "sys/control_message.h"

namespace rhea::sys {

namespace {

constexpr int kBacklog = 128;
constexpr usize kMostDescriptors = 8;  // room for what a peer may send too much of

bool address_of(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return true;
}

Fd packet_socket() { return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

union Control {
  cmsghdr header;
  std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> bytes;
};

ReadSome outcome_of(ssize_t count) {
  if (count >= 0) return {ReadOutcome::data, static_cast<usize>(count)};
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {ReadOutcome::would_wait};
  return {ReadOutcome::failed, 0, errno};
}

// The first descriptor is kept, all others are closed.
Fd take_descriptors(msghdr& message) {
  Fd first;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const usize count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (usize i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof number);
      Fd fd(number);
      if (!first) first = std::move(fd);
    }
  }
  return first;
}

}  // namespace

Result<Fd> listen_packets(const std::string& path) {
  // Under another name first: who sees the file finds somebody who listens.
  const std::string before = path + "~";
  sockaddr_un address, final_address;
  if (!address_of(before, address) || !address_of(path, final_address))
    return Error("{}: a socket's path has at most {} bytes", path, sizeof address.sun_path - 2)
        .with_hint("XDG_RUNTIME_DIR names the folder; a shorter one is needed.");
  Fd fd = packet_socket();
  if (!fd) return Error("socket: {}", errno_text());
  ::unlink(before.c_str());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), kBacklog) != 0 || ::rename(before.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(before.c_str());
    return Error("{}: {}", path, errno_text(error));
  }
  return fd;
}

Fd connect_packets(const std::string& path, int& error) {
  sockaddr_un address;
  if (!address_of(path, address)) return error = ENAMETOOLONG, Fd();
  Fd fd = packet_socket();
  if (!fd) return error = errno, Fd();
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return error = errno, Fd();
  error = 0;
  return fd;
}

Fd accept_packets(int listener) { return Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

PacketPeer packet_peer(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {credentials.pid, credentials.uid};
}

ReadSome send_packet(int fd, std::span<const u8> data, int along) {
  iovec piece{const_cast<u8*>(data.data()), data.size()};
  Control control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (along >= 0) attach_descriptor(message, control.bytes, along);
  return outcome_of(::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

Packet receive_packet(int fd, std::span<u8> into) {
  iovec piece{into.data(), into.size()};
  Control control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  const ssize_t count = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  Packet packet;
  packet.got = outcome_of(count);
  if (count < 0) return packet;
  packet.along = take_descriptors(message);
  packet.truncated = message.msg_flags & MSG_TRUNC;
  // An empty packet cannot be told from the end, and nobody sends one.
  if (count == 0) packet.got = {ReadOutcome::end};
  return packet;
}

bool wait_packet(int fd, unsigned milliseconds) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, static_cast<int>(milliseconds)) == 1;
}

Result<Fd> create_sealed_memory(const std::string& name, usize size) {
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return Error("memfd {}: {}", name, errno_text());
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    return Error("memory of {} bytes for {}: {}", size, name, errno_text());
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return Error("sealing memory for {}: {}", name, errno_text());
  return fd;
}

Result<MemoryMap> map_sealed_memory(int fd, usize size) {
  struct stat status {};
  struct statfs system {};
  if (::fstat(fd, &status) != 0 || ::fstatfs(fd, &system) != 0) return Error("shared memory: {}", errno_text());
  if (!S_ISREG(status.st_mode) || system.f_type != TMPFS_MAGIC) return Error("what was sent is no shared memory");
  if (status.st_size < 0 || static_cast<usize>(status.st_size) != size)
    return Error("shared memory has {} bytes instead of {}", status.st_size, size);
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK)) return Error("shared memory that may shrink");
  return map_shared(fd, 0, size, Protection::read_write);
}

std::vector<std::string> names_in(const std::string& folder, usize limit) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(folder.c_str()), ::closedir);
  while (directory && names.size() < limit) {
    const dirent* entry = ::readdir(directory.get());
    if (!entry) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

}  // namespace rhea::sys
