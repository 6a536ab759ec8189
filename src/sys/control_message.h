// SPDX-License-Identifier: MIT
// For src/sys alone: a descriptor that goes along with a message (unix(7), SCM_RIGHTS).
#pragma once

#include <sys/socket.h>

#include <cstring>
#include <span>

namespace rhea::sys {

// `room`: CMSG_SPACE(sizeof(int)) zero bytes at least, aligned as a cmsghdr; it is used until the message is sent.
inline void attach_descriptor(msghdr& message, std::span<char> room, int fd) {
  message.msg_control = room.data();
  message.msg_controllen = CMSG_SPACE(sizeof fd);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

}  // namespace rhea::sys
