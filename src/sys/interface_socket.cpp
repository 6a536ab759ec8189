// SPDX-License-Identifier: MIT
#include "sys/interface_socket.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace rhea::sys {

Result<Fd> open_interface(const std::string& name) {
  Fd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error("frames of {}: {}", name, errno_text());
  const int on = 1;
  ::setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  packet_mreq all{};
  all.mr_ifindex = static_cast<int>(::if_nametoindex(name.c_str()));
  all.mr_type = PACKET_MR_PROMISC;
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = all.mr_ifindex;
  if (all.mr_ifindex == 0) return Error("there is no interface {}", name);
  if (::setsockopt(fd.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return Error("frames of {}: {}", name, errno_text());
  return fd;
}

ReadSome read_interface(int fd, std::span<u8> into) {
  ssize_t count;
  do count = ::recv(fd, into.data(), into.size(), 0);
  while (count < 0 && errno == EINTR);
  if (count >= 0) return {ReadOutcome::data, static_cast<usize>(count)};
  if (errno == EAGAIN || errno == ENETDOWN) return {ReadOutcome::would_wait};
  return {ReadOutcome::failed, 0, errno};
}

bool write_interface(int fd, std::span<const u8> frame) {
  ssize_t count;
  do count = ::send(fd, frame.data(), frame.size(), MSG_DONTWAIT);
  while (count < 0 && errno == EINTR);
  return count >= 0;
}

}  // namespace rhea::sys
