// SPDX-License-Identifier: MIT
#include "sys/pass_descriptor.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "sys/control_message.h"

namespace rhea::sys {

Result<DescriptorChannel> descriptor_channel() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return Error("socketpair: {}", errno_text());
  DescriptorChannel channel{Fd(ends[0]), Fd(ends[1])};
  ::fcntl(ends[1], F_SETFD, 0);
  return channel;
}

namespace {

// Room for one descriptor, aligned as control messages are.
union Control {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

}  // namespace

Result<void> send_descriptor(int channel, int fd) {
  char byte = 0;
  iovec piece{&byte, 1};
  Control control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  attach_descriptor(message, control.bytes, fd);
  while (::sendmsg(channel, &message, MSG_NOSIGNAL) < 0)
    if (errno != EINTR) return Error("{}", errno_text());
  return {};
}

Fd receive_descriptor(int channel) {
  char byte = 0;
  iovec piece{&byte, 1};
  Control control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t count;
  do { count = ::recvmsg(channel, &message, MSG_CMSG_CLOEXEC); } while (count < 0 && errno == EINTR);
  if (count <= 0) return {};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return Fd(fd);
  }
  return {};
}

Result<int> run_program(const std::vector<std::string>& words) {
  std::vector<std::string> command = words;
  if (words.size() == 1 && words[0].find_first_of(" \t\"'") != std::string::npos) command = {"/bin/sh", "-c", words[0]};
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], nullptr, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (error) return Error("{}: {}", command[0], errno_text(error));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return Error("{}: {}", command[0], errno_text());
  return status;
}

std::string program_folder() {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (size <= 0) return {};
  const std::string text(path.data(), static_cast<usize>(size));
  return text.substr(0, text.rfind('/'));
}

}  // namespace rhea::sys
